"""The whole flow on real nbgrader.

Release, a class of seven, autograde, hand grading, re-grade, feedback, export.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from courses import exported, nbgrader, new_course

from autograder import nbgrader_plugin
from autograder.checking.runner import CheckResult, run_checks
from autograder.course import release

# A cell for hand grading. Jupytext wants its metadata in one line.
BY_HAND = (
    '\n+++ {"nbgrader": {"grade": true, "grade_id": "answer", "locked": false, '
    '"points": 5, "schema_version": 3, "solution": true, "task": false}}\n'
    "\nYOUR ANSWER HERE\n"
)


def submit(course: Path, student: str, notebook: Any) -> Path:
    folder = course / "submitted" / student / "problem2"
    folder.mkdir(parents=True)
    path = folder / "problem2.ipynb"
    if isinstance(notebook, str):
        path.write_text(notebook, encoding="utf-8")
    else:
        path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def edited(course: Path, *changes: tuple[str, str]) -> Any:
    """The solution, with text replaced."""
    text = (course / "solutions/problem2/problem2.ipynb").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return json.loads(text)


def shuffled(course: Path) -> Any:
    """A right answer as other editors leave it.

    Metadata is lost, a cell is there twice, one of ours is gone, and points are made
    up.
    """
    notebook = edited(course)
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
def course(tmp_path_factory: pytest.TempPathFactory, needs_bubblewrap: None) -> Path:
    """A course with one problem and a question for hand grading.

    It is released, submitted and autograded.
    """
    text = (release.COURSE / "solutions/problem2/problem2.md").read_text("utf-8")
    folder = tmp_path_factory.mktemp("course")
    course = new_course(folder, "problem2", text + BY_HAND)
    released = (course / "exercises/problem2/problem2.ipynb").read_text("utf-8")

    right = ("YOUR ANSWER HERE", "Because <script>alert(1)</script> of the noise.")
    path = submit(course, "ada", edited(course, right))
    (path.parent / "notes.txt").write_text("mine", encoding="utf-8")
    (path.parent / "gradebook").symlink_to(course / "gradebook.db")
    wrong = ("autograd.grad(score, noisy)[0]", "autograd.grad(score, noisy)[0].abs()")
    submit(course, "ben", edited(course, wrong))
    submit(course, "cem", released)
    submit(course, "dia", shuffled(course))
    submit(course, "eve", '{"cells": [')
    submit(
        course, "fay", edited(course, ("x = image.detach()", "import os; os._exit(0)"))
    )
    submit(
        course,
        "gus",
        edited(course, ("was_training = model.training", "raise SystemExit")),
    )
    nbgrader(course, "autograde", "problem2")
    return course


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
    assert scores == {"ada": 20, "cem": 0, "dia": 20, "eve": 0}


def test_the_reason_stands_in_each_notebook(course: Path) -> None:
    assert "average the signed gradients first" in output(course, "ben")
    assert "write your own code here" in output(course, "cem")
    assert "CRASHED" in output(course, "fay")
    assert "SystemExit" in output(course, "gus")
    path = course / "autograded/eve/problem2/problem2.ipynb"
    assert "could not be read" in path.read_text(encoding="utf-8")


def test_hand_graded_points_are_open_and_survive_a_grading_anew(course: Path) -> None:
    from nbgrader.api import Gradebook

    url = f"sqlite:///{course / 'gradebook.db'}"
    with Gradebook(url) as gradebook:
        ada = gradebook.find_grade("answer", "problem2", "problem2", "ada")
        assert ada.needs_manual_grade
        assert not gradebook.find_grade(
            "answer", "problem2", "problem2", "cem"
        ).needs_manual_grade, "an untouched answer is 0 points"
        ada.manual_score, ada.needs_manual_grade = 4, False
        gradebook.db.commit()
    assert exported(course)["ada"] == 24
    nbgrader(course, "autograde", "problem2", "--force", "--student", "ada")
    assert exported(course)["ada"] == 24


def test_feedback_shows_the_verdicts_and_runs_no_script(course: Path) -> None:
    nbgrader(course, "generate_feedback", "problem2")
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


def test_validate_fails_the_release_and_passes_the_solution(
    course: Path, tmp_path: Path
) -> None:
    # nbgrader's validate ends with 0 in either case.
    untouched = tmp_path / "release.ipynb"
    shutil.copy(course / "exercises/problem2/problem2.ipynb", untouched)
    # The three tasks and the question for hand grading.
    assert "VALIDATION FAILED ON 4 CELL(S)" in nbgrader(
        course, "validate", str(untouched)
    )
    solved = tmp_path / "solved.ipynb"
    shutil.copy(course / "autograded/ada/problem2/problem2.ipynb", solved)
    solved.chmod(0o644)
    said = nbgrader(course, "validate", str(solved))
    assert "Success! Your notebook passes all the tests." in said


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[here](javascript:alert(1))",
        '<a href="javascript:alert(1)">here</a>',
        "<iframe src='//elsewhere'></iframe>",
        "<p style='position:fixed'>over everything</p>",
        "![picture](https://elsewhere/counter.png)",
    ],
)
def test_markdown_can_do_no_harm_in_a_browser(attack: str) -> None:
    html = nbgrader_plugin.harmless_markdown(attack)
    for part in ("<script", "<img", "<iframe", 'href="javascript', "style="):
        assert part not in html


def test_markdown_keeps_its_form() -> None:
    text = "# Title\n\n- `a < b`\n\n<details><summary>Hint</summary>\n\nx\n\n</details>"
    html = nbgrader_plugin.harmless_markdown(text)
    for part in ("<h1", "<li>", "a &lt; b", "<details>", "<summary>"):
        assert part in html


def notebooks() -> tuple[Any, Any]:
    """A released notebook, and a submission of it to spoil."""
    path = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
    return nbformat.read(path, 4), nbformat.read(path, 4)


def grade_ids(notebook: Any) -> list[str]:
    return [nbgrader_plugin._grade_id(c) for c in notebook.cells]


def test_a_submission_in_order_is_left_as_it_is() -> None:
    ours, theirs = notebooks()
    assert nbgrader_plugin.restored(theirs, ours) == ours


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
    assert [c.metadata for c in restored.cells] == [c.metadata for c in ours.cells]
    by_id = {c.id: c.source for c in restored.cells}
    assert by_id["smooth-grad-code"] == "mine"
    assert "self_check" in by_id["smooth-grad"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda nb: nb["cells"].append(3), "is no cell"),
        (lambda nb: nb["cells"][0].pop("cell_type"), "cell_type"),
        (lambda nb: nb["cells"][1].pop("metadata"), "metadata"),
        (lambda nb: nb["cells"][1].update(cell_type="poem"), "poem"),
        (lambda nb: nb["cells"][1].update(source=7), "no text"),
        (lambda nb: nb.pop("cells"), "no list of cells"),
        (lambda nb: nb.update(nbformat=3), "format 4"),
    ],
)
def test_what_cannot_be_read_becomes_a_notebook_that_says_why(
    spoil: Any, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    spoil(notebook)
    spoilt = tmp_path / "problem2.ipynb"
    spoilt.write_text(json.dumps(notebook), encoding="utf-8")
    (cell,) = nbgrader_plugin._read(spoilt).cells
    assert "could not be read" in cell.source
    assert words in cell.source


def test_repeated_and_missing_ids_cost_nothing(tmp_path: Path) -> None:
    path = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell.pop("id")
    notebook["cells"].append(dict(notebook["cells"][1], id="x"))
    notebook["cells"].append(dict(notebook["cells"][1], id="x"))
    notebook["nbformat_minor"] = 4
    odd = tmp_path / "problem2.ipynb"
    odd.write_text(json.dumps(notebook), encoding="utf-8")
    read = nbgrader_plugin._read(odd)
    assert len({c.id for c in read.cells}) == len(read.cells) == len(notebook["cells"])


def test_a_mistake_of_ours_is_never_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(problem: str, student: Any, seed: int) -> list[CheckResult]:
        results = run_checks(problem, student, seed, task="samples-needed")
        return [
            CheckResult(r.id, r.title, 1, 0, "grader-error", "boom", True)
            for r in results
        ]

    class Student:
        def __init__(self, *_: Any, **limits: float) -> None: ...
        def __enter__(self) -> Any:
            from autograder.sandbox.student import LocalStudent

            return LocalStudent({})

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(nbgrader_plugin, "run_checks", broken)
    monkeypatch.setattr(nbgrader_plugin, "SandboxedStudent", Student)
    monkeypatch.setattr(nbgrader_plugin, "_launcher", lambda *_: None)
    monkeypatch.setattr(nbgrader_plugin, "_root_of", lambda _: Path())
    ours, _ = notebooks()
    resources = {"nbgrader": {"assignment": "problem2"}}
    with pytest.raises(nbgrader_plugin.GraderError, match="boom"):
        nbgrader_plugin.RunChecks().preprocess(ours, resources)
