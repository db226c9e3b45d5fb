"""Section 4.5: several methods on one photo, one method on one text, and the report of
one prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.attribution import (
    Attribution,
    check_count,
    choose_targets,
    gradient_sum,
    logits_of,
    undisturbed,
)
from chapter4.gradcam import GradCAM, GradCAMPlusPlus, default_target_layer
from chapter4.gradients import gradient_input, smooth_grad, vanilla_gradients
from chapter4.images import image_tensor, nearest, seen_pixels
from chapter4.integrated_gradients import integrated_gradients, quadrature
from chapter4.models import (
    TextModel,
    class_index,
    class_names_of,
    load_sentiment,
    name_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chapter4.images import ImageInput

# Name to ask by -> key of the result.
METHODS = {
    "gradcam": "gradcam",
    "gradcam++": "gradcam++",
    "ig": "integrated_gradients",
    "smoothgrad": "smoothgrad",
    "vanilla": "vanilla_gradients",
    "gradient_input": "gradient_input",
}
TOP = 5


class Interpretation(dict[str, Any]):
    """What `interpret` found, by the chapter's keys; `details` keeps the whole
    attribution behind each map.

    image: the crop that the model saw, a PIL image. predictions: {"classes": (5,)
    indices, "probabilities": (5,), "labels": names}. One array (H, W) per method:
    "gradcam", "integrated_gradients", "smoothgrad", ...
    """

    details: dict[str, Attribution]


class ImageClassifierInterpreter:
    """Several attribution methods for one classifier.

    model: a classifier that gives logits (N, K). device: where to move it; default: it
    stays where it is.
    target_layer: Grad-CAM's layer, a module or dotted name; default: the model's own,
    or the last that gives a grid.
    imagenet_labels: class index to name, may be partial: gaps come from the model's own
    names.
    """

    def __init__(
        self,
        model: nn.Module,
        device: str | torch.device | None = None,
        *,
        target_layer: nn.Module | str | None = None,
        imagenet_labels: Mapping[int, str] | None = None,
    ) -> None:
        self.model = model if device is None else model.to(device)
        self.target_layer = target_layer
        self.class_name = class_names_of(model, imagenet_labels)

    def interpret(
        self,
        image: ImageInput,
        methods: Sequence[str] = ("gradcam", "ig", "smoothgrad"),
        target_class: int | None = None,
        *,
        progress: Callable[[str], None] | None = None,
    ) -> Interpretation:
        """Predict, then explain the predicted class, or `target_class`, with each
        method.

        image: one photo: a path, a PIL image or a normalised tensor (3, H, W) or (1, 3,
        H, W).
        methods: of "gradcam", "gradcam++", "ig", "smoothgrad", "vanilla",
        "gradient_input".
        progress: called with a method's name before it runs.
        Raises ValueError for an unknown method or several images; else as the methods
        do.
        """
        if isinstance(methods, str):
            raise TypeError(f"methods is a list of names, such as [{methods!r}]")
        for method in methods:
            if method not in METHODS:
                raise ValueError(
                    f"no method {method!r}{nearest(method, METHODS)}; there are {', '.join(METHODS)}"
                )
        x = image_tensor(image, self.model)
        if len(x) != 1:
            raise ValueError(f"interpret takes one image, not {len(x)}")
        classes, probabilities = predict(self.model, x)
        target = int(classes[0]) if target_class is None else target_class
        result = Interpretation(
            image=_as_photo(seen_pixels(x[0], self.model)),
            predictions={
                "classes": classes[:TOP],
                "probabilities": probabilities[:TOP],
                "labels": [self.class_name(int(i)) for i in classes[:TOP]],
            },
        )
        result.details = {}
        for method in methods:
            if progress:
                progress(method)
            result.details[METHODS[method]] = self._run(method, x, target)
            result[METHODS[method]] = result.details[METHODS[method]].map
        return result

    def visualize(self, results: Interpretation) -> Figure:
        """The crop with the top three classes, and beside it each map with its colour
        bar.
        """
        from chapter4.plots import TITLES, compare_maps

        top = zip(
            results["predictions"]["labels"][:3],
            results["predictions"]["probabilities"][:3],
            strict=True,
        )
        title = "\n".join(
            f"{i}. {name} {probability:.1%}"
            for i, (name, probability) in enumerate(top, 1)
        )
        maps = {
            f"{TITLES[r.method]}\n{self.class_name(r.target)}": r  # type: ignore[arg-type]
            for r in results.details.values()
        }
        return compare_maps(np.asarray(results["image"]) / 255, maps, title=title)

    def _run(self, method: str, x: Tensor, target: int) -> Attribution:
        if method in ("gradcam", "gradcam++"):
            layer = (
                default_target_layer(self.model, x)
                if self.target_layer is None
                else self.target_layer
            )
            kind = GradCAM if method == "gradcam" else GradCAMPlusPlus
            return kind(self.model, layer).generate_cam(x, target)
        run: dict[str, Callable[..., Attribution]] = {
            "ig": integrated_gradients,
            "smoothgrad": smooth_grad,
            "vanilla": vanilla_gradients,
            "gradient_input": gradient_input,
        }
        return run[method](x, self.model, target)


def predict(model: nn.Module, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Classes of one image x (1, 3, H, W) from the most to the least probable, and
    their softmax probabilities.
    """
    with undisturbed(model), torch.no_grad():
        # By the logits: rounding makes ties of small differences once they are
        # probabilities.
        logits, classes = logits_of(model, x.clone())[0].sort(
            descending=True, stable=True
        )
    return classes.cpu().numpy(), logits.softmax(dim=0).cpu().numpy()


@dataclass(frozen=True)
class DebugReport:
    """One prediction against what is true and what was expected. `print(report)` gives
    the text.
    """

    text: str = field(repr=False)
    true_label: int
    predicted_label: int
    expected_label: int
    true_rank: int
    true_probability: float
    results: Interpretation = field(repr=False)
    figure: Figure = field(repr=False)

    @property
    def correct(self) -> bool:
        """Whether the model says what is true."""
        return self.predicted_label == self.true_label

    def __str__(self) -> str:
        return self.text


def debug_model_prediction(
    model: nn.Module,
    image: ImageInput,
    true_label: int | str,
    expected_label: int | str | None = None,
    *,
    imagenet_labels: Mapping[int, str] | None = None,
    target_layer: nn.Module | str | None = None,
) -> DebugReport:
    """Report one prediction: is it true, is it what the caller expected, and what do
    Grad-CAM and IG show of it?

    true_label: the ground truth, index or class name. expected_label: what the caller
    expected the model to say; default the truth. The text is printed and returned with
    the figure. Raises ValueError for an unknown label or bad input.
    """
    truth = class_index(model, true_label, imagenet_labels)
    expected = (
        truth
        if expected_label is None
        else class_index(model, expected_label, imagenet_labels)
    )
    interpreter = ImageClassifierInterpreter(
        model, target_layer=target_layer, imagenet_labels=imagenet_labels
    )
    x = image_tensor(image, model)
    results = interpreter.interpret(x, methods=["gradcam", "ig"])
    classes, probabilities = predict(model, x)
    rank, probability = true_class_rank(classes, probabilities, truth)
    predicted, name = int(classes[0]), interpreter.class_name
    lines = [
        "Model debug report",
        f"Model: {name_of(model)}, input {x.shape[-2]} x {x.shape[-1]}",
        f"True label: {name(truth)} (rank {rank} of {len(classes)}, probability {probability:.2%})",
        f"Predicted label: {name(predicted)} (probability {probabilities[0]:.2%})",
        f"Expected label: {name(expected)}",
        "",
        _verdict(predicted, truth, expected, name),
        "",
        *top_lines(classes, probabilities, truth, name),
        "",
        *_evidence(results, name(predicted)),
    ]
    report = DebugReport(
        text=wrapped(lines),
        true_label=truth,
        predicted_label=predicted,
        expected_label=expected,
        true_rank=rank,
        true_probability=probability,
        results=results,
        figure=interpreter.visualize(results),
    )
    print(report.text)
    return report


def true_class_rank(
    classes: np.ndarray, probabilities: np.ndarray, truth: int
) -> tuple[int, float]:
    """Rank of the true class, 1 for the most probable, and its probability. Both arrays
    as `predict` gives them.

    Of classes that tie, the lower index comes first, as in the list of the top classes.
    """
    if truth not in classes:
        raise ValueError(
            f"class {truth} is out of range: the model has classes 0 to {len(classes) - 1}"
        )
    place = int(np.flatnonzero(classes == truth)[0])
    return place + 1, float(probabilities[place])


def top_lines(
    classes: np.ndarray,
    probabilities: np.ndarray,
    truth: int,
    name: Callable[[int], str],
    count: int = TOP,
) -> list[str]:
    """The top classes as lines of text, the true one marked."""
    lines = [f"Top {min(count, len(classes))} classes (✓ true):"]
    for rank, (i, probability) in enumerate(
        zip(classes[:count], probabilities[:count], strict=True), 1
    ):
        lines.append(
            f"  {'✓' if i == truth else ' '} {rank}. {name(int(i))}: {probability:.2%}"
        )
    return lines


def wrapped(lines: Sequence[str]) -> str:
    """The lines of a report as one text, none wider than a terminal or a page."""
    return "\n".join(fill(line, 80, subsequent_indent="  ") for line in lines)


class TextClassifierInterpreter:
    """Integrated Gradients over the word embeddings of a text classifier.

    model_name: as for `load_sentiment`, or a loaded TextModel. device: where to move
    the model.
    Source: Sundararajan et al. 2017, arXiv:1703.01365.
    """

    def __init__(
        self,
        model_name: str | TextModel = "minilm-sentiment",
        *,
        device: str | torch.device | None = None,
    ) -> None:
        loaded = (
            load_sentiment(model_name) if isinstance(model_name, str) else model_name
        )
        self.model, self.tokenizer = loaded
        if device is not None:
            self.model.to(device)  # type: ignore[arg-type]

    def interpret(
        self,
        text: str,
        target_class: int | str | None = None,
        *,
        baseline: str = "mask",
        n_steps: int = 50,
        chunk_size: int | None = None,
    ) -> dict[str, Any]:
        """Score of each token for a class, predicted if not given: its share in F(text)
        - F(baseline), F the logit.

        baseline: the same [CLS] and [SEP], every other token [MASK] ("mask") or [PAD]
        ("pad"), same attention mask; so the special tokens score 0. Returns {"tokens":
        (T,), "attributions": (T,) signed sums over the embedding axis, "words": the
        tokens of each word by position, "prediction": {"class", "probability",
        "label"}, "target", "target_label", "score": F(text), "baseline_score":
        F(baseline), "delta": relative completeness error}.
        Raises ValueError for an empty or too long text, an unknown class or baseline.
        """
        n_steps = check_count("n_steps", n_steps)
        encoded, words = self._encode(text)
        ids = encoded["input_ids"]
        start_ids = self._baseline_ids(ids, words, baseline)
        classifier = _OnEmbeddings(self.model, encoded["attention_mask"])
        embed = self.model.get_input_embeddings()
        with undisturbed(self.model):
            with torch.no_grad():
                x, start = embed(ids), embed(start_ids)  # (1, T, D)
                logits, start_logits = classifier(x), classifier(start)
                direct = self.model(**encoded).logits
                # Word embeddings in, positions and layer norm added once: F must be the
                # model itself.
                if not torch.allclose(logits, direct, rtol=1e-4, atol=1e-4):
                    raise ValueError(
                        f"{name_of(self.model)} gives other logits for embeddings than for token ids"
                    )
            probabilities = direct[0].softmax(dim=0)
            predicted = int(direct[0].argmax())
            target = choose_targets(direct, self._class(target_class))[0]
            alphas, weights = quadrature("gausslegendre", n_steps)
            path = (
                (start[0] + a * (x[0] - start[0]), 0, w)
                for a, w in zip(alphas, weights, strict=True)
            )
            signed = (x - start) * gradient_sum(
                classifier, path, x, [target], chunk_size=chunk_size
            )
        scores = signed.sum(dim=-1)[0]
        score, start_score = float(logits[0, target]), float(start_logits[0, target])
        change = score - start_score
        return {
            "tokens": self.tokenizer.convert_ids_to_tokens(ids[0].tolist()),
            "attributions": scores.cpu().numpy(),
            "words": words,
            "prediction": {
                "class": predicted,
                "probability": float(probabilities[predicted]),
                "label": self._label(predicted),
            },
            "target": target,
            "target_label": self._label(target),
            "score": score,
            "baseline_score": start_score,
            "delta": abs(float(scores.sum()) - change) / abs(change)
            if change
            else float("nan"),
        }

    def visualize(
        self, text: str, target_class: int | str | None = None, **options: Any
    ) -> Figure:
        """The words on grounds coloured by their scores, each the sum over its pieces.
        Options as for `interpret`.
        """
        from chapter4.plots import text_figure

        result = self.interpret(text, target_class, **options)
        words, scores = word_scores(result)
        prediction = result["prediction"]
        title = f"Prediction: {prediction['label']} ({prediction['probability']:.1%})"
        return text_figure(
            words, scores, title, f"share in the {result['target_label']} logit"
        )

    def _encode(self, text: str) -> tuple[Any, list[list[int]]]:
        if not isinstance(text, str):
            raise TypeError(f"text is a string, not {type(text).__name__}")
        encoded = self.tokenizer(text, return_tensors="pt", verbose=False)
        words: dict[int, list[int]] = {}
        for position, word in enumerate(encoded.word_ids()):
            if word is not None:
                words.setdefault(word, []).append(position)
        if not words:
            raise ValueError("the text is empty: there is no word to score")
        limit = getattr(self.model.config, "max_position_embeddings", 512)
        if encoded["input_ids"].shape[1] > limit:
            raise ValueError(
                f"the text has {encoded['input_ids'].shape[1]} tokens; the model reads at most {limit}"
            )
        return encoded.to(self.model.device), list(words.values())

    def _baseline_ids(
        self, ids: Tensor, words: list[list[int]], baseline: str
    ) -> Tensor:
        fills = {
            "mask": self.tokenizer.mask_token_id,
            "pad": self.tokenizer.pad_token_id,
        }
        if baseline not in fills:
            raise ValueError(f"baseline is 'mask' or 'pad', not {baseline!r}")
        if fills[baseline] is None:
            raise ValueError(
                f"the tokenizer of {name_of(self.model)} has no {baseline} token"
            )
        start = ids.clone()
        # What stands for a word, and no more. An [UNK] does: an unknown word has a
        # share like any other.
        start[0, [position for pieces in words for position in pieces]] = fills[
            baseline
        ]
        return start

    def _class(self, target: int | str | None) -> int | None:
        if not isinstance(target, str):
            return target
        labels = self._labels()
        found = [i for i, label in labels.items() if label.lower() == target.lower()]
        if not found:
            raise ValueError(
                f"no class is called {target!r}{nearest(target.upper(), labels.values())}"
            )
        return found[0]

    def _label(self, index: int) -> str:
        return self._labels()[index]

    def _labels(self) -> dict[int, str]:
        return {
            int(i): str(label)
            for i, label in (self.model.config.id2label or {}).items()
        }


def word_scores(result: Mapping[str, Any]) -> tuple[list[str], list[float]]:
    """Words and their scores, each the sum over the word's pieces, from what
    `TextClassifierInterpreter.interpret` gives.
    """
    tokens, scores = result["tokens"], result["attributions"]
    words = [
        "".join(tokens[i].removeprefix("##") for i in pieces)
        for pieces in result["words"]
    ]
    return words, [float(sum(scores[i] for i in pieces)) for pieces in result["words"]]


class _OnEmbeddings(nn.Module):
    """A text classifier as a function of its word embeddings (N, T, D), all with one
    attention mask (1, T).
    """

    def __init__(self, model: nn.Module, attention_mask: Tensor) -> None:
        super().__init__()
        self.model, self.mask = model, attention_mask

    def forward(self, embeddings: Tensor) -> Tensor:
        mask = self.mask.expand(len(embeddings), -1)
        return self.model(inputs_embeds=embeddings, attention_mask=mask).logits


def _verdict(
    predicted: int, truth: int, expected: int, name: Callable[[int], str]
) -> str:
    said = (
        "Correct"
        if predicted == truth
        else f"Misclassified: {name(predicted)} instead of {name(truth)}"
    )
    if expected == truth:
        return f"{said}."
    surprise = (
        "as expected"
        if predicted == expected
        else f"and not the expected {name(expected)}"
    )
    return f"{said}, {surprise}."


def _evidence(results: Interpretation, explained: str) -> list[str]:
    cam, ig = results.details["gradcam"], results.details["integrated_gradients"]
    layer = cam.settings["target_layer"]
    if cam.blank:  # type: ignore[attr-defined]
        seen = f"Grad-CAM at {layer} is blank: no cell of that layer raises the {explained} logit on balance."
    else:
        row, column = (
            int(i) for i in np.unravel_index(cam.map.argmax(), cam.map.shape)
        )
        seen = (
            f"Grad-CAM at {layer} peaks at row {row}, column {column} of the crop; "
            f"{_half_share(cam.map):.0%} of it is above half the peak."
        )
    return [
        f"Evidence, for the {explained} logit:",
        f"- {seen}",
        f"- Integrated Gradients from {ig.settings['baseline']}, {ig.settings['n_steps']} steps: relative completeness "
        f"error {percent(ig.delta)}.",  # type: ignore[attr-defined]
        "- A map shows what the score depends on, neither that the dependence is right nor the cause of an error.",
    ]


def percent(share: float) -> str:
    """A share in words: a completeness error has no value where the score does not
    change.
    """
    return (
        "undefined (the score does not change)" if np.isnan(share) else f"{share:.1%}"
    )


def _half_share(values: np.ndarray) -> float:
    return float((values > 0.5 * values.max()).mean())


def _as_photo(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray((pixels * 255).round().astype(np.uint8))
