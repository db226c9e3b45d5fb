"""Problem 5: what maps, ranks and interventions say about a misclassification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import CHUNK_SIZE, frozen_eval, logits_of
from chapter4.evidence.map_evidence import (
    MapEvidence,
    evidence_of,
    percent,
    with_randomization,
)
from chapter4.inputs.images import (
    image_tensor,
    load_image,
    preprocessing_of,
    seen_pixels,
)
from chapter4.inputs.models import class_index, class_names_of, name_of
from chapter4.methods.gradcam import (
    CamAttribution,
    GradCAM,
    default_target_layer,
    resize_map,
)
from chapter4.methods.integrated_gradients import (
    IntegratedGradientsAttribution,
    integrated_gradients,
)
from chapter4.reports.image import (
    TOP,
    made_with,
    peak_of,
    predict,
    random_lines,
    top_lines,
    true_class_rank,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chapter4.inputs.images import ImageInput

# The side of the square that covers a part of the image, as a share of the image's
# shorter side, and the number of places along each side.
COVER_SHARE = 0.2
COVER_PLACES = 6


@dataclass(frozen=True)
class Intervention:
    """A change of the image, and what the model then predicts.

    Attributes:
        what: The change in words.
        predicted_label: The index of the class that is now predicted.
        true_rank: The rank of the true class, 1 for the most probable.
        true_probability: The softmax probability of the true class.
    """

    what: str
    predicted_label: int
    true_rank: int
    true_probability: float


@dataclass(frozen=True)
class MisclassificationReport:
    """What was found out about a misclassification.

    ``print(report)`` prints the text.

    Attributes:
        text: The report in words.
        true_label: The index of the true class.
        predicted_label: The index of the predicted class.
        true_rank: The rank of the true class, 1 for the most probable.
        true_probability: The softmax probability of the true class.
        predicted_probability: The softmax probability of the predicted class.
        cams: The Grad-CAMs of both classes: ``{"predicted": ..., "true": ...}``.
        attributions: The Integrated Gradients of both classes, by the same keys.
        cam_correlation: Pearson's correlation of the two raw Grad-CAMs. NaN where one
            of them is constant.
        interventions: The changes of the image that were tried.
        covered_right: Whether the model predicts the true class with each place
            covered, one at a time: booleans (6, 6) from top left to bottom right.
        figure: The crop, the top classes, and the maps of both classes.
        evidence: The evidence about each map, by "gradcam" and "integrated_gradients".
            Each entry has the keys of ``cams``.
    """

    text: str = field(repr=False)
    true_label: int
    predicted_label: int
    true_rank: int
    true_probability: float
    predicted_probability: float
    cams: Mapping[str, CamAttribution] = field(repr=False)
    attributions: Mapping[str, IntegratedGradientsAttribution] = field(repr=False)
    cam_correlation: float
    interventions: tuple[Intervention, ...]
    covered_right: np.ndarray = field(repr=False)
    figure: Figure = field(repr=False)
    evidence: Mapping[str, Mapping[str, MapEvidence]] = field(
        default_factory=dict, repr=False
    )

    def __str__(self) -> str:
        return self.text


class MisclassificationAnalyzer:
    """Maps of the predicted and the true class of an image, and interventions.

    The maps are those of Grad-CAM and Integrated Gradients.

    Args:
        model: A classifier that gives logits (N, K).
        device: Where to move the model; None to leave it where it is.
        target_layer: Grad-CAM's layer, as a module or a dotted name. None for the layer
            that the model names, or else the last one whose output is a grid.
    """

    def __init__(
        self,
        model: nn.Module,
        device: str | torch.device | None = None,
        *,
        target_layer: nn.Module | str | None = None,
    ) -> None:
        self.model = model if device is None else model.to(device)
        self.target_layer = target_layer

    def analyze_misclassification(
        self,
        image: ImageInput,
        true_label: int | str,
        imagenet_labels: Mapping[int, str] | None = None,
        *,
        n_steps: int = 50,
        evidence: bool = True,
    ) -> MisclassificationReport:
        """Print and return a report about a misclassified image.

        It has both classes, the top five, the rank of the true class, the maps on one
        scale, and evidence about the cause:

        - How alike the two Grad-CAMs are.
        - What the model predicts when a square at the peak of the predicted class is
          covered with the image's mean colour, compared with the same square at other
          places.
        - For a path or a PIL image, what the model predicts for the whole photo instead
          of its crop.

        No cause is guessed from probabilities.

        Args:
            image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
                (1, 3, H, W).
            true_label: The true class, as an index or a name.
            imagenet_labels: Class index to name. It may be partial: other names come
                from the model.
            n_steps: The number of gradients for Integrated Gradients.
            evidence: Whether to compute also how much of the predicted class's maps is
                left when the model's last layer is random. This costs one more map of
                each kind.

        Returns:
            The report with its text, numbers, maps and figure.

        Raises:
            ValueError: For an unknown label, several images, or a layer that Grad-CAM
                can't use.
            TypeError: If an argument has the wrong type.
            FileNotFoundError: If there is no such photo.
        """
        x = image_tensor(image, self.model)
        if len(x) != 1:
            raise ValueError(f"analyze_misclassification takes one image, not {len(x)}")
        truth = class_index(self.model, true_label, imagenet_labels)
        name = class_names_of(self.model, imagenet_labels)
        classes, probabilities = predict(self.model, x)
        rank, probability = true_class_rank(classes, probabilities, truth)
        predicted = int(classes[0])

        wanted = self.target_layer
        if wanted is None:
            wanted = default_target_layer(self.model, x)
        layer = GradCAM(self.model, wanted).layer_name
        methods: dict[str, Callable[..., Any]] = {
            "gradcam": lambda m, label: GradCAM(m, layer).generate_cam(x, label),
            "integrated_gradients": lambda m, label: integrated_gradients(
                x, m, label, n_steps=n_steps
            ),
        }
        both = {"predicted": predicted, "true": truth}
        maps: dict[str, dict[str, Any]] = {}
        beside: dict[str, dict[str, MapEvidence]] = {}
        for key, run in methods.items():
            found = {label: run(self.model, label) for label in set(both.values())}
            maps[key] = {which: found[label] for which, label in both.items()}
            beside[key] = {which: evidence_of(one) for which, one in maps[key].items()}
            if evidence:
                beside[key]["predicted"] = with_randomization(
                    beside[key]["predicted"],
                    partial(run, label=predicted),
                    found[predicted],
                    self.model,
                )
        cams, attributions = maps["gradcam"], maps["integrated_gradients"]
        correlation = _correlation(cams["predicted"].raw, cams["true"].raw)
        interventions = [
            *self._cover_peak(x, cams["predicted"], truth),
            *self._whole_photo(image, x, truth),
        ]
        covered_right = self._cover_everywhere(x, truth)

        lines = [
            "Misclassification analysis",
            (
                f"Model: {name_of(self.model)}, input {x.shape[-2]} x {x.shape[-1]},"
                f" {made_with(self.model)}"
            ),
            f"True: {name(truth)}",
            f"Predicted: {name(predicted)} (probability {probabilities[0]:.2%})",
        ]
        if predicted == truth:
            lines.append(
                "The image is not misclassified: predicted and true class are the same."
            )
        lines += [
            "",
            *top_lines(classes, probabilities, truth, name),
            "",
            f"True class: rank {rank} of {len(classes)}, probability {probability:.2%}",
            "",
            "Evidence",
            f"- Grad-CAM at {layer}: {_cams_compared(cams, correlation)}.",
            _completeness_line(attributions, name),
            *random_lines(
                {key: known["predicted"] for key, known in beside.items()},
                ", predicted class",
            ),
            *_intervention_lines(interventions, covered_right, truth, predicted, name),
            (
                "- A map is association. What an intervention changes is a cause, as"
                " far as its fill looks natural."
            ),
        ]
        text, pixels = wrapped(lines), seen_pixels(x[0], self.model)
        figure = _draw(pixels, maps, classes, probabilities, both, name, beside)
        print(text)
        return MisclassificationReport(
            text=text,
            true_label=truth,
            predicted_label=predicted,
            true_rank=rank,
            true_probability=probability,
            predicted_probability=float(probabilities[0]),
            cams=cams,
            attributions=attributions,
            cam_correlation=correlation,
            interventions=tuple(interventions),
            covered_right=covered_right,
            figure=figure,
            evidence=beside,
        )

    def _after(self, what: str, x: Tensor, truth: int) -> Intervention:
        classes, probabilities = predict(self.model, x)
        return Intervention(
            what, int(classes[0]), *true_class_rank(classes, probabilities, truth)
        )

    def _cover_peak(
        self, x: Tensor, cam: CamAttribution, truth: int
    ) -> list[Intervention]:
        if cam.blank:
            return []
        (row, column), side = peak_of(cam.map), _cover_side(x)
        what = (
            f"a {side} px square covered at the Grad-CAM peak of the predicted class"
            f" (row {row}, column {column})"
        )
        return [self._after(what, _cover(x, row, column), truth)]

    def _whole_photo(
        self, image: ImageInput, x: Tensor, truth: int
    ) -> list[Intervention]:
        if isinstance(image, Tensor):
            return []
        own = preprocessing_of(self.model)
        squashed = replace(own, resize=own.crop)(load_image(image))[None].to(x)
        if torch.equal(squashed, x):
            return []  # the crop is the whole photo, so that nothing was changed
        return [
            self._after("the whole photo, squashed instead of cropped", squashed, truth)
        ]

    def _cover_everywhere(self, x: Tensor, truth: int) -> np.ndarray:
        height, width = x.shape[-2:]
        rows, columns = (
            [round((i + 0.5) * size / COVER_PLACES) for i in range(COVER_PLACES)]
            for size in (height, width)
        )
        places = list(product(rows, columns))
        right: list[bool] = []
        with frozen_eval(self.model), torch.no_grad():
            for i in range(0, len(places), CHUNK_SIZE):
                part = places[i : i + CHUNK_SIZE]
                batch = torch.cat([_cover(x, row, column) for row, column in part])
                right += (logits_of(self.model, batch).argmax(dim=1) == truth).tolist()
        return np.array(right).reshape(COVER_PLACES, COVER_PLACES)


def _cover_side(x: Tensor) -> int:
    return max(1, round(COVER_SHARE * min(x.shape[-2:])))


def _cover(x: Tensor, row: int, column: int) -> Tensor:
    """Cover a square around (row, column) with the mean colour of the image.

    x is (1, 3, H, W) and is not changed. At the border the square moves inwards, so
    that it always covers the same number of pixels.
    """
    side, covered = _cover_side(x), x.clone()
    top, left = (
        min(max(at - side // 2, 0), size - side)
        for at, size in zip((row, column), x.shape[-2:], strict=True)
    )
    covered[..., top : top + side, left : left + side] = x.mean(
        dim=(2, 3), keepdim=True
    )
    return covered


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two raw maps; nan where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _cams_compared(cams: Mapping[str, CamAttribution], correlation: float) -> str:
    blank = [which for which, cam in cams.items() if cam.blank]
    if blank:
        return f"blank for the {' and the '.join(blank)} class"
    if cams["predicted"].target == cams["true"].target:
        return "one map, for both are the same class"
    if np.isnan(correlation):
        return "a map is constant, so that the two have no correlation"
    return f"the maps of predicted and true class correlate at {correlation:.2f}"


def _completeness_line(
    attributions: Mapping[str, IntegratedGradientsAttribution], name: Any
) -> str:
    first = attributions["predicted"]
    by_class = {ig.target: evidence_of(ig) for ig in attributions.values()}
    # Integrated Gradients always has a completeness error.
    errors = ", ".join(
        f"{percent(cast(float, known.delta))}"
        f" ({name(label)}{', INCOMPLETE' if known.incomplete else ''})"
        for label, known in by_class.items()
    )
    return (
        f"- Integrated Gradients from {first.settings['baseline']},"
        f" {first.settings['n_steps']} steps: relative completeness error {errors}."
    )


def _intervention_lines(
    interventions: list[Intervention],
    covered_right: np.ndarray,
    truth: int,
    predicted: int,
    name: Any,
) -> list[str]:
    lines = [
        f"- With {change.what}: {name(change.predicted_label)}; true class at rank"
        f" {change.true_rank}, probability {change.true_probability:.2%}."
        for change in interventions
    ]
    if predicted != truth:
        lines.append(
            f"- Of {covered_right.size} places covered one at a time,"
            f" {covered_right.sum()} give the true class."
        )
    return lines


def _draw(
    pixels: np.ndarray,
    maps: Mapping[str, Mapping[str, Any]],
    classes: np.ndarray,
    probabilities: np.ndarray,
    both: Mapping[str, int],
    name: Any,
    beside: Mapping[str, Mapping[str, MapEvidence]],
) -> Figure:
    from chapter4.plots import figures

    figure, axes = figures.new_figure(2, 3, figures.PANEL)
    figures.show_image(axes[0, 0], pixels, "What the model sees")
    # One scale for both classes: maps with different scales can't be compared.
    raw = torch.from_numpy(np.stack([maps["gradcam"][which].raw for which in both]))
    drawn = resize_map(raw, pixels.shape[:2]).numpy()
    saliency = np.stack([maps["integrated_gradients"][which].map for which in both])
    for i, (which, label) in enumerate(both.items()):
        upper, lower = axes[:, i + 1]
        titles = [
            f"{method}\n{which}: {name(label)}" + ("" if values.any() else " (blank)")
            for method, values in (
                ("Grad-CAM", drawn[i]),
                ("Integrated Gradients", saliency[i]),
            )
        ]
        bar, end = "raw Grad-CAM, one scale", float(drawn.max())
        figures.show_overlay(upper, pixels, drawn[i], titles[0], bar, limit=end)
        bar, end = "sum of |attribution|, one scale", figures.upper_limit(saliency)
        figures.show_saliency(lower, saliency[i], titles[1], bar, end)
        figures.show_evidence(upper, beside["gradcam"][which])
        figures.show_evidence(lower, beside["integrated_gradients"][which])
    shown = classes[:TOP]
    figures.show_probabilities(
        axes[1, 0],
        [name(int(i)) for i in shown],
        list(probabilities[:TOP]),
        [int(i) == both["true"] for i in shown],
    )
    return figures.finish(figure)
