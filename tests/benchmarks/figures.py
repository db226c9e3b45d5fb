"""What the methods cost against samples, steps and images, drawn from the benchmark's file."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import quartiles
from benchmarks.subjects import TITLES
from chapter4.plots import finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Part of the file -> title, label of the x axis, of the y axis.
PANELS = {
    "samples": ("SmoothGrad", "noisy copies", "seconds"),
    "steps": ("Integrated Gradients", "steps", "seconds"),
    "images": ("Vanilla gradients", "images in one batch", "milliseconds per image"),
}
MARKERS = "osD"


def scaling_figure(data: dict[str, Any]) -> Figure:
    """Three panels: seconds against noisy copies and against steps, with the line through the origin that fits best,
    and milliseconds per image against the images in a batch. Points are medians of the rounds, bars reach quartiles.

    data: the benchmark's file, as `json.load` gives it.
    """
    figure, axes = new_figure(1, len(PANELS), (3.6, 3.2))
    for panel, (what, words) in zip(axes[0], PANELS.items(), strict=True):
        title, label, unit = words
        models = [name for name in TITLES if f"{name}/{what}" in data["scaling"]]
        for model, marker in zip(models, MARKERS, strict=False):
            seconds = data["scaling"][f"{model}/{what}"]["seconds"]
            counts = sorted(int(n) for n in seconds)
            per = [1000 / n if what == "images" else 1.0 for n in counts]
            values = [
                [s * scale for s in seconds[str(n)]]
                for n, scale in zip(counts, per, strict=True)
            ]
            middle = [statistics.median(v) for v in values]
            low, high = zip(*(quartiles(v) for v in values), strict=True)
            bars = [
                [m - a for m, a in zip(middle, low, strict=True)],
                [b - m for m, b in zip(middle, high, strict=True)],
            ]
            name = TITLES[model].split(" (")[0]
            (drawn, *_) = panel.errorbar(
                counts, middle, yerr=bars, fmt=marker, ms=4, label=name
            )
            if what != "images":
                slope = through_origin(counts, middle)
                ends = [0, counts[-1]]
                panel.plot(ends, [slope * n for n in ends], color=drawn.get_color())
        panel.set(title=title, xlabel=label, ylabel=unit)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
    if axes[0][0].get_legend_handles_labels()[0]:
        axes[0][0].legend(frameon=False)
    return finish(figure)


def through_origin(x: list[int], y: list[float]) -> float:
    """The slope of the line through the origin with the least squares."""
    return sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)
