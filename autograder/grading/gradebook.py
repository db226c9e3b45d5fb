"""A run's scores in nbgrader's gradebook.

nbgrader's own autograde writes them, with our results instead of a kernel. What a
person has graded by hand stays. It is open for review again only where the work or its
automatic points changed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.paths import jupyter_config_path
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import is_grade, parse_utc
from sqlalchemy.exc import DatabaseError, OperationalError
from traitlets.config import Config, PyFileConfigLoader

from autograder.checking.runner import points_of
from autograder.grading.state import (
    DIGITS,
    Record,
    Refused,
    digest_of,
    write_whole,
)
from autograder.grading.submissions import Submission
from autograder.nbgrader_plugin import RunChecks, verdict_outputs
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.notebook import Unreadable, read_notebook

CONFIG = "nbgrader_config.py"


class NoGradebook(Refused):
    """The course has no gradebook that fits; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """What the gradebook says of a submission.

    Attributes:
        score: The points, those given by hand included, less the late penalty.
        max_score: The most points that can be earned.
        by_hand: Whether somebody still has to grade a part of it.
    """

    score: float
    max_score: float
    by_hand: bool


class Course:
    """An nbgrader course: its configuration, releases and gradebook.

    Args:
        folder: The course's folder.

    Raises:
        NoGradebook: The folder is not a course, or its configuration lacks our checks.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG).is_file():
            raise NoGradebook(
                f"{folder} is no nbgrader course: it has no {CONFIG}. Name the course"
                " with --course, or leave its gradebook alone with --no-gradebook"
            )
        self._config = _configuration(folder)
        self._config.CourseDirectory.root = str(folder.resolve())
        known = self._config.Autograde.get("autograde_preprocessors", [])
        if RunChecks not in known:
            raise NoGradebook(
                f"{folder / CONFIG} does not call"
                " autograder.nbgrader_plugin.configure(c): add it, or leave the"
                " gradebook alone with --no-gradebook"
            )
        self._config.Autograde.autograde_preprocessors = [
            _KnownResults if preprocessor is RunChecks else preprocessor
            for preprocessor in known
        ]
        self._closed: NoGradebook | None = None
        with _quiet():
            self.directory = CourseDirectory(config=self._config)

    def students(self) -> list[str]:
        """The students who are expected, from the gradebook."""
        with self._open() as book:
            return [student.id for student in book.students]

    def check(self, problem: str) -> None:
        """Check that the gradebook knows the problem, with the points of our checks.

        Raises:
            NoGradebook: It does not know the problem or has other tasks or points, or
                the problem has no release.
        """
        again = (
            f"run `nbgrader generate_assignment {problem} --force` in"
            f" {self.directory.root}, or take --no-gradebook"
        )
        with self._open() as book:
            try:
                cells = book.find_notebook(problem, problem).grade_cells
            except MissingEntry:
                raise NoGradebook(
                    f"the gradebook does not know {problem}: {again}"
                ) from None
            points = {c.name: c.max_score for c in cells if c.cell_type == "code"}
        if points != points_of(problem):
            raise NoGradebook(
                f"the gradebook has other tasks or points for {problem} than its"
                f" checks: {again}"
            )
        if not self.release(problem).is_file():
            raise NoGradebook(f"there is no {self.release(problem)}: {again}")

    def write(
        self, submission: Submission, record: Record, seed: int, within: Path
    ) -> None:
        """Write a submission's scores, and the notebook that the formgrader shows.

        Besides the errors below, this raises whatever nbgrader raises.

        Args:
            submission: Where the notebook is.
            record: The result of grading it.
            seed: The seed of the run.
            within: The folder of all submissions.

        Raises:
            ValueError: The notebook has changed since it was graded.
            NoGradebook: The gradebook can't be read or written now.
        """
        with self._access(), tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / f"{submission.problem}.ipynb"
            _copy(submission, record, within, place)
            before = self._before(submission)
            writer = _Writer(coursedir=self.directory, config=self._config, force=True)
            stamp = _stamp(submission, record, seed)
            writer.write(submission, record, seed, place, stamp)
            self._settle(submission, record, before)
            self._journal(submission).unlink(missing_ok=True)

    def holds(self, submission: Submission, record: Record, seed: int) -> bool:
        """Whether ``write`` has written exactly this, and it still stands there.

        Work that nobody has judged and late work, whose penalty may have changed, are
        written each time.
        """
        if record.auto_score is None or self._journal(submission).exists():
            return False
        if _stamp_in(self._graded(submission)) != _stamp(submission, record, seed):
            return False
        names = submission.problem, submission.student
        with self._open() as book:
            try:
                late = book.find_submission(*names).total_seconds_late > 0
                found = book.find_submission_notebook(submission.problem, *names)
            except MissingEntry:
                return False
            if late or found.late_submission_penalty:
                return False
            there = {grade.name: grade.auto_score for grade in found.grades}
        points = dict.fromkeys(points_of(submission.problem), 0.0)
        for check in record.checks:
            points[check.task] += check.earned
        return all(there.get(t) == round(points[t], DIGITS) for t in points)

    def entry(self, submission: Submission) -> Entry | None:
        """What the gradebook says, with the late penalty subtracted.

        None if it does not know the submission.
        """
        with self._open() as book:
            try:
                found = book.find_submission(submission.problem, submission.student)
            except MissingEntry:
                return None
            return Entry(
                max(0.0, found.score - (found.late_submission_penalty or 0.0)),
                found.max_score,
                bool(found.needs_manual_grade),
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        course = self.directory
        with self._access(), Gradebook(course.db_url, course.course_id) as book:
            yield book

    @contextlib.contextmanager
    def _access(self) -> Iterator[None]:
        """Turns the database's errors into ours.

        A gradebook that is locked makes whoever asks wait for seconds. So a run does
        not ask again for each submission.
        """
        if self._closed is not None:
            raise self._closed
        try:
            with _quiet():
                yield
        except DatabaseError as error:
            closed = NoGradebook(
                f"the gradebook of {self.directory.root} can't be used now"
                f" ({one_line(str(error.orig))}): if another program is at work in it,"
                " wait for that, and give the same command again; or take"
                " --no-gradebook"
            )
            if isinstance(error, OperationalError):
                self._closed = closed
            raise closed from None

    def release(self, problem: str) -> Path:
        """Where the notebook is that was handed out."""
        course = self.directory
        folder = course.format_path(course.release_directory, ".", problem)
        return Path(folder) / f"{problem}.ipynb"

    def _graded(self, submission: Submission) -> Path:
        course = self.directory
        folder = course.format_path(
            course.autograded_directory, submission.student, submission.problem
        )
        return Path(folder) / f"{submission.problem}.ipynb"

    def _journal(self, submission: Submission) -> Path:
        """Keeps what a person has settled while a submission is being written.

        A run that is killed meanwhile leaves this file, and the next one goes by it.
        """
        return Path(self.directory.root) / f".settled-{submission.key}.json"

    def _before(self, submission: Submission) -> dict[str, list[Any]]:
        """What a person has settled so far.

        Cell -> its automatic points, and the work as it then was.
        """
        journal = self._journal(submission)
        with contextlib.suppress(OSError, ValueError):
            kept: dict[str, list[Any]] = json.loads(journal.read_bytes())
            return kept
        settled = self._settled(submission)
        if settled:
            write_whole(journal, json.dumps(settled))
        return settled

    def _settled(self, submission: Submission) -> dict[str, list[Any]]:
        work = _work_in(self._graded(submission))
        with self._open() as book:
            try:
                grades = book.find_submission_notebook(
                    submission.problem, submission.problem, submission.student
                ).grades
            except MissingEntry:
                return {}
            return {
                grade.name: [grade.auto_score, work]
                for grade in grades
                if grade.manual_score is not None and not grade.needs_manual_grade
            }

    def _settle(
        self, submission: Submission, record: Record, before: dict[str, list[Any]]
    ) -> None:
        work = _work_in(self._graded(submission))
        with self._open() as book:
            grades = book.find_submission_notebook(
                submission.problem, submission.problem, submission.student
            ).grades
            for grade in grades:
                if record.auto_score is None:
                    # Nobody has judged it, so 0 points would be wrong: a person has to.
                    grade.auto_score, grade.needs_manual_grade = None, True
                elif before.get(grade.name) == [grade.auto_score, work]:
                    grade.needs_manual_grade = False
            book.db.commit()


def _configuration(folder: Path) -> Config:
    """The user's and the course's configuration, as nbgrader's commands read them."""
    whole = Config()
    for place in [*map(Path, reversed(jupyter_config_path())), folder.resolve()]:
        if (place / CONFIG).is_file():
            whole.merge(PyFileConfigLoader(CONFIG, path=str(place)).load_config())
    return whole


def _copy(submission: Submission, record: Record, within: Path, place: Path) -> None:
    """Copy the notebook that was graded, and the time at which it was handed in.

    Nothing else that is beside it is copied.
    """
    try:
        notebook = read_notebook(submission.path, within)
    except Unreadable as error:
        notebook = _placeholder(record.message or str(error))
    else:
        if record.status == "unreadable":
            notebook = _placeholder(record.message)
        elif digest_of(notebook) != record.digest:
            raise ValueError("the notebook has changed since it was graded")
    place.write_text(json.dumps(notebook), encoding="utf-8")
    text = _handed_in(submission)
    if text:
        place.with_name("timestamp.txt").write_text(text, encoding="utf-8")


def _handed_in(submission: Submission) -> str:
    """When it was handed in, as the file beside it says; "" if that says no time."""
    file = submission.path.with_name("timestamp.txt")
    if not file.is_file() or file.is_symlink():
        return ""
    with open(file, encoding="utf-8", errors="replace") as lines:
        text = lines.read(100).strip()
    return text if _is_time(text) else ""


def _stamp(submission: Submission, record: Record, seed: int) -> str:
    """Stands for all that a submission's entry in the gradebook is made from."""
    whole = {"record": asdict(record), "seed": seed, "time": _handed_in(submission)}
    return digest_of(whole)


def _stamp_in(path: Path) -> str | None:
    """The stamp in a notebook that we have written, or None."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        stamp: str = json.loads(path.read_bytes())["metadata"]["autograder"]["stamp"]
        return stamp
    return None


def _is_time(text: str) -> bool:
    """Whether nbgrader can read the text as a time, in the form that it writes itself.

    Any other text would make nbgrader fail.
    """
    form = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( ?[\w:+-]{1,9})?"
    if not re.fullmatch(form, text, re.ASCII):
        return False
    try:
        parse_utc(text)
    except (ValueError, OverflowError, TypeError):
        return False
    return True


def _placeholder(why: str) -> dict[str, Any]:
    text = f"This notebook could not be read, so nothing in it was graded: {why}"
    cell = nbformat.v4.new_raw_cell(text)
    notebook: dict[str, Any] = nbformat.v4.new_notebook(cells=[cell])
    return notebook


def _work_in(path: Path) -> list[str] | None:
    """The text of all cells of a notebook that nbgrader has written, or None."""
    with contextlib.suppress(Exception):  # whatever is there now
        return [cell.source for cell in nbformat.read(path, 4).cells]
    return None


class _KnownResults(RunChecks):
    """Takes the place of ``RunChecks``, and writes results that are known already."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        record: Record = self.parent.parent.record
        if record.auto_score is not None:
            for cell in nb.cells:
                if is_grade(cell) and cell.cell_type == "code":
                    task = cell.metadata.nbgrader.grade_id
                    own = [c for c in record.checks if c.task == task]
                    cell.outputs = verdict_outputs(own, record.warnings)
        else:
            for cell in nb.cells:
                if is_grade(cell) and cell.cell_type == "code":
                    cell.outputs = [nbformat.v4.new_output("error", ename="not graded")]
        writer = self.parent.parent
        nb.metadata["autograder"] = {"seed": writer.seed, "stamp": writer.stamp}
        return nb, resources


class _Writer(Autograde):
    """nbgrader's Autograde for one submission, without patterns for names."""

    def write(
        self,
        submission: Submission,
        record: Record,
        seed: int,
        notebook: Path,
        stamp: str,
    ) -> None:
        self.record, self.seed, self.stamp = record, seed, stamp
        self._source, self._names = notebook.parent, submission
        self.assignments = {str(notebook.parent): [str(notebook)]}
        self.start()

    def init_notebooks(self) -> None:
        """There is nothing to look for."""

    def convert_notebooks(self) -> None:
        """As nbgrader's, for one submission and without patterns; errors are raised."""
        student, problem = self._names.student, self._names.problem
        self.notebooks = [str(self._source / f"{problem}.ipynb")]
        graded = Path(self._format_dest(problem, student))
        if graded.is_dir():
            shutil.rmtree(graded)
        self.init_assignment(problem, student)
        self.convert_single_notebook(self.notebooks[0])
        self.set_permissions(problem, student)

    def init_single_notebook_resources(self, notebook_filename: str) -> dict[str, Any]:
        problem = self._names.problem
        return {
            "unique_key": problem,
            "output_files_dir": f"{problem}_files",
            "nbgrader": {
                "student": self._names.student,
                "assignment": problem,
                "notebook": problem,
                "db_url": self.coursedir.db_url,
            },
        }

    def _format_source(
        self, assignment_id: str, student_id: str, escape: bool = False
    ) -> str:
        if self._sanitizing:
            return str(self._source)
        return str(super()._format_source(assignment_id, student_id, escape))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences nbgrader, which logs every step; its errors are raised to us anyway."""
    logger = logging.getLogger("traitlets")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nbgrader's use of its libraries
            yield
    finally:
        logger.setLevel(before)
