"""The run's scores in nbgrader's gradebook are the same as in grades.csv.

What a person graded stays, and traps do no harm.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import courses
import nbformat
import pytest
from courses import exported, set_by_hand, solution
from nbgrader.api import Gradebook
from processes import soon

from autograder import cli
from autograder.checking.runner import CheckResult
from autograder.course.release import COURSE
from autograder.grading.gradebook import Course, Entry, NoGradebook
from autograder.grading.state import Record, State, digest_of
from autograder.grading.submissions import Submission
from autograder.sandbox.notebook import read_notebook


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(shutil.copytree(released, tmp_path / "course"))


def solved(course: Path, answer: str = "Because of the noise.") -> dict[str, Any]:
    notebook: dict[str, Any] = solution(course)
    notebook["cells"][-1]["source"] = answer
    return notebook


def submit(course: Path, student: str, notebook: Any) -> Submission:
    return Submission(student, "problem2", courses.submit(course, student, notebook))


def record(submission: Submission, *earned: float, status: str = "graded") -> Record:
    """A worker's record, with these points for each of the three tasks."""
    points = {"smooth-grad": 12, "error-curve": 5, "samples-needed": 3}
    checks = tuple(
        CheckResult(f"{task}/x", "X", most, got, "failed", "why", True)
        for (task, most), got in zip(points.items(), earned, strict=False)
    )
    digest = "" if status == "unreadable" else digest_of(read_notebook(submission.path))
    told = {"status": status, "digest": digest, "checks": checks}
    return Record(submission.student, "problem2", **told)


def write(course: Path, submission: Submission, record: Record) -> Entry:
    found = Course(course)
    found.write(submission, record, 7, course / "submitted")
    entry = found.entry(submission)
    assert entry is not None
    return entry


def test_points_are_the_checks_and_the_answer_stays_open(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    entry = write(course, submission, record(submission, 12, 2.5, 3))
    assert entry == Entry(17.5, 25, True)
    path = course / "autograded/ada/problem2/problem2.ipynb"
    text = " ".join(str(cell) for cell in nbformat.read(path, 4).cells)
    assert "Because of the noise." in text, "what the formgrader shows"


def test_what_a_person_graded_survives(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    write(course, submission, record(submission, 12, 5, 3))
    set_by_hand(course, "ada", manual_score=4.0, needs_manual_grade=False)
    again = write(course, submission, record(submission, 12, 5, 3))
    assert again == Entry(24, 25, False), "nothing has changed, nobody has to look"

    # Other automatic points: the hand-graded ones are not touched by that.
    again = write(course, submission, record(submission, 0, 5, 3))
    assert again == Entry(12, 25, False)

    # Another answer: the points stay until a person has looked.
    submission = submit(course, "ada", solved(course, "On second thoughts: no."))
    again = write(course, submission, record(submission, 0, 5, 3))
    assert again == Entry(12, 25, True)


def test_points_that_a_person_gave_instead_of_the_checks_survive(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    write(course, submission, record(submission, 2, 5, 3))
    given = {"manual_score": 11, "needs_manual_grade": False}
    set_by_hand(course, "ada", "smooth-grad", **given)
    assert write(course, submission, record(submission, 2, 5, 3)).score == 19
    changed = write(course, submission, record(submission, 3, 5, 3))
    assert changed == Entry(19, 25, True), "and are open for review if ours change"


def test_what_nobody_judged_is_for_a_person_and_no_0(course: Path) -> None:
    submission = submit(course, "eve", '{"cells": [')
    entry = write(course, submission, record(submission, status="unreadable"))
    assert entry.by_hand
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        grades = book.find_submission("problem2", "eve").notebooks[0].grades
        assert {grade.auto_score for grade in grades} == {None}
        assert all(grade.needs_manual_grade for grade in grades)
    path = course / "autograded/eve/problem2/problem2.ipynb"
    assert "could not be read" in path.read_text("utf-8")


# Writes a record into a course's gradebook, and is killed before it calls a function.
KILLED = """
import os, signal, sys
from pathlib import Path
from autograder.grading import gradebook
from autograder.grading.state import State
from autograder.grading.submissions import Submission
course, function = Path(sys.argv[1]), sys.argv[2]
owner = gradebook.Course if function == "_settle" else gradebook._KnownResults
setattr(owner, function, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
path = course / "submitted/ada/problem2/problem2.ipynb"
submission = Submission("ada", "problem2", path)
record = State(course.parent).record(submission.key)
gradebook.Course(course).write(submission, record, 7, course / "submitted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
@pytest.mark.parametrize(
    ("function", "answer"),
    [
        ("_settle", "Because of the noise."),
        ("preprocess", "On second thoughts: no."),
    ],
    ids=["same-work", "other-work"],
)
def test_killed_in_the_middle_of_writing(
    course: Path, function: str, answer: str
) -> None:
    """What a person settled is open for review only if the work has changed."""
    submission = submit(course, "ada", solved(course))
    write(course, submission, record(submission, 12, 5, 3))
    set_by_hand(course, "ada", manual_score=4.0, needs_manual_grade=False)
    submission = submit(course, "ada", solved(course, answer))
    again = record(submission, 12, 5, 2)
    State(course.parent).save(submission.key, again)
    command = [sys.executable, "-c", KILLED, str(course), function]
    assert subprocess.run(command, cwd=COURSE).returncode == -signal.SIGKILL
    assert not Course(course).holds(submission, again, 7)
    changed = answer != "Because of the noise."
    assert write(course, submission, again) == Entry(23, 25, changed)
    assert not [*course.glob(".settled*")]


def lock(course: Path) -> sqlite3.Connection:
    """Lock the gradebook, as another program does that writes to it."""
    other = sqlite3.connect(course / "gradebook.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_gradebook_that_is_locked_is_asked_once(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    found = Course(course)
    with closing(lock(course)):
        with pytest.raises(NoGradebook, match="is locked") as first:
            found.write(submission, record(submission, 12, 5, 3), 7, course)
        with pytest.raises(NoGradebook) as second:
            found.entry(submission)
    assert second.value is first.value, "the database was not asked again"
    assert write(course, submission, record(submission, 12, 5, 3)).score == 20


def test_an_untouched_answer_is_0_points(course: Path) -> None:
    submission = submit(course, "cem", solved(course, "YOUR ANSWER HERE"))
    entry = write(course, submission, record(submission, 12, 5, 3))
    assert entry == Entry(20, 25, False)


def test_another_notebook_than_was_graded_is_refused(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    graded = record(submission, 12, 5, 3)
    submit(course, "ada", solved(course, "changed"))
    with pytest.raises(ValueError, match="changed since"):
        write(course, submission, graded)
    assert Course(course).entry(submission) is None


NAMES = [
    *("[a-z]*", "{student_id}", "a'; DROP TABLE grade; --", "=1+1", "Zoë 名前"),
    *("n" * 255, "(?P<x>.*)", "ends with a space ", "%(x)s"),
]


def test_names_that_are_traps(course: Path) -> None:
    """nbgrader looks for folders by pattern; a name can be one."""
    for i, name in enumerate(NAMES):
        submission = submit(course, name, solved(course))
        entry = write(course, submission, record(submission, i, 0, 0))
        assert entry.score == i
        assert (course / "autograded" / name / "problem2/problem2.ipynb").is_file()
    assert {p.name for p in (course / "autograded").iterdir()} == set(NAMES)
    assert set(Course(course).students()) == set(NAMES)


def test_nothing_beside_the_notebook_is_taken_along(course: Path) -> None:
    submission = submit(course, "ada", solved(course))
    folder = submission.path.parent
    (folder / "notes.txt").write_text("mine")
    (folder / "gradebook").symlink_to(course / "gradebook.db")
    os.mkfifo(folder / "pipe")
    (folder / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    write(course, submission, record(submission, 12, 5, 3))
    graded = course / "autograded/ada/problem2"
    assert {p.name for p in graded.iterdir()} <= {"problem2.ipynb", "timestamp.txt"}
    assert (folder / "gradebook").is_symlink(), "what was handed in is left as it is"
    for odd in ("never", "", "0000-99-99 99:99:99", "2026-01-02 03:04:05 ../../x"):
        (folder / "timestamp.txt").write_text(odd)
        assert write(course, submission, record(submission, 1, 0, 0)).score == 1


def test_it_is_quiet(course: Path, capfd: pytest.CaptureFixture[str]) -> None:
    submission = submit(course, "ada", solved(course))
    write(course, submission, record(submission, 12, 5, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: (c / "nbgrader_config.py").unlink(), "no nbgrader course"),
        (lambda c: (c / "nbgrader_config.py").write_text(""), "configure"),
        (lambda c: (c / "gradebook.db").unlink(), "generate_assignment problem2"),
        (lambda c: (c / "gradebook.db").write_bytes(b"x" * 999), "not a database"),
        (lambda c: shutil.rmtree(c / "exercises"), "generate_assignment problem2"),
    ],
)
def test_a_course_that_does_not_fit_is_refused_before_anything_is_graded(
    course: Path, capsys: pytest.CaptureFixture[str], spoil: Any, words: str
) -> None:
    submit(course, "ada", solved(course))
    spoil(course)
    assert grade(course) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert "--no-gradebook" in said.err
    assert "[1/1]" not in said.out
    assert not (course / "autograded").exists()


def test_a_release_with_other_points_than_the_checks_is_refused(course: Path) -> None:
    Course(course).check("problem2")
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        book.find_grade_cell("smooth-grad", "problem2", "problem2").max_score = 13
        book.db.commit()
    with pytest.raises(NoGradebook, match="other tasks or points"):
        Course(course).check("problem2")


def grade(course: Path, *arguments: str) -> int:
    folders = [str(course / "submitted"), "--output", str(course.parent / "out")]
    return cli.main(["grade", *folders, "--course", str(course), *arguments])


@pytest.fixture
def graded(course: Path, needs_bubblewrap: None) -> Path:
    """A class of seven through the whole command, sandbox and all."""
    released = (course / "exercises/problem2/problem2.ipynb").read_text("utf-8")
    right = json.dumps(solved(course))
    wrong = "autograd.grad(score, noisy)[0]"
    for student, notebook in {
        "ada": right,
        "ben": right.replace(wrong, wrong + ".abs()"),
        "cem": released,
        "eve": '{"cells": [',
        "fay": right.replace("x = image.detach()", "import os; os._exit(0)"),
        "gus": solved(course, "x"),
    }.items():
        submit(course, student, notebook)
    (course / "submitted/hal").mkdir()
    assert grade(course, "--workers", "1", "--seed", "3") == 0
    return course


def written(course: Path) -> dict[str, tuple[str, str]]:
    with (course.parent / "out/grades.csv").open(encoding="utf-8") as file:
        return {
            row["student"]: (row["score"], row["status"])
            for row in csv.DictReader(file)
        }


def test_the_whole_command_for_a_class_of_seven(graded: Path) -> None:
    rows = written(graded)
    score, status = rows.pop("ben")
    assert 0 < float(score) < 20, "one mistake"
    assert status == "needs-hand-grading"
    assert rows == {
        "ada": ("20", "needs-hand-grading"),
        "cem": ("0", "graded"),
        "eve": ("", "unreadable"),
        "fay": ("3", "crashed"),
        "gus": ("20", "needs-hand-grading"),
        "hal": ("", "missing"),
    }
    scores = exported(graded)
    for student, (score, _) in written(graded).items():
        assert scores.get(student, 0) == float(score or 0)

    page = (graded.parent / "out/feedback/ben/problem2.html").read_text("utf-8")
    assert "average the signed gradients first" in page

    set_by_hand(graded, "ada", manual_score=5.0, needs_manual_grade=False)
    # A student who is in the gradebook and has lost their folder keeps a row.
    for student in ("ben", "fay", "gus"):
        shutil.rmtree(graded / "submitted" / student)
    assert grade(graded, "--workers", "1", "--seed", "4") == 0
    assert written(graded)["ada"] == ("25", "graded")
    assert written(graded)["ben"] == ("", "missing")
    ada = Submission("ada", "problem2", graded / "submitted/ada")
    assert Course(graded).entry(ada) == Entry(25, 25, False)


def entries(course: Path) -> list[Any]:
    """Everything in the gradebook that says something of a grade."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return sorted(
            (s.student.id, g.name, g.auto_score, g.manual_score, g.needs_manual_grade)
            for s in book.assignment_submissions("problem2")
            for g in s.notebooks[0].grades
        )


@pytest.mark.slow
def test_a_gradebook_that_another_program_locks_meanwhile(graded: Path) -> None:
    """The run keeps its grades, and the next one writes the rest."""
    wanted, place = entries(graded), graded.parent
    command = [sys.executable, "-m", "autograder", "grade", "course/submitted"]
    command += ["--output", "new", "--course", "course", "--workers", "1"]
    command += ["--seed", "3", "--again"]

    def run() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(COURSE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with closing(lock(graded)), run() as process:
        said = process.communicate()[0]
        assert process.returncode == 1
        assert "Traceback" not in said
        assert said.count("locked") == said.count("\n") == 1, "it refuses in one line"
    with run() as process:
        assert soon((place / "new/state/run.json").exists)
        with closing(lock(graded)):
            said = process.communicate()[0]
    assert process.returncode == 1
    assert said.count("locked") == 1, said
    assert "Traceback" not in said
    told = json.loads((place / "new/grades.json").read_bytes())["submissions"]
    scores = {one["student"]: one["auto_score"] for one in told}
    assert scores["ada"] == 20
    assert scores["fay"] == 3
    with run() as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert entries(graded) == wanted
