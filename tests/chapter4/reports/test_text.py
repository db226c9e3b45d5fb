"""Shares of words in a logit: by value and against Captum, on BERT and DistilBERT.

Both models are built from their configurations.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from oracles.contract import same_state, snapshot
from tiny_text_models import LIMIT, random_model, tokenizer
from torch import Tensor

from chapter4.inputs.models import TextModel
from chapter4.reports.text import TextClassifierInterpreter, word_scores

TEXT = "An unbelievably tedious film, but not boring!"
WORDS = ["an", "unbelievably", "tedious", "film", ",", "but", "not", "boring", "!"]
ARCHITECTURES = ("bert", "distilbert")
LABELS = ("NEGATIVE", "POSITIVE")
FILLS = {"mask": 103, "pad": 0}  # of bert-base-uncased's vocabulary
EXACT = 1e-10
CAPTUM = 1e-7  # it keeps the steps and their weights in float32


@pytest.fixture(scope="module", params=ARCHITECTURES)
def text_model(request: pytest.FixtureRequest) -> TextModel:
    return random_model(request.param)


def ids_of(text: str) -> Tensor:
    return tokenizer()(text, return_tensors="pt")["input_ids"]


def start_of(ids: Tensor, fill: int) -> Tensor:
    start = ids.clone()
    start[:, 1:-1] = fill
    return start


def logits_of(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits[0]


def captum(text_model: TextModel, target: int, fill: int) -> np.ndarray:
    """Captum's scores of the tokens, over the word embeddings.

    Captum replaces the layer's output inside the model.
    """
    from captum.attr import LayerIntegratedGradients

    model, ids = text_model.model, ids_of(TEXT)
    method = LayerIntegratedGradients(
        lambda given: model(input_ids=given).logits, model.get_input_embeddings()
    )
    signed = method.attribute(
        ids, start_of(ids, fill), target=target, n_steps=50, method="gausslegendre"
    )
    return signed.sum(dim=-1)[0].detach().numpy()


def by_hand(text_model: TextModel, target: int, fill: int) -> np.ndarray:
    """Integrated Gradients of the text, step by step, in code of its own."""
    model, ids = text_model.model, ids_of(TEXT)
    embed = model.get_input_embeddings()
    with torch.no_grad():
        x, start = (embed(each).detach() for each in (ids, start_of(ids, fill)))
    nodes, weights = np.polynomial.legendre.leggauss(50)
    total = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (start + node * (x - start)).requires_grad_()
        value = model(inputs_embeds=point).logits[0, target]
        total += weight * torch.autograd.grad(value, point)[0]
    return ((x - start) * total).sum(dim=-1)[0].numpy()


def close(found: np.ndarray, wanted: np.ndarray, allowed: float) -> None:
    largest = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed * largest)


def interpret(text_model: TextModel, *arguments: Any, **options: Any) -> dict[str, Any]:
    interpreter = TextClassifierInterpreter(text_model)
    return interpreter.interpret(*(arguments or (TEXT,)), **options)


# --- values ---------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", FILLS)
@pytest.mark.parametrize("target", [0, 1])
def test_scores_equal_captums(
    text_model: TextModel, baseline: str, target: int
) -> None:
    found = interpret(text_model, TEXT, target, baseline=baseline)
    fill = FILLS[baseline]
    close(found["attributions"], captum(text_model, target, fill), CAPTUM)
    close(found["attributions"], by_hand(text_model, target, fill), EXACT)


@pytest.mark.parametrize("baseline", FILLS)
def test_the_scores_sum_to_the_change_of_the_models_own_logit(
    text_model: TextModel, baseline: str
) -> None:
    model, ids = text_model.model, ids_of(TEXT)
    found = interpret(text_model, baseline=baseline, n_steps=300, chunk_size=100)
    logits, before = (
        logits_of(model, each) for each in (ids, start_of(ids, FILLS[baseline]))
    )
    target = int(logits.argmax())
    assert found["target"] == target
    assert found["score"] == pytest.approx(float(logits[target]), rel=1e-12)
    assert found["baseline_score"] == pytest.approx(float(before[target]), rel=1e-12)
    change = float(logits[target] - before[target])
    # BERT is smooth. DistilBERT's head has a ReLU, and at its kink the gradient jumps:
    # no rule is exact there.
    allowed = 1e-9 if model.config.model_type == "bert" else 1e-2
    assert found["attributions"].sum() == pytest.approx(change, rel=allowed)
    few = interpret(text_model, baseline=baseline, n_steps=2)
    error = abs(few["attributions"].sum() - change) / abs(change)
    assert few["delta"] == pytest.approx(error, rel=1e-6)
    assert few["delta"] > found["delta"]


@pytest.mark.parametrize("baseline", FILLS)
def test_special_tokens_score_exactly_zero(
    text_model: TextModel, baseline: str
) -> None:
    found = interpret(text_model, baseline=baseline)
    assert (found["tokens"][0], found["tokens"][-1]) == ("[CLS]", "[SEP]")
    assert found["attributions"][0] == found["attributions"][-1] == 0
    assert (found["attributions"][1:-1] != 0).all()


def test_an_unknown_word_has_a_share(text_model: TextModel) -> None:
    found = interpret(text_model, "a ☃ b")
    assert found["tokens"] == ["[CLS]", "a", "[UNK]", "b", "[SEP]"]
    assert found["attributions"][2] != 0
    assert found["words"] == [[1], [2], [3]]


def test_the_chapters_keys(text_model: TextModel) -> None:
    found = interpret(text_model)
    logits = logits_of(text_model.model, ids_of(TEXT))
    best = int(logits.argmax())
    assert found["prediction"] == {
        "class": best,
        "probability": pytest.approx(float(logits.softmax(0).max()), rel=1e-12),
        "label": LABELS[best],
    }
    assert found["tokens"] == tokenizer().convert_ids_to_tokens(
        ids_of(TEXT)[0].tolist()
    )
    assert found["attributions"].shape == (len(found["tokens"]),)
    masked = interpret(text_model, baseline="mask")
    np.testing.assert_array_equal(found["attributions"], masked["attributions"])
    # The prediction is not the target.
    other = interpret(text_model, TEXT, 1 - best)
    assert (other["target"], other["target_label"]) == (1 - best, LABELS[1 - best])
    assert other["prediction"]["class"] == best
    assert other["score"] == pytest.approx(float(logits[1 - best]), rel=1e-12)


def test_a_words_score_is_the_sum_of_its_pieces(text_model: TextModel) -> None:
    found = interpret(text_model)
    assert found["tokens"][2:5] == ["un", "##bel", "##ie"]
    words, scores = word_scores(found)
    assert words == WORDS
    # Pieces are told by their ## alone.
    wanted: list[float] = []
    pairs = list(zip(found["tokens"], found["attributions"], strict=True))
    for token, score in pairs[1:-1]:
        if token.startswith("##"):
            wanted[-1] += score
        else:
            wanted.append(score)
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_chunks_change_nothing(text_model: TextModel, chunk_size: int) -> None:
    found = interpret(text_model, chunk_size=chunk_size)["attributions"]
    close(found, interpret(text_model)["attributions"], EXACT)


def test_a_model_that_is_another_one_on_embeddings_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, words = random_model("bert")
    right = model.forward

    def forward(**given: Any) -> Any:
        output = right(**given)
        if "inputs_embeds" in given:
            output.logits = output.logits + 0.01
        return output

    monkeypatch.setattr(model, "forward", forward)
    with pytest.raises(ValueError, match="other logits for embeddings than for token"):
        interpret(TextModel(model, words))


# --- arguments ------------------------------------------------------------------------


def test_a_class_by_name_and_by_number() -> None:
    model = random_model("bert")
    for name, number in (("POSITIVE", 1), ("negative", 0), ("Positive", 1)):
        by_name, by_number = (
            interpret(model, TEXT, target) for target in (name, number)
        )
        assert by_name["target"] == number
        np.testing.assert_array_equal(
            by_name["attributions"], by_number["attributions"]
        )


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("POSTIVE", ValueError, "is called 'POSTIVE'; did you mean 'POSITIVE'"),
        ("negativ", ValueError, "did you mean 'NEGATIVE'"),
        (2, ValueError, "target class 2 is out of range: the model has classes 0 to 1"),
        (-1, ValueError, "target class -1 is out of range"),
        (1.0, TypeError, "target_class is an integer, not 1.0"),
        (True, TypeError, "target_class is an integer, not True"),
    ],
)
def test_a_class_that_is_none_is_refused(
    target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        interpret(random_model("bert"), TEXT, target)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "the text is empty"),
        ("\n\t", ValueError, "the text is empty"),
        (["a"], TypeError, "text is a string, not list"),
        (
            "good " * (LIMIT - 1),
            ValueError,
            f"the text has {LIMIT + 1} tokens; the model reads at most {LIMIT}",
        ),
    ],
)
def test_a_text_that_can_not_be_read_is_refused(
    text: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        interpret(random_model("bert"), text)


def test_the_longest_text() -> None:
    found = interpret(random_model("bert"), "good " * (LIMIT - 2), n_steps=1)
    assert len(found["tokens"]) == LIMIT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "zeros"}, "baseline is 'mask' or 'pad', not 'zeros'"),
        ({"n_steps": 0}, "n_steps is at least 1"),
        ({"chunk_size": 0}, "chunk_size is at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interpret(random_model("bert"), **options)


def test_a_tokenizer_without_a_mask_is_told() -> None:
    words = copy.deepcopy(tokenizer())
    words.mask_token = None
    model = TextModel(random_model("bert").model, words)
    with pytest.raises(ValueError, match="has no mask token"):
        interpret(model)
    assert interpret(model, baseline="pad", n_steps=1)["attributions"][1] != 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_model_is_left_as_it_was(architecture: str) -> None:
    model, words = random_model(architecture)
    model.train()
    model.get_input_embeddings().weight.requires_grad_(False)
    before = snapshot(model)
    interpreter = TextClassifierInterpreter(TextModel(model, words))
    found = interpreter.interpret(TEXT)
    interpreter.visualize(TEXT, n_steps=2)
    same_state(before, snapshot(model))
    with pytest.raises(ValueError, match="out of range"):
        interpreter.interpret(TEXT, 7)
    same_state(before, snapshot(model))
    # In eval mode all the same: dropout would change the scores.
    wanted = by_hand(random_model(architecture), found["target"], FILLS["mask"])
    close(found["attributions"], wanted, EXACT)


def test_the_device_argument_moves_the_model() -> None:
    model = random_model("bert")
    TextClassifierInterpreter(model, device="meta")
    assert model.model.device.type == "meta"


# --- the figure -----------------------------------------------------------------------


def test_the_figure_shows_words_on_the_colours_of_their_sums() -> None:
    interpreter = TextClassifierInterpreter(random_model("bert"))
    found = interpreter.interpret(TEXT, 0)
    words, scores = word_scores(found)
    figure = interpreter.visualize(TEXT, 0)
    texts = figure.axes[0].texts
    boxed = [text.get_text() for text in texts if text.get_bbox_patch() is not None]
    plain = [text.get_text() for text in texts if text.get_bbox_patch() is None]
    assert boxed == words
    prediction = found["prediction"]
    title = f"Prediction: {prediction['label']} ({prediction['probability']:.1%})"
    assert plain == [title, *(f"{score:+.2f}" for score in scores)]
    assert figure.axes[1].get_xlabel() == "share in the NEGATIVE logit"
    assert figure.axes[1].get_xlim()[1] == pytest.approx(max(map(abs, scores)))


def test_labels_that_look_like_formulas_can_be_drawn() -> None:
    interpreter = TextClassifierInterpreter(random_model("bert", ("$x^2$ _", "\\frac")))
    figure = interpreter.visualize("$a_{b \\frac", "\\frac", n_steps=1)
    figure.draw_without_rendering()


# --- the embedded model ---------------------------------------------------------------


def test_the_default_is_the_embedded_sentiment_model() -> None:
    found = TextClassifierInterpreter().interpret(
        "This movie is absolutely fantastic and amazing!", evidence=False
    )
    assert found["prediction"]["label"] == found["target_label"] == "POSITIVE"
    change = found["score"] - found["baseline_score"]
    assert found["attributions"].sum() == pytest.approx(change, rel=0.01)
    words, scores = word_scores(found)
    assert words[scores.index(max(scores))] in ("fantastic", "amazing")
