"""Many submissions of every kind: everybody gets what is due, and twice the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import classes, grading
from targets import TARGETS

FULL = 20.0


@pytest.fixture(scope="module")
def fifty() -> list[classes.HandedIn]:
    return classes.class_of(50, Path("secret"))


def fair_rows(submissions: list[classes.HandedIn]) -> dict[tuple[str, str], Any]:
    """A table in which all is as it must be."""
    scores = {"right": FULL, "flawed": 7.0, "mutant": 12.0}
    told = {}
    for each in submissions:
        score = scores.get(each.kind, 0.0)
        if each.kind == "hostile":
            score = each.due * scores["flawed"]
        status = each.due if each.kind == "odd" else "graded"
        row = {"status": status, "auto_score": f"{score:g}", "auto_max": f"{FULL:g}"}
        told[each.student, each.problem] = row
    return told


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("right", {"auto_score": "19.5"}),
        ("right", {"status": "timed-out"}),
        ("flawed", {"auto_score": "20"}),
        ("mutant", {"auto_score": "20"}),
        ("mutant", {"status": "crashed"}),
        ("hostile", {"auto_score": "7.1"}),
        ("hostile", {"status": "grader-error", "auto_score": ""}),
        ("odd", {"status": "grader-error"}),
        ("odd", {"auto_score": "0.5"}),
    ],
)
def test_an_unfair_row_is_told(
    fifty: list[classes.HandedIn], kind: str, change: dict[str, str]
) -> None:
    rows = fair_rows(fifty)
    assert classes.unfair(fifty, rows) == []
    wronged = next(s for s in fifty if s.kind == kind)
    rows[wronged.student, wronged.problem] |= change
    (line,) = classes.unfair(fifty, rows)
    assert f"{wronged.student} {wronged.problem} {kind}" in line


def test_in_the_large_class_is_everything() -> None:
    met = {(s.problem, s.kind, s.name) for s in classes.class_of(5000, Path("secret"))}
    cheats = {name for _, kind, name in met if kind == "hostile"}
    for problem in TARGETS:
        decks = classes.decks(problem, Path("secret"))
        assert cheats == {name for name, *_ in decks.pop("hostile")}
        for kind, cards in decks.items():
            assert {(problem, kind, name) for name, *_ in cards} <= met


@pytest.mark.slow
def test_two_hundred_get_what_is_due_in_any_order(
    tmp_path: Path, needs_bubblewrap: None, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the expected value")
    assert grading.very_many(200, tmp_path), capsys.readouterr().out
    assert secret.read_text() == "the expected value"


@pytest.mark.slow
def test_plain_nbgrader_gives_honest_notebooks_the_same_points(
    tmp_path: Path, needs_bubblewrap: None, capsys: pytest.CaptureFixture[str]
) -> None:
    grading.beside_nbgrader(5, tmp_path)
    assert "points that differ: none" in capsys.readouterr().out
