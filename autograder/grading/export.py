"""A run's results as files.

``grades.csv`` is a table, ``grades.json`` has everything, and ``junit.xml`` is for
other tools.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.checking.runner import points_of
from autograder.grading.state import DIGITS, Record, versions
from autograder.grading.submissions import shown
from autograder.sandbox.notebook import read_notebook

if TYPE_CHECKING:
    from autograder.grading.changes import Changes

COLUMNS = (
    "student",
    "problem",
    "score",
    "max_score",
    "auto_score",
    "auto_max",
    "status",
    "seconds",
)
# What a spreadsheet takes for the start of a formula: also in full width, behind blanks
# and characters that nobody sees, and after a semicolon where that separates columns.
_FORMULA = re.compile(r"(^|;)(?=[\s\u00ad\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠])")


@dataclass(frozen=True)
class Row:
    """One submission's result.

    Attributes:
        record: What the run found out about the submission.
        status: The record's status, or needs-hand-grading.
        score: The points, with those given by hand; None where nobody has judged the
            work.
        max_score: The most points that can be earned, with those given by hand.
        auto_max: The most points that the checks can give.
        by_hand: Whether somebody still has to grade a part of it.
        note: What went wrong in writing the gradebook, or "".
    """

    record: Record
    status: str
    score: float | None
    max_score: float
    auto_max: float
    by_hand: bool
    note: str = ""

    @property
    def hand_max(self) -> float:
        return round(self.max_score - self.auto_max, DIGITS)


def row(
    record: Record,
    *,
    hand_max: float,
    entry: Any = None,
    note: str = "",
) -> Row:
    """A record as a row.

    Args:
        record: What the run found out about a submission.
        hand_max: The points of the problem that a person gives.
        entry: What the gradebook says of the submission, or None. It has the last word
            on the score and on hand grading.
        note: What went wrong in writing the gradebook, or "".

    Returns:
        The row.
    """
    auto_max = round(sum(points_of(record.problem).values()), DIGITS)
    max_score = round(auto_max + hand_max, DIGITS)
    score, by_hand = record.auto_score, hand_max > 0
    if score is not None and entry is not None:
        score, by_hand = round(entry.score, DIGITS), entry.by_hand
        max_score = round(entry.max_score, DIGITS)
    if score is None:
        by_hand = False
    status = record.status
    if status == "graded" and by_hand:
        status = "needs-hand-grading"
    return Row(record, status, score, max_score, auto_max, by_hand, note)


def hand_points(release: Path | None) -> float:
    """The points that a person gives for a problem, as its release says."""
    if release is None:
        return 0.0
    return sum(_hand_points(cell) for cell in read_notebook(release)["cells"])


def _hand_points(cell: Mapping[str, Any]) -> float:
    ours = cell["metadata"].get("nbgrader", {})
    graded = ours.get("grade") and (ours["solution"] or cell["cell_type"] != "code")
    return float(ours["points"]) if graded or ours.get("task") else 0.0


def number(value: float | None) -> str:
    """Points as people write them."""
    return "" if value is None else f"{round(value, DIGITS):.{DIGITS + 4}g}"


def grades_csv(rows: Sequence[Row]) -> str:
    """The text of ``grades.csv``.

    A text that a spreadsheet would take for a formula gets an apostrophe here; in
    ``grades.json`` it does not.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for r in rows:
        table.writerow(
            [
                _no_formula(r.record.student),
                _no_formula(r.record.problem),
                number(r.score),
                number(r.max_score),
                number(r.record.auto_score),
                number(r.auto_max),
                _no_formula(r.status),
                f"{r.record.seconds:.2f}",
            ]
        )
    return text.getvalue()


def _no_formula(text: str) -> str:
    return _FORMULA.sub(r"\1'", text)


def grades_json(
    rows: Sequence[Row], run: Mapping[str, Any], changes: Changes | None = None
) -> str:
    """The text of ``grades.json``.

    It has the seed, the versions, every check of every submission, and which grades are
    others than in the last run.
    """
    content = {
        "format": 1,
        **{k: run[k] for k in ("seed", "started", "sandbox", "budget")},
        "versions": versions(),
        "changes": [change.plain() for change in changes.grades] if changes else [],
        "submissions": [
            {
                "student": r.record.student,
                "problem": r.record.problem,
                "status": r.status,
                "message": r.record.message,
                "score": r.score,
                "max_score": r.max_score,
                "auto_score": r.record.auto_score,
                "auto_max": r.auto_max,
                "needs_hand_grading": r.by_hand,
                "gradebook_problem": r.note,
                "seconds": r.record.seconds,
                # A row that was not chosen may be of a run with another seed.
                "seed": int(r.record.basis.get("seed", run["seed"])),
                "notebook_sha256": r.record.digest,
                "basis": dict(r.record.basis),
                "failed_cells": dict(r.record.failed_cells),
                "warnings": list(r.record.warnings),
                "checks": [asdict(check) for check in r.record.checks],
            }
            for r in rows
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def junit_xml(rows: Sequence[Row]) -> str:
    """The text of ``junit.xml``: a test suite per submission, a test case per check.

    A submission without checks has one test case, which is an error.
    """
    whole = ElementTree.Element("testsuites", name="autograder")
    for r in rows:
        suite = ElementTree.SubElement(
            whole,
            "testsuite",
            name=_plain(f"{r.record.problem} {r.record.student}"),
            time=f"{r.record.seconds:.3f}",
        )
        for check in r.record.checks:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"{r.record.problem}.{check.task}",
                name=_plain(check.title),
            )
            _verdict(case, check.status, check.message)
        if not r.record.checks:
            case = ElementTree.SubElement(
                suite, "testcase", classname=r.record.problem, name="submission"
            )
            _verdict(case, r.status, r.record.message)
        for count, kind in (
            ("tests", "testcase"),
            ("failures", "testcase/failure"),
            ("errors", "testcase/error"),
            ("skipped", "testcase/skipped"),
        ):
            suite.set(count, str(len(suite.findall(kind))))
    ElementTree.indent(whole)
    text = ElementTree.tostring(whole, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _verdict(case: ElementTree.Element, status: str, message: str) -> None:
    kind = {"passed": "", "failed": "failure", "not-run": "skipped"}.get(
        status, "error"
    )
    if kind:
        first = message.splitlines()[0] if message else status
        said = ElementTree.SubElement(
            case, kind, type=status, message=_plain(f"{status}: {first}")
        )
        said.text = _plain(message)


def _plain(text: str) -> str:
    """The text with escapes for what XML can't hold or a terminal would obey."""
    kept = text.replace("\ufffe", "").replace("\uffff", "")
    return "\n".join(map(shown, kept.split("\n")))
