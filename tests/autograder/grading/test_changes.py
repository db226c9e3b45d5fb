"""Which grades have changed since the last run, as each output tells it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from autograder.checking.runner import CheckResult
from autograder.grading import changes
from autograder.grading.changes import Changes, changes_of, last_grades
from autograder.grading.export import Row, grades_json
from autograder.grading.html import summary_page
from autograder.grading.state import PARTS, Record

RUN = {"seed": 7, "started": "2026-01-02T03:04:05", "sandbox": True, "budget": 100}
BASIS = dict.fromkeys(PARTS, "0") | {"seed": "7"}
ATTACK = "<script>alert(1)</script>"


def row(
    student: str = "ada",
    earned: float | None = 14,
    by_hand: float = 0,
    status: str = "graded",
    **basis: str,
) -> Row:
    """A row with these points of the checks, and these of a person."""
    checks = ()
    if earned is not None:
        checks = (CheckResult("t/x", "X", 20, earned, "failed", "why", True),)
    of = "graded" if status == "needs-hand-grading" else status
    known = {} if status == "missing" else BASIS | basis
    record = Record(student, "problem2", of, basis=known, checks=checks)
    score = None if earned is None else earned + by_hand
    return Row(record, status, score, 25, 20, status == "needs-hand-grading")


def unread(row: Row) -> Row:
    """As a row is where the gradebook could not be asked: without a person's points."""
    return replace(row, score=row.record.auto_score, note="it is locked")


def changed(tmp_path: Path, before: list[Row], after: list[Row]) -> Changes:
    (tmp_path / "grades.json").write_text(grades_json(before, RUN), encoding="utf-8")
    return changes_of(last_grades(tmp_path), after)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (
            row(),
            row(earned=20, notebook="1"),
            "14 -> 20 points, graded (the notebook changed)",
        ),
        (
            row(),
            row(earned=0.1, checks="1", seed="8"),
            "14 -> 0.1 points, graded (the checks and the seed changed)",
        ),
        (
            row(status="timed-out", earned=3),
            row(libraries="1"),
            "3 points, timed-out -> 14 points, graded (the libraries changed)",
        ),
        (
            row(status="timed-out"),
            row(),
            "14 points, timed-out -> 14 points, graded (graded again)",
        ),
        (row(), row(earned=15), "14 -> 15 points, graded (graded again)"),
        (
            row(status="missing", earned=None),
            row(),
            "no points, missing -> 14 points, graded",
        ),
        (
            row(),
            row(status="missing", earned=None),
            "14 points, graded -> no points, missing",
        ),
        (
            row(status="needs-hand-grading"),
            row(by_hand=5),
            "14 points, needs-hand-grading -> 19 (14 by the checks) points, graded"
            " (points given by hand)",
        ),
        (
            row(earned=14, by_hand=5),
            row(earned=15, by_hand=4, checks="1"),
            "19 (14 by the checks) -> 19 (15 by the checks) points, graded"
            " (the checks changed)",
        ),
    ],
)
def test_a_change_says_what_was_what_is_and_why(
    tmp_path: Path, before: Row, after: Row, line: str
) -> None:
    found = changed(tmp_path, [before], [after])
    assert found.lines() == [f"ada problem2: {line}"]
    (told,) = json.loads(grades_json([after], RUN, found))["changes"]
    assert told["why"] in line
    assert told["before"] == {
        "status": before.status,
        "score": before.score,
        "auto_score": before.record.auto_score,
    }
    assert told["after"]["score"] == after.score


def test_equal_grades_are_no_change_whatever_else_differs(tmp_path: Path) -> None:
    again = row(notebook="1", checks="1")
    again = replace(again, record=replace(again.record, seconds=9, message="other"))
    found = changed(tmp_path, [row()], [again])
    assert found == Changes([])
    assert found.lines() == []
    assert json.loads(grades_json([again], RUN, found))["changes"] == []
    assert "Changed" not in summary_page([again], RUN, found)


def test_rows_that_come_and_go_are_counted(tmp_path: Path) -> None:
    before = [row("ada"), row("ben"), row("cem")]
    found = changed(tmp_path, before, [row("ada"), row("dia"), row("cem", 15)])
    assert [change.student for change in found.grades] == ["cem"]
    assert (found.new, found.gone) == (1, 1)
    assert found.lines()[-1] == "rows since the last run: 1 new, 1 gone"
    assert changed(tmp_path, before, [*before, row("eve")]).lines() == [
        "rows since the last run: 1 new"
    ]


def test_many_changes_do_not_flood_the_terminal(tmp_path: Path) -> None:
    before = [row(f"s{i:02}") for i in range(23)]
    after = [row(f"s{i:02}", 15) for i in range(23)]
    lines = changed(tmp_path, before, after).lines()
    assert len(lines) == changes.MOST_LINES + 1
    assert lines[-1] == "and 3 more; see index.html"


def test_the_first_run_has_nothing_to_compare(tmp_path: Path) -> None:
    assert last_grades(tmp_path) is None
    assert changes_of(None, [row()]) == Changes()


def told(**more: Any) -> dict[str, Any]:
    usual = {"student": "ada", "problem": "problem2", "status": "graded"}
    return {"submissions": [{**usual, "score": 14, "auto_score": 14, **more}]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        *(b"null", b"[]", b'{"submissions": 3}', b'{"submissions": [3]}'),
        json.dumps(told())[:-9].encode(),
        *(
            json.dumps(told(**odd)).encode()
            for odd in (
                {"student": ["ada"]},
                {"student": {}},
                {"status": 3},
                {"score": "many"},
                {"auto_score": []},
                {"basis": "5f2a"},
                {"basis": 3},
            )
        ),
    ],
)
def test_a_file_that_is_not_ours_has_no_grades(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "grades.json").write_bytes(content)
    assert last_grades(tmp_path) is None


def test_an_earlier_versions_grades_are_compared_too(tmp_path: Path) -> None:
    """They say nothing of why."""
    path = tmp_path / "grades.json"
    path.write_text(json.dumps(told(status="graded\x1b[31m")))
    found = changes_of(last_grades(tmp_path), [row(earned=15)])
    assert found.lines() == [
        "ada problem2: 14 points, graded\\x1b[31m -> 15 points, graded"
    ]


def test_each_row_tells_the_seed_by_which_it_was_graded() -> None:
    rows = [row("ada", seed="8"), row("ben"), row("cem", None, status="missing")]
    found = json.loads(grades_json(rows, RUN))["submissions"]
    assert [each["seed"] for each in found] == [8, 7, 7]
    assert found[0]["basis"] == BASIS | {"seed": "8"}


def test_the_teachers_page_has_a_table_of_changes(tmp_path: Path) -> None:
    before = [row(ATTACK), row("ben"), row("cem")]
    after = [row(ATTACK, 20, release="1"), row("ben"), row("dia")]
    found = changed(tmp_path, before, after)
    html = summary_page(after, RUN, found)
    assert "<script" not in html
    soup = BeautifulSoup(html, "html.parser")
    heading = soup.find("h2")
    assert heading is not None
    assert heading.text == "Changed since the last run"
    assert "Rows since the last run: 1 new, 1 gone." in soup.text
    table = soup.select_one("[aria-label='Changed since the last run'] tbody")
    assert table is not None
    cells = [[td.text for td in tr.select("td")] for tr in table.select("tr")]
    points = ["14 points, graded", "20 points, graded"]
    assert cells == [[ATTACK, "Problem 2", *points, "the release changed"]]
    assert len(soup.select("h2")) == 2


def test_a_gradebook_that_could_not_be_asked_changes_no_grade(tmp_path: Path) -> None:
    """Neither in the run where it failed, nor in the next one."""
    by_hand = row(by_hand=5)
    for before, after in ((by_hand, unread(by_hand)), (unread(by_hand), by_hand)):
        assert changed(tmp_path, [before], [after]).lines() == []
    worse = unread(row(earned=3, by_hand=5, notebook="1"))
    (line,) = changed(tmp_path, [by_hand], [worse]).lines()
    assert line.startswith("ada problem2: 19 (14 by the checks) -> 3 points")
