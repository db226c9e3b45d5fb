"""The saved study as tables and figures: whole, and with the saved numbers in them."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from chapter4.study import charts, labels, recipe, saved, summary, tables
from chapter4.study.known import CASES, known_methods

STUDY = saved()


def rows_of(text: str) -> list[list[str]]:
    """The body of a table, cell by cell, without its directive, head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_words_for_everything_that_is_measured() -> None:
    assert set(labels.METHOD_NAMES) == set(known_methods())
    assert set(labels.CASE_NAMES) == set(CASES)
    fills = {f"{fill}_{cell}" for fill, cell in recipe.PHOTOS["fills"]}
    assert set(labels.FILL_NAMES) == fills
    assert len(labels.STAGE_NAMES) == len(recipe.RANDOMIZATION["stages"])
    assert set(labels.USES) == set(recipe.PHOTO_METHODS)
    assert set(labels.KIND_NAMES) == set(recipe.RECIPES)


def test_a_table_in_myst() -> None:
    made = tables.table("Words", "tab-x", ("a", "b"), [("1", "2")], stacked=True)
    assert (
        made == "```{table} Words\n:name: tab-x\n:class: stacked\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n```"
    )


def test_the_comparison_has_times_where_they_were_measured() -> None:
    items = {k: v for k, v in STUDY["items"].items() if not k.startswith("cost/")}
    without: dict[str, Any] = {**STUDY, "items": dict(items)}
    plain = rows_of(tables.comparison_table(without))
    assert [row[0] for row in plain] == [
        labels.METHOD_NAMES[name] for name in recipe.PHOTO_METHODS
    ]
    assert plain[0][1] == "1 gradient"
    assert plain[2][1] == "50 gradients"
    items["cost/cat/smooth_grad"] = {"gradients_of_time": 35.0}
    timed = rows_of(tables.comparison_table({**STUDY, "items": items}))
    assert timed[2][1] == "50 gradients; time in gradients: 35"
    assert timed[0] == plain[0]


def test_hits_stand_in_the_table() -> None:
    rows = rows_of(tables.known_answers_table(STUDY))
    by_name = {row[0]: row[1:] for row in rows}
    found = STUDY["items"]["known/logo_mistakes/gradcam"]
    assert by_name["Grad-CAM"][0].startswith(f"{found['accuracy']:.0%} (")
    assert len(rows) == len(known_methods()) + 1


@pytest.mark.parametrize("what", ["deletion", "insertion"])
def test_orders_that_beat_the_random_ones_and_both_controls_are_counted(
    what: str,
) -> None:
    rows = rows_of(tables.beaten_table(STUDY, what))
    sign, items = 1 if what == "deletion" else -1, STUDY["items"]
    for name, row in zip((*recipe.PHOTO_METHODS, "centre"), rows, strict=True):
        own = "centre_" if name == "centre" else ""
        for which, cell in zip(labels.FILL_NAMES, row[1:], strict=True):
            random = both = 0
            for photo in recipe.photo_names():
                of_map = items.get(f"photo/{photo}/{name}", {})
                areas = items[f"controls/{photo}"] | of_map
                area, chance, centre = (
                    sign * areas[f"{who}{what}_{which}"]
                    for who in (own, "random_", "centre_")
                )
                random += area < chance
                both += area < min(chance, centre)
            assert cell == (f"{random}" if own else f"{random} / {both}")


def test_equal_error_says_where_none_was_reached() -> None:
    fixed = {"error": 0.1, "images_backward": 50}
    near, far = (
        {
            "gausslegendre_50": fixed,
            "adaptive": {"error": error, "images_backward": 20},
        }
        for error in (0.09, 0.11)
    )
    study = {"items": {"reference/a": {"logit": near}, "reference/b": {"logit": far}}}
    assert rows_of(tables.equal_error_table(study, "logit")) == [
        ["a", "10.0%", "20", "9.0%", "2.5"],
        ["b", "10.0%", "none reached it", "", ""],
    ]


def test_every_item_stands_in_the_machines_table() -> None:
    rows = rows_of(tables.machines_table(STUDY))
    assert sum(int(row[1]) for row in rows) == len(STUDY["items"])


def test_claims_without_a_measurement_have_no_number() -> None:
    items = {k: v for k, v in STUDY["items"].items() if not k.startswith("cost/")}
    rows = rows_of(tables.claims_table({**STUDY, "items": items}))
    (cost,) = (row for row in rows if row[0].startswith("`gradcam-cost`"))
    assert cost[2:] == ["", "not measured"]


def assert_bars(drawn: Any, wanted: list[summary.Spread], *, across: bool) -> None:
    """The points are the medians, and the bars reach from quartile to quartile."""
    line, _, (bars,) = drawn
    points = line.get_xdata() if across else line.get_ydata()
    assert list(points) == [each.median for each in wanted]
    ends = [segment[:, 0 if across else 1] for segment in bars.get_segments()]
    assert ends == [pytest.approx([each.low, each.high]) for each in wanted]


def test_figures_draw_the_saved_numbers() -> None:
    left, right = charts.known_answers_figure(STUDY).axes
    points = [
        np.ravel(line.get_xdata())[0] for line in left.lines if line.get_marker() == "o"
    ]
    assert points == [
        STUDY["items"][f"known/logo_mistakes/{name}"]["accuracy"]
        for name in known_methods()
        if name not in ("random", "centre")
    ]
    assert right.get_ylim() == left.get_ylim()

    deletion, _ = charts.margins_figure(STUDY).axes
    names = (*recipe.PHOTO_METHODS, "centre")
    for drawn, which in zip(deletion.containers, recipe.FILLS, strict=True):
        wanted = [summary.margins(STUDY, name, "deletion", which) for name in names]
        assert_bars(drawn, [each.spread for each in wanted], across=True)

    (axes,) = charts.randomization_figure(STUDY).axes
    for drawn, name in zip(axes.containers, recipe.RANDOMIZED_METHODS, strict=True):
        assert_bars(drawn, summary.randomized(STUDY, name), across=False)

    references = [v for k, v in STUDY["items"].items() if k.startswith("reference/")]
    logit, _ = charts.equal_error_figure(STUDY).axes
    drawn = [
        tuple(point)
        for line in logit.lines
        if line.get_marker() == "D"
        for point in np.column_stack(line.get_data())
    ]
    assert sorted(drawn) == sorted(
        (rule["images_backward"], rule["error"])
        for item in references
        for name, rule in item["logit"].items()
        if name.startswith("adaptive")
    )
    assert plt.get_fignums() == []
