"""Do the attributions add up to what they claim to share out?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from chapter4.core.attribution import Score
from chapter4.evidence.scoring import chosen_class, one_image, score_images

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


@dataclass(frozen=True)
class Completeness:
    """total: the sum of the signed attributions. change: F(x) - F(x'). delta: the
    error |total - change| / |change|, nan where the change is 0.
    """

    total: float
    change: float
    delta: float


def completeness(
    attributions: np.ndarray,
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    baseline: str | Tensor = "black",
    score: Score = "logit",
    seed: int = 0,
) -> Completeness:
    """Compare the sum of any method's signed attributions with F(x) - F(x').

    attributions: signed, of any shape, before any scaling. baseline: x', a name or a
    tensor as in `integrated_gradients`; for Gradient x Input the normalised 0, "mean".
    score: the very F that was differentiated. seed: of a random baseline.
    A small delta does not prove a map: errors of single pixels cancel in a sum.
    Raises ValueError or TypeError for bad input.
    Source: Sundararajan et al. 2017, arXiv:1703.01365.
    """
    from chapter4.methods.integrated_gradients import make_baseline

    values = np.asarray(attributions, float)
    if not np.isfinite(values).all():
        raise ValueError("the attributions hold NaN or infinite values")
    x = one_image(image, model)
    if isinstance(baseline, Tensor):
        start = one_image(baseline, model).to(x)
        if start.shape != x.shape:
            raise ValueError(
                f"the baseline {tuple(baseline.shape)} has not the image's shape"
                f" {tuple(x.shape)}"
            )
    else:
        start = make_baseline(baseline, x, model, seed=seed)
    target = chosen_class(model, x, target_class)
    at_image, at_baseline = score_images(model, (x[0], start[0]), target, score=score)
    total, change = float(values.sum()), float(at_image - at_baseline)
    delta = abs(total - change) / abs(change) if change else float("nan")
    return Completeness(total=total, change=change, delta=delta)
