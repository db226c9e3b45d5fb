"""Shares of words in a logit: by value and against Captum, on BERT and DistilBERT.

Both models are built from their configurations.
"""

from __future__ import annotations

import copy
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from oracles.contract import same_state, snapshot
from tiny_text_models import LIMIT, random_model, tokenizer
from torch import Tensor

from chapter4.inputs.models import TextModel
from chapter4.reports.text import TextClassifierInterpreter, word_scores

TEXT = "An unbelievably tedious film, but not boring!"
ARCHITECTURES = ("bert", "distilbert")
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


def captum(
    text_model: TextModel, text: str, target: int, fill: int, n_steps: int = 50
) -> np.ndarray:
    """Captum's scores of the tokens, over the word embeddings.

    Captum replaces the layer's output inside the model.
    """
    from captum.attr import LayerIntegratedGradients

    model = text_model.model
    ids = ids_of(text)
    method = LayerIntegratedGradients(
        lambda given: model(input_ids=given).logits, model.get_input_embeddings()
    )
    signed = method.attribute(
        ids, start_of(ids, fill), target=target, n_steps=n_steps, method="gausslegendre"
    )
    return signed.sum(dim=-1)[0].detach().numpy()


# --- values ---------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["mask", "pad"])
@pytest.mark.parametrize("target", [0, 1])
def test_scores_equal_captums(
    text_model: TextModel, baseline: str, target: int
) -> None:
    fill = {"mask": 103, "pad": 0}[baseline]  # of bert-base-uncased's vocabulary
    found = TextClassifierInterpreter(text_model).interpret(
        TEXT, target, baseline=baseline
    )
    wanted = captum(text_model, TEXT, target, fill)
    np.testing.assert_allclose(
        found["attributions"], wanted, rtol=0, atol=CAPTUM * np.abs(wanted).max()
    )
    if baseline == "mask":
        wanted = variant(text_model, target)
        np.testing.assert_allclose(
            found["attributions"], wanted, rtol=0, atol=EXACT * np.abs(wanted).max()
        )


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_the_scores_sum_to_the_change_of_the_models_own_logit(
    text_model: TextModel, baseline: str
) -> None:
    found = TextClassifierInterpreter(text_model).interpret(
        TEXT, baseline=baseline, n_steps=300, chunk_size=100
    )
    ids = ids_of(TEXT)
    target = int(logits_of(text_model.model, ids).argmax())
    score = float(logits_of(text_model.model, ids)[target])
    start = float(
        logits_of(text_model.model, start_of(ids, {"mask": 103, "pad": 0}[baseline]))[
            target
        ]
    )
    assert found["target"] == target
    assert found["score"] == pytest.approx(score, rel=1e-12)
    assert found["baseline_score"] == pytest.approx(start, rel=1e-12)
    # BERT is smooth. DistilBERT's head has a ReLU, and at its kink the gradient jumps:
    # no rule is exact there.
    allowed = 1e-9 if text_model.model.config.model_type == "bert" else 1e-2
    assert found["attributions"].sum() == pytest.approx(score - start, rel=allowed)
    few = TextClassifierInterpreter(text_model).interpret(
        TEXT, baseline=baseline, n_steps=2
    )
    assert few["delta"] == pytest.approx(
        abs(few["attributions"].sum() - (score - start)) / abs(score - start), rel=1e-6
    )
    assert few["delta"] > found["delta"]


def test_the_mask_is_the_baseline_by_default(text_model: TextModel) -> None:
    interpreter = TextClassifierInterpreter(text_model)
    by_default, masked = (
        interpreter.interpret(TEXT, **options) for options in ({}, {"baseline": "mask"})
    )
    np.testing.assert_array_equal(by_default["attributions"], masked["attributions"])


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_special_tokens_score_exactly_zero(
    text_model: TextModel, baseline: str
) -> None:
    found = TextClassifierInterpreter(text_model).interpret(TEXT, baseline=baseline)
    assert (found["tokens"][0], found["tokens"][-1]) == ("[CLS]", "[SEP]")
    assert found["attributions"][0] == found["attributions"][-1] == 0
    assert (found["attributions"][1:-1] != 0).all()


def test_an_unknown_word_has_a_share(text_model: TextModel) -> None:
    found = TextClassifierInterpreter(text_model).interpret("a ☃ b")
    assert found["tokens"] == ["[CLS]", "a", "[UNK]", "b", "[SEP]"]
    assert found["attributions"][2] != 0
    assert found["words"] == [[1], [2], [3]]
    wanted = captum(text_model, "a ☃ b", found["target"], 103)
    np.testing.assert_allclose(
        found["attributions"], wanted, rtol=0, atol=CAPTUM * np.abs(wanted).max()
    )


def test_the_chapters_keys(text_model: TextModel) -> None:
    found = TextClassifierInterpreter(text_model).interpret(TEXT)
    logits = logits_of(text_model.model, ids_of(TEXT))
    assert {"tokens", "attributions", "prediction"} <= set(found)
    assert set(found["prediction"]) == {"class", "probability", "label"}
    assert found["prediction"]["class"] == int(logits.argmax())
    assert (
        found["prediction"]["label"] == ("NEGATIVE", "POSITIVE")[int(logits.argmax())]
    )
    assert found["prediction"]["probability"] == pytest.approx(
        float(logits.softmax(0).max()), rel=1e-12
    )
    assert found["tokens"] == tokenizer().convert_ids_to_tokens(
        ids_of(TEXT)[0].tolist()
    )
    assert isinstance(found["attributions"], np.ndarray)
    assert found["attributions"].shape == (len(found["tokens"]),)


def test_the_prediction_is_not_the_target(text_model: TextModel) -> None:
    other = 1 - TextClassifierInterpreter(text_model).interpret(TEXT)["target"]
    found = TextClassifierInterpreter(text_model).interpret(TEXT, other)
    assert found["target"] == other
    assert found["target_label"] == ("NEGATIVE", "POSITIVE")[other]
    assert found["prediction"]["class"] == 1 - other
    assert found["score"] == pytest.approx(
        float(logits_of(text_model.model, ids_of(TEXT))[other]), rel=1e-12
    )


def test_a_words_score_is_the_sum_of_its_pieces(text_model: TextModel) -> None:
    found = TextClassifierInterpreter(text_model).interpret(TEXT)
    assert found["tokens"][2:5] == ["un", "##bel", "##ie"]
    words, scores = word_scores(found)
    assert words == [
        "an",
        "unbelievably",
        "tedious",
        "film",
        ",",
        "but",
        "not",
        "boring",
        "!",
    ]
    # Pieces are told by their ## alone.
    wanted: list[float] = []
    for token, score in list(zip(found["tokens"], found["attributions"], strict=True))[
        1:-1
    ]:
        if token.startswith("##"):
            wanted[-1] += score
        else:
            wanted.append(score)
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)
    assert len(found["words"][1]) > 2
    assert sum(scores) == pytest.approx(found["attributions"].sum(), rel=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 3, 50, 1000])
def test_chunks_change_nothing(text_model: TextModel, chunk_size: int) -> None:
    interpreter = TextClassifierInterpreter(text_model)
    found, wanted = (
        interpreter.interpret(TEXT, **options)["attributions"]
        for options in ({"chunk_size": chunk_size}, {})
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=EXACT * np.abs(wanted).max())


# --- the printed chapter's mistakes are rejected --------------------------------------


def check(scores: np.ndarray, text_model: TextModel, target: int) -> None:
    """What any implementation owes: one score a token, zeros for special tokens.

    It also owes completeness, and Captum's values.
    """
    model, ids = text_model.model, ids_of(TEXT)
    change = float(
        (logits_of(model, ids) - logits_of(model, start_of(ids, 103)))[target]
    )
    assert scores.shape == (ids.shape[1],)
    assert scores[0] == scores[-1] == 0
    assert scores.sum() == pytest.approx(change, rel=0.05)
    wanted = captum(text_model, TEXT, target, 103)
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def variant(text_model: TextModel, target: int, wrong: str = "") -> np.ndarray:
    """Integrated Gradients of the text with one mistake, in its own code."""
    model, ids = text_model.model, ids_of(TEXT)
    embed = model.get_input_embeddings()
    if wrong == "positions and layer norm twice":
        embed = model.base_model.embeddings
    with torch.no_grad():
        x, start = (embed(each).detach() for each in (ids, start_of(ids, 103)))
    if wrong == "zeros as baseline":
        start = torch.zeros_like(x)
    nodes, weights = np.polynomial.legendre.leggauss(50)
    total = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (start + node * (x - start)).requires_grad_()
        output = model(inputs_embeds=point).logits[0]
        value = output.softmax(0)[target] if wrong == "probability" else output[target]
        total += weight * torch.autograd.grad(value, point)[0]
    signed = total if wrong == "no x - x'" else (x - start) * total
    if wrong == "sum over the tokens":
        return signed.sum(dim=1)[0].numpy()
    if wrong == "absolute values":
        return signed.abs().sum(dim=-1)[0].numpy()
    scores = signed.sum(dim=-1)[0]
    return (
        scores / scores.norm() if wrong == "divided by the norm" else scores
    ).numpy()


def test_the_check_accepts_the_right_one(text_model: TextModel) -> None:
    check(variant(text_model, 1), text_model, 1)
    check(
        TextClassifierInterpreter(text_model).interpret(TEXT, 1)["attributions"],
        text_model,
        1,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "positions and layer norm twice",
        "divided by the norm",
        "sum over the tokens",
        "absolute values",
        "zeros as baseline",
        "no x - x'",
        "probability",
    ],
)
def test_mistakes_are_rejected(text_model: TextModel, wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(variant(text_model, 1, wrong), text_model, 1)


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
    with pytest.raises(
        ValueError, match="other logits for embeddings than for token ids"
    ):
        TextClassifierInterpreter(TextModel(model, words)).interpret(TEXT)


# --- arguments ------------------------------------------------------------------------


def test_a_class_by_name_and_by_number(text_model: TextModel) -> None:
    interpreter = TextClassifierInterpreter(text_model)
    for name, number in (("POSITIVE", 1), ("negative", 0), ("Positive", 1)):
        by_name, by_number = (
            interpreter.interpret(TEXT, name),
            interpreter.interpret(TEXT, number),
        )
        assert by_name["target"] == number
        np.testing.assert_array_equal(
            by_name["attributions"], by_number["attributions"]
        )


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (
            "POSTIVE",
            ValueError,
            "no class is called 'POSTIVE'; did you mean 'POSITIVE'",
        ),
        ("negativ", ValueError, "did you mean 'NEGATIVE'"),
        (2, ValueError, "target class 2 is out of range: the model has classes 0 to 1"),
        (-1, ValueError, "target class -1 is out of range"),
        (1.0, TypeError, "target_class is an integer, not 1.0"),
        (True, TypeError, "target_class is an integer, not True"),
    ],
)
def test_a_class_that_is_none_is_refused(
    text_model: TextModel, target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TextClassifierInterpreter(text_model).interpret(TEXT, target)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused(text_model: TextModel, text: str) -> None:
    with pytest.raises(ValueError, match="the text is empty"):
        TextClassifierInterpreter(text_model).interpret(text)


def test_a_text_that_the_model_cannot_read_is_refused(text_model: TextModel) -> None:
    interpreter = TextClassifierInterpreter(text_model)
    assert (
        len(interpreter.interpret("good " * (LIMIT - 2), n_steps=1)["tokens"]) == LIMIT
    )
    with pytest.raises(
        ValueError,
        match=f"the text has {LIMIT + 1} tokens; the model reads at most {LIMIT}",
    ):
        interpreter.interpret("good " * (LIMIT - 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "zeros"}, "baseline is 'mask' or 'pad', not 'zeros'"),
        ({"n_steps": 0}, "n_steps is at least 1"),
        ({"chunk_size": 0}, "chunk_size is at least 1"),
    ],
)
def test_bad_options_are_refused(
    text_model: TextModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TextClassifierInterpreter(text_model).interpret(TEXT, **options)


def test_a_text_is_a_string(text_model: TextModel) -> None:
    with pytest.raises(TypeError, match="text is a string, not list"):
        TextClassifierInterpreter(text_model).interpret(["a"])


def test_a_tokenizer_without_a_mask_is_told() -> None:
    words = copy.deepcopy(tokenizer())
    words.mask_token = None
    interpreter = TextClassifierInterpreter(
        TextModel(random_model("bert").model, words)
    )
    with pytest.raises(ValueError, match="has no mask token"):
        interpreter.interpret(TEXT)
    assert (
        interpreter.interpret(TEXT, baseline="pad", n_steps=1)["attributions"][1] != 0
    )


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
    np.testing.assert_array_equal(
        found["attributions"], interpreter.interpret(TEXT)["attributions"]
    )
    wanted = variant(random_model(architecture), found["target"])
    np.testing.assert_allclose(
        found["attributions"], wanted, rtol=0, atol=EXACT * np.abs(wanted).max()
    )


def test_the_device_argument_moves_the_model() -> None:
    model, words = random_model("bert")
    TextClassifierInterpreter(TextModel(model, words), device="meta")
    assert model.device.type == "meta"


# --- the figure -----------------------------------------------------------------------


def test_the_figure_shows_words_on_the_colours_of_their_sums(
    text_model: TextModel,
) -> None:
    interpreter = TextClassifierInterpreter(text_model)
    found = interpreter.interpret(TEXT, 0)
    words, scores = word_scores(found)
    figure = interpreter.visualize(TEXT, 0)
    texts = figure.axes[0].texts
    shown = [text for text in texts if text.get_bbox_patch() is not None]
    assert [text.get_text() for text in shown] == words
    assert [text.get_text() for text in texts if text.get_bbox_patch() is None][1:] == [
        f"{s:+.2f}" for s in scores
    ]
    prediction = found["prediction"]
    assert (
        texts[0].get_text()
        == f"Prediction: {prediction['label']} ({prediction['probability']:.1%})"
    )
    assert figure.axes[1].get_xlabel() == "share in the NEGATIVE logit"
    assert figure.axes[1].get_xlim()[1] == pytest.approx(max(map(abs, scores)))
    assert plt.get_fignums() == []


def test_labels_that_look_like_formulas_can_be_drawn() -> None:
    interpreter = TextClassifierInterpreter(random_model("bert", ("$x^2$ _", "\\frac")))
    interpreter.visualize("$a_{b \\frac", "\\frac", n_steps=1).draw_without_rendering()


# --- the embedded model ---------------------------------------------------------------


def test_the_default_is_the_embedded_sentiment_model() -> None:
    interpreter = TextClassifierInterpreter()
    found = interpreter.interpret("This movie is absolutely fantastic and amazing!")
    assert found["prediction"]["label"] == found["target_label"] == "POSITIVE"
    assert found["attributions"][0] == found["attributions"][-1] == 0
    change = found["score"] - found["baseline_score"]
    assert found["attributions"].sum() == pytest.approx(change, rel=0.01)
    words, scores = word_scores(found)
    assert words[scores.index(max(scores))] in ("fantastic", "amazing")
    found = interpreter.interpret("This is the worst film I have ever seen.")
    assert found["prediction"]["label"] == "NEGATIVE"
    words, scores = word_scores(found)
    assert words[scores.index(max(scores))] == "worst"
