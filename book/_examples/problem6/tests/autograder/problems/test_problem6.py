"""Problem 6: every known mistake loses points and reads its own hint."""

from __future__ import annotations

import pytest

from autograder.checking.runner import CheckResult, run_checks
from autograder.course.source import read_problem
from autograder.problems.problem6.instructors import mistakes as catalogue
from autograder.sandbox.student import LocalStudent


def lost(source: str) -> list[CheckResult]:
    """The checks that a submission does not pass."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(source, names)
    results = run_checks("problem6", LocalStudent(names), seed=7)
    assert len(results) == 3
    return [result for result in results if result.status != "passed"]


def test_the_sample_answer_loses_nothing() -> None:
    assert lost("import torch\n" + read_problem("problem6").answer("gap")) == []


@pytest.mark.parametrize("mistake", catalogue.HINTS["gap"])
def test_a_mistake_loses_points_and_is_named(mistake: str) -> None:
    failed = lost(catalogue.wrong_submission("gap", mistake))
    assert {result.status for result in failed} == {"failed"}
    assert {result.hint for result in failed} == {catalogue.HINTS["gap"][mistake]}


def test_the_variants_code_without_a_mistake_is_right() -> None:
    assert lost(catalogue.wrong_submission("gap", "")) == []
