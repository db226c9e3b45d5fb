"""Timing in turn, and the arithmetic of its ratios."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable, Mapping
from time import perf_counter

from chapter4.study.summary import Spread, spread


def in_turn(
    runs: Mapping[str, Callable[[], float]],
    rounds: int,
    seconds: float = 0.0,
    *,
    limit: int = 40,
) -> dict[str, list[float]]:
    """Call each of ``runs`` once a round and collect the seconds that it returns.

    A round comes as a whole, in an order that is drawn anew: a machine that slows down,
    or a neighbour that always follows the same one, harms all alike. At least
    ``rounds`` rounds; more, at most ``limit``, until ``seconds`` are over.
    """
    order = list(runs)
    draw = random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    start = perf_counter()
    done = 0
    while done < rounds or (perf_counter() - start < seconds and done < limit):
        draw.shuffle(order)
        for name in order:
            taken[name].append(runs[name]())
        done += 1
    return taken


def ratio(numerator: list[float], denominator: list[float]) -> Spread:
    """median(numerator) / median(denominator), with quartiles of the rounds' ratios.

    Both lists hold one number a round, of the same rounds.
    """
    rounds = spread(a / b for a, b in zip(numerator, denominator, strict=True))
    value = statistics.median(numerator) / statistics.median(denominator)
    return dataclasses.replace(rounds, median=value)
