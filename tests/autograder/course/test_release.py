"""The release is what the source gives, and holds nothing of a solution.

The release earns nothing; the solution earns everything.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder.checking import runner
from autograder.checking.runner import checks_of, points_of, run_checks
from autograder.course import release
from autograder.course.source import read_problem
from autograder.sandbox.notebook import cells_of
from autograder.sandbox.student import LocalStudent

PROBLEMS = release.problems()


@pytest.fixture(params=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def source(problem: str) -> Any:
    return release.source_notebook(
        release.COURSE / "solutions" / problem / f"{problem}.md"
    )


def shipped(problem: str) -> Any:
    """The release that the repository has."""
    path = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
    return nbformat.read(path, 4)


def marks_of(cell: Any) -> dict[str, Any]:
    marks: dict[str, Any] = cell.metadata.get("nbgrader", {})
    return marks


def text_of(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


def student_of(notebook: Any) -> LocalStudent:
    """The functions of a notebook; a cell that raises is left behind, as in grading."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells_of(notebook):
        try:
            exec(compile(cell.source, cell.name, "exec"), namespace)
        except NotImplementedError:
            continue
    return LocalStudent(namespace)


def solution_lines(problem: str) -> set[str]:
    """The lines between the marks that are nowhere else.

    Lines that say nothing of their own are left out.
    """
    inside, lines, outside = False, set(), ""
    for cell in source(problem).cells:
        for line in cell.source.split("\n"):
            if "BEGIN SOLUTION" in line or "END SOLUTION" in line:
                inside = "BEGIN" in line
            elif inside and len(line.strip()) > 12:
                lines.add(line.strip())
            elif not inside:
                outside += line + "\n"
    return {line for line in lines if line not in outside}


def test_the_release_is_what_the_source_gives(problem: str) -> None:
    path = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
    assert path.read_bytes() == release.released(problem), "run `autograder release`"


def test_no_line_of_a_solution_or_hidden_check_is_released(problem: str) -> None:
    text = text_of(shipped(problem))
    lines = solution_lines(problem)
    assert len(lines) > 5
    assert not {line for line in lines if line in text}
    assert "SOLUTION" not in text
    for hidden in (c for c in checks_of(problem) if not c.public):
        assert hidden.id not in text
        assert hidden.title not in text


def test_what_readers_see_is_the_source_without_nbgraders_marks(problem: str) -> None:
    cells = {
        marks_of(cell).get("grade_id"): cell.source for cell in source(problem).cells
    }
    answers = [part for part in read_problem(problem).parts if part.kind == "answer"]
    assert answers
    for answer in answers:
        lines = (cells.get(f"{answer.name}-code") or cells[answer.name]).split("\n")
        plain = [line for line in lines if not line.strip().startswith("###")]
        assert answer.content == "\n".join(plain).strip()
    for part in read_problem(problem).parts:
        for mark in ("SOLUTION", "MARK SCHEME"):
            assert mark not in part.content


def test_the_solution_earns_every_automatic_point(problem: str) -> None:
    results = run_checks(problem, student_of(source(problem)), seed=12)
    assert [(r.id, r.message) for r in results if r.status != "passed"] == []


def test_the_untouched_release_earns_nothing(problem: str) -> None:
    results = run_checks(problem, student_of(shipped(problem)), seed=12)
    assert sum(r.earned for r in results) == 0
    assert {r.status for r in results} <= {"error", "failed"}


def test_every_task_has_its_cell_with_its_points(problem: str) -> None:
    cells = shipped(problem).cells
    ours = [(cell, marks_of(cell)) for cell in cells if marks_of(cell)]
    tests = [(c, m) for c, m in ours if m["grade"] and not m["solution"]]
    points = points_of(problem)
    assert {mark["grade_id"]: mark["points"] for _, mark in tests} == points
    for cell, mark in tests:
        call = f'self_check("{problem}", "{mark["grade_id"]}", globals())'
        assert call in cell.source
    by_hand = [m for _, m in ours if m["task"] or (m["grade"] and m["solution"])]
    total = sum(points.values()) + sum(mark["points"] for mark in by_hand)
    text = cells[0].source
    assert re.search(rf"\b{total:g} points", text), "the points are visible at the top"
    assert re.search(r"\d+ minutes", text)
    assert re.search(r"\b(Easy|Medium|Hard)\b", text)


def test_the_hints_are_folded_in_the_notebook(problem: str) -> None:
    hints = importlib.import_module(f"autograder.problems.{problem}.checks").HINTS
    assert set(hints) <= set(points_of(problem))
    found = re.findall(r"<details>.*?</details>", text_of(shipped(problem)), re.S)
    folded = " ".join(" ".join(found).split())
    for hint in (hint for each in hints.values() for hint in each):
        assert hint in folded


def test_students_get_no_output_and_every_cell_parses(problem: str) -> None:
    notebook = shipped(problem)
    nbformat.validate(notebook)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        assert cell.outputs == []
        ast.parse(cell.source)


def test_a_missing_solution_mark_is_noticed(tmp_path: Path) -> None:
    """nbgrader would refuse it; the release must not be written from it."""
    course = tmp_path / "course"
    folder = course / "solutions" / "problem2"
    folder.mkdir(parents=True)
    shutil.copy(release.COURSE / "nbgrader_config.py", course)
    text = (release.COURSE / "solutions/problem2/problem2.md").read_text("utf-8")
    broken = text.replace("    ### END SOLUTION\n", "", 1)
    (folder / "problem2.md").write_text(broken, encoding="utf-8")
    with pytest.raises(RuntimeError, match="no end solution statement"):
        release.write_releases(course)
    assert not (course / "exercises/problem2/problem2.ipynb").exists()


def test_sources_are_written_when_they_have_changed(tmp_path: Path) -> None:
    folder = tmp_path / "solutions" / "problem2"
    folder.mkdir(parents=True)
    text = (release.COURSE / "solutions/problem2/problem2.md").read_text("utf-8")
    (folder / "problem2.md").write_text(text, encoding="utf-8")
    assert release.write_sources(tmp_path) == [folder / "problem2.ipynb"]
    assert release.write_sources(tmp_path) == []
    first = (folder / "problem2.ipynb").read_bytes()
    (folder / "problem2.ipynb").unlink()
    release.write_sources(tmp_path)
    assert (folder / "problem2.ipynb").read_bytes() == first, "cell ids stay the same"


def test_checks_that_students_get_say_nothing_of_the_hidden_ones() -> None:
    for file in runner._PROBLEMS.glob("problem?/*.py"):
        assert "public=False" not in file.read_text("utf-8"), file
    for file in runner._PROBLEMS.glob("problem?/instructors/*.py"):
        assert "public=True" not in file.read_text("utf-8"), file
