"""A student's own check: the public checks of a task, in words.

It works in the notebook and in a terminal.
"""

from __future__ import annotations

import importlib
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from autograder import progress
from autograder.checking.runner import CheckResult, points_of, reason_of, run_checks
from autograder.sandbox.student import LocalStudent

SEED = 4  # the same for everybody; grading takes others
WIDTH = 88

WORDS = {
    "passed": "PASSED",
    "failed": "FAILED",
    "error": "ERROR",
    "timeout": "TOO SLOW",
    "crashed": "CRASHED",
    "not-run": "NOT RUN",
    "grader-error": "OUR ERROR",
}
# How often each task's check has failed in this kernel: each failure shows the next
# hint.
_failures: Counter[tuple[str, str]] = Counter()


class Points(float):
    """The points of a failed task: a number for nbgrader, and a line for people."""

    def __new__(cls, earned: float, most: float) -> Points:
        made = super().__new__(cls, round(earned, 2))
        made.most = most
        return made

    most: float

    def _repr_html_(self) -> str:
        return f"{self:g} of {self.most:g} points of the public checks so far"


def self_check(
    problem: str, task: str, namespace: Mapping[str, Any], *, seed: int = SEED
) -> Points | None:
    """Run a task's public checks on the functions in ``namespace``.

    It prints what passed, what failed, why, and a hint.

    Args:
        problem: The problem, such as "problem2".
        task: The graded cell's name.
        namespace: ``globals()``.
        seed: Decides every input.

    Returns:
        None if all checks passed; otherwise the points that the public checks give,
        which is what nbgrader's ``validate`` looks at.
    """
    student = LocalStudent(namespace)
    results = run_checks(problem, student, seed, public_only=True, task=task)
    hidden = points_of(problem)[task] - sum(r.points for r in results)
    hint = ""
    if not all_passed(results):
        hint = next_hint(problem, task, _failures[problem, task])
        _failures[problem, task] += 1
    print(*student.warnings, report(results, hint=hint, hidden=hidden), sep="\n")
    print(*remembered(results, problem), sep="\n", end="")
    if all_passed(results):
        return None
    return Points(sum(r.earned for r in results), sum(r.points for r in results))


def remembered(results: Sequence[CheckResult], problem: str) -> list[str]:
    """Keep the results for the next session; what to say of it, as lines."""
    try:
        progress.remember(results, problem)
    except OSError as error:
        return [f"(This result can't be kept for your next session: {error})", ""]
    if not all_passed(results):
        return []
    done, of = progress.Progress().finished(problem)
    said = f"Task finished; {done} of {of} tasks of this problem are."
    return [f"{said} All: autograder progress", ""]


def all_passed(results: Sequence[CheckResult]) -> bool:
    return all(result.status == "passed" for result in results)


def next_hint(problem: str, task: str, number: int) -> str:
    """Hint ``number`` of a task, counted from 0; after the last one, the last again."""
    module = importlib.import_module(f"autograder.problems.{problem}.checks")
    hints: Sequence[str] = getattr(module, "HINTS", {}).get(task, ())
    return hints[min(number, len(hints) - 1)] if hints else ""


def report(results: Sequence[CheckResult], *, hint: str = "", hidden: float = 0) -> str:
    """The results as plain text of at most 88 columns, in words and not in colours.

    A check that is not public gets one sentence.

    Args:
        results: The verdicts of the checks.
        hint: A text to show at the end, or "".
        hidden: The points of the task's checks that are not among the results.

    Returns:
        The text, of several lines.
    """
    passed = sum(r.status == "passed" for r in results)
    earned, points = sum(r.earned for r in results), sum(r.points for r in results)
    lines = [
        f"{passed} of {len(results)} checks passed, {earned:g} of {points:g} points."
    ]
    said: set[str] = set()
    for result in results:
        head = (
            f"{WORDS[result.status]:9} {result.title} ({result.earned:g} of"
            f" {result.points:g})"
        )
        lines += textwrap.wrap(head, WIDTH, subsequent_indent=" " * 10)
        why = reason_of(result)
        if why:
            lines += _indented("why: ", "as above" if why in said else why)
            said.add(why)
        if result.public and result.hint:
            again = result.hint in said
            lines += _indented("likely: ", "as above" if again else result.hint)
            said.add(result.hint)
    if hidden:
        lines += textwrap.wrap(
            f"Public checks: {points:g} of the task's {points + hidden:g} points."
            f" Grading asks the same with other numbers, and more ({hidden:g}"
            f" point{'s' * (hidden != 1)}).",
            WIDTH,
        )
    if hint:
        lines += textwrap.wrap(f"Hint: {hint}", WIDTH, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _indented(label: str, text: str) -> list[str]:
    first, rest = " " * 10 + label, " " * (10 + len(label))
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)
