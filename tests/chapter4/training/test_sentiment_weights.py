"""The shipped sentiment adapter over MiniLM, and the data script beside it."""

import json

import numpy as np
import pytest
import torch

from chapter4.training import sentiment, snippets
from chapter4.training.records import WEIGHTS, read_recipe

FOLDER = WEIGHTS / "sentiment"

# Not among the training script's own sentences.
CLEAR = [
    ("A wonderful film with great actors.", "POSITIVE"),
    ("I enjoyed this movie very much.", "POSITIVE"),
    ("Brilliant, touching and very funny.", "POSITIVE"),
    ("An excellent script and a perfect ending.", "POSITIVE"),
    ("A terrible film with awful actors.", "NEGATIVE"),
    ("I regret that I watched this boring movie.", "NEGATIVE"),
    ("Stupid, tedious and painfully unfunny.", "NEGATIVE"),
    ("A horrible script and a disappointing ending.", "NEGATIVE"),
]


@pytest.fixture(scope="module")
def shipped():
    torch.set_num_threads(1)
    return sentiment.load_shipped()


def test_clear_sentences_are_read_right(shipped):
    positive = sentiment.positive_probability(*shipped, [text for text, _ in CLEAR])
    assert [shipped[1].config.id2label[int(p > 0.5)] for p in positive] == [
        label for _, label in CLEAR
    ]
    # Clear ones are also told with some confidence.
    assert (positive - 0.5).abs().min() > 0.2


def test_the_models_own_sentences_score_as_recorded(shipped):
    wrong = {
        w["text"]: w["positive"]
        for w in read_recipe("sentiment")["measured"]["sentences_wrong"]
    }
    texts = [text for text, _ in sentiment.SENTENCES]
    positive = dict(
        zip(
            texts, sentiment.positive_probability(*shipped, texts).tolist(), strict=True
        )
    )
    missed = {
        text
        for text, label in sentiment.SENTENCES
        if (positive[text] > 0.5) != (label == "POSITIVE")
    }
    assert missed == set(wrong)
    for text, recorded in wrong.items():
        # Recorded with three digits.
        assert positive[text] == pytest.approx(recorded, abs=0.0015)


@pytest.mark.parametrize("token", ["[MASK]", "[PAD]"])
def test_a_blank_text_is_no_evidence(shipped, token):
    scores = sentiment.blank_probability(*shipped, token)
    low, high = read_recipe("sentiment")["measured"]["blank_positive"][token]
    assert (min(scores), max(scores)) == pytest.approx((low, high), abs=0.0015)
    assert low > 0.4
    assert high < 0.6


def test_padding_a_batch_changes_no_score(shipped):
    texts = [text for text, _ in CLEAR] + ["Good. " * 40]
    together = sentiment.positive_probability(*shipped, texts)
    alone = torch.cat(
        [sentiment.positive_probability(*shipped, [text]) for text in texts]
    )
    torch.testing.assert_close(together, alone, rtol=0.0, atol=1e-5)


def test_the_adapter_is_small_half_precision_and_names_no_folder():
    from safetensors.torch import load_file

    path = FOLDER / "adapter_model.safetensors"
    assert path.stat().st_size < 1_000_000
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    config = json.loads((FOLDER / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert config["r"] == 8
    assert "[2345]" in config["target_modules"]


def test_the_merged_model_equals_the_adapted_one(shipped):
    """W x + (alpha / r) B A x for one adapted map, from the stored tensors."""
    from safetensors.torch import load_file

    _, base = sentiment.base_model()
    stored = load_file(FOLDER / "adapter_model.safetensors")
    name = "bert.encoder.layer.3.attention.self.query"
    a, b = (
        stored[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB"
    )
    expected = base.get_submodule(name).weight + 16 / 8 * (b @ a)
    assert b.abs().max() > 0.0
    torch.testing.assert_close(shipped[1].get_submodule(name).weight, expected)
    untouched = "bert.encoder.layer.1.attention.self.query"
    assert torch.equal(
        shipped[1].get_submodule(untouched).weight, base.get_submodule(untouched).weight
    )


def test_a_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    stored = load_file(FOLDER / "adapter_model.safetensors")
    stored.pop(next(iter(stored)))
    (tmp_path / "sentiment").mkdir()
    save_file(stored, tmp_path / "sentiment" / "adapter_model.safetensors")
    config = (FOLDER / "adapter_config.json").read_text(encoding="utf-8")
    (tmp_path / "sentiment" / "adapter_config.json").write_text(
        config, encoding="utf-8"
    )
    monkeypatch.setattr(sentiment, "WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="does not fit its configuration"):
        sentiment.load_shipped()


def test_a_split_is_the_same_for_the_same_seed_and_overlaps_nowhere():
    texts = [snippets.Snippet(f"text {i}", 1.0, 1.0) for i in range(50)]
    train, test = snippets.split(texts, 10, seed=3)
    assert (train, test) == snippets.split(texts, 10, seed=3)
    assert len(test) == 10
    assert {s.text for s in train} | {s.text for s in test} == {s.text for s in texts}
    assert test != snippets.split(texts, 10, seed=4)[1]


def test_another_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAPTER4_TRAINING_CACHE", str(tmp_path))
    (tmp_path / snippets.ARCHIVE).write_bytes(b"something else")
    with pytest.raises(ValueError, match="another SHA-256"):
        snippets.load_snippets()


def test_ratings_become_labels_and_shares(tmp_path, monkeypatch):
    import hashlib
    import io
    import tarfile

    def packed(files):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    texts = (
        b"1\t1.0\tGood  film \r\n2\t-0.5\tBad film\r\n3\t0.0\tA film\r\n4\t2.0\tgood"
        b" film\r\n"
    )
    ratings = (
        b"1\t1.0\t0\t[2, 0, 1, 1]\r\n2\t-0.5\t0\t[-1, 0]\r\n3\t0.0\t0\t[0,"
        b" 0]\r\n4\t2.0\t0\t[2, 2]\r\n"
    )
    inner = packed({snippets._TEXTS: texts, snippets._RATINGS: ratings})
    outer = packed({snippets._INNER: inner})
    (tmp_path / snippets.ARCHIVE).write_bytes(outer)
    monkeypatch.setenv("CHAPTER4_TRAINING_CACHE", str(tmp_path))
    monkeypatch.setattr(snippets, "SHA256", hashlib.sha256(outer).hexdigest())
    found = snippets.load_snippets()
    assert [(s.text, s.label, s.share_positive) for s in found] == [
        ("Good film", 1, 0.875),  # three of four above 0, one at 0 counted half
        ("Bad film", 0, 0.25),
    ]
    assert np.isclose(found[0].mean, 1.0)
