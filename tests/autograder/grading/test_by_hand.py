"""What a person has written into the gradebook is never lost by grading again.

That is points instead of the checks', points for an answer in words, extra credit and
comments.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import courses
import pytest
from courses import solution
from nbgrader.api import Gradebook

from autograder import cli
from autograder.checking.runner import CheckResult, checks_of
from autograder.grading.gradebook import Course
from autograder.grading.state import Record, digest_of
from autograder.grading.submissions import Submission
from autograder.sandbox.notebook import read_notebook

RIGHT = "autograd.grad(score, noisy)[0]"


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    """A course of its own, with the work of one student."""
    course = Path(shutil.copytree(released, tmp_path / "course"))
    hand_in(course)
    return course


def hand_in(course: Path, answer: str = "By the noise.", code: str = RIGHT) -> None:
    notebook = solution(course, (RIGHT, code))
    notebook["cells"][-1]["source"] = answer
    courses.submit(course, "ada", notebook)


def book(course: Path, change: Callable[[Any], None] = lambda _: None) -> Any:
    """The cells of her notebook with what a person wrote there; changed first."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as found:
        notebook = found.find_submission_notebook("problem2", "problem2", "ada")
        change(notebook)
        found.db.commit()
        grades = {g.name: (g.manual_score, g.extra_credit) for g in notebook.grades}
        return grades, {c.name: c.manual_comment for c in notebook.comments}


def by_hand(notebook: Any) -> None:
    """What a person does in the formgrader: no two numbers are the same."""
    for i, grade in enumerate(sorted(notebook.grades, key=lambda g: g.name)):
        grade.manual_score, grade.extra_credit = 1 + i / 4, 2 + i / 8
        grade.needs_manual_grade = False
    for comment in notebook.comments:
        comment.manual_comment = f"Well done, {comment.name}"


def points(course: Path) -> float:
    entry = Course(course).entry(work(course))
    assert entry is not None
    return entry.score


def work(course: Path) -> Submission:
    return Submission(
        "ada", "problem2", course / "submitted/ada/problem2/problem2.ipynb"
    )


def result(course: Path, earned: float = 1.0, status: str = "graded") -> Record:
    """A result in which this share of each check's points is earned."""
    checks = tuple(
        CheckResult(c.id, c.title, c.points, earned * c.points, "failed", "", c.public)
        for c in checks_of("problem2")
    )
    known = Record("ada", "problem2", status, checks=checks)
    if status == "unreadable":
        return known
    return replace(known, digest=digest_of(read_notebook(work(course).path)))


def write(course: Path, earned: float = 1.0, status: str = "graded") -> None:
    known = result(course, earned, status)
    Course(course).write(work(course), known, 7, course / "submitted")


GRADED_AGAIN: dict[str, Callable[[Path], None]] = {
    "nothing changed": write,
    "the checks changed": lambda course: write(course, 0.25),
    "the checks give nothing": lambda course: write(course, 0.0),
    "the answer changed": lambda course: (
        hand_in(course, "By the light."),
        write(course),
    ),
    "the answer is gone": lambda course: (hand_in(course, ""), write(course)),
    "the code changed": lambda course: (
        hand_in(course, code=RIGHT + ".abs()"),
        write(course, 0.5),
    ),
    "it crashed": lambda course: write(course, 0.5, "crashed"),
    "it can't be read and then can": lambda course: (
        courses.submit(course, "ada", "{"),
        write(course, status="unreadable"),
        hand_in(course),
        write(course),
    ),
    "the formgrader's notebook is gone": lambda course: (
        shutil.rmtree(course / "autograded"),
        write(course),
    ),
}


@pytest.mark.parametrize("what", GRADED_AGAIN)
def test_what_a_person_wrote_stays(course: Path, what: str) -> None:
    write(course)
    assert points(course) == 20
    grades, comments = book(course, by_hand)
    assert len(set(grades.values())) == len(grades) == 4
    assert "Well done, answer" in comments.values()
    total = sum(map(sum, grades.values()))
    assert points(course) == total
    GRADED_AGAIN[what](course)
    assert book(course) == (grades, comments)
    assert points(course) == total


@pytest.mark.slow
def test_it_stays_through_the_whole_command(
    course: Path, needs_bubblewrap: None
) -> None:
    """A first run, and then each way to have her graded again."""
    out = course.parent / "out"
    told = ["grade", str(course / "submitted"), "--output", str(out)]
    told += ["--course", str(course), "--workers", "1"]
    assert cli.main(told) == 0
    assert points(course) == 20
    grades, comments = book(course, by_hand)

    def stays(*arguments: str) -> None:
        assert cli.main([*told, *arguments]) == 0
        assert book(course) == (grades, comments)
        assert points(course) == sum(map(sum, grades.values()))

    stays()
    stays("--again")
    stays("--student", "ada", "--again")
    hand_in(course, code=RIGHT + ".abs()")
    stays()
    shutil.rmtree(out)
    stays()
    stays("--seed", "5")


def holds(course: Path, seed: int = 7, **changes: Any) -> bool:
    """Whether nothing has to be written for this result."""
    return Course(course).holds(work(course), replace(result(course), **changes), seed)


def test_what_stands_in_the_gradebook_need_not_be_written_again(course: Path) -> None:
    assert not holds(course), "she is not there yet"
    write(course)
    assert holds(course)
    book(course, by_hand)
    assert holds(course), "a person's points are not ours"
    assert not holds(course, seed=8)
    assert not holds(course, message="why")
    assert not holds(course, basis={"checks": "1"})
    assert not holds(course, status="unreadable")


def to_nbgrader(course: Path) -> None:
    path = course / "autograded/ada/problem2/problem2.ipynb"
    told = json.loads(path.read_bytes())
    assert told["metadata"]["autograder"].pop("stamp")
    path.write_text(json.dumps(told))


def to_points(notebook: Any) -> None:
    (grade,) = (g for g in notebook.grades if g.name == "error-curve")
    grade.auto_score = 1.0


def to_penalty(notebook: Any) -> None:
    notebook.late_submission_penalty = 1.0


SPOILT: dict[str, Callable[[Path], object]] = {
    "graded by nbgrader itself": to_nbgrader,
    "its notebook is gone": lambda course: shutil.rmtree(course / "autograded"),
    "its notebook is none": lambda course: (
        course / "autograded/ada/problem2/problem2.ipynb"
    ).write_text("[]"),
    "other points": lambda course: book(course, to_points),
    "a penalty": lambda course: book(course, to_penalty),
    "another time": lambda course: (
        work(course).path.with_name("timestamp.txt")
    ).write_text("2026-01-02 03:04:05 UTC"),
    "another gradebook": lambda course: shutil.copy(
        course / "before.db", course / "gradebook.db"
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_no_longer_stands_there_is_written_again(course: Path, what: str) -> None:
    shutil.copy(course / "gradebook.db", course / "before.db")
    write(course)
    assert holds(course)
    SPOILT[what](course)
    assert not holds(course)
    write(course)
    assert holds(course)


def test_late_work_is_written_each_time(course: Path) -> None:
    work(course).path.with_name("timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    write(course)
    assert holds(course)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as found:
        found.find_assignment("problem2").duedate = datetime(2026, 1, 1)
        found.db.commit()
    assert not holds(course)
