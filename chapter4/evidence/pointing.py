"""The pointing game: where the cause is known, does the map's highest value hit it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.evidence.map_statistics import as_map

# Relative to the highest value. Enlarging a coarse grid makes plateaus, whose pixels
# may differ in the last bit because of rounding.
TIE = 1e-6

# (images (N, 3, H, W), model, one target per image) to maps (N, H, W).
BatchMethod = Callable[[Tensor, nn.Module, list[int]], np.ndarray]


@dataclass(frozen=True)
class Pointing:
    """One pointing game: whether a map's highest value lies in the region.

    Attributes:
        hit: 1 if the highest value lies in the region, else 0. If several pixels share
            the highest value, the share of them in the region.
        chance: The expected hit of a random pixel.
        ties: How many pixels share the highest value.
        blank: Whether no value is above 0, which counts as a miss.
    """

    hit: float
    chance: float
    ties: int
    blank: bool


@dataclass(frozen=True)
class KnownAnswer:
    """A case on which an explanation is right or wrong by construction.

    Attributes:
        image: The normalised image, (3, H, W).
        target: The index of the class to explain.
        region: Where the cause is: booleans (H, W).
        name: A name for reports.
    """

    image: Tensor
    target: int
    region: np.ndarray
    name: str


@dataclass(frozen=True)
class PointingAccuracy:
    """Hits over many cases, with an interval and the level of chance.

    Attributes:
        hits: The sum of the hits. It may be a fraction, because of ties.
        cases: The number of cases.
        accuracy: ``hits / cases``.
        interval: Wilson's interval of the accuracy, at 95 per cent.
        chance: The expected hit of a random pixel, as the mean over the cases.
        blank: How many maps had no value above 0.
    """

    hits: float
    cases: int
    accuracy: float
    interval: tuple[float, float]
    chance: float
    blank: int


def pointing_game(
    values: np.ndarray, region: np.ndarray, *, tolerance: float = 0
) -> Pointing:
    """Does the highest value of a map lie in a region, or near it?

    The map is read as it is: in a signed map the highest value counts, not the largest
    absolute value. Values within a millionth of the highest, relative to it, tie with
    it. Chance is the share of the image's pixels that lie in the region, enlarged by
    the tolerance.

    Args:
        values: A map (H, W).
        region: Where the cause is: booleans (H, W).
        tolerance: How far from the region a hit may be, in pixels. Distances are
            Euclidean, between pixel centres.

    Returns:
        The hit and the level of chance.

    Raises:
        ValueError: For different shapes, an empty region, a negative tolerance, or a
            map with NaN or infinite values.

    References:
        Zhang et al. 2016, arXiv:1608.00507.
    """
    values, near = as_map(values), grown(region, tolerance)
    if near.shape != values.shape:
        raise ValueError(
            f"the region {near.shape} has not the map's shape {values.shape}"
        )
    peak = values >= values.max() - TIE * abs(values.max())
    blank = bool(values.max() <= 0)
    return Pointing(
        hit=0.0 if blank else float(near[peak].mean()),
        chance=float(near.mean()),
        ties=int(peak.sum()),
        blank=blank,
    )


def grown(region: np.ndarray, tolerance: float = 0) -> np.ndarray:
    """A region, bool (H, W), with all pixels at most ``tolerance`` pixels from it."""
    from scipy.ndimage import distance_transform_edt

    inside = np.asarray(region, bool)
    if inside.ndim != 2 or not inside.any():
        raise ValueError("the region is a mask (H, W) with at least one pixel in it")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is 0 pixels or more, not {tolerance}")
    return distance_transform_edt(~inside) <= tolerance


def pointing_accuracy(
    cases: Sequence[KnownAnswer],
    model: nn.Module,
    method: BatchMethod,
    *,
    tolerance: float = 0,
    batch_size: int = 16,
) -> PointingAccuracy:
    """Play the pointing game with one method on all cases, in batches.

    Args:
        cases: The cases, all of one image size.
        model: The model to explain.
        method: A function from images (N, 3, H, W), the model and a list of N targets
            to maps (N, H, W), such as
            ``lambda x, m, t: vanilla_gradients(x, m, t).map``.
        tolerance: How far from the region a hit may be, in pixels.
        batch_size: How many images ``method`` gets at a time.

    Returns:
        The hits over all cases, with Wilson's interval and the level of chance.

    Raises:
        ValueError: For no cases, for another number of maps than images, and as
            :func:`chapter4.pointing_game`.
    """
    if not cases:
        raise ValueError("the pointing game needs at least one case")
    games: list[Pointing] = []
    for start in range(0, len(cases), batch_size):
        batch = cases[start : start + batch_size]
        images = torch.stack([case.image for case in batch])
        maps: Any = np.asarray(method(images, model, [case.target for case in batch]))
        maps = maps[None] if maps.ndim == 2 else maps
        games += [
            pointing_game(values, case.region, tolerance=tolerance)
            for values, case in zip(maps, batch, strict=True)
        ]
    hits = float(sum(game.hit for game in games))
    return PointingAccuracy(
        hits=hits,
        cases=len(games),
        accuracy=hits / len(games),
        interval=wilson_interval(hits, len(games)),
        chance=float(np.mean([game.chance for game in games])),
        blank=sum(game.blank for game in games),
    )


def wilson_interval(
    hits: float, cases: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval of a proportion, which also works near 0 and 1.

    Args:
        hits: The number of successes; it may be a fraction.
        cases: The number of trials.
        confidence: The level of the interval, between 0 and 1.

    Returns:
        The lower and the upper end, as shares of the cases.

    Raises:
        ValueError: Unless ``0 <= hits <= cases``, ``cases >= 1`` and
            ``0 < confidence < 1``.

    References:
        Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if not (cases >= 1 and 0 <= hits <= cases and 0 < confidence < 1):
        raise ValueError(
            f"no interval for {hits} hits in {cases} cases at confidence {confidence}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = hits / cases, 1 + z * z / cases
    middle = (share + z * z / (2 * cases)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / cases + (z / (2 * cases)) ** 2)
    # With no hits, or with hits only, one end is exactly 0 or 1; rounding may cross it.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == cases else min(1.0, middle + half)
