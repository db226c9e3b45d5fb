"""The score along the paths as a small SVG plot, whose marks a script can move."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from chapter4.explore.sentences import score

Curve = tuple[Sequence[float], Sequence[float]]


def plot_parts(
    curves: Sequence[Curve], chosen: int, mark: tuple[float, float], label: str
) -> dict[str, dict[str, Any]]:
    """The attributes of the plot's parts for one chosen curve and one marked point.

    In the plot's units both axes go from 0 to 100, and the vertical one points down.

    Args:
        curves: The alphas and the scores of each path.
        chosen: The index of the chosen curve.
        mark: The alpha and the score of the marked point.
        label: The plot in words.

    Returns:
        The name of each part, with its attributes.
    """
    low, high = _range(curves)
    (x, y), (left, top) = mark, _place(*mark, low, high)
    return {
        "plot": {"aria-label": label},
        "curve": {"d": _line(curves[chosen], low, high)},
        "at": {"d": f"M{left} 0V100"},
        # A line of no length with a round end: a dot that keeps its shape in any frame.
        "dot": {"d": f"M{left} {top}h0"},
        "axis": {"words": f"α = {x:.3f}, F = {score(y)}"},
    }


def plot_html(parts: Mapping[str, Mapping[str, Any]], curves: Sequence[Curve]) -> str:
    """The plot as the given parts show it: all curves thin, the chosen one strong."""
    low, high = _range(curves)
    others = "".join(
        f'<path d="{_line(curve, low, high)}" style="stroke: var(--explorer-line);'
        ' stroke-width: 1"/>'
        for curve in curves
    )
    strong = {
        "at": "stroke: var(--explorer-focus); stroke-width: 1; stroke-dasharray: 4 3",
        "curve": "stroke: var(--explorer-ink); stroke-width: 2.5",
        "dot": "stroke: var(--explorer-focus); stroke-width: 10",
    }
    drawn = "".join(
        f'<path data-part="{name}" d="{parts[name]["d"]}" style="{style}"/>'
        for name, style in strong.items()
    )
    label = html.escape(parts["plot"]["aria-label"])
    return (
        '<div class="explorer-plot"><p class="explorer-name">Score F along the'
        f' path</p><div class="explorer-axis"><span>top: {high:.1f}</span><span'
        f' data-part="axis">{html.escape(parts["axis"]["words"])}</span></div><svg'
        f' data-part="plot" role="img" aria-label="{label}" viewBox="0 0 100 100"'
        f' preserveAspectRatio="none">{others}{drawn}</svg><div'
        ' class="explorer-axis"><span>α = 0, the baseline; bottom:'
        f" {low:.1f}</span><span>α = 1, the image</span></div></div>"
    )


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    every = [value for _, values in curves for value in values]
    low, high = min(every), max(every)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _place(alpha: float, value: float, low: float, high: float) -> tuple[str, str]:
    return f"{100 * alpha:.2f}", f"{100 * (high - value) / (high - low):.2f}"


def _line(curve: Curve, low: float, high: float) -> str:
    points = [_place(*point, low, high) for point in zip(*curve, strict=True)]
    return "M" + "L".join(" ".join(point) for point in points)
