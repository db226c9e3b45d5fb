"""Problem 1: every known mistake loses points and reads its own hint.

Right answers lose nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import submissions
from accepted import right_submissions
from submissions import lost, student_of

from autograder.checking.runner import CheckResult, checks_of, points_of, run_checks
from autograder.problems.problem1 import checks as public
from autograder.problems.problem1.instructors import hidden_checks as hidden
from autograder.problems.problem1.instructors import mistakes
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import LocalStudent

WRONG = [(task, name) for task, hints in mistakes.HINTS.items() for name in hints]
TOLD = [(task, name) for task, told in mistakes.TOLD.items() for name in told]
RIGHT = right_submissions("problem1")
COURSE = Path(__file__).resolve().parents[3]
POINTS = {
    "resolution": 2,
    "roughness": 2,
    "same-grid": 1,
    "information": 3,
    "statements": 2,
    "words": 0,
}


def checked(task: str, mistake: str, seed: int = 7) -> list[CheckResult]:
    source = mistakes.wrong_submission(task, mistake)
    return submissions.checked("problem1", source, task, seed)


@pytest.mark.parametrize("seed", [3, 20])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_loses_nothing(name: str, seed: int) -> None:
    results = run_checks("problem1", student_of(RIGHT[name]), seed)
    assert [(r.id, r.message) for r in lost(results)] == []
    assert sum(r.earned for r in results) == 10


def test_there_are_at_least_eight_right_answers() -> None:
    assert len(RIGHT) >= 8
    assert len(set(RIGHT.values())) == len(RIGHT)


@pytest.mark.parametrize(("task", "name"), WRONG)
def test_a_mistake_loses_points_and_is_named(task: str, name: str) -> None:
    failed = checked(task, name)
    assert sum(r.points - r.earned for r in failed) > 0
    assert {r.hint for r in failed} == {mistakes.HINTS[task][name]}


@pytest.mark.parametrize(("task", "name"), TOLD)
def test_a_mistake_that_no_number_shows_is_told(task: str, name: str) -> None:
    failed = checked(task, name)
    assert sum(r.points - r.earned for r in failed) > 0
    assert any(mistakes.TOLD[task][name] in r.message for r in failed)
    assert not any(r.hint for r in failed), "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize("task", mistakes.FUNCTIONS)
def test_the_variants_code_without_a_mistake_is_right(task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    assert checked(task, "") == []


def test_a_misspelt_mistake_would_be_seen() -> None:
    """A name that the code lacks changes nothing, and would give the right answer."""
    source = mistakes.wrong_submission("resolution", "")
    for _, name in WRONG + TOLD:
        assert f'"{name}"' in source, name


def test_points_are_round_and_public_checks_stand_in_the_public_file() -> None:
    assert points_of("problem1") == POINTS
    shown = run_checks("problem1", LocalStudent({}), 1, public_only=True)
    assert {r.id for r in shown} == {c.id for c in checks_of("problem1") if c.public}


def test_two_mistakes_at_once_get_no_wrong_hint() -> None:
    """No listed mistake explains both; the checks' own words remain."""
    source = mistakes.wrong_submission("roughness", "squared differences")
    source += "one = total_variation\ndef total_variation(v):\n    return 3 * one(v)\n"
    failed = lost(run_checks("problem1", student_of(source), 5, task="roughness"))
    assert len(failed) == 2
    assert not any(r.hint for r in failed)


@pytest.mark.parametrize(
    ("wrong", "points"), [(0, 2), (1, 5 / 3), (3, 1), (6, 0), (10, 0)]
)
def test_each_statement_counts_once_guessing_is_worth_nothing(
    wrong: int, points: float
) -> None:
    labels = dict(hidden.RIGHT)
    for id in list(labels)[:wrong]:
        labels[id] = "neither" if labels[id] != "neither" else "both"
    student = LocalStudent({"statements": lambda: labels})
    results = run_checks("problem1", student, 1, task="statements")
    assert sum(r.earned for r in results) == pytest.approx(points)


@pytest.mark.parametrize("label", ["vanilla", "Grad-CAM", "both", "neither"])
def test_one_label_everywhere_earns_nothing(label: str) -> None:
    labels = dict.fromkeys(hidden.RIGHT, label)
    student = LocalStudent({"statements": lambda: labels})
    results = run_checks("problem1", student, 1, task="statements")
    assert sum(r.earned for r in results) == 0


@pytest.mark.parametrize(
    "reply",
    [
        "None",
        "[]",
        "'a'",
        "{}",
        "-1",
        "True",
        "1e308",
        "float('nan')",
        "[[1, 2]]",
        "[1, [2]]",
        "[1.5, 2]",
        "dict.fromkeys('abc', 2)",
        "np.ones((2, 3, 4))",
        "{f'S{i}': np.ones(3) for i in range(1, 11)}",
        "{f'S{i}': 'x' * 10_000 for i in range(12)}",
    ],
)
def test_odd_replies_earn_nothing_and_are_no_grader_errors(reply: str) -> None:
    names = [name for name, _ in mistakes.FUNCTIONS.values()] + ["in_own_words"]
    source = "import numpy as np\n"
    source += "".join(f"def {name}(*a): return {reply}\n" for name in names)
    results = run_checks("problem1", student_of(source), 5)
    assert len(lost(results)) == len(results)
    assert sum(r.earned for r in results) == 0
    assert all(r.message and "\n" not in r.message for r in results)
    assert max(len(r.message) for r in results) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "write two or three sentences"),
        ("many words " * 100, "two or three sentences do"),
        ("a sentence that says nothing of what was measured " * 3, "holds no number"),
        (3, "a text for each of"),
    ],
)
def test_the_form_of_ones_own_words(text: object, words: str) -> None:
    said = dict.fromkeys(("information", "resolution", "noise"), text)
    student = LocalStudent({"in_own_words": lambda: said})
    (result,) = run_checks("problem1", student, 1, task="words")
    assert result.status == "failed"
    assert words in result.message


@pytest.fixture(scope="module")
def notebook() -> Any:
    from autograder.course.release import source_notebook

    return source_notebook(COURSE / "solutions" / "problem1" / "problem1.md")


def test_the_notebook_has_the_checks_points_and_a_hint_for_each_task(
    notebook: Any,
) -> None:
    ours = [c.metadata["nbgrader"] for c in notebook.cells if "nbgrader" in c.metadata]
    assert {c["grade_id"]: c["points"] for c in ours if c["grade"]} == POINTS
    assert [c["points"] for c in ours if c["task"]] == [10]
    assert set(public.HINTS) == set(POINTS)


def test_every_statement_has_its_label(notebook: Any) -> None:
    """The page's text and sample answer are tested in tests/book/test_exercises.py."""
    from autograder.course.source import sample_answer

    text = "\n".join(c.source for c in notebook.cells)
    stated = re.findall(r"^\| (S\d+) \| .*? \|$", text, re.MULTILINE)
    assert stated == list(hidden.RIGHT)
    assert sample_answer(1).statements() == hidden.RIGHT


def test_the_solution_earns_every_point_in_the_sandbox(
    needs_bubblewrap: None, notebook: Any
) -> None:
    from autograder.sandbox.launcher import Sandbox
    from autograder.sandbox.notebook import cells_of, read_cells
    from autograder.sandbox.student import SandboxedStudent

    release = COURSE / "exercises" / "problem1" / "problem1.ipynb"
    untouched = read_cells(release)
    captum = [Cell("cell 1", RIGHT["Captum"])]
    with Sandbox(1, hide=[COURSE]) as launcher:
        earned = []
        for cells in (cells_of(notebook), captum, untouched):
            with SandboxedStudent(launcher, cells) as student:
                results = run_checks("problem1", student, seed=11)
                assert cells is untouched or not student.failed_cells
            earned.append(sum(r.earned for r in results))
            assert not [r for r in results if r.status == "grader-error"]
    assert earned == [10, 10, 0]
