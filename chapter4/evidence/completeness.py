"""Do the attributions add up to what they claim to share out?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from chapter4.core.attribution import Score
from chapter4.evidence.deletion_insertion import filling
from chapter4.evidence.scoring import chosen_class, one_image, score_images

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


@dataclass(frozen=True)
class Completeness:
    """How closely attributions sum to the change of the score.

    Attributes:
        total: The sum of the signed attributions, in units of F.
        change: ``F(x) - F(x')``.
        delta: The relative error ``|total - change| / |change|``, or NaN where the
            change is 0.
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
    """Compare the sum of any method's signed attributions with ``F(x) - F(x')``.

    A small delta does not prove that a map is right: errors of single pixels cancel in
    a sum.

    Args:
        attributions: Signed attributions of any shape, before any scaling.
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K).
        target_class: The index of the class that was explained, or None for the
            predicted class.
        baseline: x', as for :func:`chapter4.integrated_gradients`: "black", "white",
            "random", "blur", "mean", or a normalised tensor of the image's shape. For
            Gradient x Input it is the normalised 0, which is "mean".
        score: F, "logit" or "probability". It must be the score whose gradient was
            taken.
        seed: Seed of the random baseline.

    Returns:
        The sum, the change of the score, and the relative error.

    Raises:
        ValueError: If the attributions hold NaN or infinite values, for several images,
            for an unknown baseline or score, for a baseline of another shape, or for a
            class out of range.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """
    values = np.asarray(attributions, float)
    if not np.isfinite(values).all():
        raise ValueError("the attributions hold NaN or infinite values")
    x = one_image(image, model)
    start = filling(baseline, x, model, seed=seed, name="baseline")
    target = chosen_class(model, x, target_class)
    at_image, at_baseline = score_images(model, (x[0], start[0]), target, score=score)
    total, change = float(values.sum()), float(at_image - at_baseline)
    delta = abs(total - change) / abs(change) if change else float("nan")
    return Completeness(total=total, change=change, delta=delta)
