"""Problem 3: every known mistake loses points and reads its own hint.

Right answers lose nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submissions
from accepted import right_submissions
from submissions import lost, student_of

from autograder.checking.runner import CheckResult, checks_of, points_of, run_checks
from autograder.problems.problem3 import checks as public
from autograder.problems.problem3 import questions
from autograder.problems.problem3.instructors import mistakes
from autograder.problems.problem3.instructors import mutants as code
from autograder.sandbox.student import LocalStudent

COURSE = Path(__file__).resolve().parents[3]
WRONG = [(task, name) for task, hints in mistakes.HINTS.items() for name in hints]
TOLD = [(task, name) for task, told in mistakes.TOLD.items() for name in told]
RIGHT = right_submissions("problem3")
POINTS = {
    "baselines": 6,
    "integrated-gradients": 7,
    "completeness": 3,
    "correlation": 2,
    "blind-shares": 2,
    "explanation": 0,
}


def checked(
    task: str, mistake: str, seed: int = 7, rule: str = ""
) -> list[CheckResult]:
    source = mistakes.wrong_submission(task, mistake, rule)
    return submissions.checked("problem3", source, task, seed)


@pytest.mark.parametrize("seed", [3, 20])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_loses_nothing(name: str, seed: int) -> None:
    results = run_checks("problem3", student_of(RIGHT[name]), seed)
    assert [(r.id, r.message) for r in lost(results)] == []
    assert sum(r.earned for r in results) == 20


def test_there_are_at_least_eight_right_answers() -> None:
    assert len(RIGHT) >= 8
    assert len(set(RIGHT.values())) == len(RIGHT)


@pytest.mark.parametrize("rule", code.RULES)
def test_every_rule_of_summing_is_right(rule: str) -> None:
    assert checked("integrated-gradients", "", rule=rule) == []


@pytest.mark.parametrize(("task", "name"), WRONG)
def test_a_mistake_loses_points_and_is_named(task: str, name: str) -> None:
    failed = checked(task, name)
    assert sum(r.points - r.earned for r in failed) > 0
    named = {r.hint for r in failed if r.status == "failed"}
    assert named == {mistakes.HINTS[task][name]}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("(x - x') missing", "right"),
        ("softmax instead of logit", "gauss"),
        ("baseline ignored", "left"),
        ("summed, not averaged", "trapezoid"),
        ("chunks of 10, rest dropped", "both"),
        ("gradient with respect to the image", "right"),
    ],
)
def test_a_mistake_is_named_whatever_the_rule(name: str, rule: str) -> None:
    failed = checked("integrated-gradients", name, rule=rule)
    assert failed
    assert {r.hint for r in failed} == {mistakes.HINTS["integrated-gradients"][name]}


@pytest.mark.parametrize(("task", "name"), TOLD)
def test_a_mistake_that_no_number_shows_is_told(task: str, name: str) -> None:
    failed = checked(task, name)
    assert sum(r.points - r.earned for r in failed) > 0 or task == "explanation"
    assert any(mistakes.TOLD[task][name] in r.message for r in failed)
    assert not any(r.hint for r in failed), "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize("task", mistakes.FUNCTIONS)
def test_the_variants_code_without_a_mistake_is_right(task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    assert checked(task, "") == []


def test_a_misspelt_mistake_would_be_seen() -> None:
    """A name that the code lacks changes nothing, and would give the right answer."""
    source = mistakes.wrong_submission("baselines", "")
    for _, name in WRONG + TOLD:
        assert f'"{name}"' in source or name.startswith("chunks of"), name


def test_both_words_of_the_printed_chapter_are_caught() -> None:
    """Zeros called black and ones called white, each by its own check."""
    failed = {r.id: r.message for r in checked("baselines", "zeros and ones")}
    names = ("black", "white", "other-space")
    assert set(failed) == {f"baselines/{name}" for name in names}
    assert "RGB(124, 116, 104)" in failed["baselines/black"]
    assert "RGB(182, 173, 161)" in failed["baselines/white"]


def test_two_mistakes_at_once_get_no_wrong_hint() -> None:
    """No listed mistake explains both; the checks' own words remain."""
    task = "integrated-gradients"
    source = mistakes.wrong_submission(task, "softmax instead of logit")
    source += "one = integrated_gradients\n"
    source += "def integrated_gradients(*a):\n    return 3 * one(*a)\n"
    failed = lost(run_checks("problem3", student_of(source), 5, task=task))
    assert len(failed) > 3
    assert not any(r.hint for r in failed)


def test_points_are_round_and_public_checks_stand_in_the_public_file() -> None:
    assert points_of("problem3") == POINTS
    shown = run_checks("problem3", LocalStudent({}), 1, public_only=True)
    assert {r.id for r in shown} == {c.id for c in checks_of("problem3") if c.public}


@pytest.mark.parametrize(
    "reply",
    [
        "None",
        "[]",
        "'a'",
        "{}",
        "-1",
        "0.0",
        "True",
        "1e308",
        "float('nan')",
        "[1, [2]]",
        "np.ones((2, 3, 4))",
        "np.full((3, 11, 7), 1e300)",
        "a[0]",
        "dict.fromkeys(('black', 'white', 'blur', 'random'), a[0])",
        "dict.fromkeys(('black', 'white', 'blur', 'random'), 1e300 + a[0])",
        "dict.fromkeys(('darkest', 'brightest'), 1.0)",
        "dict.fromkeys(('darkest', 'brightest'), np.ones(3))",
    ],
)
def test_odd_replies_earn_nothing_and_are_no_grader_errors(reply: str) -> None:
    source = "import numpy as np\n"
    source += "".join(
        f"def {name}(*a): return {reply}\n" for name, _ in mistakes.FUNCTIONS.values()
    )
    results = run_checks("problem3", student_of(source), 5)
    # The image itself has the form of attributions, and nothing more.
    form = {r.id for r in results if r.earned} - {"integrated-gradients/form"}
    assert form == set()
    assert all(r.message and "\n" not in r.message for r in lost(results))
    assert max(len(r.message) for r in results) < 500


def test_weights_that_do_not_sum_to_1_are_named_as_such() -> None:
    failed = {r.id: r for r in checked("integrated-gradients", "divided by n + 1")}
    for name in ("curved", "steps"):
        message = failed[f"integrated-gradients/{name}"].message
        assert "must sum to 1; yours sum to 0." in message


def test_the_reference_without_a_formula_is_complete() -> None:
    """And equals the cubic net's closed form, to what its steps leave."""
    rng = np.random.default_rng(0)
    x, start = (questions.tensor(rng.normal(size=(3, 9, 8))) for _ in range(2))
    net = questions.model("stateful", rng, (9, 8))
    total = questions.integral(net, x, start, 1).sum()
    change = questions.logits(net, x)[1] - questions.logits(net, start)[1]
    assert total == pytest.approx(change, rel=1e-2)
    cubic = questions.model("power", rng, (9, 8), power=3)
    gain = (x.double() ** 3 - start.double() ** 3).numpy()
    right = questions.weight(cubic, 1) * gain
    assert questions.distance(questions.integral(cubic, x, start, 1), right) < 1e-5


@pytest.mark.parametrize("rule", code.RULES)
def test_no_rule_is_near_the_limit_where_there_is_no_formula(rule: str) -> None:
    right = code.integrated_gradients_with("", rule)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        net = questions.model("stateful", rng, (9, 8))
        x, start = (questions.tensor(rng.normal(size=(3, 9, 8))) for _ in range(2))
        found = right(
            x, questions.tiny_models.build(net), 1, start, questions.FAR_STEPS
        )
        off = questions.distance(found.numpy(), questions.integral(net, x, start, 1))
        assert off < questions.FAR / 2


def test_partial_credit() -> None:
    """One of four baselines wrong in another space: three quarters of that check."""
    failed = checked("baselines", "zeros called black")
    assert {r.id: r.earned for r in failed} == {
        "baselines/black": 0,
        "baselines/other-space": 0.75,
    }


@pytest.fixture(scope="module")
def notebook() -> Any:
    from autograder.course.release import source_notebook

    return source_notebook(COURSE / "solutions" / "problem3" / "problem3.md")


def test_the_notebook_has_the_checks_points_and_a_hint_for_each_task(
    notebook: Any,
) -> None:
    ours = [c.metadata["nbgrader"] for c in notebook.cells if "nbgrader" in c.metadata]
    assert {c["grade_id"]: c["points"] for c in ours if c["grade"]} == POINTS
    assert [c["points"] for c in ours if c["task"]] == [5]
    assert set(public.HINTS) == set(POINTS)


def test_the_study_runs_on_the_students_functions(
    notebook: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two steps and a small net instead of the book's, so that it is quick."""
    import chapter4

    small = chapter4.load_classifier("shapes")
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    for cell in cells:
        if "self_check" not in cell.source:
            source = cell.source.replace("\nstudy()", "")
            exec(compile(source, "cell", "exec"), names)
    monkeypatch.setattr(chapter4, "load_classifier", lambda: small)
    names["study"](n_steps=2)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 13
    assert not np.isnan([float(word) for word in rows[2].split()[2:]]).any()


def test_the_solution_earns_every_point_in_the_sandbox(
    needs_bubblewrap: None, notebook: Any
) -> None:
    from autograder.sandbox.launcher import Sandbox
    from autograder.sandbox.notebook import Cell, cells_of, read_cells
    from autograder.sandbox.student import SandboxedStudent

    untouched = read_cells(COURSE / "exercises" / "problem3" / "problem3.ipynb")
    fetched = "from chapter4 import integrated_gradients\n"
    borrowed = [*cells_of(notebook), Cell("cell 99", fetched)]
    earned = []
    with Sandbox(3, hide=[COURSE]) as launcher:
        for cells in (cells_of(notebook), borrowed, untouched):
            with SandboxedStudent(launcher, cells) as student:
                results = run_checks("problem3", student, seed=11)
                assert cells is untouched or not student.failed_cells
            assert not [r for r in results if r.status == "grader-error"]
            earned.append(sum(r.earned for r in results))
    # The package's own method is a stub while this problem is graded.
    assert earned == [20, 13, 0]
