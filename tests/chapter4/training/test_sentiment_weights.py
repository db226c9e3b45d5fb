"""The shipped sentiment adapter over MiniLM, and the data script beside it."""

import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

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
    names = [shipped[1].config.id2label[int(p > 0.5)] for p in positive]
    assert names == [label for _, label in CLEAR]
    # Clear ones are also told with some confidence.
    assert (positive - 0.5).abs().min() > 0.2


def test_the_models_own_sentences_score_as_recorded(shipped):
    recorded = read_recipe("sentiment")["measured"]["sentences_wrong"]
    wrong = {each["text"]: each["positive"] for each in recorded}
    texts = [text for text, _ in sentiment.SENTENCES]
    scores = sentiment.positive_probability(*shipped, texts).tolist()
    positive = dict(zip(texts, scores, strict=True))
    right = {text: label == "POSITIVE" for text, label in sentiment.SENTENCES}
    missed = {text for text in texts if (positive[text] > 0.5) != right[text]}
    assert missed == set(wrong)
    for text, score in wrong.items():
        # Recorded with three digits.
        assert positive[text] == pytest.approx(score, abs=0.0015)


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
    each = [sentiment.positive_probability(*shipped, [text]) for text in texts]
    alone = torch.cat(each)
    torch.testing.assert_close(together, alone, rtol=0.0, atol=1e-5)


def test_the_adapter_is_small_half_precision_and_names_no_folder():
    path = FOLDER / "adapter_model.safetensors"
    assert path.stat().st_size < 1_000_000
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    config = json.loads((FOLDER / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert config["r"] == 8
    assert "[2345]" in config["target_modules"]


def test_the_merged_model_equals_the_adapted_one(shipped):
    """W x + (alpha / r) B A x for one adapted map, from the stored tensors."""
    _, base = sentiment.base_model()
    stored = load_file(FOLDER / "adapter_model.safetensors")
    adapted, untouched = (
        f"bert.encoder.layer.{i}.attention.self.query" for i in (3, 1)
    )
    kept = f"base_model.model.{adapted}.lora"
    a, b = (stored[f"{kept}_{side}.weight"].float() for side in "AB")
    assert b.abs().max() > 0.0
    for name, change in ((adapted, 16 / 8 * (b @ a)), (untouched, 0)):
        want = base.get_submodule(name).weight + change
        torch.testing.assert_close(shipped[1].get_submodule(name).weight, want)


def test_a_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "sentiment")
    path = tmp_path / "sentiment" / "adapter_model.safetensors"
    stored = load_file(path)
    stored.pop(next(iter(stored)))
    save_file(stored, path)
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
