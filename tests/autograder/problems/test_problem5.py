"""Problem 5: causes are known, and worth nothing without their evidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from submissions import checked, lost, student_of

from autograder.checking.runner import checks_of, run_checks
from autograder.course import release
from autograder.problems.problem5 import cases, questions
from autograder.problems.problem5 import checks as public
from autograder.problems.problem5.instructors import mistakes
from autograder.sandbox.student import LocalStudent


@pytest.mark.parametrize(
    "name",
    [
        "cause without evidence",
        "evidence for the named cause only",
        "evidence in words",
    ],
)
def test_a_right_cause_without_the_evidence_earns_nothing(name: str) -> None:
    source = mistakes.wrong_submission("find-cause", name)
    failed = checked("problem5", source, "find-cause")
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


def test_the_notebook_names_what_the_checks_ask_for() -> None:
    path = release.COURSE / "solutions" / "problem5" / "problem5.md"
    cells = release.source_notebook(path).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    entries = (*questions.STANDING, *questions.MAPS, *cases.CAUSES, cases.HARMLESS)
    for word in (*entries, *cases.REMOVES, *public.WORDS, "covered", "elsewhere"):
        assert f'`"{word}"`' in text, word
