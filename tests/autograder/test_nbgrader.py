"""The whole flow on real nbgrader.

Release, a class of seven, autograde, hand grading, re-grade, feedback, export.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from courses import exported, from_here, nbgrader, set_by_hand, solution, submit
from traitlets import import_item
from traitlets.config import Config

from autograder import nbgrader_plugin
from autograder.checking.runner import CheckResult, checks_of
from autograder.course import release
from autograder.sandbox.launcher import Sandbox

STUDENTS = ("ada", "ben", "cem", "dia", "eve", "fay", "gus")


def shuffled(course: Path) -> Any:
    """A right answer as other editors leave it.

    Metadata is lost, a cell is there twice, one of ours is gone, and points are made
    up.
    """
    notebook = solution(course)
    cells = notebook["cells"]
    ours = {c["id"]: c for c in cells}
    cells.remove(ours["error-curve"])
    for cell in cells:
        cell["metadata"] = {"tags": ["skip-execution"]}
    extra = dict(ours["smooth-grad-code"], id="copy", metadata={})
    grade = {"grade": True, "solution": False, "locked": True, "points": 1000}
    grade |= {"grade_id": "bonus", "schema_version": 3, "task": False}
    bonus = dict(ours["smooth-grad"], id="bonus", metadata={"nbgrader": grade})
    bonus["source"] = "1000"
    twice = dict(ours["smooth-grad"], id="twice")
    twice["metadata"] = {"nbgrader": grade | {"grade_id": "smooth-grad"}}
    twice["source"] = "1000"
    notebook["cells"] = [extra, bonus, *cells, twice]
    return notebook


@pytest.fixture(scope="module")
def course(
    released: Path,
    tmp_path_factory: pytest.TempPathFactory,
    sandboxes: Callable[[int], Sandbox],
) -> Path:
    """A class of seven, submitted and autograded; ada was graded by hand and anew."""
    course = Path(
        shutil.copytree(released, tmp_path_factory.mktemp("class") / "course")
    )
    handed_out = (course / "exercises/problem2/problem2.ipynb").read_text("utf-8")
    right = ("YOUR ANSWER HERE", "Because <script>alert(1)</script> of the noise.")
    path = submit(course, "ada", solution(course, right))
    (path.parent / "notes.txt").write_text("mine", encoding="utf-8")
    (path.parent / "gradebook").symlink_to(course / "gradebook.db")
    wrong = "autograd.grad(score, noisy)[0]"
    submit(course, "ben", solution(course, (wrong, f"{wrong}.abs()")))
    submit(course, "cem", handed_out)
    submit(course, "dia", shuffled(course))
    submit(course, "eve", '{"cells": [')
    dies = ("x = image.detach()", "import os; os._exit(0)")
    submit(course, "fay", solution(course, dies))
    leaves = ("was_training = model.training", "raise SystemExit")
    submit(course, "gus", solution(course, leaves))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(nbgrader_plugin._open, ("problem2", course, False), sandboxes(2))
        for student in STUDENTS:
            from_here(course, "autograde", "problem2", student)
        for student, open_ in (("ada", True), ("cem", False)):
            assert to_be_graded(course, student) == open_, "an untouched answer is 0"
        set_by_hand(course, "ada", manual_score=4, needs_manual_grade=False)
        from_here(course, "autograde", "problem2", "ada", force=True)
    return course


def to_be_graded(course: Path, student: str) -> bool:
    """Whether a person still has to read the answer."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        grade = book.find_grade("answer", "problem2", "problem2", student)
        return bool(grade.needs_manual_grade)


def output(course: Path, student: str) -> str:
    """All that the graded cells of a student say, on one line."""
    path = course / "autograded" / student / "problem2" / "problem2.ipynb"
    cells = nbformat.read(path, 4).cells
    text = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    return " ".join(text.split())


def test_everybody_gets_the_points_that_are_due(course: Path) -> None:
    scores = exported(course)
    assert 0 < scores.pop("ben") < 20, "one mistake"
    rest = scores.pop("fay"), scores.pop("gus")
    assert rest == (3, 3), "the task that does not need what is broken"
    by_hand = 4  # which survived a grading anew
    assert scores == {"ada": 20 + by_hand, "cem": 0, "dia": 20, "eve": 0}


@pytest.mark.slow
def test_the_command_gives_the_same_points(course: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(course, tmp_path / "course"))
    nbgrader(again, "autograde", "problem2", "--force", "--student", "ada")
    assert exported(again)["ada"] == 24


def test_the_reason_stands_in_each_notebook(course: Path) -> None:
    assert "average the signed gradients first" in output(course, "ben")
    assert "write your own code here" in output(course, "cem")
    assert "CRASHED" in output(course, "fay")
    assert "SystemExit" in output(course, "gus")
    path = course / "autograded/eve/problem2/problem2.ipynb"
    assert "could not be read" in path.read_text(encoding="utf-8")


def test_feedback_shows_the_verdicts_and_runs_no_script(course: Path) -> None:
    from_here(course, "generate_feedback", "problem2")
    ada, ben = (
        (course / f"feedback/{name}/problem2/problem2.html").read_text("utf-8")
        for name in ("ada", "ben")
    )
    assert "PASSED" in ada
    assert "average the signed gradients first" in " ".join(ben.split())
    assert "<script>alert" not in ada
    for page in (ada, ben):
        assert "test_" not in page
        assert "Traceback (most recent" not in page
    handed = {p.name for p in (course / "feedback").rglob("*") if p.is_file()}
    assert handed == {"problem2.html"}, "no file that came with a submission"


def test_nothing_that_was_submitted_but_the_notebook_is_carried_on(
    course: Path,
) -> None:
    kept = {p.name for p in (course / "autograded").rglob("*") if p.is_file()}
    assert kept == {"problem2.ipynb"}
    assert (course / "submitted/ada/problem2/notes.txt").exists()
    assert not (course / "submitted/ada/problem2/gradebook").is_symlink()


@pytest.mark.slow
def test_validate_fails_the_release_and_passes_the_solution(
    course: Path, tmp_path: Path
) -> None:
    untouched, solved = tmp_path / "release.ipynb", tmp_path / "solved.ipynb"
    shutil.copy(course / "exercises/problem2/problem2.ipynb", untouched)
    shutil.copy(course / "autograded/ada/problem2/problem2.ipynb", solved)
    solved.chmod(0o644)
    said = nbgrader(course, "validate", str(untouched), str(solved))
    # The three tasks and the question for hand grading.
    assert "VALIDATION FAILED ON 4 CELL(S)" in said
    assert said.count("Success! Your notebook passes all the tests.") == 1


def test_a_name_in_nbgraders_log_does_nothing_to_a_terminal() -> None:
    config = Config()
    nbgrader_plugin.configure(config)
    name = config.Application.logging_config["formatters"]["console"]["class"]
    log = import_item(name)("%(message)s")
    record = logging.LogRecord(
        "", 20, "", 1, "of %s\nby %s", ("\x1b[1m", "a\u202e"), None
    )
    assert log.format(record).split() == ["of", "[1m", "by", "a"]


def notebooks() -> tuple[Any, Any]:
    """A released notebook, and a submission of it to spoil."""
    path = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
    return nbformat.read(path, 4), nbformat.read(path, 4)


def grade_id(cell: Any) -> str:
    return nbgrader_plugin._grade_id(cell)


def grade_ids(notebook: Any) -> list[str]:
    return [grade_id(c) for c in notebook.cells]


def test_a_submission_in_order_is_left_as_it_is() -> None:
    ours, theirs = notebooks()
    restored = nbgrader_plugin.restored(theirs, ours)
    marks = [c.metadata.pop("autograder", None) for c in restored.cells]
    assert restored == ours
    # What runs: the imports and the answers.
    assert marks == [
        {"cell": i + 1} if i in (1, 3, 6, 9, 12) else None for i in range(13)
    ]


def test_cells_are_brought_back_in_their_places() -> None:
    ours, theirs = notebooks()
    theirs.cells = [c for c in theirs.cells if c.id not in ("error-curve", "study")]
    restored = nbgrader_plugin.restored(theirs, ours)
    assert grade_ids(restored) == grade_ids(ours)


def test_locked_cells_and_metadata_are_ours_again() -> None:
    ours, theirs = notebooks()
    for cell in theirs.cells:
        own = cell.metadata.get("nbgrader")
        if own:
            own.update(points=999, locked=False, solution=not own.solution)
            cell.source = "mine"
    restored = nbgrader_plugin.restored(theirs, ours)
    assert [i for i in grade_ids(restored) if i] == [i for i in grade_ids(ours) if i]
    known = {c.metadata.nbgrader.grade_id: c for c in restored.cells if grade_id(c)}
    for cell in ours.cells:
        if name := grade_id(cell):
            assert known[name].metadata.nbgrader == cell.metadata.nbgrader
    assert known["smooth-grad-code"].source == "mine"
    assert "self_check" in known["smooth-grad"].source
    # What they wrote into a test cell stays, as code of their own.
    assert [c.source for c in restored.cells if not grade_id(c)].count("mine") == 3


def checked(monkeypatch: pytest.MonkeyPatch, verdicts: Callable[..., Any]) -> Any:
    """The release with these verdicts on whatever is asked."""
    monkeypatch.setattr(nbgrader_plugin, "run_checks", verdicts)
    monkeypatch.setattr(nbgrader_plugin, "_launcher", lambda *_: None)
    course = SimpleNamespace(root="", course_id="")
    monkeypatch.setattr(nbgrader_plugin, "_course_of", lambda _: course)
    resources = {"nbgrader": {"assignment": "problem2", "student": "ada"}}
    return nbgrader_plugin.RunChecks().preprocess(notebooks()[0], resources)[0]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"status": "grader-error", "message": "boom"}, "boom"),
        ({"id": "another-task/x"}, "no check of problem2 belongs to its cell"),
    ],
)
def test_a_mistake_of_ours_is_never_a_score(
    monkeypatch: pytest.MonkeyPatch, spoil: dict[str, str], words: str
) -> None:
    results = [
        replace(CheckResult(c.id, c.title, c.points, 0, "failed", "", True), **spoil)
        for c in checks_of("problem2")
    ]
    with pytest.raises(nbgrader_plugin.GraderError, match=words):
        checked(monkeypatch, lambda *_: results)


@pytest.mark.parametrize("times", [1, 2])
def test_a_submission_that_gets_no_core_is_asked_again_before_it_fails(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    made: list[Any] = []

    class Student(contextlib.nullcontext[Any]):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__(self)
            made.append(self)
            self.starved = "the machine was too busy" * (len(made) <= times)
            self.warnings = list[str]()

    def verdicts(problem: str, student: Student, seed: int) -> list[CheckResult]:
        status = "grader-error" if student.starved else "passed"
        return [
            CheckResult(c.id, c.title, c.points, 1, status, student.starved, True)
            for c in checks_of(problem)
        ]

    monkeypatch.setattr(nbgrader_plugin, "SandboxedStudent", Student)
    if times == 1:
        cells = checked(monkeypatch, verdicts).cells
        assert any("PASSED" in str(cell.get("outputs")) for cell in cells)
    else:
        with pytest.raises(nbgrader_plugin.GraderError, match="machine was too busy"):
            checked(monkeypatch, verdicts)
    assert len(made) == 2
