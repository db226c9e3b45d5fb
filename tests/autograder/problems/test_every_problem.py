"""Every problem: each known mistake loses points and reads its own hint.

Right answers lose nothing.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from accepted import right_submissions
from submissions import checked, lost, student_of
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
# Whoever divides by a map's own maximum reads that, too.
ALSO = {
    ("problem5", "grad-cam", "NaN on a blank map"): "scaled to 1",
    ("problem5", "both-maps", "NaN on a blank map"): "maps scaled separately",
}
# problem -> a task and a mistake in it, and how many checks it fails when the answer is
# also three times too large.
TWO = {
    "problem1": ("roughness", "squared differences", 2),
    "problem2": ("smooth-grad", "uniform noise", 3),
    "problem3": ("integrated-gradients", "softmax instead of logit", 4),
    "problem5": ("grad-cam", "no weights", 3),
}
# Mistakes that cost nothing, besides those in what a person reads.
FREE = [("problem2", "input changed in place"), ("problem2", "model left in eval mode")]
# A mistake that ends a call besides showing in the numbers of another.
RAISES = [("problem3", "cell is the number of cells")]
# problem -> a right answer and a mistake in a task, for the sandbox to run.
INSIDE = {
    "problem1": ("Captum", "roughness", "squared differences"),
    "problem2": ("torch.func", "smooth-grad", "input changed in place"),
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


def listed(table: str) -> list[tuple[str, str, str]]:
    return [
        (problem, task, name)
        for problem, known in KNOWN.items()
        for task, names in getattr(known, table).items()
        for name in names
    ]


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


@pytest.mark.parametrize(("problem", "task", "name"), listed("HINTS"))
def test_a_mistake_loses_points_and_is_named(
    problem: str, task: str, name: str
) -> None:
    source = KNOWN[problem].wrong_submission(task, name)
    failed = checked(problem, source, task)
    assert sum(r.points - r.earned for r in failed) > 0
    hints = {r.hint for r in failed if r.status == "failed"}
    assert hints == {KNOWN[problem].HINTS[task][name]}
    assert (problem, name) in RAISES or {r.status for r in failed} == {"failed"}


@pytest.mark.parametrize(("problem", "task", "name"), listed("TOLD"))
def test_a_mistake_that_no_number_shows_is_told(
    problem: str, task: str, name: str
) -> None:
    known = KNOWN[problem]
    failed = checked(problem, known.wrong_submission(task, name), task)
    free = points_of(problem)[task] == 0 or (problem, name) in FREE
    assert (sum(r.points - r.earned for r in failed) == 0) == free
    assert any(known.TOLD[task][name] in r.message for r in failed)
    also = known.HINTS[task].get(ALSO.get((problem, task, name), ""), "")
    assert {r.hint for r in failed} <= {"", also}, "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize(
    ("problem", "task"),
    [(problem, task) for problem, known in KNOWN.items() for task in known.FUNCTIONS],
)
def test_the_variants_code_without_a_mistake_is_right(problem: str, task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    source = KNOWN[problem].wrong_submission(task, "")
    assert checked(problem, source, task) == []


@pytest.mark.parametrize("problem", TWO)
def test_two_mistakes_at_once_get_no_wrong_hint(problem: str) -> None:
    """No listed mistake explains both; the checks' own words remain."""
    task, mistake, least = TWO[problem]
    name, _ = KNOWN[problem].FUNCTIONS[task]
    source = KNOWN[problem].wrong_submission(task, mistake)
    source += f"one = {name}\ndef {name}(*a):\n    return 3 * one(*a)\n"
    failed = checked(problem, source, task, seed=5)
    assert len(failed) >= least
    assert not any(r.hint for r in failed)


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
