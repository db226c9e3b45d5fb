"""Section 4.5: several methods on one photo, and the report of one prediction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import Attribution, frozen_eval, logits_of
from chapter4.evidence.map_evidence import (
    MapEvidence,
    evidence_of,
    percent,
    versions_of,
    with_randomization,
)
from chapter4.inputs.images import image_tensor, nearest, seen_pixels
from chapter4.inputs.models import class_index, class_names_of, name_of
from chapter4.methods import METHODS
from chapter4.methods.gradcam import (
    CamAttribution,
    GradCAM,
    GradCAMPlusPlus,
    default_target_layer,
)
from chapter4.methods.gradients import gradient_input, smooth_grad, vanilla_gradients
from chapter4.methods.integrated_gradients import (
    IntegratedGradientsAttribution,
    integrated_gradients,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chapter4.inputs.images import ImageInput

TOP = 5
# Methods that send the unchanged image through the model: the predictions come from
# that pass.
SEES_IMAGE = ("gradcam", "gradcam++", "vanilla", "gradient_input")
# A default Grad-CAM layer gives a warning if it ends within this share of the model's
# layers with weights, in a model with at least so many.
SHALLOW, FEW_LAYERS = 0.25, 8


class Interpretation(dict[str, Any]):
    """What ``interpret`` found, by the keys of the printed chapter.

    It is a dictionary with these keys:

    - "image": The crop that the model saw, a PIL image.
    - "predictions": A dictionary with "classes", the indices of the top five, (5,),
      with "probabilities", (5,), and with "labels", their names.
    - "gradcam", "integrated_gradients", "smoothgrad", ...: One map (H, W) for each
      method.

    Attributes:
        details: The whole attribution behind each map, by the method's key.
        evidence: What is known about each map, by the method's key.
        ranking: The indices of all classes from the most to the least probable, (K,),
            and their softmax probabilities, (K,).
    """

    details: dict[str, Attribution]
    evidence: dict[str, MapEvidence]
    ranking: tuple[np.ndarray, np.ndarray]


class ImageClassifierInterpreter:
    """Several attribution methods for one classifier.

    Args:
        model: A classifier that gives logits (N, K).
        device: Where to move the model; None to leave it where it is.
        target_layer: Grad-CAM's layer, as a module or a dotted name. None for the layer
            that the model names, or else the last one whose output is a grid.
        imagenet_labels: Class index to name. It may be partial: other names come from
            the model.
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
        evidence: bool = True,
        progress: Callable[[str], None] | None = None,
    ) -> Interpretation:
        """Predict, then explain one class with each method.

        The methods share what they can. Without evidence the cost is their gradients,
        and one forward pass for the baseline of Integrated Gradients. There is one more
        forward pass if no method sends the unchanged image through the model, and one
        more if Grad-CAM has to look for its layer.

        Args:
            image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
                (1, 3, H, W).
            methods: Any of "gradcam", "gradcam++", "ig", "smoothgrad", "vanilla" and
                "gradient_input".
            target_class: The index of the class to explain, or None for the predicted
                class.
            evidence: Whether to compute for each map also how much of it is left when
                the model's last layer is random (see :class:`chapter4.MapEvidence`).
                This costs one more map for each method. The completeness error and the
                blank flag cost nothing and are always there.
            progress: A function that is called with a method's name before it runs.

        Returns:
            The crop, the predictions, and one map (H, W) for each method.

        Raises:
            ValueError: For an unknown method, several images, a class out of range, or
                a layer that Grad-CAM can't use.
            TypeError: If ``methods`` is a string, or another argument has the wrong
                type.
            FileNotFoundError: If there is no such photo.
        """
        from PIL import Image

        if isinstance(methods, str):
            raise TypeError(f"methods is a list of names, such as [{methods!r}]")
        for method in methods:
            if method not in METHODS:
                raise ValueError(
                    f"no method {method!r}{nearest(method, METHODS)}; there "
                    f"are {', '.join(METHODS)}"
                )
        x = image_tensor(image, self.model)
        if len(x) != 1:
            raise ValueError(f"interpret takes one image, not {len(x)}")
        layer = self._layer(x) if {"gradcam", "gradcam++"} & set(methods) else ""
        found: dict[str, Attribution] = {}
        first = next((method for method in methods if method in SEES_IMAGE), None)
        if first is None:
            logits = _logits(self.model, x)
        else:
            if progress:
                progress(first)
            with _outputs(self.model) as outputs:
                found[first] = _run(first, self.model, layer, x, target_class)
            logits = outputs[-1]
        classes, probabilities = ranked(logits)
        target = int(classes[0]) if target_class is None else target_class
        for method in dict.fromkeys(methods):
            if method not in found:
                if progress:
                    progress(method)
                found[method] = _run(method, self.model, layer, x, target, logits)
        pixels = (seen_pixels(x[0], self.model) * 255).round().astype(np.uint8)
        result = Interpretation(
            image=Image.fromarray(pixels),
            predictions={
                "classes": classes[:TOP],
                "probabilities": probabilities[:TOP],
                "labels": [self.class_name(int(i)) for i in classes[:TOP]],
            },
        )
        result.ranking = classes, probabilities
        result.details, result.evidence = {}, {}
        for method in dict.fromkeys(methods):
            key, one = METHODS[method][0], found[method]
            result[key], result.details[key] = one.map, one
            result.evidence[key] = evidence_of(one)
            if evidence:
                if progress:
                    progress(f"{method} with a random last layer")
                result.evidence[key] = with_randomization(
                    result.evidence[key],
                    partial(_run, method, layer=layer, x=x, target=target),
                    one,
                    self.model,
                )
        return result

    def visualize(self, results: Interpretation) -> Figure:
        """Draw the crop with the top three classes, and beside it each map.

        Each map has a colour bar and its evidence.

        Args:
            results: What ``interpret`` returned.

        Returns:
            The figure.

        Raises:
            TypeError: For a plain dictionary.
        """
        if not isinstance(results, Interpretation):
            raise TypeError(
                "visualize takes what interpret returned, an Interpretation; a "
                f"{type(results).__name__} has the maps only, not what was explained"
            )
        from chapter4.plots.figures import TITLES, compare_maps

        names, shares = (results["predictions"][k] for k in ("labels", "probabilities"))
        top = enumerate(zip(names[:3], shares[:3], strict=True), 1)
        title = "\n".join(f"{i}. {name} {share:.1%}" for i, (name, share) in top)
        # The target of one image is one class, not a list.
        maps = {
            f"{TITLES[r.method]}\n{self.class_name(cast(int, r.target))}": r
            for r in results.details.values()
        }
        return compare_maps(
            np.asarray(results["image"]) / 255,
            maps,
            title=title,
            evidence=list(results.evidence.values()),
        )

    def _layer(self, x: Tensor) -> str:
        if self.target_layer is not None:
            # A name works in a copy of the model too, which the check with random
            # weights uses.
            return GradCAM(self.model, self.target_layer).layer_name
        layer = default_target_layer(self.model, x)
        _warn_if_shallow(self.model, layer)
        return layer


def predict(model: nn.Module, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rank the classes of one image.

    Args:
        model: A classifier that gives logits (N, K).
        x: The normalised image, (1, 3, H, W).

    Returns:
        The indices of the classes from the most to the least probable, (K,), and their
        softmax probabilities, (K,).
    """
    return ranked(_logits(model, x))


def ranked(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rank the classes by one image's logits (1, K).

    Args:
        logits: The logits of one image, (1, K).

    Returns:
        The indices of the classes from the most to the least probable, (K,), and their
        softmax probabilities, (K,).
    """
    # Sort by the logits: as probabilities, small differences may be rounded to ties.
    values, classes = logits[0].sort(descending=True, stable=True)
    return classes.cpu().numpy(), values.softmax(dim=0).cpu().numpy()


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with frozen_eval(model), torch.no_grad():
        return logits_of(model, x.clone())


def _run(
    method: str,
    model: nn.Module,
    layer: str,
    x: Tensor,
    target: int | None,
    logits: Tensor | None = None,
) -> Attribution:
    if method in ("gradcam", "gradcam++"):
        kind = GradCAM if method == "gradcam" else GradCAMPlusPlus
        return kind(model, layer).generate_cam(x, target)
    if method in ("ig", "smoothgrad"):
        run = integrated_gradients if method == "ig" else smooth_grad
        return run(x, model, target, logits=logits)
    return (vanilla_gradients if method == "vanilla" else gradient_input)(
        x, model, target
    )


@contextmanager
def _outputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """The logits that the model gives inside the block."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(getattr(output, "logits", output).detach())

    handle = model.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def _warn_if_shallow(model: nn.Module, layer: str) -> None:
    weighted = [
        name
        for name, module in model.named_modules()
        if not list(module.children()) and list(module.parameters())
    ]
    start = f"{layer}."
    inside = [i for i, name in enumerate(weighted) if f"{name}.".startswith(start)]
    before = max(inside) + 1 if inside else len(weighted)
    if len(weighted) >= FEW_LAYERS and before < SHALLOW * len(weighted):
        warnings.warn(
            f"the last layer of {name_of(model)} with a grid is {layer!r}, number"
            f" {before} of {len(weighted)} with weights (a Vision Transformer's patch"
            " embedding?): Grad-CAM there says little of the model; name a"
            " target_layer, or look at its attention",
            stacklevel=4,
        )


@dataclass(frozen=True)
class DebugReport:
    """One prediction, compared with what is true and what was expected.

    ``print(report)`` prints the text.

    Attributes:
        text: The report in words.
        true_label: The index of the true class.
        predicted_label: The index of the predicted class.
        expected_label: The index of the class that the caller expected.
        true_rank: The rank of the true class, 1 for the most probable.
        true_probability: The softmax probability of the true class.
        results: What the methods found.
        figure: The crop and the maps.
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
        """Whether the predicted class is the true one."""
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
    evidence: bool = True,
) -> DebugReport:
    """Report one prediction: is it true, was it expected, and what do maps show?

    The maps are those of Grad-CAM and Integrated Gradients. The text is printed, and
    returned with the figure.

    Args:
        model: A classifier that gives logits (N, K).
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        true_label: The true class, as an index or a name.
        expected_label: The class that the caller expected the model to predict, as an
            index or a name; None for the true class.
        imagenet_labels: Class index to name. It may be partial: other names come from
            the model.
        target_layer: Grad-CAM's layer, as a module or a dotted name. None for the layer
            that the model names, or else the last one whose output is a grid.
        evidence: Whether to compute also how much of each map is left when the model's
            last layer is random. This costs one more map for each method.

    Returns:
        The report with its text, numbers, maps and figure.

    Raises:
        ValueError: For an unknown label, several images, or a layer that Grad-CAM can't
            use.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.
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
    results = interpreter.interpret(x, methods=["gradcam", "ig"], evidence=evidence)
    classes, probabilities = results.ranking
    rank, probability = true_class_rank(classes, probabilities, truth)
    predicted, name = int(classes[0]), interpreter.class_name
    lines = [
        "Model debug report",
        (
            f"Model: {name_of(model)}, input {x.shape[-2]} x {x.shape[-1]};"
            f" {made_with(model)}"
        ),
        (
            f"True label: {name(truth)} (rank {rank} of {len(classes)}, "
            f"probability {probability:.2%})"
        ),
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
    """Rank of the true class, 1 for the most probable, and its probability.

    Of classes that tie, the lower index comes first, as in the list of the top classes.

    Args:
        classes: All classes from the most to the least probable, (K,).
        probabilities: Their probabilities, (K,).
        truth: The index of the true class.

    Returns:
        The rank and the probability.

    Raises:
        ValueError: If the model has no such class.
    """
    if truth not in classes:
        raise ValueError(
            f"class {truth} is out of range: the model has classes 0 to "
            f"{len(classes) - 1}"
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
    """The lines of a report as one text, wrapped to fit a terminal or a page."""
    return "\n".join(fill(line, 72, subsequent_indent="  ") for line in lines)


def _verdict(
    predicted: int, truth: int, expected: int, name: Callable[[int], str]
) -> str:
    said = "Correct"
    if predicted != truth:
        said = f"Misclassified: {name(predicted)} instead of {name(truth)}"
    if expected == truth:
        return f"{said}."
    if expected == predicted:
        return f"{said}, as expected."
    return f"{said}, and not the expected {name(expected)}."


def _evidence(results: Interpretation, explained: str) -> list[str]:
    cam = cast(CamAttribution, results.details["gradcam"])
    key = "integrated_gradients"
    ig = cast(IntegratedGradientsAttribution, results.details[key])
    layer = cam.settings["target_layer"]
    if cam.blank:
        seen = (
            f"Grad-CAM at {layer} is blank: no cell of that layer raises the"
            f" {explained} logit on balance."
        )
    else:
        row, column = peak_of(cam.map)
        high = float((cam.map > 0.5 * cam.map.max()).mean())
        seen = (
            f"Grad-CAM at {layer} peaks at row {row}, column {column} of the crop; "
            f"{high:.0%} of it is above half the peak."
        )
    # The error of one image is one number, not a list.
    error = percent(cast(float, ig.delta))
    mark = "; INCOMPLETE" if results.evidence[key].incomplete else ""
    return [
        f"Evidence, for the {explained} logit:",
        f"- {seen}",
        f"- Integrated Gradients from {ig.settings['baseline']},"
        f" {ig.settings['n_steps']} steps: relative completeness error {error}{mark}.",
        *random_lines(results.evidence),
        (
            "- A map shows what the score depends on, neither that the dependence is"
            " right nor the cause of an error."
        ),
    ]


def random_lines(evidence: Mapping[str, MapEvidence], whose: str = "") -> list[str]:
    """What is left of each method's map with a random last layer, in words."""
    from chapter4.plots.figures import TITLES

    return [
        f"- {TITLES[method]}{whose}: {line}."
        for method, known in evidence.items()
        for line in known.random_lines()
    ]


def peak_of(values: np.ndarray) -> tuple[int, int]:
    """The row and the column of a map's largest value."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def made_with(model: nn.Module) -> str:
    """The versions behind a report, in words."""
    return ", ".join(f"{name} {number}" for name, number in versions_of(model).items())
