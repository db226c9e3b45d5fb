"""``pytest autograder/problems/problem2 --submission FILE``: each check as a test.

The checks get the inputs, the sandbox and the verdicts that they have in a grading with
the same seed. Students lack this file, and nothing imports it but pytest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autograder.checking.runner import CheckResult, Run
from autograder.sandbox import launcher
from autograder.sandbox.notebook import Cell, Unreadable, cells_of, read_cells
from autograder.sandbox.student import SandboxedStudent
from autograder.selfcheck import SEED

PROBLEMS = Path(__file__).parent
RUN = pytest.StashKey[Run]()
WITHOUT = "--unsafe-no-sandbox runs the file with all your rights: for your own work."


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.getgroup("checks of a problem").addoption
    add("--submission", type=Path, metavar="FILE", help="the .ipynb, .md or .py to ask")
    add("--seed", type=int, default=SEED, help=f"decides what is asked ({SEED})")
    add("--unsafe-no-sandbox", action="store_true", help=WITHOUT)


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.submission is None:
        raise pytest.UsageError(
            "say whose answers to check with --submission FILE: a notebook (.ipynb), a"
            " notebook as text (.md) or Python (.py)"
        )
    for name in ("checks.py", "hidden_checks.py"):
        session.config.addinivalue_line("python_files", name)


def pytest_report_header(config: pytest.Config) -> str:
    where = "without a sandbox, with all your rights"
    where = where if config.option.unsafe_no_sandbox else "in the sandbox"
    return f"submission: {config.option.submission}, {where}, seed {config.option.seed}"


def pytest_pycollect_makeitem(
    collector: pytest.Module, name: str, obj: object
) -> CheckTest | None:
    if not hasattr(obj, "check"):
        return None
    title = f"{obj.check.id}: {obj.check.title}"
    return CheckTest.from_parent(collector, name=title, function=obj)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the submission's process, unless nothing is to be run."""
    given = session.config.option
    checks = [item for item in session.items if isinstance(item, CheckTest)]
    problems = {item.path.relative_to(PROBLEMS).parts[0] for item in checks}
    if given.collectonly or not problems:
        return
    if len(problems) > 1:
        raise pytest.UsageError("a submission answers one problem: name its folder")
    (problem,) = problems
    number = int(problem.removeprefix("problem"))
    started: launcher.Launcher
    try:
        cells = cells_in(given.submission)
        if given.unsafe_no_sandbox:
            started = launcher.Subprocess(number)
        else:
            started = launcher.Sandbox(number)
    except Unreadable as error:
        raise pytest.UsageError(f"{given.submission}: {error}") from None
    except launcher.SandboxUnavailable as error:
        why = str(error).splitlines()[0]
        raise pytest.UsageError(f"{why} {WITHOUT}") from None
    student = SandboxedStudent(started, cells)
    session.config.add_cleanup(started.close)
    session.config.add_cleanup(student.close)  # the last is called first
    session.config.stash[RUN] = Run(problem, student, given.seed)


def cells_in(file: Path) -> list[Cell]:
    """The code of a notebook, of its text (.md) or of a Python file."""
    if file.suffix not in (".md", ".py"):
        return read_cells(file)
    if not file.is_file():
        raise Unreadable("there is no such file")
    if file.suffix == ".py":
        return [Cell("cell 1", file.read_text(encoding="utf-8"))]
    import jupytext

    return cells_of(jupytext.read(file))


class CheckTest(pytest.Item):
    """One check."""

    def __init__(self, *, function: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.function = function

    def runtest(self) -> None:
        run, known = self.config.stash[RUN], self.function.check
        if known.task in run.stopped:
            pytest.skip(run.stopped[known.task])
        try:
            run.call(self.function)
        except (Exception, SystemExit) as error:
            self.result = run.judged(known, error)
            raise

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> Any:
        """The check's words; a mistake of ours keeps pytest's traceback."""
        if self.result.status == "grader-error":
            return super().repr_failure(excinfo, style)
        return Words(self.config.stash[RUN], self.result)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.function.__code__.co_firstlineno - 1, self.name


@dataclass(frozen=True)
class Words:
    """What is wrong, with the hint once pytest shows it: all checks have been asked."""

    run: Run
    result: CheckResult

    def __str__(self) -> str:
        found = self.run.with_hint(self.result)
        lines = [found.message, f"{found.earned:g} of {found.points:g} points"]
        return "\n".join(lines + [f"likely: {found.hint}"] * bool(found.hint))
