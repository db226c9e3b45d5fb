"""The saved study as figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chapter4.plots.figures import finish, new_figure
from chapter4.study.known import CASES, CONTROLS, known_methods
from chapter4.study.labels import CASE_NAMES, FILL_NAMES, METHOD_NAMES, STAGE_NAMES
from chapter4.study.recipe import FILLS, PHOTO_METHODS, RANDOMIZED_METHODS
from chapter4.study.summary import Spread, margins, randomized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours can be distinguished with every kind of colour vision. Each
# has a marker of its own, for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"


def known_answers_figure(study: Mapping[str, Any]) -> Figure:
    """Pointing-game accuracy of every method on each kind of case.

    Each accuracy has its 95 per cent interval, and a line shows chance.
    """
    names = known_methods()
    figure, ((*panels,),) = new_figure(1, len(CASES), (4.8, 4.3))
    for axes, case in zip(panels, CASES, strict=True):
        items = [study["items"][f"known/{case}/{name}"] for name in names]
        for row, (name, item) in enumerate(zip(names, items, strict=True)):
            control = name in CONTROLS
            colour = GREY if control else COLOURS[0]
            axes.plot(item["interval"], [row, row], color=colour)
            axes.plot([item["accuracy"]], [row], "s" if control else "o", color=colour)
        chance = items[0]["chance"]
        axes.axvline(chance, color=COLOURS[1], linestyle="--", label="chance")
        axes.set(xlim=(-0.02, 1.02), xlabel="hits, share of 200 pictures")
        axes.set_title(CASE_NAMES[case], fontsize=11)
        axes.legend(loc="lower right", fontsize=9)
        _rows(axes, names)
    panels[1].tick_params(labelleft=False)
    return finish(figure)


def margins_figure(study: Mapping[str, Any]) -> Figure:
    """How much better than random orders each method's order is, by fill.

    The points are medians over the photos, with quartiles. The centre's order is there
    for comparison.
    """
    names = (*PHOTO_METHODS, "centre")
    figure, ((*panels,),) = new_figure(1, 2, (5.0, 4.7))
    for axes, what in zip(panels, ("deletion", "insertion"), strict=True):
        for place, which in enumerate(FILLS):
            found = [margins(study, name, what, which).spread for name in names]
            _bars(axes, found, place, FILL_NAMES[which], across=True)
        axes.axvline(0, color=GREY, linewidth=0.9)
        axes.set_title(what.capitalize())
        axes.set_xlabel("area better than random orders,\nshare of the probability")
        _rows(axes, names)
    panels[1].tick_params(labelleft=False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return finish(figure)


def randomization_figure(study: Mapping[str, Any]) -> Figure:
    """Rank correlation with the trained model's map, stage by stage.

    The points are medians over the photos, with quartiles.
    """
    figure, ((axes,),) = new_figure(1, 1, (9.0, 4.2))
    for place, name in enumerate(RANDOMIZED_METHODS):
        _bars(axes, randomized(study, name), place, METHOD_NAMES[name])
    axes.axhline(0, color=GREY, linewidth=0.9)
    axes.set_xticks(range(len(STAGE_NAMES)), STAGE_NAMES, fontsize=9)
    axes.set_xlabel("random weights from the logits down to here")
    axes.set_ylabel("rank correlation of |map|")
    axes.set_ylim(-0.3, 1.05)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return finish(figure)


def equal_error_figure(study: Mapping[str, Any]) -> Figure:
    """Error of Integrated Gradients against the number of gradients.

    It compares Gauss-Legendre with the adaptive rule. Each photo has a line.
    """
    references = [
        item for key, item in study["items"].items() if key.startswith("reference/")
    ]
    kinds = (("gausslegendre", "o", COLOURS[0]), ("adaptive", "D", COLOURS[1]))
    figure, ((*panels,),) = new_figure(1, 2, (4.6, 4.0))
    for axes, score in zip(panels, ("logit", "probability"), strict=True):
        for item in references:
            for kind, marker, colour in kinds:
                runs = sorted(
                    (rule["images_backward"], rule["error"])
                    for name, rule in item[score].items()
                    if name.startswith(kind)
                )
                style = {"alpha": 0.6, "linewidth": 1, "markersize": 4}
                axes.plot(
                    *zip(*runs, strict=True), marker=marker, color=colour, **style
                )
        axes.set(xscale="log", yscale="log", title=f"Of the {score}")
        axes.set_xlabel("gradients")
        axes.spines[["top", "right"]].set_visible(False)
    # Both panels share one scale, so that equal errors are at the same height.
    across = [limit for axes in panels for limit in axes.get_xlim()]
    up = [limit for axes in panels for limit in axes.get_ylim()]
    for axes in panels:
        for axis, ticks, limits in (
            (axes.xaxis, (5, 10, 25, 50, 100, 200), across),
            (axes.yaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1), up),
        ):
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_ticks([], minor=True)
            axis.set_view_interval(min(limits), max(limits), ignore=True)
    panels[0].set_ylabel("relative error of the map")
    for kind, marker, colour in kinds:
        name = "adaptive rule" if kind == "adaptive" else "Gauss-Legendre"
        panels[1].plot([], [], marker=marker, color=colour, label=name)
    panels[1].legend(fontsize=9)
    return finish(figure)


def _bars(
    axes: Axes,
    found: list[Spread],
    place: int,
    label: str,
    *,
    across: bool = False,
) -> None:
    """Medians with quartiles, moved a little by ``place`` so that all can be seen.

    The fills go across, without lines; the stages of randomisation go up, joined.
    """
    count = len(FILLS) if across else len(RANDOMIZED_METHODS)
    where = np.arange(len(found)) + (place - (count - 1) / 2) * (0.5 / count)
    low, median, high = np.array([(s.low, s.median, s.high) for s in found]).T
    spans = [median - low, high - median]
    x, y = (median, where) if across else (where, median)
    axes.errorbar(
        x,
        y,
        xerr=spans if across else None,
        yerr=None if across else spans,
        fmt=MARKERS[place],
        linestyle="none" if across else "-",
        linewidth=1.1,
        elinewidth=1.4,
        markersize=5,
        color=COLOURS[place],
        label=label,
    )


def _rows(axes: Axes, names: tuple[str, ...]) -> None:
    axes.set_yticks(range(len(names)), [METHOD_NAMES[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first method on top
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
