"""An nbgrader course in a folder of its own, and the real nbgrader's commands in it."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from autograder.course import release


def new_course(folder: Path, problem: str, source: str | None = None) -> Path:
    """Make a course with one problem that is released and known to its gradebook.

    Args:
        folder: Gets the course.
        problem: The problem's name.
        source: The problem's text, if it is not the repository's.

    Returns:
        The course's folder.
    """
    there = release.COURSE / "solutions" / problem / f"{problem}.md"
    place = folder / "solutions" / problem / f"{problem}.md"
    place.parent.mkdir(parents=True)
    place.write_text(source or there.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(release.COURSE / "nbgrader_config.py", folder)
    nbgrader(folder, "generate_assignment", problem)
    return folder


def nbgrader(course: Path, *arguments: str) -> str:
    """Run one command of the real nbgrader, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(release.COURSE),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exported(course: Path) -> dict[str, float]:
    """Student -> score, from nbgrader's own export."""
    nbgrader(course, "export")
    with (course / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
