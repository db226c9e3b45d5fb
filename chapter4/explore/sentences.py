"""What a map shows, in computed words: where it is bright, and how widely spread."""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "middle", "right")


def place(values: np.ndarray) -> str:
    """The ninth of a map (H, W) with the largest mean, such as "the upper left".

    The ninth in the middle is "the centre".
    """
    if min(values.shape) < 3:  # a ninth may cut through a cell
        values = values.repeat(3, axis=0).repeat(3, axis=1)
    means = [
        [part.mean() for part in np.array_split(row, 3, axis=1)]
        for row in np.array_split(values, 3, axis=0)
    ]
    row, column = divmod(int(np.argmax(means)), 3)
    if (row, column) == (1, 1):
        return "the centre"
    return f"the {ROWS[row]} {COLUMNS[column]}"


def half_share(values: np.ndarray) -> float:
    """The smallest share of a non-negative map's pixels that holds half of its sum.

    It is 0.5 for an even map, near 0 for a few bright dots, and nan for a blank one.
    """
    ranked = np.sort(values.ravel().astype(float))[::-1]
    if not ranked.any():
        return float("nan")
    count = int(np.searchsorted(np.cumsum(ranked), ranked.sum() / 2)) + 1
    return count / ranked.size


def described(values: np.ndarray, parts: str = "pixels") -> str:
    """Where a map is bright and how spread, in one clause for its alternative text.

    Args:
        values: The map (H, W), not negative.
        parts: What the map consists of, such as "pixels" or "cells".
    """
    if not values.any():
        return "blank, zero everywhere"
    if values.min() == values.max():
        return "the same everywhere"
    return (
        f"brightest in {place(values)}, half of its sum in {half_share(values):.0%} of"
        f" the {parts}"
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent where that is possible."""
    return f"{value:.3g}"


def score(value: float) -> str:
    """Two decimals, and no sign before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"
