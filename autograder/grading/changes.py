"""What has changed in the grades since the last run, by its ``grades.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autograder.grading.export import Row, number
from autograder.grading.state import differences
from autograder.grading.submissions import shown

MOST_LINES = 20  # in the terminal
JUDGED = ("graded", "needs-hand-grading")


@dataclass(frozen=True)
class Grade:
    """A row's grade.

    Attributes:
        status: The row's status.
        score: The points, with those given by hand; None where nobody has judged it.
        auto_score: The checks' points.
        basis: A part of what decided the checks' points -> what stands for it.
        whole: Whether the gradebook could be asked for the points given by hand.
    """

    status: str
    score: float | None
    auto_score: float | None
    basis: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True)
class Change:
    """A grade that is another one than in the last run.

    Attributes:
        student: The student's name, as it is shown.
        problem: The problem, such as "problem2".
        before: The grade of the last run.
        after: The grade now.
        why: What made the difference, or "" where the states say it.
    """

    student: str
    problem: str
    before: Grade
    after: Grade
    why: str

    def __str__(self) -> str:
        points = [said_points(grade) for grade in (self.before, self.after)]
        states = [grade.status for grade in (self.before, self.after)]
        if states[0] == states[1]:
            said = f"{points[0]} -> {points[1]} points, {states[1]}"
        else:
            both = zip(points, states, strict=True)
            said = " -> ".join(f"{p} points, {state}" for p, state in both)
        why = f" ({self.why})" if self.why else ""
        return f"{self.student} {self.problem}: {said}{why}"

    def plain(self) -> dict[str, Any]:
        """The change as JSON, without what decided the grades."""
        told = asdict(self)
        for grade in (told["before"], told["after"]):
            del grade["basis"], grade["whole"]
        return told


@dataclass(frozen=True)
class Changes:
    """The grades that have changed, and how many rows have come and gone.

    Attributes:
        grades: The grades that have changed, in the order of the rows.
        new: How many rows the last run did not have.
        gone: How many rows of the last run there are no more.
    """

    grades: Sequence[Change] = ()
    new: int = 0
    gone: int = 0

    def lines(self) -> list[str]:
        """What a terminal shows of it."""
        said = [str(change) for change in self.grades[:MOST_LINES]]
        if len(self.grades) > MOST_LINES:
            said.append(f"and {len(self.grades) - MOST_LINES} more; see index.html")
        return said + ([self.counts] if self.counts else [])

    @property
    def counts(self) -> str:
        """How many rows have come and gone, or "" if none has."""
        told = {"new": self.new, "gone": self.gone}
        said = ", ".join(f"{count} {word}" for word, count in told.items() if count)
        return f"rows since the last run: {said}" if said else ""


def last_grades(output: Path) -> dict[tuple[str, str], Grade] | None:
    """The grades of the last run: (student, problem) -> its grade.

    None if there are none. Somebody else may have written the file, so what is not of
    the form of ours is none.
    """
    try:
        told = json.loads((output / "grades.json").read_bytes())
        return {(s["student"], s["problem"]): _grade(s) for s in told["submissions"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _grade(told: Mapping[str, Any]) -> Grade:
    score, auto_score = (
        None if told[name] is None else float(told[name])
        for name in ("score", "auto_score")
    )
    basis = dict(told.get("basis", {}))  # which an earlier version did not write
    whole = not told.get("gradebook_problem")
    return Grade(shown(told["status"]), score, auto_score, basis, whole)


def changes_of(
    before: Mapping[tuple[str, str], Grade] | None, rows: Sequence[Row]
) -> Changes:
    """What differs between the last run's grades and these rows.

    Args:
        before: What ``last_grades`` found before this run wrote its own.
        rows: All rows of this run.
    """
    if before is None:
        return Changes()
    now = {
        (row.record.student, row.record.problem): Grade(
            row.status, row.score, row.record.auto_score, row.record.basis, not row.note
        )
        for row in rows
    }
    found = [
        Change(*name, before[name], grade, _why(before[name], grade))
        for name, grade in now.items()
        if name in before and _differ(before[name], grade)
    ]
    return Changes(found, len({*now} - {*before}), len({*before} - {*now}))


def _differ(before: Grade, after: Grade) -> bool:
    if not (before.whole and after.whole):
        return before.auto_score != after.auto_score
    told = [(grade.status, grade.score, grade.auto_score) for grade in (before, after)]
    return told[0] != told[1]


def _why(before: Grade, after: Grade) -> str:
    if not before.basis or not after.basis:
        return ""
    parts = differences(before.basis, after.basis)
    if parts:
        return f"{' and '.join(parts)} changed"
    by_hand = {before.status, after.status} <= {*JUDGED}
    if by_hand and before.auto_score == after.auto_score:
        return "points given by hand"
    return "graded again"


def said_points(grade: Grade) -> str:
    """A grade's points in words, such as "25 (20 by the checks)" or "no"."""
    if grade.score is None:
        return "no"
    said = number(grade.score)
    if grade.score == grade.auto_score:
        return said
    return f"{said} ({number(grade.auto_score)} by the checks)"
