"""How the tests of a problem hand in a source and read the verdicts."""

from __future__ import annotations

from typing import Any

from autograder.checking.runner import CheckResult, run_checks
from autograder.sandbox.student import LocalStudent


def student_of(source: str) -> LocalStudent:
    """A student whose notebook has one cell."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "cell 1", "exec"), namespace)
    return LocalStudent(namespace)


def lost(results: list[CheckResult]) -> list[CheckResult]:
    """The results that are not full marks; an error of the grader is no verdict."""
    assert not [r for r in results if r.status in ("grader-error", "not-run")], results
    return [r for r in results if r.status != "passed"]


def checked(problem: str, source: str, task: str, seed: int = 7) -> list[CheckResult]:
    """The checks in which a source loses points, in one task."""
    return lost(run_checks(problem, student_of(source), seed, task=task))
