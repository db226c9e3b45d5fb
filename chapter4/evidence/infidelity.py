"""Infidelity: does the explanation predict what the score does when the image is
perturbed?
"""

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

    value: the mean of (predicted - observed)^2. standard_error: of that mean. scaled:
    the same once the explanation is multiplied by the best single factor, `scale`: for
    maps whose unit is arbitrary. observed: the mean of observed^2, which an explanation
    of nothing but zeros would get as its value.
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
    """E over I of (sum(I * Phi) - (F(x) - F(x - I)))^2 for random perturbations I.

    attributions: Phi, signed, (3, H, W) for one image, in score units per unit of
    normalised input, such as those of `vanilla_gradients`. contributions: Phi is in
    score units instead, as that of `integrated_gradients` or `gradient_input`; then a
    square's contributions are summed up as they are, and gaussian is refused: dividing
    by x - x' is undefined where they agree.
    perturbation: "gaussian" with standard deviation sigma in normalised units in every
    value; or "square", a square of `side` pixels (default a quarter of the shorter
    side), uniformly placed, that gets the `fill`: a name as in `make_baseline` or a
    tensor, for contributions best the baseline of the method.
    Raises ValueError or TypeError for bad input.
    Source: Yeh et al. 2019, arXiv:1901.09392.
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
    side = check_count(
        "side", max(1, min(height, width) // 4) if side is None else side
    )
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
