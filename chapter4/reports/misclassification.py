"""Problem 5: what maps, ranks and interventions say about a misclassification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    predict,
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

        layer = (
            default_target_layer(self.model, x)
            if self.target_layer is None
            else self.target_layer
        )
        camera = GradCAM(self.model, layer)
        both = {"predicted": predicted, "true": truth}
        cam_of = {label: camera.generate_cam(x, label) for label in set(both.values())}
        attribution_of = {
            label: integrated_gradients(x, self.model, label, n_steps=n_steps)
            for label in set(both.values())
        }
        cams = {which: cam_of[label] for which, label in both.items()}
        attributions = {which: attribution_of[label] for which, label in both.items()}
        beside = {
            "gradcam": {which: evidence_of(cam) for which, cam in cams.items()},
            "integrated_gradients": {
                which: evidence_of(ig) for which, ig in attributions.items()
            },
        }
        if evidence:
            beside["gradcam"]["predicted"] = with_randomization(
                beside["gradcam"]["predicted"],
                lambda m: GradCAM(m, camera.layer_name).generate_cam(x, predicted),
                cams["predicted"],
                self.model,
            )
            beside["integrated_gradients"]["predicted"] = with_randomization(
                beside["integrated_gradients"]["predicted"],
                lambda m: integrated_gradients(x, m, predicted, n_steps=n_steps),
                attributions["predicted"],
                self.model,
            )
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
            *(
                [
                    "The image is not misclassified: predicted and true class are the"
                    " same."
                ]
                if predicted == truth
                else []
            ),
            "",
            *top_lines(classes, probabilities, truth, name),
            "",
            f"True class: rank {rank} of {len(classes)}, probability {probability:.2%}",
            "",
            "Evidence",
            *_cam_lines(cams, correlation, camera.layer_name),
            *_completeness_lines(attributions, name),
            *_random_lines(beside),
            *_intervention_lines(interventions, covered_right, truth, predicted, name),
            (
                "- A map is association. What an intervention changes is a cause, as"
                " far as its fill looks natural."
            ),
        ]
        text = wrapped(lines)
        figure = _draw(
            seen_pixels(x[0], self.model),
            cams,
            attributions,
            classes,
            probabilities,
            both,
            name,
            beside,
        )
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
        row, column = (
            int(i) for i in np.unravel_index(cam.map.argmax(), cam.map.shape)
        )
        side = _cover_side(x)
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
        places = [
            (
                round((r + 0.5) * height / COVER_PLACES),
                round((c + 0.5) * width / COVER_PLACES),
            )
            for r in range(COVER_PLACES)
            for c in range(COVER_PLACES)
        ]
        right: list[bool] = []
        with frozen_eval(self.model), torch.no_grad():
            for i in range(0, len(places), CHUNK_SIZE):
                batch = torch.cat(
                    [
                        _cover(x, row, column)
                        for row, column in places[i : i + CHUNK_SIZE]
                    ]
                )
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


def _cam_lines(
    cams: Mapping[str, CamAttribution], correlation: float, layer: str
) -> list[str]:
    blank = [which for which, cam in cams.items() if cam.blank]
    if blank:
        return [
            f"- Grad-CAM at {layer}: blank for the {' and the '.join(blank)} class."
        ]
    if cams["predicted"].target == cams["true"].target:
        return [f"- Grad-CAM at {layer}: one map, for both are the same class."]
    if np.isnan(correlation):
        return [
            f"- Grad-CAM at {layer}: a map is constant, so that the two have no"
            " correlation."
        ]
    return [
        f"- Grad-CAM at {layer}: the maps of predicted and true class correlate at"
        f" {correlation:.2f}."
    ]


def _completeness_lines(
    attributions: Mapping[str, IntegratedGradientsAttribution], name: Any
) -> list[str]:
    first = attributions["predicted"]
    by_class = {ig.target: evidence_of(ig) for ig in attributions.values()}
    # Integrated Gradients always has a completeness error.
    errors = ", ".join(
        f"{percent(cast(float, known.delta))}"
        f" ({name(label)}{', INCOMPLETE' if known.incomplete else ''})"
        for label, known in by_class.items()
    )
    return [
        f"- Integrated Gradients from {first.settings['baseline']},"
        f" {first.settings['n_steps']} steps: relative completeness error {errors}."
    ]


def _random_lines(beside: Mapping[str, Mapping[str, MapEvidence]]) -> list[str]:
    from chapter4.plots.figures import TITLES

    return [
        f"- {TITLES[method]}, predicted class: {line}."
        for method, known in beside.items()
        for line in known["predicted"].random_lines()
    ]


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
    cams: Mapping[str, CamAttribution],
    attributions: Mapping[str, IntegratedGradientsAttribution],
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
    raw = torch.from_numpy(np.stack([cams[which].raw for which in both]))
    drawn = resize_map(raw, pixels.shape[:2]).numpy()
    saliency = [attributions[which].map for which in both]
    limits = float(drawn.max()), figures.upper_limit(np.stack(saliency))
    for column, (which, label) in enumerate(both.items(), 1):
        title = f"{which}: {name(label)}"
        cam, attribution = drawn[column - 1], saliency[column - 1]
        figures.show_overlay(
            axes[0, column],
            pixels,
            cam,
            _titled("Grad-CAM", title, cam),
            "raw Grad-CAM, one scale",
            limit=limits[0],
        )
        figures.show_saliency(
            axes[1, column],
            attribution,
            _titled("Integrated Gradients", title, attribution),
            "sum of |attribution|, one scale",
            limits[1],
        )
        figures.show_evidence(axes[0, column], beside["gradcam"][which])
        figures.show_evidence(axes[1, column], beside["integrated_gradients"][which])
    shown = classes[:TOP]
    figures.show_probabilities(
        axes[1, 0],
        [name(int(i)) for i in shown],
        list(probabilities[:TOP]),
        [int(i) == both["true"] for i in shown],
    )
    return figures.finish(figure)


def _titled(method: str, title: str, values: np.ndarray) -> str:
    return f"{method}\n{title}" + ("" if values.any() else " (blank)")
