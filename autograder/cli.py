"""The command line.

``autograder check NOTEBOOK`` checks one's own notebook; the other commands are for
instructors and authors.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from chapter4 import __version__

# Exit codes.
FINE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
# The commands that read the sources of the problems.
OF_A_CLONE = ("bundle", "release", "sample-class")
# The commands that the student's bundle lacks.
OF_THE_COURSE = (*OF_A_CLONE, "grade")


class Parser(argparse.ArgumentParser):
    """One line for a wrong command line; the lines at the end of a help stay lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=_Lines)

    def error(self, message: str) -> NoReturn:
        """Say it in one line, without the usage."""
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Lines(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(fill(line, width, indent) for line in text.split("\n"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: The arguments after the command's name; None takes those of the
            process.

    Returns:
        0 if done, 1 if a public check or the command failed, 2 for wrong usage or
        where something is missing, 130 if the user interrupted it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    whole = Path(__file__).with_name("course").is_dir()
    if not whole and given and given[0] in OF_THE_COURSE:
        return _wrong(
            f"'{given[0]}' is not part of the student's bundle: it needs the whole"
            " course"
        )
    parser = make_parser(whole)
    if not given:
        parser.print_help(sys.stderr)
        return USAGE
    options = parser.parse_args(given)
    if options.command in OF_A_CLONE and not _in_a_clone():
        return _wrong(
            f"{options.command} needs a clone of the course, and this is an installed"
            " copy: in the clone, run python -m pip install -e '.[lab]'"
        )
    if sys.stderr.isatty():
        print(f"{options.command} ...", file=sys.stderr)
    try:
        code: int = options.run(options)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing in ("autograder", "chapter4"):
            raise
        return _wrong(
            f"{options.command} needs {missing}: run make install in the clone, or"
            f" python -m pip install {missing}"
        )
    except OSError as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        print("autograder: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _in_a_clone() -> bool:
    from autograder.course.release import COURSE

    return (COURSE / "solutions").is_dir()


def make_parser(whole: bool = True) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        whole: Add the commands that the student's bundle lacks.
    """
    parser = Parser(
        prog="autograder",
        description="Check and grade the course's problems.",
        epilog="Each command's --help has an example and its exit codes.",
    )
    parser.add_argument(
        "--version", action="version", version=f"autograder {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="run the public checks of your own notebook",
        description=(
            "Run your notebook's cells in a process of their own, and the public checks"
            " on what they define."
        ),
        epilog=(
            "example: autograder check exercises/problem2/problem2.ipynb\n"
            "exit code: 0 if all public checks pass, 1 if one does not or the notebook"
            " can't be read, 2 for wrong usage or a missing requirement"
        ),
    )
    check.add_argument("notebook", type=Path, help="for example problem2.ipynb")
    check.add_argument(
        "--problem", help="problem2, for example; otherwise taken from the file"
    )
    check.add_argument("--task", help="one task only, for example smooth-grad")
    check.add_argument(
        "--json", action="store_true", help="print the checks as one JSON object"
    )
    check.set_defaults(run=run_check)
    progress = commands.add_parser(
        "progress",
        help="show which tasks you have finished, and what is left",
        description=(
            "Show which tasks you have finished: those whose public checks all passed"
            " when they ran last, in a notebook or by autograder check."
        ),
        epilog=(
            "example: autograder progress --export progress.html\n"
            "exit code: 0 if shown, 2 for wrong usage"
        ),
    )
    progress.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write it to a .html, .csv or .json file as well",
    )
    progress.add_argument(
        "--forget", action="store_true", help="delete what is remembered"
    )
    progress.set_defaults(run=run_progress)
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
        epilog=(
            "example: autograder release problem2\n"
            "exit code: 0 if written, 2 for wrong usage or a missing requirement"
        ),
    )
    release.add_argument(
        "problems", nargs="*", help="these only, for example problem2; otherwise all"
    )
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
    from autograder.selfcheck import SEED, all_passed, next_hint, remembered, report

    try:
        points = points_of(problem)
        if options.task and options.task not in points:
            raise ValueError(
                f"{problem} has no task {options.task!r}; it has {', '.join(points)}"
            )
    except ValueError as error:
        return _wrong(str(error))
    with Subprocess(problem=int(problem.removeprefix("problem"))) as launcher:
        for _ in range(2):
            with SandboxedStudent(launcher, cells) as student:
                results = run_checks(
                    problem, student, SEED, public_only=True, task=options.task
                )
            if not student.starved:
                break
    if student.starved:
        why = f"{student.starved}; check it again when less else is running"
        print(f"{options.notebook}: {why}", file=sys.stderr)
        return FAILED
    failed_cells = [*student.failed_cells.values()]
    if options.json:
        checks = [asdict(result) for result in results]
        found = {
            "problem": problem,
            "failed_cells": failed_cells,
            "warnings": student.warnings,
            "checks": checks,
        }
        print(json.dumps(found, indent=2))
        return FINE if all_passed(results) else FAILED
    for line in [*failed_cells, *student.warnings]:
        print(line)
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        hint = "" if all_passed(own) else next_hint(problem, task, 0)
        hidden = points[task] - sum(r.points for r in own)
        print(f"\n{problem}, {task}")
        print(report(own, hint=hint, hidden=hidden))
        print(*remembered(own, problem), sep="\n", end="")
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


def run_progress(options: argparse.Namespace) -> int:
    """Run ``autograder progress``; return its exit code."""
    from autograder.progress import Progress, forget

    found = Progress()
    if options.export:
        try:
            text = found.export(options.export.suffix.lower())
        except ValueError as error:
            return _wrong(str(error))
        options.export.write_text(text, encoding="utf-8")
    if options.forget:
        forget()
        found = Progress()
    print(found)
    return FINE


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
