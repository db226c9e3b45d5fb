"""HTML: a page for each submission, and one page for the teacher.

A submission's page has what its student may see. The template engine escapes
everything. The pages load nothing from the network. No script runs, and none could,
because the pages forbid it. States are words. The pages can be read in the dark and on
a phone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from autograder.checking.runner import CheckResult, reason_of
from autograder.grading.changes import Changes, said_points
from autograder.grading.export import Row, number
from autograder.grading.submissions import page_of

WORDS = {
    "passed": "Passed",
    "failed": "Failed",
    "error": "Error",
    "timeout": "Too slow",
    "crashed": "Crashed",
    "not-run": "Not run",
    "grader-error": "Not checked",
}
STATUS = {
    "graded": ("Graded", ""),
    "needs-hand-grading": (
        "Partly graded",
        "The checks have run; a person still has to read the rest.",
    ),
    "timed-out": (
        "Timed out",
        (
            "Some of your code took too long and was stopped. What could be checked is"
            " below."
        ),
    ),
    "crashed": (
        "Crashed",
        "Some of your code ended its process. What could be checked is below.",
    ),
    "unreadable": (
        "Not readable",
        (
            "Your notebook could not be read, so nothing in it was graded. "
            "Open it in Jupyter, run it, save it and hand it in again."
        ),
    ),
    "missing": ("Missing", "Nothing to grade was found."),
    "grader-error": (
        "Not graded yet",
        (
            "Something went wrong on our side, not on yours. There are no points yet,"
            " and your teacher knows of it."
        ),
    ),
}


@dataclass(frozen=True)
class Line:
    """A check as its student sees it.

    Attributes:
        title: What is asked, in words.
        word: The state as a word.
        points: The points, such as "1 of 2 points".
        message: Why points were lost, or "". For a hidden check it reveals nothing of
            the check.
    """

    title: str
    word: str
    points: str
    message: str = ""


@dataclass(frozen=True)
class Task:
    """A task as its student sees it.

    Attributes:
        name: The task's name.
        points: The points of all its checks, such as "3 of 4 points".
        lines: The task's checks.
        hints: The known mistakes that explain the numbers. They are about the student's
            code, not about any check.
    """

    name: str
    points: str
    lines: list[Line]
    hints: list[str]


def student_page(row: Row, started: str) -> str:
    """The page of one submission."""
    checks = () if row.record.auto_score is None else row.record.checks
    # The public checks of all tasks come first, so the checks of one task are not side
    # by side.
    tasks = [
        _task(name, [check for check in checks if check.task == name])
        for name in dict.fromkeys(check.task for check in checks)
    ]
    word, meaning = STATUS[row.status]
    return _template("student.html").render(
        row=row,
        problem=_title(row.record.problem),
        word=word,
        meaning=meaning,
        # A traceback of the grader is not for students.
        why=row.record.message if row.status in ("unreadable", "missing") else "",
        tasks=tasks,
        started=_date(started),
    )


def _task(name: str, checks: list[CheckResult]) -> Task:
    hints = dict.fromkeys(check.hint for check in checks if check.hint)
    earned, most = sum(c.earned for c in checks), sum(c.points for c in checks)
    points = f"{number(earned)} of {number(most)} points"
    return Task(name, points, [_line(check) for check in checks], list(hints))


def _line(check: CheckResult) -> Line:
    points = f"{number(check.earned)} of {number(check.points)} points"
    word = WORDS[check.status]
    if check.status == "failed" and check.earned:
        word = "Partly passed"
    message = reason_of(check)
    if message and message == check.hint:
        message = "the known mistake that is named above."
    return Line(check.title, word, points, message)


def summary_page(
    rows: Sequence[Row], run: Mapping[str, Any], changes: Changes | None = None
) -> str:
    """The teacher's page.

    It has what changed since the last run, each problem in numbers, how many
    submissions fail each check, and all submissions.
    """
    by_problem: dict[str, list[Row]] = {}
    for row in rows:
        by_problem.setdefault(row.record.problem, []).append(row)
    return _template("summary.html").render(
        problems=[_numbers(name, own) for name, own in by_problem.items()],
        words={status: word for status, (word, _) in STATUS.items()},
        run=run,
        changes=changes or Changes(),
        points=said_points,
        started=_date(run["started"]),
        title=_title,
        link=lambda r: quote(page_of(r.record.student, r.record.problem).as_posix()),
    )


def _numbers(problem: str, rows: Sequence[Row]) -> dict[str, Any]:
    scores = [row.score for row in rows if row.score is not None]
    lost: Counter[tuple[str, str]] = Counter()
    asked: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for check in row.record.checks:
            asked[check.id, check.title] += 1
            lost[check.id, check.title] += check.earned < check.points
    tasks = list(dict.fromkeys(id.partition("/")[0] for id, _ in asked))
    return {
        "name": problem,
        "rows": rows,
        "states": Counter(row.status for row in rows),
        "median": number(median(scores)) if scores else "",
        "most": number(rows[0].max_score),
        "checks": sorted(
            (
                (id.partition("/")[0], title, lost[id, title], n)
                for (id, title), n in asked.items()
            ),
            key=lambda line: tasks.index(line[0]),
        ),
    }


def _date(started: str) -> str:
    return f"{started[:16].replace('T', ' ')} UTC"


def _title(problem: str) -> str:
    return problem.replace("problem", "Problem ")


@cache
def _template(name: str) -> Template:
    folder = Path(__file__).with_name("templates")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(name)
