"""Timing in turn, and the arithmetic of its ratios."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from chapter4.study.summary import spread


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians; its spread is quartiles of the ratios of single rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def in_turn(
    runs: Mapping[str, Callable[[], float]],
    rounds: int,
    seconds: float = 0.0,
    *,
    limit: int = 40,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Call each of ``runs`` once a round and collect the seconds that it returns.

    A round comes as a whole, in an order that is drawn anew: a machine that slows down,
    or a neighbour that always follows the same one, harms all alike. At least
    ``rounds`` rounds; more, at most ``limit``, until ``seconds`` are over.
    """
    order = list(runs)
    draw = random.Random(seed)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    start = perf_counter()
    done = 0
    while done < rounds or (perf_counter() - start < seconds and done < limit):
        draw.shuffle(order)
        for name in order:
            taken[name].append(float(f"{runs[name]():.6g}"))
        done += 1
    return taken


def ratio(numerator: list[float], denominator: list[float]) -> Ratio:
    """median(numerator) / median(denominator).

    Both lists hold one number a round, of the same rounds.
    """
    if len(numerator) != len(denominator) or not numerator:
        raise ValueError(
            f"the same rounds are needed on both sides, not {len(numerator)} and"
            f" {len(denominator)}"
        )
    rounds = spread(a / b for a, b in zip(numerator, denominator, strict=True))
    value = statistics.median(numerator) / statistics.median(denominator)
    return Ratio(value, rounds.low, rounds.high)
