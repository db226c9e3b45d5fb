"""Section 4.3 as an interactive figure: Integrated Gradients, baseline by baseline.

The figure shows the path from the baseline to the image, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    check_count,
    chunk_of,
    frozen_eval,
    input_gradient,
    logits_of,
)
from chapter4.evidence.scoring import chosen_class
from chapter4.explore.path_plot import plot_html, plot_parts
from chapter4.explore.pictures import (
    Panel,
    State,
    explorer,
    halved,
    map_picture,
    one_image,
    photo_picture,
)
from chapter4.explore.sentences import described, number, score
from chapter4.explore.view import Choice, Explorer, Slider
from chapter4.inputs.images import seen_pixels
from chapter4.inputs.models import class_names_of
from chapter4.methods.integrated_gradients import BASELINES, make_baseline, quadrature
from chapter4.plots.figures import SALIENCY_CMAP, UNITS, upper_limit

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

POSITIONS = 12

_CAPTION = (
    "Integrated Gradients of the class {name}, with {n} steps of Gauss-Legendre. The"
    " mixture at α, the gradient there, and what the steps up to there add up to; the"
    " dots of both maps are means of 2 × 2 pixels. The gradient's colour scale is its"
    " own at each α, that of the sum is the same along one path. Below, the score F"
    " along the paths from all baselines, the chosen one strong; the line marks α."
)


@dataclass(frozen=True)
class Moment:
    """One position on the path from a baseline to the image.

    Attributes:
        alpha: The position, from 0 at the baseline to 1 at the image.
        steps: How many gradients have been taken so far.
        score: F at this position.
        gradient: The maximum over channels of ``|dF/dx|`` at this position, (H, W).
        sofar: The signed attributions of the steps up to here, (3, H, W). Those of the
            last moment are Integrated Gradients.
    """

    alpha: float
    steps: int
    score: float
    gradient: np.ndarray
    sofar: np.ndarray


@dataclass(frozen=True)
class Path:
    """The path from one baseline to the image.

    Attributes:
        name: The baseline's name.
        baseline: The baseline as a normalised tensor (1, 3, H, W).
        ends: F at the baseline and at the image.
        alphas: The position of every step.
        values: F at every step.
        moments: The positions that are shown.
    """

    name: str
    baseline: Tensor
    ends: tuple[float, float]
    alphas: Sequence[float]
    values: Sequence[float]
    moments: Sequence[Moment]

    @property
    def change(self) -> float:
        """``F(x) - F(x')``."""
        return self.ends[1] - self.ends[0]

    @property
    def delta(self) -> float:
        """The relative completeness error of all steps; nan where F does not change."""
        total = float(self.moments[-1].sofar.sum(dtype=np.float64))
        error = abs(total - self.change)
        return error / abs(self.change) if self.change else float("nan")


def explore_integrated_gradients(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    baselines: Sequence[str] = BASELINES,
    n_steps: int = 50,
    positions: int = POSITIONS,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Explorer:
    """Integrated Gradients along the path, with a choice of baseline and position.

    The figure shows the mixture of baseline and image, its gradient, the sum so far and
    the score. After the last step the attributions are those of
    :func:`chapter4.integrated_gradients` with the same arguments, up to rounding. This
    costs ``len(baselines) * n_steps`` gradients. In the figure a map has 16 shades, and
    one dot stands for 2 x 2 pixels.

    Args:
        image: One image: a path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, or None for the class that the
            model predicts for the image.
        baselines: Names that :func:`chapter4.make_baseline` knows.
        n_steps: Steps of Gauss-Legendre on each path.
        positions: How many of the steps the slider stops at. More of them are near the
            baseline.
        seed: For the random baseline.
        chunk_size: Images in one pass through the model; None chooses a number that
            suits the device.

    Returns:
        A figure that needs no network.

    Raises:
        ValueError: If ``image`` is not one image, if ``baselines`` is empty or a
            string, or if an argument is out of range.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """
    if not baselines or isinstance(baselines, str):
        raise ValueError("baselines is a list of one name or more, such as ['black']")
    n_steps = check_count("n_steps", n_steps)
    x = one_image(image, model)
    target = chosen_class(model, x, target_class)
    settings: dict[str, Any] = {"seed": seed, "chunk_size": chunk_size}
    settings["stops"] = stops(n_steps, check_count("positions", positions))
    paths = [
        follow(model, x, target, b, n_steps=n_steps, **settings) for b in baselines
    ]
    name = class_names_of(model)(target)
    photo = photo_picture(seen_pixels(x[0], model))
    states = [
        state for path in paths for state in _states(path, paths, model, photo, n_steps)
    ]
    marks = [f"{moment.alpha:.3f}" for moment in paths[0].moments]
    return explorer(
        f"Integrated Gradients of {name}: baseline and position on the path",
        [
            Choice("baseline", "Baseline", list(baselines)),
            Slider("position", "Position α", marks, len(marks) - 1),
        ],
        [
            Panel("mixture", "Mixture at α"),
            Panel(
                "gradient", "Gradient at α", SALIENCY_CMAP, UNITS["vanilla_gradients"]
            ),
            Panel("sum", "Sum so far", SALIENCY_CMAP, UNITS["integrated_gradients"]),
        ],
        states,
        _CAPTION.format(name=name, n=n_steps),
        below=plot_html(states[len(marks) - 1].parts, _curves(paths)),
    )


def stops(n_steps: int, positions: int) -> list[int]:
    """The steps that the slider stops at, counted from 1 to ``n_steps``.

    They are the first, the last, and others between them. More of these are near the
    baseline, where a score often rises at once.
    """
    share = np.linspace(0, 1, min(positions, n_steps)) ** 1.5
    if len(share) == 1:
        return [n_steps]
    return np.unique(np.rint(1 + share * (n_steps - 1)).astype(int)).tolist()


def follow(
    model: nn.Module,
    x: Tensor,
    target: int,
    baseline: str,
    *,
    n_steps: int,
    stops: Sequence[int],
    seed: int = 0,
    chunk_size: int | None = None,
) -> Path:
    """Walk the straight path from a baseline to x at the points of Gauss-Legendre.

    Args:
        model: A classifier that gives logits (N, K).
        x: The normalised image (1, 3, H, W).
        target: The class to explain.
        baseline: A name that :func:`chapter4.make_baseline` knows.
        n_steps: Steps of Gauss-Legendre.
        stops: The steps, counted from 1, whose results are kept as moments.
        seed: For the random baseline.
        chunk_size: Images in one pass through the model; None chooses a number that
            suits the device.

    Returns:
        The path with the moments.
    """
    start = make_baseline(baseline, x, model, seed=seed)
    alphas, weights = quadrature("gausslegendre", n_steps)
    found: list[float] = []
    moments: list[Moment] = []
    total = torch.zeros_like(x[0])
    size = chunk_of(chunk_size, x)
    with frozen_eval(model):
        with torch.no_grad():
            ends = [logits_of(model, e.clone())[0, target].item() for e in (start, x)]
        for first in range(0, n_steps, size):
            part = alphas[first : first + size]
            at = torch.tensor(part, dtype=x.dtype, device=x.device)
            at = at.reshape(-1, 1, 1, 1)
            gradients, values, _ = input_gradient(
                model, start + at * (x - start), [target] * len(part)
            )
            found += values.tolist()
            for k, gradient in enumerate(gradients, start=first):
                total = total + weights[k] * gradient
                if k + 1 in stops:
                    moments.append(
                        Moment(
                            alpha=alphas[k],
                            steps=k + 1,
                            score=found[k],
                            gradient=gradient.abs().amax(dim=0).cpu().numpy(),
                            sofar=((x - start)[0] * total).cpu().numpy(),
                        )
                    )
    return Path(baseline, start, (ends[0], ends[1]), alphas, found, moments)


def _states(
    path: Path, paths: Sequence[Path], model: nn.Module, photo: str, n_steps: int
) -> list[State]:
    ground = photo_picture(seen_pixels(path.baseline[0], model), quality=60)
    last = halved(np.abs(path.moments[-1].sofar).sum(axis=0))
    end = upper_limit(last)
    chosen = [each.name for each in paths].index(path.name)
    found = []
    for moment in path.moments:
        slope = halved(moment.gradient)
        sofar = halved(np.abs(moment.sofar).sum(axis=0))
        limit = upper_limit(slope)
        where = f"α = {moment.alpha:.3f} from the baseline {path.name}"
        found.append(
            State(
                _said(path, moment, n_steps),
                {
                    "mixture": {
                        "src": photo,
                        "ground": ground,
                        "opacity": round(moment.alpha, 4),
                        "alt": (
                            f"The mixture at {where}: {moment.alpha:.1%} photo, the"
                            " rest baseline."
                        ),
                    },
                    "gradient": {
                        "src": map_picture(slope, limit, SALIENCY_CMAP),
                        "alt": f"Gradient at {where}: {described(slope)}.",
                    },
                    "gradient-high": {"words": number(limit)},
                    "sum": {
                        "src": map_picture(sofar, end, SALIENCY_CMAP),
                        "alt": (
                            f"Attributions of the first {moment.steps} steps, to"
                            f" {where}: {described(sofar)}."
                        ),
                    },
                    "sum-high": {"words": number(end)},
                    **plot_parts(
                        _curves(paths),
                        chosen,
                        (moment.alpha, moment.score),
                        f"The score along the path from {path.name}:"
                        f" {score(path.ends[0])} at the baseline, {score(moment.score)}"
                        f" at the mark at α = {moment.alpha:.3f}, {score(path.ends[1])}"
                        " at the image.",
                    ),
                },
            )
        )
    return found


def _said(path: Path, moment: Moment, n_steps: int) -> str:
    where = (
        f"Baseline {path.name}, α = {moment.alpha:.3f}, step {moment.steps} of"
        f" {n_steps}: F = {score(moment.score)}"
    )
    if not path.change:
        return (
            f"{where}. F is the same at both ends, {score(path.ends[1])}: there is"
            " nothing to share out."
        )
    way = (moment.score - path.ends[0]) / path.change
    summed = float(moment.sofar.sum(dtype=np.float64)) / path.change
    return (
        f"{where}, {way:.0%} of the way from {score(path.ends[0])} at the baseline to"
        f" {score(path.ends[1])} at the image. The attributions so far add up to"
        f" {summed:.0%} of that way; after the last step the completeness error is"
        f" {path.delta:.1%}."
    )


def _curves(paths: Sequence[Path]) -> list[tuple[list[float], list[float]]]:
    return [
        ([0.0, *path.alphas, 1.0], [path.ends[0], *path.values, path.ends[1]])
        for path in paths
    ]
