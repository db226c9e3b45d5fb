"""Problem 5: every known mistake loses points and reads its own hint.

Right answers lose nothing; causes are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submissions
import torch
from accepted import right_submissions
from submissions import lost, student_of

from autograder.checking.runner import CheckResult, checks_of, points_of, run_checks
from autograder.problems.problem5 import cases, questions
from autograder.problems.problem5 import checks as public
from autograder.problems.problem5.instructors import hidden_checks as hidden
from autograder.problems.problem5.instructors import mistakes
from autograder.sandbox.student import LocalStudent

WRONG = [(task, name) for task, hints in mistakes.HINTS.items() for name in hints]
TOLD = [(task, name) for task, told in mistakes.TOLD.items() for name in told]
RIGHT = right_submissions("problem5")
COURSE = Path(__file__).resolve().parents[3]
POINTS = {
    "standing": 4,
    "grad-cam": 5,
    "integrated-gradients": 3,
    "both-maps": 5,
    "cover-test": 3,
    "find-cause": 5,
    "words": 0,
}
# Whoever divides by a map's own maximum reads that, too.
ALSO = {
    ("grad-cam", "NaN on a blank map"): "scaled to 1",
    ("both-maps", "NaN on a blank map"): "maps scaled separately",
}
WORDS = """
def in_own_words():
    text = (
        "With the logo covered the answer is right, in 34 other places it stays "
        "wrong, as it was."
    )
    return {"suspect": text, "intervention": text, "doubt": text}
"""


@pytest.fixture(autouse=True, scope="module")
def drawn_once() -> Iterator[None]:
    """These tests use the same seeds again: cases that were drawn once are kept."""
    kept: dict[tuple[str, str], tuple[cases.Case, Any]] = {}

    def make_case(cause: str, rng: np.random.Generator) -> cases.Case:
        key = cause, str(rng.bit_generator.state)
        if key not in kept:
            kept[key] = cases.make_case(cause, rng), rng.bit_generator.state
        case, rng.bit_generator.state = kept[key]
        return case

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(public, "make_case", make_case)
        patch.setattr(hidden, "make_case", make_case)
        yield


def checked(task: str, mistake: str, seed: int = 7) -> list[CheckResult]:
    source = mistakes.wrong_submission(task, mistake)
    return submissions.checked("problem5", source, task, seed)


@pytest.mark.parametrize("seed", [3, 20])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_loses_nothing(name: str, seed: int) -> None:
    results = run_checks("problem5", student_of(RIGHT[name] + WORDS), seed)
    assert [(r.id, r.message) for r in lost(results)] == []
    assert sum(r.earned for r in results) == 25


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
    other = mistakes.HINTS[task].get(ALSO.get((task, name), ""), "")
    assert {r.hint for r in failed} <= {"", other}, "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize("task", mistakes.FUNCTIONS)
def test_the_variants_code_without_a_mistake_is_right(task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    assert checked(task, "") == []


def test_a_misspelt_mistake_would_be_seen() -> None:
    """A name that the code lacks changes nothing, and would give the right answer."""
    source = mistakes.wrong_submission("standing", "")
    for _, name in WRONG + TOLD:
        assert f'"{name}"' in source, name


def test_two_mistakes_at_once_get_no_wrong_hint() -> None:
    """No listed mistake explains both; the checks' own words remain."""
    source = mistakes.wrong_submission("grad-cam", "no weights")
    source += "one = grad_cam\ndef grad_cam(*a):\n    return 3 * one(*a)\n"
    failed = lost(run_checks("problem5", student_of(source), 5, task="grad-cam"))
    assert len(failed) > 2
    assert not any(r.hint for r in failed)


@pytest.mark.parametrize(
    "name",
    [
        "cause without evidence",
        "evidence for the named cause only",
        "evidence in words",
    ],
)
def test_a_right_cause_without_the_evidence_earns_nothing(name: str) -> None:
    failed = checked("find-cause", name)
    assert sum(r.earned for r in failed) == 0
    assert len(failed) == sum(c.task == "find-cause" for c in checks_of("problem5"))


def test_evidence_that_was_not_asked_of_the_model_earns_nothing() -> None:
    """Plausible numbers for each cause in turn, and the cause that they show."""
    for change, cause in cases.REMOVES.items():
        source = (
            "def find_cause(image, model, true_class, changes):\n"
            f"    shares = {{k: float(k == {change!r}) for k in changes}}\n"
            f"    return {{'cause': {cause!r}, 'evidence': shares}}\n"
        )
        results = run_checks("problem5", student_of(source), 5, task="find-cause")
        assert sum(r.earned for r in results) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_public_cases_answers_cannot_be_guessed(seed: int) -> None:
    """Whoever knew the two cases and their order would still have to count."""
    source = mistakes.wrong_submission("find-cause", "")
    source += (
        "right = find_cause\n"
        "def find_cause(image, model, true_class, changes):\n"
        "    if image.shape[-1] == 64:\n"
        "        return right(image, model, true_class, changes)\n"
        "    shares = dict.fromkeys(changes, 0.5)\n"
        "    return {'cause': 'near tie', 'evidence': shares}\n"
    )
    results = run_checks("problem5", student_of(source), seed, task="find-cause")
    assert sum(r.earned for r in results) == 0


def test_a_right_cause_with_invented_evidence_earns_nothing() -> None:
    source = mistakes.wrong_submission("find-cause", "")
    source += (
        "right = find_cause\n"
        "def find_cause(*a):\n"
        "    reply = right(*a)\n"
        "    return reply | {'evidence': dict.fromkeys(reply['evidence'], 0.4)}\n"
    )
    results = run_checks("problem5", student_of(source), 5, task="find-cause")
    assert sum(r.earned for r in results) == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cause", cases.CAUSES[1:])
def test_a_case_has_its_cause_and_no_other(cause: str, seed: int) -> None:
    case = cases.make_case(cause, np.random.default_rng([seed, 5]))
    model = cases.own_classifier(str(case.model.options["name"]))

    def share(pictures: torch.Tensor) -> float:
        with torch.no_grad():
            # One picture at a time: rounding must not turn an answer.
            answers = [int(model(p[None]).argmax()) for p in pictures]
        return float(np.mean([a == case.true_class for a in answers]))

    least = cases.CLOSE if cause == "near tie" else cases.MARGIN
    for pictures in (case.image[None], *case.changes.values()):
        name = str(case.model.options["name"])
        margins = cases._margins(name, pictures, case.true_class)
        assert np.abs(margins).min() >= least, "an answer that rounding could turn"
    assert share(case.image[None]) == 0
    assert {k: share(v) for k, v in case.changes.items()} == case.evidence
    assert cases.cause_of(case.evidence) == case.cause == cause
    if cause != "near tie":
        assert case.evidence[cases.HARMLESS] == 0
        undone = [cases.REMOVES[k] for k in cases.REMOVES if case.evidence[k] == 1]
        assert undone == ([] if cause == "not found" else [cause])


def test_cases_are_fresh_and_repeat_with_their_seed() -> None:
    first, again, other = (
        cases.make_case("mark", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_integrated_gradients_are_exact_where_nothing_switches() -> None:
    """The closed form of both-maps/one-scale, against a fine sum in float64."""
    rng, size = np.random.default_rng(0), (8, 10)
    while True:
        net = questions.model("conv-net", rng, size, dtype="float64")
        x = questions.normalised(questions.dark_photo(rng, size)).double()
        if questions.is_linear_from_black(net, x):
            break
    fine = mistakes.mutants.integrated_gradients_with("")
    found = fine(x, questions.tiny_models.build(net), 2, 200)
    assert questions.off(found, questions.linear_attributions(net, x, 2)) < 1e-10


def test_the_reference_inside_a_net_is_that_of_finite_differences() -> None:
    """Grad-CAM before the ReLU: each channel's weight comes from moving it alone."""
    rng, size = np.random.default_rng(1), (6, 8)
    net = questions.model("conv-net", rng, size, dtype="float64")
    x = questions.image(rng.normal(size=(1, 3, *size))).double()
    built, target, small = questions.tiny_models.build(net), 2, 1e-6
    with torch.no_grad():
        grid = built.features[0](x)
        score = built.head(grid.relu().mean(dim=(2, 3)))[0, target]
        total = torch.zeros_like(grid[0, 0])
        for channel in grid[0]:
            before, weight = channel.clone(), 0.0
            for cell in range(channel.numel()):
                channel.view(-1)[cell] += small
                moved = built.head(grid.relu().mean(dim=(2, 3)))[0, target]
                weight += float(moved - score) / small / channel.numel()
                channel.copy_(before)
            total += weight * channel
    found = questions.cam_inside(net, x, "features.0", [target])[0]
    assert questions.off(found, total.relu().numpy()) < 1e-6


def test_points_are_round_and_public_checks_stand_in_the_public_file() -> None:
    assert points_of("problem5") == POINTS
    assert sum(POINTS.values()) == 25
    shown = run_checks("problem5", LocalStudent({}), 1, public_only=True)
    assert {r.id for r in shown} == {c.id for c in checks_of("problem5") if c.public}


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
        "dict.fromkeys('abc', 2)",
        "np.ones((2, 3, 4))",
        "dict.fromkeys(KEYS, 0)",
        "dict.fromkeys(KEYS, np.ones(3))",
        "dict.fromkeys(KEYS, 'mark')",
        "dict.fromkeys(KEYS, {'harmless': None})",
        "dict.fromkeys(KEYS, float('nan'))",
        "dict.fromkeys(KEYS, 'x' * 10_000)",
        "{'cause': 'mark', 'evidence': dict.fromkeys(CHANGES, 'much')}",
        "{'cause': 'mark', 'evidence': dict.fromkeys(CHANGES, float('inf'))}",
    ],
)
def test_odd_replies_earn_nothing_and_are_no_grader_errors(reply: str) -> None:
    names = [name for name, _ in mistakes.FUNCTIONS.values()]
    keys = (
        *questions.STANDING,
        *questions.MAPS,
        "covered",
        "elsewhere",
        "cause",
        "evidence",
    )
    source = f"import numpy as np\nKEYS = {keys}\n"
    source += f"CHANGES = {(*cases.REMOVES, cases.HARMLESS)}\n"
    source += "".join(f"def {name}(*a): return {reply}\n" for name in names)
    results = run_checks("problem5", student_of(source), 5)
    assert len(lost(results)) == len(results)
    assert sum(r.earned for r in results) == 0
    assert all(r.message and "\n" not in r.message for r in results)
    assert max(len(r.message) for r in results) < 400


@pytest.mark.parametrize("value", ["1e308", "-1e308", "0", "float('nan')"])
def test_extreme_numbers_of_the_right_form_earn_nothing(value: str) -> None:
    source = f"""
import numpy as np
V = {value}
def grad_cam(images, model, layer, classes):
    return np.full((len(images), *(-(-n // 2) for n in images.shape[2:])), V)
def integrated_gradients(image, model, target_class, n_steps):
    return np.full(image.shape, V)
def both_maps(photo, model, layer, true_class, n_steps):
    h, w = (min(photo.shape[:2]),) * 2 if photo.shape[0] == 64 else photo.shape[:2]
    maps = np.full((2, h, w), V)
    seen = np.full((h, w, 3), V)
    two = dict(gradcam=maps, ig=maps, blank=[V, V], delta=[V, V])
    return dict(seen=seen, predicted=V, **two)
def cover_test(image, model, true_class, box):
    return dict(covered=V, elsewhere=[V] * 18)
"""
    for task in ("grad-cam", "integrated-gradients", "both-maps", "cover-test"):
        results = run_checks("problem5", student_of(source), 5, task=task)
        assert len(lost(results)) == len(results)
        assert sum(r.earned for r in results) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "write two or three sentences"),
        ("many words " * 100, "write two or three sentences"),
        ("a sentence that says nothing of what was measured " * 3, "holds no number"),
        (3, "must be a text"),
    ],
)
def test_the_form_of_ones_own_words(text: object, words: str) -> None:
    said = dict.fromkeys(public.WORDS, text)
    student = LocalStudent({"in_own_words": lambda: said})
    (result,) = run_checks("problem5", student, 1, task="words")
    assert result.status == "failed"
    assert words in result.message


@pytest.fixture(scope="module")
def notebook() -> Any:
    from autograder.course.release import source_notebook

    return source_notebook(COURSE / "solutions" / "problem5" / "problem5.md")


def test_the_notebook_has_the_checks_points_and_hints(notebook: Any) -> None:
    ours = [c.metadata["nbgrader"] for c in notebook.cells if "nbgrader" in c.metadata]
    assert {c["grade_id"]: c["points"] for c in ours if c["grade"]} == POINTS
    assert [c["points"] for c in ours if c["task"]] == [5]
    text = " ".join("\n".join(c.source for c in notebook.cells).split())
    folded = re.findall(r"<summary>Hint \d</summary>(.*?)</details>", text)
    shown = [hint for hints in public.HINTS.values() for hint in hints]
    assert [hint.strip() for hint in folded] == shown


def test_the_notebook_names_what_the_checks_ask_for(notebook: Any) -> None:
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    entries = (*questions.STANDING, *questions.MAPS, *cases.CAUSES, cases.HARMLESS)
    for word in (*entries, *cases.REMOVES, *public.WORDS, "covered", "elsewhere"):
        assert f'`"{word}"`' in text, word


def test_the_solution_earns_every_point_in_the_sandbox(
    needs_bubblewrap: None, notebook: Any
) -> None:
    from autograder.sandbox.launcher import Sandbox
    from autograder.sandbox.notebook import cells_of, read_cells
    from autograder.sandbox.student import SandboxedStudent

    untouched = read_cells(COURSE / "exercises" / "problem5" / "problem5.ipynb")
    with Sandbox(5, hide=[COURSE]) as launcher:
        earned = []
        for cells in (cells_of(notebook), untouched):
            with SandboxedStudent(launcher, cells) as student:
                results = run_checks("problem5", student, seed=11)
                assert cells is untouched or not student.failed_cells
            earned.append(sum(r.earned for r in results))
            assert not [r for r in results if r.status == "grader-error"]
    assert earned == [25, 0]
