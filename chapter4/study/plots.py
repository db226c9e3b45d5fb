"""The saved study as figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chapter4.plots import finish, new_figure
from chapter4.study.known import CASES, CONTROLS, known_methods
from chapter4.study.recipe import PHOTO_METHODS, PHOTOS, RANDOMIZED_METHODS
from chapter4.study.summary import Spread, margins, randomized
from chapter4.study.words import CASE_NAMES, FILL_NAMES, METHOD_NAMES, STAGE_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every kind of colour vision; a marker each, for
# print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"


def known_answers_figure(study: Mapping[str, Any]) -> Figure:
    """Pointing-game accuracy of every method on each kind of case, with its 95 per cent
    interval, and chance as a line.
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
    """How much better than random orders each method's order is, by fill, with quartiles
    over the photos; the centre's order for comparison.
    """
    names = (*PHOTO_METHODS, "centre")
    figure, ((*panels,),) = new_figure(1, 2, (5.0, 4.7))
    for axes, what in zip(panels, ("deletion", "insertion"), strict=True):
        for place, (fill, cell) in enumerate(PHOTOS["fills"]):
            which = f"{fill}_{cell}"
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
    """Rank correlation with the trained model's map, stage by stage, with quartiles over
    the photos.
    """
    figure, ((axes,),) = new_figure(1, 1, (9.0, 4.2))
    for place, name in enumerate(RANDOMIZED_METHODS):
        _bars(axes, randomized(study, name), place, METHOD_NAMES[name], join=True)
    axes.axhline(0, color=GREY, linewidth=0.9)
    axes.set_xticks(range(len(STAGE_NAMES)), STAGE_NAMES, fontsize=9)
    axes.set_xlabel("random weights from the logits down to here")
    axes.set_ylabel("rank correlation of |map|")
    axes.set_ylim(-0.3, 1.05)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return finish(figure)


def equal_error_figure(study: Mapping[str, Any]) -> Figure:
    """Error of Integrated Gradients against gradients: Gauss-Legendre as a line a photo,
    the adaptive rule as a point a photo.
    """
    references = [
        item for key, item in study["items"].items() if key.startswith("reference/")
    ]
    figure, ((*panels,),) = new_figure(1, 2, (4.2, 3.8))
    for axes, score in zip(panels, ("logit", "probability"), strict=True):
        for number, item in enumerate(references):
            rules = item[score]
            fixed = sorted(
                (rule["images_backward"], rule["error"])
                for name, rule in rules.items()
                if name.startswith("gausslegendre_")
            )
            axes.plot(
                *zip(*fixed, strict=True),
                "-o",
                color=COLOURS[0],
                alpha=0.6,
                markersize=4,
                label="Gauss-Legendre" if not number else None,
            )
            axes.plot(
                [rules["adaptive"]["images_backward"]],
                [rules["adaptive"]["error"]],
                "D",
                color=COLOURS[1],
                label="adaptive rule" if not number else None,
            )
        axes.set(xscale="log", yscale="log", title=f"Of the {score}")
        axes.set_xlabel("gradients")
        axes.set_xticks([25, 50, 100], ["25", "50", "100"], minor=False)
        axes.set_xticks([], minor=True)
        ticks = [0.02, 0.05, 0.1, 0.2, 0.5]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.set_ylim(0.018, 0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("relative error of the map")
    panels[0].legend(fontsize=9)
    return finish(figure)


def _bars(
    axes: Axes,
    found: list[Spread],
    place: int,
    label: str,
    *,
    across: bool = False,
    join: bool = False,
) -> None:
    """Medians with quartiles, moved a little by `place` so that none hides another."""
    count = len(PHOTOS["fills"]) if across else len(RANDOMIZED_METHODS)
    where = np.arange(len(found)) + (place - (count - 1) / 2) * (0.5 / count)
    values = np.array([each.median for each in found])
    spans = np.abs([[s.low, s.high] for s in found] - values[:, None]).T
    axes.errorbar(
        *((values, where) if across else (where, values)),
        **{"xerr" if across else "yerr": spans},
        fmt=MARKERS[place],
        linestyle="-" if join else "none",
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
