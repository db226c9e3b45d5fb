"""Infidelity: does an explanation predict how the score reacts to perturbations?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import Score, check_count, seeded
from chapter4.evidence.deletion_insertion import filling
from chapter4.evidence.scoring import chosen_class, one_image, score_images

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

PERTURBATIONS = ("gaussian", "square")


@dataclass(frozen=True)
class Infidelity:
    """Mean squared error of an explanation's predictions; 0 is best.

    Attributes:
        value: The mean of ``(predicted - observed)^2``.
        standard_error: The standard error of that mean. NaN for a single sample.
        scaled: The same mean after the explanation is multiplied by ``scale``. Use it
            for maps whose unit is arbitrary.
        scale: The single factor that makes the mean smallest.
        observed: The mean of ``observed^2``. An explanation that is zero everywhere has
            this as its value.
        samples: The number of perturbations.
    """

    value: float
    standard_error: float
    scaled: float
    scale: float
    observed: float
    samples: int


def infidelity(
    attributions: np.ndarray,
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    perturbation: Literal["gaussian", "square"] = "gaussian",
    contributions: bool = False,
    sigma: float = 0.2,
    side: int | None = None,
    fill: str | Tensor = "blur",
    n_samples: int = 100,
    score: Score = "logit",
    seed: int = 0,
    chunk_size: int | None = None,
) -> Infidelity:
    """Test how well an explanation predicts the score of perturbed images.

    Infidelity is the mean, over random perturbations I, of::

        (sum(I * Phi) - (F(x) - F(x - I)))^2

    Args:
        attributions: Phi, the signed attributions of one image, (3, H, W). They are in
            score units per unit of normalised input, such as those of
            :func:`chapter4.vanilla_gradients`, unless ``contributions`` is True.
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K).
        target_class: The index of the class that was explained, or None for the
            predicted class.
        perturbation: "gaussian" adds noise to every value. "square" fills one square at
            a random place.
        contributions: True if Phi is in score units, as that of
            :func:`chapter4.integrated_gradients` or :func:`chapter4.gradient_input`.
            The contributions inside a square are then summed as they are. "gaussian" is
            refused: it would need a division by x - x', which is undefined where the
            two are equal.
        sigma: The standard deviation of the Gaussian noise, in normalised units.
        side: The side of the square in pixels; None for a quarter of the shorter side.
        fill: What the square is filled with: a name (see
            :func:`chapter4.make_baseline`) or a normalised tensor of the image's shape.
            For contributions, the baseline of the method is best.
        n_samples: The number of perturbations.
        score: F, "logit" or "probability".
        seed: Seed of the perturbations, and of a random fill.
        chunk_size: How many images go through the model at a time; None for the
            default.

    Returns:
        The mean squared error, with what is needed to judge it.

    Raises:
        ValueError: If the attributions have another shape than the image or hold NaN or
            infinite values, for several images, for contributions with "gaussian", or
            if another argument is unknown or out of range.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.

    References:
        Yeh et al. 2019, arXiv:1901.09392.
    """
    x = one_image(image, model)
    n_samples = check_count("n_samples", n_samples)
    phi = torch.as_tensor(np.asarray(attributions), dtype=torch.float64)
    if phi.shape != x.shape[1:]:
        raise ValueError(
            f"signed attributions have the image's shape {tuple(x.shape[1:])}, not"
            f" {tuple(phi.shape)}"
        )
    if not phi.isfinite().all():
        raise ValueError("the attributions hold NaN or infinite values")
    if perturbation == "gaussian":
        if contributions:
            raise ValueError(
                "contributions are tested by perturbation='square': gaussian needs"
                " sensitivities"
            )
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"sigma is a positive number, not {sigma}")
        changes = _gaussian(x[0], sigma, n_samples, seed)
    elif perturbation == "square":
        changes = _squares(x, filling(fill, x, model, seed=seed), side, n_samples, seed)
    else:
        raise ValueError(
            f"perturbation is one of {', '.join(PERTURBATIONS)}, not {perturbation!r}"
        )
    predicted: list[float] = []

    def perturbed() -> Iterator[Tensor]:
        yield x[0]
        for removed, inside in changes:
            weight = inside if contributions else removed
            predicted.append(float((weight.double().cpu() * phi).sum()))
            yield x[0] - removed

    target = chosen_class(model, x, target_class)
    scores = score_images(
        model, perturbed(), target, score=score, chunk_size=chunk_size
    )
    return _compare(np.asarray(predicted), scores[0] - scores[1:])


def _compare(predicted: np.ndarray, observed: np.ndarray) -> Infidelity:
    errors = (predicted - observed) ** 2
    power = float((predicted**2).mean())
    scale = float((predicted * observed).mean()) / power if power else 0.0
    count = len(errors)
    spread = errors.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
    return Infidelity(
        value=float(errors.mean()),
        standard_error=float(spread),
        scaled=float(((scale * predicted - observed) ** 2).mean()),
        scale=scale,
        observed=float((observed**2).mean()),
        samples=count,
    )


def _gaussian(
    x: Tensor, sigma: float, n_samples: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = seeded(seed)
    for _ in range(n_samples):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        yield (sigma * noise).to(x.device), torch.ones_like(x)


def _squares(
    x: Tensor, fill: Tensor, side: int | None, n_samples: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    height, width = x.shape[-2:]
    side = max(1, min(height, width) // 4) if side is None else side
    side = check_count("side", side)
    if side > min(height, width):
        raise ValueError(f"a square of side {side} does not fit {height} x {width}")
    generator = seeded(seed)

    def place(length: int) -> int:
        return int(torch.randint(length - side + 1, (1,), generator=generator))

    for _ in range(n_samples):
        top, left = place(height), place(width)
        inside = torch.zeros_like(x[0])
        inside[:, top : top + side, left : left + side] = 1
        yield inside * (x[0] - fill[0]), inside
