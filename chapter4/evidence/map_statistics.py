"""Numbers about maps alone: roughness, distance, rank correlation, repeatability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from chapter4.core.attribution import Attribution, GradientAttribution


@dataclass(frozen=True)
class Repeatability:
    """How alike the maps of one random method are when only the seed changes.

    rank_correlation: the mean Spearman correlation over all pairs of maps. lowest: that
    of the worst pair. noise_to_signal: of the signed attributions (see
    `noise_to_signal`), nan where the method gives none. runs: how many seeds.
    """

    rank_correlation: float
    lowest: float
    noise_to_signal: float
    runs: int


def total_variation(values: np.ndarray) -> float:
    """Roughness of a non-negative map (H, W): the mean absolute difference between
    neighbouring pixels over the map's mean.

    0 for a constant map; independent of the map's scale; 2 for black and white pixels
    in turn. nan for a map that is zero everywhere. Bilinear enlargement makes a map
    smooth whatever it shows: a low value is no merit by itself.
    Source: Rudin, Osher and Fatemi 1992, doi:10.1016/0167-2789(92)90242-F.
    """
    values = as_map(values)
    if min(values.shape) < 2:
        raise ValueError(f"a map has two pixels a side or more, not {values.shape}")
    if values.min() < 0:
        raise ValueError("total_variation takes a map without negative values")
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    mean = values.mean()
    return float(np.concatenate(steps).mean() / mean) if mean > 0 else float("nan")


def relative_difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Distance between two arrays of one shape over the size of the second:
    |values - reference| / |reference|, in the L2 norm. nan where the reference is 0.
    """
    values, reference = _alike(values, reference)
    size = np.linalg.norm(reference)
    return float(np.linalg.norm(values - reference) / size) if size else float("nan")


def rank_correlation(values: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's correlation of the absolute values of two maps of one shape.

    From -1 to 1: the correlation of the pixels' ranks; ties get their mean rank. nan
    where one of the maps is constant, such as a blank Grad-CAM. 1 says that the order
    of the pixels is the same, whatever the sizes.
    Source: Spearman 1904; of |map| as in Adebayo et al. 2018, arXiv:1810.03292.
    """
    from scipy.stats import rankdata

    first, second = (np.abs(each).ravel() for each in _alike(values, reference))
    if first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def noise_to_signal(estimates: Sequence[np.ndarray]) -> float:
    """How noisy one random estimate is: the L2 norm of its error over that of what it
    estimates, from two or more independent estimates.

    estimates: signed arrays of one shape, such as `.attributions` of `smooth_grad` with
    different seeds; not maps, whose absolute values are biased. The noise is their
    variance about their mean; the signal is what their mean keeps once its own noise is
    taken off, and the answer is inf where nothing is left.
    """
    stack = np.asarray([np.asarray(e, float) for e in estimates])
    if len(stack) < 2:
        raise ValueError(
            "noise_to_signal needs at least two estimates with different seeds"
        )
    noise = float(stack.var(axis=0, ddof=1).sum())
    signal = float((stack.mean(axis=0) ** 2).sum()) - noise / len(stack)
    return float(np.sqrt(noise / signal)) if signal > 0 else float("inf")


def repeatability(results: Sequence[Attribution]) -> Repeatability:
    """Compare the results of one method, image and class under two or more seeds.

    A method without randomness gives 1, 1 and 0: it says the same each time, which does
    not make it right. Raises ValueError for fewer than two results, or several classes.
    """
    if len(results) < 2:
        raise ValueError("repeatability needs at least two results, of different seeds")
    if len({str(result.target) for result in results}) > 1:
        raise ValueError(
            "the results explain different classes: give target_class, which else is"
            " the predicted one"
        )
    pairs = [rank_correlation(a.map, b.map) for a, b in combinations(results, 2)]
    signed = [r.attributions for r in results if isinstance(r, GradientAttribution)]
    return Repeatability(
        rank_correlation=float(np.mean(pairs)),
        lowest=float(np.min(pairs)),
        noise_to_signal=(
            noise_to_signal(signed) if len(signed) == len(results) else float("nan")
        ),
        runs=len(results),
    )


def as_map(values: np.ndarray) -> np.ndarray:
    """A map (H, W) as float64, or ValueError for another rank, NaN or infinite values."""
    array = np.asarray(values, float)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"a map has the shape (H, W), not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("the map holds NaN or infinite values")
    return array


def _alike(values: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(values, float), np.asarray(reference, float)
    if first.shape != second.shape:
        raise ValueError(
            f"the arrays have different shapes: {first.shape} and {second.shape}"
        )
    return first, second
