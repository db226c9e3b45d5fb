"""``autograder grade submitted/ --output DIR`` grades a folder of submissions.

It writes what teachers and students read.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from autograder.grading.changes import Changes
    from autograder.grading.cluster import Where
    from autograder.grading.export import Row
    from autograder.grading.gradebook import Course
    from autograder.grading.scheduler import Plan
    from autograder.grading.state import Record
    from autograder.grading.submissions import Submission

Item = TypeVar("Item")
FINE, FAILED, USAGE = 0, 1, 2
LONGEST = 3600  # seconds for one submission
WARNING = """\
************************************************************************
--unsafe-no-sandbox: the submissions run with ALL YOUR RIGHTS. They can
read and change your files, these grades, the solutions and the gradebook,
and use your network. Grade nobody's work like this but your own.
************************************************************************"""


class WrongUsage(ValueError):
    """The command makes no sense as it was given; the message says why."""


def add_grade_command(commands: Any) -> None:
    """Add ``grade`` to the command line's subcommands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "grade",
        help="grade a folder of submissions (for instructors)",
        description=(
            "Run all checks on submitted/<student>/problemN/problemN.ipynb, each in the"
            " sandbox, and write grades.csv, grades.json, junit.xml, index.html and"
            " feedback/<student>/problemN.html. Given again, the command grades only"
            " what has changed: the notebook, the checks, chapter4, the libraries, the"
            " sandbox. A run that was stopped goes on where it was."
        ),
        epilog=(
            "example: autograder grade submitted --output grades\n"
            "exit code: 0 if every row was graded, whatever the scores; 1 if something"
            " on our side failed; 2 for wrong usage or a missing requirement"
        ),
    )
    add = parser.add_argument
    add("submitted", type=Path, help="the folder of all submissions")
    add("--output", type=Path, required=True, metavar="DIR", help="gets these files")
    add(
        "--problem",
        action="append",
        default=[],
        metavar="problemN",
        help="look at this one only (may be given again); the other rows stay",
    )
    add(
        "--student",
        action="append",
        default=[],
        metavar="NAME",
        help="look at this one only (may be given again); the other rows stay",
    )
    add(
        "--again",
        action="store_true",
        help="grade again what has not changed since the last run, too",
    )
    add(
        "--seed",
        type=int,
        help="decides what is asked; otherwise that of DIR's last run, or a new one",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="how many at a time; otherwise as many as there are cores",
    )
    add(
        "--budget",
        type=float,
        metavar="SECONDS",
        help=(
            "how long a submission's code may take in all, one call a fifth of it;"
            " otherwise 100"
        ),
    )
    add(
        "--course",
        type=Path,
        default=Path(),
        metavar="DIR",
        help=(
            "the nbgrader course whose gradebook gets the scores; otherwise this folder"
        ),
    )
    add("--no-gradebook", action="store_true", help="leave the gradebook alone")
    add(
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="grade on a Dask cluster that runs already, at tls://HOST:PORT",
    )
    for option, what in (
        ("--tls-ca-file", "who signed the cluster's certificates"),
        ("--tls-cert", "your certificate for the cluster"),
        ("--tls-key", "that certificate's key"),
    ):
        add(option, metavar="FILE", help=f"{what}; as for dask scheduler")
    add(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run submissions with all your rights: for your own work only",
    )
    parser.set_defaults(run=run_grade)


def run_grade(options: argparse.Namespace) -> int:
    """Run ``autograder grade``; return its exit code."""
    from autograder.grading.state import Refused
    from autograder.sandbox.launcher import SandboxUnavailable

    try:
        with steady_clock():
            return _graded(options)
    except WrongUsage as error:
        print(f"autograder: {error}", file=sys.stderr)
        return USAGE
    except (Refused, SandboxUnavailable) as error:
        print(f"autograder: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        where = error.filename2 or error.filename or options.output
        print(
            f"autograder: {where}: {error.strerror or error}. What was graded is kept:"
            " put it right, and the same command goes on",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return FAILED


@contextlib.contextmanager
def steady_clock() -> Iterator[None]:
    """Keeps ``time.time`` from jumping when somebody sets the machine's clock.

    Dask and tornado, which are imported only now, measure their waits by it: with a
    clock that is set back by an hour, a message to a worker would wait for an hour.
    """
    usual, shift = time.time, time.time() - time.monotonic()
    time.time = lambda: time.monotonic() + shift
    try:
        yield
    finally:
        time.time = usual


def _graded(options: argparse.Namespace) -> int:
    from autograder.grading import scheduler, submissions
    from autograder.grading.changes import changes_of, last_grades
    from autograder.grading.state import State

    for stream in (sys.stdout, sys.stderr):  # names may be anything
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    problems = _checked(options)
    sandbox = not options.unsafe_no_sandbox
    if not sandbox:
        print(WARNING, file=sys.stderr)
    course = None
    if not options.no_gradebook:
        from autograder.grading.gradebook import Course

        course = Course(options.course)
    expected = course.students() if course is not None else []
    found = submissions.find(options.submitted, students=expected)
    for line in found.notes:
        _note(line)
    if not found.submissions:
        raise WrongUsage(
            f"there is no submission to any problem in {options.submitted}; expected"
            " is <student>/problemN/problemN.ipynb"
        )
    try:
        chosen = submissions.choose(found, options.student, problems)
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    if course is not None:
        for problem in dict.fromkeys(s.problem for s in chosen):
            course.check(problem)
    state = State(options.output)
    last = state.run().get("seed")
    if (options.student or problems) and last and options.seed not in (None, last):
        raise WrongUsage(
            "the same is asked of everybody: a new --seed needs all rows, or another"
            " --output"
        )
    with scheduler.open_run(
        state, options.seed, sandbox=sandbox, budget=options.budget
    ) as run:
        state.forget(but=[submission.key for submission in found.submissions])
        print(
            f"{len(chosen)} rows, seed {run['seed']}"
            f"{', going on with the run that was stopped' if run['resumed'] else ''}"
        )
        plan = scheduler.Plan(
            options.submitted,
            run["seed"],
            sandbox,
            _hidden(options),
            options.budget,
            course.directory.course_id if course is not None else "",
            _releases(options, found.submissions, course),
            {submission.key for submission in chosen},
            options.again,
        )
        records = scheduler.grade_all(
            found.submissions, plan, _where(options), state, _say, _note
        )
        graded = [s for s in found.submissions if s.key in records]
        rows = _rows(graded, records, plan, course)
        changes = changes_of(last_grades(options.output), rows)
        _write(options.output, rows, run, changes)
        bad = [row for row in rows if row.status == "grader-error" or row.note]
        run["finished"] = not bad
    for line in changes.lines():
        print(line)
    print(
        f"written to {options.output}: grades.csv, grades.json, junit.xml, index.html,"
        " feedback/"
    )
    for line in dict.fromkeys(row.note for row in rows if row.note):
        _note(line)
    if bad:
        print(
            f"autograder: {len(bad)} of {len(rows)} rows have a problem of ours, not of"
            " the students; see index.html. The same command tries them again.",
            file=sys.stderr,
        )
    return FAILED if bad else FINE


def _hidden(options: argparse.Namespace) -> list[Path]:
    """Folders that no submission may see, with the course that this may be part of."""
    from autograder.sandbox import mounts

    courses = [options.course.resolve(), options.submitted.resolve().parent]
    # Whoever calls the command from Python's own folder has no course there.
    around = [
        course
        for course in courses
        if course not in mounts.shown() or (course / "nbgrader_config.py").is_file()
    ]
    return [options.submitted, options.output, *around]


def _checked(options: argparse.Namespace) -> list[str]:
    """The problems that are asked for by name; WrongUsage if an option is wrong."""
    from autograder.grading.submissions import problems_with_checks
    from autograder.sandbox.student import BUDGET_SECONDS

    if not options.submitted.is_dir():
        raise WrongUsage(f"there is no folder {options.submitted}")
    inner, outer = options.output.resolve(), options.submitted.resolve()
    if inner == outer or outer in inner.parents:
        raise WrongUsage("--output must not lie among the submissions")
    if options.workers is not None and options.workers < 1:
        raise WrongUsage(f"--workers is at least 1, not {options.workers}")
    if options.workers is not None and options.scheduler:
        raise WrongUsage("with --scheduler the cluster decides how many workers it has")
    if options.seed is not None and options.seed < 0:
        raise WrongUsage(f"--seed is not negative; {options.seed} is")
    if options.budget is None:
        options.budget = BUDGET_SECONDS
    if not 1 <= options.budget <= LONGEST:
        raise WrongUsage(f"--budget is 1 to {LONGEST} seconds, not {options.budget:g}")
    known = problems_with_checks()
    for problem in options.problem:
        if problem not in known:
            raise WrongUsage(
                f"there is no {problem!r} with checks; there are: {', '.join(known)}"
            )
    return list(dict.fromkeys(options.problem))


def _where(options: argparse.Namespace) -> Where:
    from autograder.grading.cluster import Where

    return Where(
        options.workers or cores(),
        options.scheduler,
        options.tls_ca_file,
        options.tls_cert,
        options.tls_key,
    )


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)


def _say(record: Record, done: int, of: int, rest: float | None) -> None:
    from autograder.grading.export import number

    score = record.auto_score
    most = sum(check.points for check in record.checks)
    points = "" if score is None else f"{number(score)} of {number(most)} points"
    width = len(str(of))
    print(
        f"[{done:{width}}/{of}] {record.problem}  {record.student}  {record.status}"
        f"  {points}  {record.seconds:.1f} s{_rest(rest)}",
        flush=True,
    )


def _rest(seconds: float | None) -> str:
    """How long the rest will take, in words; "" where that says nothing."""
    if seconds is None or seconds < 5:
        return ""
    if seconds < 100:
        return f"  (about {seconds:.0f} s left)"
    return f"  (about {seconds / 60:.0f} min left)"


def _releases(
    options: argparse.Namespace, found: Sequence[Submission], course: Course | None
) -> dict[str, Path]:
    """Problem -> the notebook that was handed out: the course's, or else ours."""
    from autograder.course.release import COURSE

    releases = {}
    for problem in {submission.problem for submission in found}:
        name = f"exercises/{problem}/{problem}.ipynb"
        places = [options.course / name, COURSE / name]
        if course is not None:
            places.insert(0, course.release(problem))
        there = [place.resolve() for place in places if place.is_file()]
        if there:
            _check_release(there[0])
            releases[problem] = there[0]
    return releases


def _check_release(path: Path) -> None:
    from autograder.grading.state import Refused
    from autograder.sandbox.notebook import Unreadable, read_notebook

    try:
        read_notebook(path)
    except Unreadable as error:
        raise Refused(f"{path} should be what was handed out, but {error}") from None


def _rows(
    found: Sequence[Submission],
    records: Mapping[str, Record],
    plan: Plan,
    course: Course | None,
) -> list[Row]:
    from autograder.grading.export import hand_points, row
    from autograder.grading.state import Refused
    from autograder.sandbox.error_lines import one_line

    rows = []
    hand = {
        problem: hand_points(plan.releases.get(problem))
        for problem in {submission.problem for submission in found}
    }
    for submission in _counted("gradebook" if course is not None else "", found):
        record, entry, note = records[submission.key], None, ""
        if course is not None and record.status not in ("missing", "grader-error"):
            try:
                if submission.key in plan.chosen and (
                    plan.again or not course.holds(submission, record, plan.seed)
                ):
                    course.write(submission, record, plan.seed, plan.within)
                entry = course.entry(submission)
            except Exception as error:  # the other rows go on
                ours = isinstance(error, Refused)
                said = str(error) if ours else f"{type(error).__name__}: {error}"
                note = f"not in the gradebook: {one_line(said)}"
        hand_max = hand[submission.problem]
        rows.append(row(record, hand_max=hand_max, entry=entry, note=note))
    return rows


def _counted(what: str, items: Sequence[Item]) -> Iterator[Item]:
    """The items, while somebody at a terminal sees how many are done."""
    shown = what and items and sys.stderr.isatty()
    for i, item in enumerate(items, start=1):
        if shown:
            print(f"\r{what} {i}/{len(items)} ", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print(file=sys.stderr)


def _write(
    output: Path, rows: Sequence[Row], run: dict[str, Any], changes: Changes
) -> None:
    from autograder.grading.export import grades_csv, grades_json, junit_xml
    from autograder.grading.html import student_page, summary_page
    from autograder.grading.state import write_whole
    from autograder.grading.submissions import page_of

    pages = []
    for row in _counted("pages", rows):
        page = page_of(row.record.student, row.record.problem)
        write_whole(output / page, student_page(row, run["started"]))
        pages.append(page.as_posix())
    inside = (output / "feedback").resolve()
    for page in set(run["pages"]) - set(pages):  # of somebody who is gone
        if (output / page).resolve().is_relative_to(inside):
            (output / page).unlink(missing_ok=True)
    run["pages"] = pages
    write_whole(output / "index.html", summary_page(rows, run, changes))
    write_whole(output / "junit.xml", junit_xml(rows))
    write_whole(output / "grades.csv", grades_csv(rows))
    # This comes last: whoever finds it finds all other files of the same run.
    write_whole(output / "grades.json", grades_json(rows, run, changes))
