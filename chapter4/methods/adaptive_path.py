"""Where to take the gradients of Integrated Gradients.

Steps go where the gradient changes, until the estimated error of the map is small
enough.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

# Steps of the first look, evenly spaced.
PILOT = 4
# The least number of steps in a round. Later rounds add a quarter of the steps so far.
ROUND = 4
# Maps that are kept at most. Their weights can still change when new steps come between
# them. After that, all other steps are placed at once and each map is used as it comes,
# so that memory does not grow.
KEPT = 64
# Steps that are placed at once can't be corrected later, so there are a tenth more of
# them than the estimate asks for.
MARGIN = 1.1
# Narrower gaps are not divided. In float32 their ends are nearly the same image.
NARROWEST = 1e-6

# Takes k positions on the path, and gives the gradients times (x - x'), (k, ...), and
# F, (k,).
Evaluate = Callable[[Sequence[float]], tuple[Tensor, Tensor]]
# What it gives for one position.
Step = tuple[Tensor, float]


@dataclass(frozen=True)
class PathIntegral:
    """An integral along the path, and how well it is known.

    Attributes:
        total: The attributions.
        alphas: The steps taken, in order.
        weights: Their weights, which sum to 1.
        error: The estimated relative L2 error of ``total``; inf after a single step,
            which can't tell.
        converged: Whether the error is at most the tolerance that was asked for.
    """

    total: Tensor
    alphas: list[float]
    weights: list[float]
    error: float
    converged: bool


def check_tolerance(tolerance: Any) -> float:
    """Return a relative error between 0 and 1, or raise TypeError or ValueError."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, numbers.Real):
        raise TypeError(f"tolerance is a number such as 0.05, not {tolerance!r}")
    value = float(tolerance)
    if not 0 < value < 1:
        raise ValueError(
            "tolerance is a relative error between 0 and 1, such as 0.05, not"
            f" {tolerance}"
        )
    return value


def integrate(
    evaluate: Evaluate, ends: tuple[float, float], tolerance: float, n_steps: int
) -> PathIntegral:
    """Integrate the gradient times (x - x') over [0, 1], with steps where they help.

    Steps are added until the estimated relative error is at most ``tolerance``, or
    ``n_steps`` are spent. Every gradient that is taken is used: the steps divide the
    path into gaps, and each round divides the gaps with the largest error.

    The error of a gap of width h between gradients a and b is taken as
    ``h |b - a| / sqrt(12)``, and errors of different gaps as independent. This is exact
    on average for a gradient that changes by small random jumps, as a ReLU network's
    does on its path. It is too large for a smooth gradient.

    F guards against what lies unseen between two steps. Where the completeness of a gap
    fails by more than the tolerance, as a share of F's range, and by more than twice
    the gap's error, that share counts as the error.

    An estimate is no bound: a change that leaves the gradients and F at all steps as
    they are goes unnoticed.

    Args:
        evaluate: Gives for k positions on the path the gradients times (x - x'),
            (k, ...), and F, (k,).
        ends: F(x') and F(x).
        tolerance: The relative L2 error to reach.
        n_steps: The most gradients to take.

    Returns:
        The integral, its steps and its estimated error.
    """
    first = min(PILOT, n_steps)
    kept: dict[float, Step] = {}
    _add(kept, [(i + 0.5) / first for i in range(first)], evaluate)
    while True:
        alphas = sorted(kept)
        found = _sum(alphas, map(kept.__getitem__, alphas), ends, tolerance)
        room = n_steps - len(alphas)
        if found.error <= tolerance or room == 0:
            break
        # The error is proportional to 1 / the number of steps.
        missing = len(alphas) * (found.error / tolerance - 1)
        if len(alphas) >= KEPT:
            wanted = math.ceil(MARGIN * missing + (MARGIN - 1) * len(alphas))
            new = _between(alphas, found.shares, min(room, wanted))
            alphas = sorted([*alphas, *new])
            found = _sum(alphas, _stream(kept, alphas, evaluate), ends, tolerance)
            break
        most = min(room, max(ROUND, len(alphas) // 4), KEPT - len(alphas))
        count = most if missing >= most else max(1, math.ceil(missing))
        new = _between(alphas, found.shares, count)
        if not new:
            break
        _add(kept, new, evaluate)
    return PathIntegral(
        total=found.total,
        alphas=alphas,
        weights=_widths(alphas),
        error=found.error,
        converged=found.error <= tolerance,
    )


@dataclass(frozen=True)
class _Sum:
    total: Tensor
    error: float
    shares: list[float]  # squared relative error of each gap and of both end pieces


def _add(kept: dict[float, Step], alphas: list[float], evaluate: Evaluate) -> None:
    gradients, values = evaluate(alphas)
    for alpha, gradient, value in zip(alphas, gradients, values.tolist(), strict=True):
        kept[alpha] = gradient, value


def _stream(
    kept: dict[float, Step], alphas: list[float], evaluate: Evaluate
) -> Iterator[Step]:
    new = [alpha for alpha in alphas if alpha not in kept]
    ready: dict[float, Step] = {}
    for alpha in alphas:
        if alpha in kept:
            yield kept[alpha]
            continue
        if alpha not in ready:
            ready.clear()
            _add(ready, new[:KEPT], evaluate)
            del new[:KEPT]
        yield ready[alpha]


def _widths(alphas: list[float]) -> list[float]:
    """The part of the path that is nearer to each step than to any other."""
    middles = [(a + b) / 2 for a, b in pairwise(alphas)]
    return np.diff([0.0, *middles, 1.0]).tolist()


def _sum(
    alphas: list[float],
    steps: Iterator[Step],
    ends: tuple[float, float],
    tolerance: float,
) -> _Sum:
    total = last = None
    jumps, slopes, scores = [], [], []  # |b - a|^2, dF/dalpha, F
    for weight, (gradient, score) in zip(_widths(alphas), steps, strict=True):
        if last is not None:
            jumps.append(float((gradient - last).cpu().double().square().sum()))
        total = weight * gradient if total is None else total + weight * gradient
        slopes.append(float(gradient.cpu().double().sum()))
        scores.append(score)
        last = gradient
    assert total is not None
    size = float(total.cpu().double().square().sum())
    squares = _squared_errors(alphas, jumps)
    shares = [
        square / size if size else math.inf if square else 0.0 for square in squares
    ]
    hidden = _hidden(alphas, slopes, [ends[0], *scores, ends[1]])
    shares = [
        lack**2 if lack > tolerance and lack**2 > 4 * share else share
        for share, lack in zip(shares, hidden, strict=True)
    ]
    return _Sum(total, math.sqrt(sum(shares)), shares)


def _squared_errors(alphas: list[float], jumps: list[float]) -> list[float]:
    """The squared error of each end piece and of each gap between.

    It is the variance of the integral of a random walk over the piece, given the walk
    at its ends, or at its inner end.
    """
    if len(alphas) == 1:
        return [math.inf, math.inf]
    gaps = np.diff(alphas).tolist()
    first, last = alphas[0], 1 - alphas[-1]
    return [
        first**3 / 3 * jumps[0] / gaps[0],
        *(gap**2 * jump / 12 for gap, jump in zip(gaps, jumps, strict=True)),
        last**3 / 3 * jumps[-1] / gaps[-1],
    ]


def _hidden(
    alphas: list[float], slopes: list[float], scores: list[float]
) -> list[float]:
    """What the slopes at a gap's ends don't explain of F's change over it.

    It is given as a share of F's range.
    """
    edges = [0.0, *alphas, 1.0]
    before, after = [slopes[0], *slopes], [*slopes, slopes[-1]]
    # A range as small as the rounding of F hides nothing.
    span = max(max(scores) - min(scores), 1e-4 * max(map(abs, scores)))
    # Where F is 0 throughout, nothing is missing either.
    span = span or math.inf
    return [
        abs(scores[k + 1] - scores[k] - width * (before[k] + after[k]) / 2) / span
        for k, width in enumerate(np.diff(edges).tolist())
    ]


def _between(alphas: list[float], shares: list[float], count: int) -> list[float]:
    """Choose ``count`` new steps, each in the piece whose error is largest by then.

    The steps of a piece divide it evenly.
    """
    edges = [0.0, *alphas, 1.0]
    widths = np.diff(edges)
    ends = (0, len(widths) - 1)
    parts = np.ones(len(widths), int)
    left = np.array(shares)
    for _ in range(count):
        # Two gaps that differ only by rounding count as equal: the first is taken.
        order = np.round(np.log2(np.maximum(left, 1e-300)), 3)
        order[widths / parts < NARROWEST] = -np.inf
        piece = int(order.argmax())
        if order[piece] == -np.inf or left[piece] == 0:
            break
        parts[piece] += 1
        # n parts of a random walk have 1/n^3 of its variance each, and 1/n^2 together.
        # An end piece has a step at its inner end only.
        finer = 2 * parts[piece] - 1 if piece in ends else parts[piece]
        left[piece] = shares[piece] / finer**3
    new: list[float] = []
    for piece in np.flatnonzero(parts > 1).tolist():
        start, width, n = edges[piece], float(widths[piece]), int(parts[piece])
        if piece in ends:
            steps = [width * (2 * i - 1) / (2 * n - 1) for i in range(1, n)]
            new += [start + s if piece == 0 else edges[-1] - s for s in steps]
        else:
            new += [start + width * i / n for i in range(1, n)]
    return sorted(new)
