"""The command line.

``autograder check NOTEBOOK`` checks one's own notebook; the other commands are for
instructors and authors.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Exit codes.
FINE, FAILED, USAGE = 0, 1, 2
# The commands that the student's bundle lacks.
OF_THE_COURSE = ("bundle", "grade", "release", "sample-class")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: The arguments after the command's name; None takes those of the
            process.

    Returns:
        0 if done, 1 if a public check or the command failed, 2 for wrong usage.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    whole = Path(__file__).with_name("course").is_dir()
    if not whole and given and given[0] in OF_THE_COURSE:
        return _wrong(
            f"'{given[0]}' is not part of the student's bundle: it needs the whole"
            " course"
        )
    options = make_parser(whole).parse_args(given)
    code: int = options.run(options)
    return code


def make_parser(whole: bool = True) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        whole: Add the commands that the student's bundle lacks.
    """
    parser = argparse.ArgumentParser(
        prog="autograder", description="Check and grade the course's problems."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="run the public checks of your own notebook",
        description=(
            "Run your notebook's cells in a process of their own, and the public checks"
            " on what they define."
        ),
    )
    check.add_argument("notebook", type=Path, help="for example problem2.ipynb")
    check.add_argument(
        "--problem", help="problem2, for example; otherwise taken from the file"
    )
    check.add_argument("--task", help="one task only, for example smooth-grad")
    check.set_defaults(run=run_check)
    if whole:
        _add_course_commands(commands)
    return parser


def _add_course_commands(commands: Any) -> None:
    """Add the commands for instructors and authors."""
    from autograder.course.sample_class import add_sample_class_command
    from autograder.course.student_bundle import add_bundle_command
    from autograder.grading.command import add_grade_command

    release = commands.add_parser(
        "release",
        help="make exercises/ from solutions/ (for authors)",
        description=(
            "Write the notebooks that students get, by nbgrader's own converter."
        ),
    )
    release.add_argument("problems", nargs="*", help="these only, for example problem2")
    release.set_defaults(run=run_release)
    add_grade_command(commands)
    add_bundle_command(commands)
    add_sample_class_command(commands)


def run_check(options: argparse.Namespace) -> int:
    """Run ``autograder check``; return its exit code."""
    from autograder.sandbox.notebook import Unreadable, cells_of, read_notebook

    if not options.notebook.is_file():
        return _wrong(f"there is no file {options.notebook}")
    try:
        notebook = read_notebook(options.notebook)
        cells = cells_of(notebook)
    except Unreadable as error:
        print(f"{options.notebook}: {error}", file=sys.stderr)
        return FAILED
    problem = options.problem or problem_of(options.notebook, notebook)
    if not problem:
        return _wrong(
            f"which problem is {options.notebook.name}? Say it with --problem problem2"
        )

    from autograder.checking.runner import points_of, run_checks
    from autograder.sandbox.launcher import Subprocess
    from autograder.sandbox.student import SandboxedStudent
    from autograder.selfcheck import SEED, all_passed, next_hint, report

    try:
        points = points_of(problem)
        if options.task and options.task not in points:
            raise ValueError(
                f"{problem} has no task {options.task!r}; it has {', '.join(points)}"
            )
    except ValueError as error:
        return _wrong(str(error))
    with (
        Subprocess(problem=int(problem.removeprefix("problem"))) as launcher,
        SandboxedStudent(launcher, cells) as student,
    ):
        results = run_checks(
            problem, student, SEED, public_only=True, task=options.task
        )
        for why in student.failed_cells.values():
            print(why)
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        hint = "" if all_passed(own) else next_hint(problem, task, 0)
        hidden = points[task] - sum(r.points for r in own)
        print(f"\n{problem}, {task}")
        print(report(own, hint=hint, hidden=hidden))
    earned, public = sum(r.earned for r in results), sum(r.points for r in results)
    whole = points[options.task] if options.task else sum(points.values())
    print(
        f"\nPublic checks: {earned:g} of {public:g} points. "
        f"With those that only grading asks it is {whole:g} points."
    )
    if all_passed(results):
        print("All public checks passed.")
        return FINE
    print("Not all public checks passed.")
    return FAILED


def problem_of(path: Path, notebook: object) -> str:
    """The problem that a notebook is about, or "".

    The notebook's name says so, or else the checks that it calls.
    """
    named = re.search(r"problem\d", path.stem)
    called = re.search(r'self_check\(\\?["\'](problem\d)', repr(notebook))
    if named:
        return named.group()
    return called.group(1) if called else ""


def run_release(options: argparse.Namespace) -> int:
    """Run ``autograder release``; return its exit code."""
    from autograder.course.release import write_releases

    try:
        for path in write_releases(only=options.problems):
            print(path)
    except ValueError as error:
        return _wrong(str(error))
    return FINE


def _wrong(message: str) -> int:
    print(f"autograder: {message}", file=sys.stderr)
    return USAGE
