"""Every problem: right answers lose nothing, odd replies are no mistakes of ours."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from accepted import right_submissions
from submissions import lost, student_of
from targets import TARGETS

from autograder.checking.runner import CheckResult, points_of, run_checks
from autograder.course import release
from autograder.problems.problem5 import cases, questions
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import Cell, read_cells
from autograder.sandbox.student import SandboxedStudent

PROBLEMS = [f"problem{number}" for number in range(1, 6)]
KNOWN: dict[str, Any] = {
    problem: importlib.import_module(
        f"autograder.problems.{problem}.instructors.mistakes"
    )
    for problem in PROBLEMS
}
RIGHT = {problem: right_submissions(problem) for problem in PROBLEMS}
# The right answers to problem 5 leave out what a person reads.
WORDS = """
def in_own_words():
    text = (
        "With the logo covered the answer is right, in 34 other places it stays "
        "wrong, as it was."
    )
    return {"suspect": text, "intervention": text, "doubt": text}
"""
# problem -> a right answer and a mistake in a task, for the sandbox to run.
INSIDE = {
    "problem1": ("Captum", "roughness", "squared differences"),
    "problem2": ("torch.func", "smooth-grad", "image changed in place"),
    "problem3": ("midpoints", "baselines", "zeros and ones"),
    "problem4": ("einsum", "sentence", "special: scaled to sum 1"),
    "problem5": ("hook and autograd.grad", "grad-cam", "no weights"),
}
# problem -> a task that is left to the package, and the code for it.
BORROWED = {
    "problem3": ("integrated-gradients", "from chapter4 import integrated_gradients"),
    "problem4": (
        "most-attended",
        "import chapter4\ndef most_attended(m): return chapter4.most_attended(m)",
    ),
}
ODD = (
    "None",
    "[]",
    "'a'",
    "{}",
    "-1",
    "0.0",
    "True",
    "1e308",
    "float('nan')",
    "[1, 2, 3, 4, 5]",
    "[[1, 2]]",
    "[[1], [2, 3]]",
    "[1, [2]]",
    "dict.fromkeys('abc', 2)",
    "np.ones((2, 3, 4))",
)
ODD_IN = {
    "problem1": (
        "[1.5, 2]",
        "{f'S{i}': np.ones(3) for i in range(1, 11)}",
        "{f'S{i}': 'x' * 10_000 for i in range(12)}",
    ),
    "problem2": (),
    "problem3": (
        "np.full((3, 11, 7), 1e300)",
        "a[0]",
        "dict.fromkeys(('black', 'white', 'blur', 'random'), a[0])",
        "dict.fromkeys(('black', 'white', 'blur', 'random'), 1e300 + a[0])",
        "dict.fromkeys(('darkest', 'brightest'), 1.0)",
        "dict.fromkeys(('darkest', 'brightest'), np.ones(3))",
    ),
    "problem4": ("{'words': 3}",),
    "problem5": (
        "dict.fromkeys(KEYS, 0)",
        "dict.fromkeys(KEYS, np.ones(3))",
        "dict.fromkeys(KEYS, 'mark')",
        "dict.fromkeys(KEYS, {'harmless': None})",
        "dict.fromkeys(KEYS, float('nan'))",
        "dict.fromkeys(KEYS, 'x' * 10_000)",
        "{'cause': 'mark', 'evidence': dict.fromkeys(CHANGES, 'much')}",
        "{'cause': 'mark', 'evidence': dict.fromkeys(CHANGES, float('inf'))}",
    ),
}
KEYS = (
    *questions.STANDING,
    *questions.MAPS,
    "covered",
    "elsewhere",
    "cause",
    "evidence",
)


every_problem = pytest.mark.parametrize("problem", PROBLEMS)


@pytest.mark.parametrize("seed", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("problem", "name"),
    [(problem, name) for problem, names in RIGHT.items() for name in names],
)
def test_a_right_answer_loses_nothing(problem: str, name: str, seed: int) -> None:
    source = RIGHT[problem][name] + WORDS * (problem == "problem5")
    results = run_checks(problem, student_of(source), seed)
    assert [(r.id, r.message) for r in lost(results)] == []
    assert sum(r.earned for r in results) == sum(points_of(problem).values())


@every_problem
def test_there_are_at_least_eight_right_answers(problem: str) -> None:
    assert len(set(RIGHT[problem].values())) == len(RIGHT[problem]) >= 8


@every_problem
def test_the_notebook_folds_the_hints_that_the_checks_show(problem: str) -> None:
    public = importlib.import_module(f"autograder.problems.{problem}.checks")
    path = release.COURSE / "solutions" / problem / f"{problem}.md"
    text = " ".join(path.read_text("utf-8").split())
    folded = re.findall(r"<summary>Hint \d</summary>(.*?)</details>", text)
    shown = [hint for hints in public.HINTS.values() for hint in hints]
    assert [hint.strip() for hint in folded] == shown
    assert [*public.HINTS] == [*points_of(problem)]


@pytest.mark.parametrize(
    ("problem", "reply"),
    [(problem, reply) for problem, own in ODD_IN.items() for reply in (*ODD, *own)],
)
def test_odd_replies_earn_nothing_and_are_no_mistakes_of_ours(
    problem: str, reply: str
) -> None:
    names = [name for name, _ in KNOWN[problem].FUNCTIONS.values()]
    source = f"import numpy as np\nKEYS = {KEYS}\n"
    source += f"CHANGES = {(*cases.REMOVES, cases.HARMLESS)}\n"
    for name in {*names, "in_own_words"}:
        source += f"def {name}(*a): return {reply}\n"
    results = run_checks(problem, student_of(source), 5)
    # The image itself has the form of attributions, and nothing more.
    earned = {r.id for r in results if r.earned}
    assert earned <= {"integrated-gradients/form"}
    assert earned == set() or reply in ("a[0]", "np.full((3, 11, 7), 1e300)")
    failed = lost(results)
    assert problem not in ("problem1", "problem5") or len(failed) == len(results)
    for result in failed:
        assert 0 < len(result.message) < 500
        assert "\n" not in result.message


@every_problem
def test_the_sandbox_gives_the_same_verdicts(
    problem: str, sandboxes: Callable[[int], Sandbox]
) -> None:
    right, task, name = INSIDE[problem]

    def inside(cells: Sequence[Cell]) -> list[CheckResult]:
        with SandboxedStudent(sandboxes(int(problem[-1])), cells) as student:
            return run_checks(problem, student, seed=11)

    solution = TARGETS[problem].solution
    wrong = KNOWN[problem].wrong_submission(task, name)
    for source in (solution, RIGHT[problem][right], wrong):
        found = inside([Cell("cell 1", source)])
        assert found == run_checks(problem, student_of(source), seed=11)
        tasks = {r.task for r in lost(found)} - {"words"}
        assert tasks == ({task} if source == wrong else set())
    untouched = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
    assert sum(r.earned for r in inside(read_cells(untouched))) == 0
    if problem in BORROWED:
        task, code = BORROWED[problem]
        results = inside([Cell("cell 1", solution), Cell("cell 2", code)])
        for result in (r for r in results if r.task == task):
            assert result.earned == 0
            assert "write your own" in result.message
