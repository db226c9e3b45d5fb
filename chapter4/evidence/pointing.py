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

# Relative to the highest value. Enlarging a coarse grid makes plateaus; whether their
# pixels are equal to the last bit is up to rounding.
TIE = 1e-6

# (images (N, 3, H, W), model, one target per image) to maps (N, H, W).
BatchMethod = Callable[[Tensor, nn.Module, list[int]], np.ndarray]


@dataclass(frozen=True)
class Pointing:
    """hit: 1 if the map's highest value lies in the region, else 0; with ties, the share
    of the highest pixels that do. chance: the hit that a random pixel expects. ties: how
    many pixels share the highest value. blank: no value is above 0, which is a miss.
    """

    hit: float
    chance: float
    ties: int
    blank: bool


@dataclass(frozen=True)
class KnownAnswer:
    """A case on which an explanation is right or wrong by construction.

    image: (3, H, W), normalised. target: the class to explain. region: bool (H, W),
    where the cause is. name: for reports.
    """

    image: Tensor
    target: int
    region: np.ndarray
    name: str


@dataclass(frozen=True)
class PointingAccuracy:
    """Hits over many cases: how often, Wilson's interval of it, and what chance gives.

    hits: may be a fraction, by ties. interval: 95 per cent. chance: mean over the cases.
    blank: how many maps had no value above 0.
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
    """Does the highest value of a map (H, W) lie in a region, bool (H, W), or at most
    `tolerance` pixels (Euclidean, between pixel centres) from it?

    The map is read as it is: of a signed map the highest value counts, not the largest
    absolute one; values within a millionth of it tie with it. Chance is the share of
    the pixels in the region with its tolerance.
    Raises ValueError for different shapes, an empty region or a negative tolerance.
    Source: Zhang et al. 2016, arXiv:1608.00507.
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
    """A region, bool (H, W), with all pixels at most `tolerance` pixels from it."""
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

    method: (images (N, 3, H, W), model, targets) to maps (N, H, W), such as
    `lambda x, m, t: vanilla_gradients(x, m, t).map`.
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
    """Wilson's score interval of a proportion; it keeps its level near 0 and 1 too.

    Raises ValueError unless 0 <= hits <= cases, cases >= 1 and 0 < confidence < 1.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if not (cases >= 1 and 0 <= hits <= cases and 0 < confidence < 1):
        raise ValueError(
            f"no interval for {hits} hits in {cases} cases at confidence {confidence}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = hits / cases, 1 + z * z / cases
    middle = (share + z * z / (2 * cases)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / cases + (z / (2 * cases)) ** 2)
    # At 0 and at all cases the ends are exact; rounding may cross them.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == cases else min(1.0, middle + half)
