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

import nbformat
from nbconvert.exporters import NotebookExporter
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
from tornado.log import LogFormatter
from traitlets import Bool, Float

from autograder.checking.runner import CheckResult, points_of, run_checks
from autograder.feedback import coloured_code, harmless_markdown
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.notebook import Cell, Unreadable, known_cells, read_notebook
from autograder.sandbox.student import (
    BUDGET_SECONDS,
    SandboxedStudent,
    limits_of,
    seed_of,
)
from autograder.selfcheck import report

log = logging.getLogger("traitlets")


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
    config.HTMLExporter.filters = {
        "markdown2html": harmless_markdown,
        "highlight_code": coloured_code,
        # This one is for notebooks of 2013, and can take hours.
        "strip_files_prefix": _unchanged,
    }
    console = {"class": f"{__name__}.{HarmlessLog.__name__}"}
    config.Application.logging_config = {"formatters": {"console": console}}
    config.ZipCollectApp.extractor_plugin = PlatformZip
    config.ZipCollectApp.collector_plugin = PlatformNames
    config.ExtractorPlugin.zip_ext = []


class HarmlessLog(LogFormatter):
    """Shows names of files and students without what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        record.msg, record.args = _printable(record.getMessage()), ()
        return super().format(record)


def _printable(text: str) -> str:
    """Lines without control characters; a name has no business with them."""
    return "\n".join(
        line if line.isprintable() else one_line(line, len(line))
        for line in text.split("\n")
    )


def _unchanged(html: str) -> str:
    return html


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
        converter: Any = self.parent
        if not converter._sanitizing:  # what we have written ourselves
            return super().from_filename(filename, resources, **kw)
        course, path = converter.coursedir, Path(filename)
        folder = Path(course.format_path(course.submitted_directory, ".", "."))
        within = folder if folder in path.parents else None
        return self.from_notebook_node(_read(path, within), resources, **kw)


def _read(path: Path, within: Path | None = None) -> Any:
    try:
        return nbformat.from_dict(read_notebook(path, within))
    except Unreadable as error:
        why = one_line(str(error))
        log.warning("%s could not be read: %s", _printable(str(path)), why)
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
                log.warning("removing %s: it is no plain file", _printable(str(path)))
                path.unlink()


class RestoreRelease(NbGraderPreprocessor):
    """Brings a submission into the form of the release.

    Our cells are as we wrote them, all metadata is ours, and nothing is there twice.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        course = _course_of(self)
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
    cells. A second copy of a solution stays as the student's own code, but a second
    copy of one of our cells goes. A missing cell comes back after its predecessor. What
    runs says so in its metadata, by its number in the submission.
    """
    known = known_cells(submitted, release)
    # Ours is the first that runs, or else the first.
    firsts: dict[str, int] = {}
    for wanted in (True, False):
        for i, (ours, runs) in enumerate(known):
            if runs == wanted and ours and _grade_id(ours):
                firsts.setdefault(_grade_id(ours), i)
    found: dict[str, Any] = {}
    cells = []
    for i, (cell, (ours, runs)) in enumerate(zip(submitted.cells, known, strict=True)):
        grade_id = _grade_id(ours) if ours else ""
        if grade_id and firsts[grade_id] == i:
            kept = found[grade_id] = copy.deepcopy(ours)
            if ours.metadata.nbgrader.solution:
                kept.source = cell.source
        elif grade_id and not ours.metadata.nbgrader.solution:
            continue
        else:
            kept = _NEW["code" if runs else cell.cell_type](cell.source, id=cell.id)
        if runs:
            kept.metadata["autograder"] = {"cell": i + 1}
        cells.append(kept)
    _put_back(cells, found, release)
    _unique_ids(cells)
    result = copy.deepcopy(release)
    result.cells = cells
    return result


def _put_back(cells: list[Any], found: dict[str, Any], release: Any) -> None:
    """Put each missing cell of ours back.

    It goes after the nearest cell that is before it in the release and still there.
    """
    place = 0
    for cell in release.cells:
        grade_id = _grade_id(cell)
        if grade_id and grade_id not in found:
            found[grade_id] = copy.deepcopy(cell)
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


_NEW = {
    "code": nbformat.v4.new_code_cell,
    "markdown": nbformat.v4.new_markdown_cell,
    "raw": nbformat.v4.new_raw_cell,
}


class RunChecks(NbGraderPreprocessor):
    """Takes the place of ``Execute``.

    It asks the submission in the sandbox, and writes each graded cell's output.
    """

    unsafe_no_sandbox = Bool(
        False,
        help="Run submissions without a sandbox, with all rights of whoever grades.",
    ).tag(config=True)

    budget = Float(
        BUDGET_SECONDS, help="Seconds of computing that a submission may use in all."
    ).tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        problem, course = resources["nbgrader"]["assignment"], _course_of(self)
        launcher = _launcher(problem, Path(course.root), self.unsafe_no_sandbox)
        seed = secrets.randbits(48)
        name = resources["nbgrader"]["student"]
        runs = [cell for cell in nb.cells if "autograder" in cell.metadata]
        cells = [Cell(f"cell {c.metadata.autograder.cell}", c.source) for c in runs]
        for _ in range(2):
            with SandboxedStudent(
                launcher,
                cells,
                seed=seed_of(seed, course.course_id, name, problem),
                **limits_of(self.budget),
            ) as student:
                results = run_checks(problem, student, seed)
            if not student.starved:
                break
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
                cell.outputs = verdict_outputs(own, student.warnings)
        nb.metadata["autograder"] = {"seed": seed}
        return nb, resources


def _course_of(preprocessor: Any) -> Any:
    """A preprocessor's parent is the exporter, and its parent is the converter."""
    return preprocessor.parent.parent.coursedir


def verdict_outputs(
    results: Sequence[CheckResult], warnings: Sequence[str] = ()
) -> list[Any]:
    """A graded cell's output: the report, then the points, where nbgrader looks."""
    text = "\n".join([*(f"Warning: {line}" for line in warnings), report(results), ""])
    earned = round(sum(r.earned for r in results), 6)
    return [
        nbformat.v4.new_output("stream", name="stdout", text=text),
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
