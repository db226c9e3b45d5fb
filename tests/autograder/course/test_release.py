"""The release is what the source gives, and holds nothing of a solution.

The release earns nothing; the solution earns everything.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder.checking import runner
from autograder.checking.runner import checks_of, points_of, run_checks
from autograder.course import release
from autograder.sandbox.notebook import cells_of
from autograder.sandbox.student import LocalStudent

PROBLEMS = release.problems()


@pytest.fixture(scope="module")
def releases() -> dict[str, bytes]:
    """Each release as nbgrader makes it now."""
    return {problem: release.released(problem) for problem in PROBLEMS}


def source(problem: str) -> Any:
    return release.source_notebook(
        release.COURSE / "solutions" / problem / f"{problem}.md"
    )


def shipped(problem: str) -> Path:
    return release.COURSE / "exercises" / problem / f"{problem}.ipynb"


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


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_release_is_what_the_source_gives(
    problem: str, releases: dict[str, bytes]
) -> None:
    assert shipped(problem).read_bytes() == releases[problem], (
        "run `autograder release`"
    )


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_line_of_a_solution_or_hidden_check_is_released(problem: str) -> None:
    text = "\n".join(c.source for c in nbformat.read(shipped(problem), 4).cells)
    lines = solution_lines(problem)
    assert len(lines) > 5
    assert not {line for line in lines if line in text}
    assert "SOLUTION" not in text
    for hidden in (c for c in checks_of(problem) if not c.public):
        assert hidden.id not in text
        assert hidden.title not in text


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_solution_earns_every_automatic_point(problem: str) -> None:
    results = run_checks(problem, student_of(source(problem)), seed=12)
    assert [(r.id, r.message) for r in results if r.status != "passed"] == []


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_untouched_release_earns_nothing(problem: str) -> None:
    notebook = nbformat.read(shipped(problem), 4)
    results = run_checks(problem, student_of(notebook), seed=12)
    assert sum(r.earned for r in results) == 0
    assert {r.status for r in results} <= {"error", "failed"}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_task_has_its_cell_with_its_points(problem: str) -> None:
    cells = [c for c in nbformat.read(shipped(problem), 4).cells if c.metadata]
    graded = {
        c.metadata.nbgrader.grade_id: c
        for c in cells
        if c.metadata.nbgrader.grade and not c.metadata.nbgrader.solution
    }
    points = points_of(problem)
    assert {n: c.metadata.nbgrader.points for n, c in graded.items()} == points
    for task, cell in graded.items():
        assert f'self_check("{problem}", "{task}", globals())' in cell.source
    hand = sum(
        c.metadata.nbgrader.get("points", 0)
        for c in cells
        if c.metadata.nbgrader.get("task")
        or (c.metadata.nbgrader.grade and c.metadata.nbgrader.solution)
    )
    total = sum(points.values()) + hand
    text = nbformat.read(shipped(problem), 4).cells[0].source
    assert re.search(rf"\b{total:g} points", text), "the points are visible at the top"
    assert re.search(r"\d+ minutes", text)
    assert re.search(r"\b(Easy|Medium|Hard)\b", text)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_hints_are_folded_in_the_notebook(problem: str) -> None:
    import importlib

    hints = importlib.import_module(f"autograder.problems.{problem}.checks").HINTS
    assert set(hints) <= set(points_of(problem))
    text = "\n".join(c.source for c in nbformat.read(shipped(problem), 4).cells)
    folded = " ".join(
        " ".join(re.findall(r"<details>.*?</details>", text, re.S)).split()
    )
    for hint in (hint for each in hints.values() for hint in each):
        assert hint in folded


@pytest.mark.parametrize("problem", PROBLEMS)
def test_students_get_no_output_and_every_cell_parses(problem: str) -> None:
    notebook = nbformat.read(shipped(problem), 4)
    nbformat.validate(notebook)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        assert cell.outputs == []
        ast.parse(cell.source)


def test_a_missing_solution_mark_is_noticed(tmp_path: Path) -> None:
    """nbgrader would refuse it; the release must not be written from it."""
    import shutil

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
