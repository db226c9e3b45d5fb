"""An nbgrader course in a folder of its own, and the real nbgrader at work in it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from autograder.course import release

# A cell for hand grading. Jupytext wants its metadata in one line.
BY_HAND = (
    '\n+++ {"nbgrader": {"grade": true, "grade_id": "answer", "locked": false, '
    '"points": 5, "schema_version": 3, "solution": true, "task": false}}\n'
    "\nYOUR ANSWER HERE\n"
)


def new_course(folder: Path, problem: str, source: str = "") -> Path:
    """Make a course with one problem that is released and known to its gradebook.

    Args:
        folder: Gets the course.
        problem: The problem's name.
        source: The problem's text, if it is not the repository's.

    Returns:
        The course's folder.
    """
    place = folder / "solutions" / problem / f"{problem}.md"
    place.parent.mkdir(parents=True)
    shutil.copy(release.COURSE / place.relative_to(folder), place)
    if source:
        place.write_text(source, encoding="utf-8")
    shutil.copy(release.COURSE / "nbgrader_config.py", folder)
    nbgrader(folder, "generate_assignment", problem)
    return folder


def notebook(*sources: str) -> dict[str, Any]:
    """A notebook of code cells."""
    cells = [
        {"cell_type": "code", "metadata": {}, "id": f"c{i}", "source": source}
        | {"outputs": [], "execution_count": None}
        for i, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def submit(
    course: Path, student: str, notebook: Any, problem: str = "problem2"
) -> Path:
    """Hand in a notebook, or a text instead of one; return the file."""
    path = course / "submitted" / student / problem / f"{problem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = notebook if isinstance(notebook, str) else json.dumps(notebook)
    path.write_text(text, encoding="utf-8")
    return path


def solution(course: Path, *changes: tuple[str, str]) -> Any:
    """The sample answer of problem 2, with text replaced."""
    text = (course / "solutions/problem2/problem2.ipynb").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return json.loads(text)


def set_by_hand(
    course: Path, student: str, cell: str = "answer", **values: Any
) -> None:
    """What a person does in the formgrader."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        grade = book.find_grade(cell, "problem2", "problem2", student)
        for name, value in values.items():
            setattr(grade, name, value)
        book.db.commit()


def nbgrader(course: Path, *arguments: str) -> str:
    """Run one command of the real nbgrader, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(release.COURSE),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def from_here(course: Path, action: str, *arguments: str, **more: Any) -> None:
    """Let nbgrader do something in this process, as the formgrader does."""
    from nbgrader.apps import NbGraderAPI

    config = release.course_config(course)
    config.CourseDirectory.root = str(course)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = getattr(NbGraderAPI(config=config), action)(*arguments, **more)
    assert done["success"], done


def exported(course: Path) -> dict[str, float]:
    """Student -> score, from nbgrader's own export."""
    nbgrader(course, "export")
    with (course / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
