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

    Attributes:
        rank_correlation: The mean Spearman correlation over all pairs of maps.
        lowest: The Spearman correlation of the worst pair.
        noise_to_signal: The noise of the signed attributions (see
            :func:`chapter4.noise_to_signal`). NaN where the method gives none.
        runs: The number of seeds.
    """

    rank_correlation: float
    lowest: float
    noise_to_signal: float
    runs: int


def total_variation(values: np.ndarray) -> float:
    """Roughness of a non-negative map.

    It is the mean absolute difference between neighbouring pixels, divided by the map's
    mean. It does not depend on the map's scale. Bilinear enlargement makes every map
    smooth, so a low value is no merit by itself.

    Args:
        values: A map (H, W) without negative values, at least 2 pixels a side.

    Returns:
        The roughness: 0 for a constant map, 2 for black and white pixels in turn, and
        NaN for a map that is zero everywhere.

    Raises:
        ValueError: If ``values`` is not such a map, or holds NaN or infinite values.

    References:
        Rudin, Osher and Fatemi 1992, doi:10.1016/0167-2789(92)90242-F.
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
    """Relative distance between two arrays, in the L2 norm.

    It is ``|values - reference| / |reference|``.

    Args:
        values: An array of any shape.
        reference: An array of the same shape.

    Returns:
        The distance, or NaN where the reference is 0 everywhere.

    Raises:
        ValueError: If the arrays have different shapes.
    """
    values, reference = _alike(values, reference)
    size = np.linalg.norm(reference)
    return float(np.linalg.norm(values - reference) / size) if size else float("nan")


def rank_correlation(values: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's correlation between the absolute values of two maps.

    It is the correlation of the pixels' ranks; tied pixels get their mean rank.

    Args:
        values: A map of any shape.
        reference: A map of the same shape.

    Returns:
        The correlation, from -1 to 1. 1 means that the order of the pixels is the same,
        whatever their values. NaN where one of the maps is constant, such as a blank
        Grad-CAM.

    Raises:
        ValueError: If the maps have different shapes.

    References:
        Spearman 1904. Of ``|map|`` as in Adebayo et al. 2018, arXiv:1810.03292.
    """
    from scipy.stats import rankdata

    first, second = (np.abs(each).ravel() for each in _alike(values, reference))
    if first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def noise_to_signal(estimates: Sequence[np.ndarray]) -> float:
    """How noisy one random estimate is, from two or more independent estimates.

    It is the L2 norm of the estimate's error, divided by the L2 norm of what it
    estimates. The noise is the variance of the estimates around their mean. The signal
    is the square of their mean, less the noise that this mean still has.

    Args:
        estimates: Signed arrays of one shape, such as ``.attributions`` of
            :func:`chapter4.smooth_grad` with different seeds. Do not use maps: their
            absolute values are biased.

    Returns:
        The ratio, or infinity where no signal is left.

    Raises:
        ValueError: For fewer than two estimates, or estimates of different shapes.
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

    A method without randomness has rank correlations of 1 and no noise. It gives the
    same map each time, which does not make it right.

    Args:
        results: The attributions, one for each seed.

    Returns:
        How alike the maps are.

    Raises:
        ValueError: For fewer than two results, for results of several classes, or for
            maps of different shapes.
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
    """Check a map and convert it to float64.

    Args:
        values: A map (H, W).

    Returns:
        The map (H, W) in float64.

    Raises:
        ValueError: If it has another number of axes, is empty, or holds NaN or infinite
            values.
    """
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
