"""Problem 3: every rule of summing, and the reference without a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import submissions

from autograder.checking.runner import CheckResult
from autograder.course import release
from autograder.problems.common import weight
from autograder.problems.problem3 import questions
from autograder.problems.problem3.instructors import mistakes
from autograder.problems.problem3.instructors import mutants as code


def checked(
    task: str, mistake: str, seed: int = 7, rule: str = ""
) -> list[CheckResult]:
    source = mistakes.wrong_submission(task, mistake, rule)
    return submissions.checked("problem3", source, task, seed)


@pytest.mark.parametrize("rule", code.RULES)
def test_every_rule_of_summing_is_right(rule: str) -> None:
    assert checked("integrated-gradients", "", rule=rule) == []


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


def test_both_words_of_the_printed_chapter_are_caught() -> None:
    """Zeros called black and ones called white, each by its own check."""
    failed = {r.id: r.message for r in checked("baselines", "zeros and ones")}
    names = ("black", "white", "other-space")
    assert set(failed) == {f"baselines/{name}" for name in names}
    assert "the mean colour, pixel values (0." in failed["baselines/black"]
    assert "ones after normalising, which is pixel" in failed["baselines/white"]


def test_weights_that_do_not_sum_to_1_are_named_as_such() -> None:
    failed = {r.id: r for r in checked("integrated-gradients", "divided by n + 1")}
    message = failed["integrated-gradients/steps"].message
    assert "must sum to 1; yours sum to 0." in message


def test_the_reference_without_a_formula_is_complete() -> None:
    """And equals the cubic net's closed form, to what its steps leave."""
    rng = np.random.default_rng(0)
    x, start = (questions.image(rng.normal(size=(3, 9, 8))) for _ in range(2))
    net = questions.model("stateful", rng, (9, 8))
    total = questions.integral(net, x, start, 1).sum()
    change = questions.logits(net, x)[1] - questions.logits(net, start)[1]
    assert total == pytest.approx(change, rel=1e-2)
    cubic = questions.model("power", rng, (9, 8), power=3)
    gain = (x.double() ** 3 - start.double() ** 3).numpy()
    right = weight(cubic, 1) * gain
    assert questions.distance(questions.integral(cubic, x, start, 1), right) < 1e-5


@pytest.mark.parametrize("rule", code.RULES)
def test_no_rule_is_near_the_limit_where_there_is_no_formula(rule: str) -> None:
    right = code.integrated_gradients_with("", rule)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        net = questions.model("stateful", rng, (9, 8))
        x, start = (questions.image(rng.normal(size=(3, 9, 8))) for _ in range(2))
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
        "baselines/other-space": pytest.approx(0.9),
    }


def test_the_study_runs_on_the_students_functions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two steps and a small net instead of the book's, so that it is quick."""
    import chapter4

    small = chapter4.load_classifier("shapes")
    names: dict[str, Any] = {"__name__": "__main__"}
    path = release.COURSE / "solutions" / "problem3" / "problem3.md"
    for cell in release.source_notebook(path).cells:
        if cell.cell_type == "code" and "self_check" not in cell.source:
            exec(cell.source.replace("\nstudy()", ""), names)
    monkeypatch.setattr(chapter4, "load_classifier", lambda: small)
    names["study"](n_steps=2)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 13
    assert not np.isnan([float(word) for word in rows[2].split()[2:]]).any()
