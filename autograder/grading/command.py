"""``autograder grade submitted/ --output DIR`` grades a folder of submissions.

It writes what teachers and students read.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograder.grading.export import Row
    from autograder.grading.gradebook import Course
    from autograder.grading.state import Record
    from autograder.grading.submissions import Submission

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
            " feedback/<student>/problemN.html. A run that was stopped goes on where it"
            " was if the command is given again."
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
        help="this one only (may be given again); otherwise all that were handed in",
    )
    add(
        "--seed",
        type=int,
        help="decides what is asked; otherwise a fresh one, which grades.json records",
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
        return _graded(options)
    except WrongUsage as error:
        print(f"autograder: {error}", file=sys.stderr)
        return USAGE
    except (Refused, SandboxUnavailable, OSError) as error:
        print(f"autograder: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return FAILED


def _graded(options: argparse.Namespace) -> int:
    from autograder.grading import scheduler, submissions
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
    found = submissions.find(options.submitted, problems, expected)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if not found.submissions:
        raise WrongUsage(
            f"there is no submission to any problem in {options.submitted}; expected"
            " is <student>/problemN/problemN.ipynb"
        )
    if course is not None:
        for problem in dict.fromkeys(s.problem for s in found.submissions):
            course.check(problem)
    state = State(options.output)
    with scheduler.open_run(
        state, options.seed, sandbox=sandbox, budget=options.budget
    ) as run:
        print(
            f"{len(found.submissions)} rows, seed {run['seed']}"
            f"{', going on with the run that was stopped' if run['resumed'] else ''}"
        )
        plan = scheduler.Plan(
            options.submitted,
            run["seed"],
            options.workers or scheduler.cores(),
            sandbox,
            _hidden(options),
            options.budget,
            course.directory.course_id if course is not None else "",
            _releases(options, found.submissions, course),
        )
        records = scheduler.grade_all(found.submissions, plan, state, _say)
        rows = _rows(options, found.submissions, records, course, run, plan.releases)
        _write(options.output, rows, run)
        bad = [row for row in rows if row.status == "grader-error" or row.note]
        run["finished"] = not bad
    print(
        f"written to {options.output}: grades.csv, grades.json, junit.xml, index.html,"
        " feedback/"
    )
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


def _say(record: Record, done: int, of: int) -> None:
    from autograder.grading.export import number

    score = record.auto_score
    most = sum(check.points for check in record.checks)
    points = "" if score is None else f"{number(score)} of {number(most)} points"
    width = len(str(of))
    print(
        f"[{done:{width}}/{of}] {record.problem}  {record.student}  {record.status}"
        f"  {points}  {record.seconds:.1f} s",
        flush=True,
    )


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
    options: argparse.Namespace,
    found: Sequence[Submission],
    records: dict[str, Record],
    course: Course | None,
    run: dict[str, Any],
    releases: Mapping[str, Path],
) -> list[Row]:
    from autograder.grading.export import hand_points, row
    from autograder.sandbox.error_lines import one_line

    rows = []
    hand = {
        problem: hand_points(releases.get(problem))
        for problem in {submission.problem for submission in found}
    }
    for i, submission in enumerate(found, start=1):
        record, entry, note = records[submission.key], None, ""
        if course is not None and record.status not in ("missing", "grader-error"):
            if sys.stderr.isatty():
                print(f"\rgradebook {i}/{len(found)} ", end="", file=sys.stderr)
            try:
                course.write(submission, record, run["seed"], options.submitted)
                entry = course.entry(submission)
            except Exception as error:  # the other rows go on
                why = one_line(f"{type(error).__name__}: {error}")
                note = f"not in the gradebook: {why}"
        hand_max = hand[submission.problem]
        rows.append(row(record, hand_max=hand_max, entry=entry, note=note))
    if course is not None and sys.stderr.isatty():
        print(file=sys.stderr)
    return rows


def _write(output: Path, rows: Sequence[Row], run: dict[str, Any]) -> None:
    from autograder.grading.export import grades_csv, grades_json, junit_xml
    from autograder.grading.html import student_page, summary_page
    from autograder.grading.state import write_whole
    from autograder.grading.submissions import page_of

    pages = []
    for row in rows:
        page = page_of(row.record.student, row.record.problem)
        write_whole(output / page, student_page(row, run["started"]))
        pages.append(page.as_posix())
    for page in set(run["pages"]) - set(pages):  # pages of somebody who is gone
        (output / page).unlink(missing_ok=True)
    run["pages"] = pages
    write_whole(output / "index.html", summary_page(rows, run))
    write_whole(output / "junit.xml", junit_xml(rows))
    write_whole(output / "grades.csv", grades_csv(rows))
    # This comes last: whoever finds it finds all other files of the same run.
    write_whole(output / "grades.json", grades_json(rows, run))
