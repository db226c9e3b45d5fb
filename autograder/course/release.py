"""Makes the notebooks in ``exercises/`` from the sources in ``solutions/``.

The way is ``solutions/problemN/problemN.md`` -> the notebook that nbgrader reads ->
``exercises/problemN/problemN.ipynb``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COURSE = Path(__file__).resolve().parents[2]


def problems(course: Path = COURSE) -> list[str]:
    """The problems that have a source."""
    return sorted(path.parent.name for path in course.glob("solutions/*/*.md"))


def source_notebook(markdown: Path) -> Any:
    """A source as a notebook.

    Each cell gets an id that stays the same: its grade_id, or else its place. By these
    ids a student's cells are found again where an editor has dropped nbgrader's
    metadata.
    """
    import jupytext

    notebook = jupytext.read(markdown)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for i, cell in enumerate(notebook.cells):
        ours = cell.metadata.get("nbgrader", {})
        cell["id"] = ours.get("grade_id", f"cell-{i}")
    return notebook


def write_sources(course: Path = COURSE) -> list[Path]:
    """Write a notebook beside each source that has changed since the last time.

    ``nbgrader_config.py`` calls it, because nbgrader looks for notebooks only. Git
    ignores these notebooks.
    """
    written = []
    for markdown in course.glob("solutions/*/*.md"):
        target = markdown.with_suffix(".ipynb")
        if not target.exists() or target.stat().st_mtime < markdown.stat().st_mtime:
            _write(source_notebook(markdown), target)
            written.append(target)
    return written


def released(problem: str, course: Path = COURSE) -> bytes:
    """The release of a problem as nbgrader makes it.

    nbgrader works in a temporary course, so the course's gradebook is left alone.
    """
    from nbgrader.apps import NbGraderAPI

    with tempfile.TemporaryDirectory() as folder, _quiet():
        place = Path(folder)
        source = place / "solutions" / problem
        source.mkdir(parents=True)
        _write(
            source_notebook(course / "solutions" / problem / f"{problem}.md"),
            source / f"{problem}.ipynb",
        )
        config = course_config(course)
        config.CourseDirectory.root = folder
        config.CourseDirectory.db_url = f"sqlite:///{place / 'gradebook.db'}"
        result = NbGraderAPI(config=config).generate_assignment(problem)
        if not result["success"]:
            raise RuntimeError(
                f"nbgrader could not make the release of {problem}:\n"
                f"{result.get('log', '')}{result['error']}"
            )
        return (place / "exercises" / problem / f"{problem}.ipynb").read_bytes()


def write_releases(course: Path = COURSE, only: Sequence[str] = ()) -> list[Path]:
    """Write ``exercises/`` anew from ``solutions/``.

    Args:
        course: The course's folder.
        only: The problems to write; if empty, all.

    Returns:
        The notebooks that were written.

    Raises:
        ValueError: A problem in ``only`` has no source.
    """
    unknown = set(only) - set(problems(course))
    if unknown:
        raise ValueError(f"no source of {', '.join(sorted(unknown))} in solutions/")
    written = []
    for problem in only or problems(course):
        target = course / "exercises" / problem / f"{problem}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(released(problem, course))
        written.append(target)
    return written


def course_config(course: Path = COURSE) -> Any:
    """What the course's ``nbgrader_config.py`` sets."""
    from traitlets.config import PyFileConfigLoader

    return PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()


def _write(notebook: Any, target: Path) -> None:
    import nbformat

    # The file is written beside the target first: somebody may be reading the target.
    beside = target.with_suffix(".tmp")
    nbformat.write(notebook, beside)
    shutil.move(beside, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences nbgrader's notes; only its errors are logged."""
    logger = logging.getLogger("traitlets")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
