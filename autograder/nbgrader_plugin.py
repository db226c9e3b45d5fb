"""nbgrader with our checks.

A submission is read with caps, brought back into the form of the release, and graded in
the sandbox instead of in its own kernel. Gradebook, formgrader, feedback and export
stay nbgrader's.
"""

from __future__ import annotations

import atexit
import copy
import logging
import os
import re
import secrets
import stat
import sysconfig
import unicodedata
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import bleach
import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.filters import markdown2html_mistune
from nbgrader.plugins import ExtractorPlugin, FileNameCollectorPlugin
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    LimitOutput,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from traitlets import Bool, Float

from autograder.checking.runner import CheckResult, points_of, run_checks
from autograder.sandbox.notebook import Unreadable, cells_of, read_notebook
from autograder.sandbox.student import (
    BUDGET_SECONDS,
    SandboxedStudent,
    limits_of,
    one_line,
)
from autograder.selfcheck import report

log = logging.getLogger("traitlets")

TAGS = (
    *("br", "del", "details", "div", "hr", "p", "pre", "span", "sub", "summary", "sup"),
    *("dd", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("table", "tbody", "td", "th", "thead", "tr"),
)


class GraderError(RuntimeError):
    """Something is wrong on our side.

    nbgrader then leaves the submission ungraded and says so. It does not give 0 points.
    """


def configure(config: Any) -> None:
    """Set what ``nbgrader_config.py`` needs for grading."""
    # nbgrader calls `alembic` by name, which fails where nobody has activated the
    # environment.
    scripts = sysconfig.get_path("scripts")
    if scripts not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    config.Autograde.exporter_class = CappedExporter
    config.Autograde.pre_convert_hook = drop_links
    config.Autograde.sanitize_preprocessors = [
        RestoreRelease,
        ClearOutput,
        DeduplicateIds,
        OverwriteKernelspec,
        OverwriteCells,
        CheckCellMetadata,
    ]
    config.Autograde.autograde_preprocessors = [
        RunChecks,
        LimitOutput,
        SaveAutoGrades,
        AssignLatePenalties,
        CheckCellMetadata,
    ]
    # A student's Markdown must not run scripts in the browser of whoever reads it.
    # sanitize_html alone is not enough: nbgrader's templates bypass it.
    config.HTMLExporter.sanitize_html = True
    config.HTMLExporter.filters = {"markdown2html": harmless_markdown}
    config.ZipCollectApp.extractor_plugin = PlatformZip
    config.ZipCollectApp.collector_plugin = PlatformNames
    config.ExtractorPlugin.zip_ext = []


def harmless_markdown(source: str) -> str:
    """Markdown as HTML without scripts, styles, frames or pictures from elsewhere."""
    html = bleach.clean(
        markdown2html_mistune(source),
        tags=[*bleach.ALLOWED_TAGS, *TAGS],
        attributes={"a": ["href", "title"], "*": ["class", "id"]},
    )
    return str(html)


class PlatformZip(ExtractorPlugin):
    """Unpacks a learning platform's zip, but no zip that a student handed in."""

    def extract(self, archive_path: str, extracted_path: str) -> None:
        super().extract(archive_path, extracted_path)  # copies: zip_ext is empty
        for path in sorted(Path(extracted_path).glob("*.zip")):
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(extracted_path)
            except zipfile.BadZipFile:
                self.parent.fail(f"{path.name} is no readable zip: download it again")
            path.unlink()


# What a student called a file comes last, so that nobody can take another's number.
# A folder, or the beginning of a file's name: "Jane Doe_12_assignsubmission_file_".
MOODLE = re.compile(r"([^_]+)_(\d+)_assignsubmission_file_?(.*)")
# "doejane_LATE_1234_567890_problem1-1.ipynb": the student, and the upload.
CANVAS = re.compile(r"(.+?)(?:_LATE)?_(\d+)_(\d+)_(.+)")


class PlatformNames(FileNameCollectorPlugin):
    """Knows students and notebooks by the names that Canvas and Moodle give them.

    One notebook of a student counts: one that has the problem's name before any other,
    then the latest upload, then the highest number of a copy.
    """

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        path = Path(submitted_file)
        student, rank, name = self._known(path)
        if not student or path.suffix != ".ipynb":
            return None
        last = self._last[student]
        if path != last:
            self.log.warning("%s counts, so this is left out: %s", last.name, path)
            return None
        problem = self.parent.coursedir.assignment_id
        return {
            "student_id": student,
            "file_id": f"{problem}.ipynb" if rank[0] else name,
        }

    def _known(self, path: Path) -> tuple[str, tuple[int, ...], str]:
        """The student or "", the notebook's rank among the student's, and its name."""
        course = self.parent.coursedir
        parts = path.relative_to(course.root).parts
        folders = filter(None, map(MOODLE.fullmatch, parts))
        found = next(folders, None) or CANVAS.fullmatch(path.name)
        if not found:
            return "", (), ""
        plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", found[1]))
        name = found[found.re.groups] if found.string == path.name else path.name
        upload = int(found[3]) if found.re is CANVAS else 0
        own = rf"{course.assignment_id}(?!\d)\D*(\d*)"
        copy = re.search(own, name, re.IGNORECASE)
        rank = (copy is not None, upload, int((copy and copy[1]) or 0), -len(name))
        return f"{plain.strip('-')}_{found[2]}", rank, name

    @cached_property
    def _last(self) -> dict[str, Path]:
        """Student -> the notebook that counts."""
        app = self.parent
        folder = Path(app._format_collect_path(app.extracted_directory))
        known = {path: self._known(path) for path in sorted(folder.rglob("*.ipynb"))}
        ordered = sorted(known, key=lambda path: known[path][1])
        return {known[path][0]: path for path in ordered}


class CappedExporter(NotebookExporter):
    """Reads a submission with caps.

    A file that can't be read becomes an empty notebook that says why. It earns nothing.
    """

    def from_filename(
        self, filename: str, resources: Any = None, **kw: Any
    ) -> tuple[Any, Any]:
        return self.from_notebook_node(_read(Path(filename)), resources, **kw)


def _read(path: Path) -> Any:
    try:
        return nbformat.from_dict(read_notebook(path))
    except Unreadable as error:
        why = one_line(str(error))
        log.warning("%s could not be read: %s", path, why)
        cell = nbformat.v4.new_markdown_cell(
            f"**This notebook could not be read, so nothing in it was graded:** {why}"
        )
        return nbformat.v4.new_notebook(cells=[cell])


def drop_links(assignment: str, student: str, notebooks: Sequence[str]) -> None:
    """Remove links, pipes and devices from a submission.

    nbgrader would copy what they lead to, and hand it out.
    """
    for folder in {Path(notebook).parent for notebook in notebooks}:
        for path in sorted(folder.rglob("*"), reverse=True):
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                log.warning("removing %s: it is no plain file", path)
                path.unlink()


class RestoreRelease(NbGraderPreprocessor):
    """Brings a submission into the form of the release.

    Our cells are as we wrote them, all metadata is ours, and nothing is there twice.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        course = self.parent.parent.coursedir
        known = resources["nbgrader"]
        problem, name = known["assignment"], known["notebook"]
        release = course.format_path(course.release_directory, ".", problem)
        path = Path(release) / f"{name}.ipynb"
        if not path.is_file():
            raise GraderError(
                f"there is no release {path}: run `nbgrader generate_assignment"
                f" {problem} --force`"
            )
        graded = course.format_path(
            course.autograded_directory, known["student"], problem
        )
        _drop_others(Path(graded), Path(release))
        return restored(nb, nbformat.read(path, 4)), resources


def _drop_others(folder: Path, release: Path) -> None:
    """Remove files that came with the submission.

    So they do not reach the formgrader and the feedback.
    """
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not (release / path.relative_to(folder)).is_file():
            path.unlink()


def restored(submitted: Any, release: Any) -> Any:
    """A submission in the form of its release.

    It has the release's metadata and locked cells, and the student's solutions and own
    cells. A cell is known by its grade_id, or by its id where an editor dropped the
    metadata. A second copy of a solution stays as the student's own code, but a second
    copy of one of our cells goes. A missing cell comes back after its predecessor.
    """
    ours = {c.metadata.nbgrader.grade_id: c for c in release.cells if _grade_id(c)}
    found: dict[str, Any] = {}
    cells = []
    for cell in submitted.cells:
        grade_id = _grade_id(cell) or cell.get("id", "")
        own = ours.get(grade_id)
        if own is None or grade_id in found:
            if own is None or own.metadata.nbgrader.solution:
                cell.metadata = nbformat.NotebookNode()
                cells.append(cell)
            continue
        kept = copy.deepcopy(own)
        if own.metadata.nbgrader.solution:
            kept.source = cell.source
        found[grade_id] = kept
        cells.append(kept)
    _put_back(cells, found, ours, release)
    _unique_ids(cells)
    result = copy.deepcopy(release)
    result.cells = cells
    return result


def _put_back(
    cells: list[Any], found: dict[str, Any], ours: dict[str, Any], release: Any
) -> None:
    """Put each missing cell of ours back.

    It goes after the nearest cell that is before it in the release and still there.
    """
    place = 0
    for cell in release.cells:
        grade_id = _grade_id(cell)
        if grade_id and grade_id not in found:
            found[grade_id] = copy.deepcopy(ours[grade_id])
            cells.insert(place, found[grade_id])
        same = [
            i
            for i, c in enumerate(cells)
            if (c is found[grade_id] if grade_id else c.id == cell.id)
        ]
        place = same[0] + 1 if same else place


def _unique_ids(cells: list[Any]) -> None:
    seen = {cell.id for cell in cells if _grade_id(cell)}
    for i, cell in enumerate(cells):
        if not _grade_id(cell):
            if cell.id in seen:
                cell["id"] = f"own-{i}"
            seen.add(cell.id)


def _grade_id(cell: Any) -> str:
    ours = cell.metadata.get("nbgrader", {})
    return ours.get("grade_id", "") if isinstance(ours, dict) else ""


class RunChecks(NbGraderPreprocessor):
    """Takes the place of ``Execute``.

    It asks the submission in the sandbox, and writes each graded cell's output.
    """

    unsafe_no_sandbox = Bool(
        False,
        help="Run submissions without a sandbox, with all rights of whoever grades.",
    ).tag(config=True)

    budget = Float(
        BUDGET_SECONDS, help="Seconds that a submission's own code may take in all."
    ).tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        problem = resources["nbgrader"]["assignment"]
        launcher = _launcher(problem, _root_of(self), self.unsafe_no_sandbox)
        seed = secrets.randbits(48)
        limits = limits_of(self.budget)
        with SandboxedStudent(launcher, cells_of(nb), **limits) as student:
            results = run_checks(problem, student, seed)
        ours = [r for r in results if r.status == "grader-error"]
        if ours:
            raise GraderError(f"check {ours[0].id}, seed {seed}: {ours[0].message}")
        points = points_of(problem)
        for cell in nb.cells:
            task = _grade_id(cell)
            if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get(
                "grade"
            ):
                own = [r for r in results if r.task == task]
                if not own:
                    raise GraderError(
                        f"no check of {problem} belongs to its cell {task!r}"
                    )
                if points[task] != cell.metadata.nbgrader.points:
                    raise GraderError(
                        f"the checks of {task} give {points[task]:g} points, its cell"
                        f" {cell.metadata.nbgrader.points:g}"
                    )
                cell.outputs = verdict_outputs(own)
        nb.metadata["autograder"] = {"seed": seed}
        return nb, resources


def _root_of(preprocessor: Any) -> Path:
    """The course's folder.

    A preprocessor's parent is the exporter, and the exporter's parent is the converter.
    """
    return Path(preprocessor.parent.parent.coursedir.root)


def verdict_outputs(results: Sequence[CheckResult]) -> list[Any]:
    """A graded cell's output: the report, then the points, where nbgrader looks."""
    earned = round(sum(r.earned for r in results), 6)
    return [
        nbformat.v4.new_output("stream", name="stdout", text=report(results) + "\n"),
        # nbgrader takes the last expression as the points.
        nbformat.v4.new_output(
            "execute_result", data={"text/plain": str(earned)}, execution_count=1
        ),
    ]


_open: dict[tuple[str, Path, bool], Any] = {}
_stack = ExitStack()
atexit.register(_stack.close)


def _launcher(problem: str, root: Path, unsafe: bool) -> Any:
    """One sandbox per problem: it stays open and serves all submissions of a run."""
    from autograder.sandbox.launcher import Sandbox, Subprocess

    key = (problem, root, unsafe)
    if key not in _open:
        number = int(problem.removeprefix("problem"))
        made: Any = Subprocess(number) if unsafe else Sandbox(number, hide=[root])
        _open[key] = _stack.enter_context(made)
    return _open[key]
