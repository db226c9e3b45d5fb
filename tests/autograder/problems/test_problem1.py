"""Problem 1: grids, statements and one's own words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from submissions import student_of

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import Shortfall, run_checks
from autograder.course import release
from autograder.problems.problem1 import questions
from autograder.problems.problem1.instructors import hidden_checks as hidden
from autograder.sandbox.student import LocalStudent


def grid_of(size: str) -> tuple[int, int]:
    source = f"import numpy as np\ndef native_resolution(*a): return {size}\n"
    rng = np.random.default_rng(0)
    x = questions.image(rng.normal(size=(1, 3, 12, 16)))
    net = questions.model("conv-net", rng, (12, 16))
    told = Transcript("problem1", 0)
    return questions.grid(student_of(source), told, "gradcam", x, net, "features")


@pytest.mark.parametrize("size", ["(3.5, 4)", "(3, 4.01)", "np.array([3.2, 4.9])"])
def test_a_grid_has_no_fraction_of_a_cell(size: str) -> None:
    """None is cut off, not even where what is left would be right."""
    with pytest.raises(Shortfall, match="two whole numbers"):
        grid_of(size)
    assert grid_of("(3.0, np.float32(4))") == (3, 4)


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


def test_every_statement_has_its_label() -> None:
    """The page's text and sample answer are tested in tests/book/test_exercises.py."""
    from autograder.course.source import sample_answer

    path = release.COURSE / "solutions" / "problem1" / "problem1.md"
    text = path.read_text("utf-8")
    stated = re.findall(r"^\| (S\d+) \| .*? \|$", text, re.MULTILINE)
    assert stated == list(hidden.RIGHT)
    assert sample_answer(1).statements() == hidden.RIGHT
