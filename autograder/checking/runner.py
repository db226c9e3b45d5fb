"""Runs the checks, which ask a student's code for numbers.

A check is a plain pytest function that says in words what is wrong with the numbers.
A problem's public checks are in ``autograder/problems/problemN/checks.py``. The others
are in its folder ``instructors``, which students do not get. The same functions serve
the student's own check, nbgrader and the batch run; only the ``student`` that they are
given differs.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import pytest

from autograder.checking.diagnose import Transcript

Function = TypeVar("Function", bound=Callable[..., None])

# The kind of a failure of the student's code -> the status of the check. Any other
# exception is our own mistake.
STATUS_OF_KIND = {
    "missing": "error",
    "raised": "error",
    "bad-reply": "error",
    "timed-out": "timeout",
    "crashed": "crashed",
}
# What a student reads about a check that is not public. It says nothing of what the
# check asks or expects. It does not repeat what the student's code said either, because
# that may repeat the question.
HIDDEN_REASONS = {
    "failed": "the answer is not right.",
    "error": "your code raised an error or gave no usable value.",
    "timeout": "your code took too long.",
    "crashed": "your code ended its process.",
    "not-run": "an earlier call took too long or ended the process.",
}
_PROBLEMS = Path(__file__).parents[1] / "problems"
_OPTIONS = Path(__file__).with_name("pytest.ini")
_ONE_AT_A_TIME = threading.Lock()  # pytest keeps global state


@dataclass(frozen=True)
class Check:
    """What is known of a check before it runs.

    Attributes:
        id: "task/name"; a task is one graded cell of the notebook.
        points: The points that the check can give.
        title: What is asked, in words.
        public: Whether the student's own check runs it.
    """

    id: str
    points: float
    title: str
    public: bool

    @property
    def task(self) -> str:
        return self.id.partition("/")[0]


@dataclass(frozen=True)
class CheckResult:
    """The verdict of one check.

    Attributes:
        id: "task/name"; a task is one graded cell of the notebook.
        title: What is asked, in words.
        points: The points that the check can give.
        earned: The points that the student gets.
        status: One of passed, failed, error (the student's code raised or is missing),
            timeout, crashed, not-run and grader-error. After a grader-error the points
            mean nothing, and whoever reports them must say so.
        message: One line for the student, "" if passed; after a grader-error, what
            went wrong on our side.
        public: Whether the student's own check runs it.
        hint: The known mistake that explains the numbers, if one does.
    """

    id: str
    title: str
    points: float
    earned: float
    status: str
    message: str
    public: bool
    hint: str = ""

    @property
    def task(self) -> str:
        return self.id.partition("/")[0]


def reason_of(result: CheckResult) -> str:
    """Why points were lost, in one line that a student may read.

    For a hidden check this is the known mistake that explains the numbers, or else the
    kind of trouble.

    Args:
        result: The verdict of one check.

    Returns:
        The line, or "" if no points were lost.
    """
    if result.public:
        # The last line of a traceback of ours says what was raised.
        return result.message.strip().split("\n")[-1]
    if result.status == "failed" and not result.hint and result.earned:
        return "a part of the answer is not right."
    return result.hint or HIDDEN_REASONS.get(result.status, "")


class Shortfall(Exception):
    """A check's verdict that not all points are earned.

    Args:
        message: What is wrong, in words.
        fraction: The share of the points that is earned, in [0, 1).
    """

    def __init__(self, message: str, fraction: float = 0.0) -> None:
        super().__init__(message)
        self.fraction = fraction


def require(condition: object, message: str) -> None:
    """End the check with ``message`` and without points, unless ``condition`` holds."""
    if not condition:
        raise Shortfall(message)


def credit(fraction: float, message: str) -> NoReturn:
    """End the check with this fraction of its points.

    Args:
        fraction: The share of the points that is earned, in [0, 1).
        message: What the rest of the points would have needed.

    Raises:
        Shortfall: Always: it ends the check.
        ValueError: The fraction is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"a fraction of the points is in [0, 1), not {fraction}")
    raise Shortfall(message, fraction)


def check(
    id: str, points: float, title: str, *, public: bool
) -> Callable[[Function], Function]:
    """Mark a pytest function ``test_...(student, ...)`` as a check.

    The function can use the fixtures ``student``, ``rng`` (seeded) and ``transcript``.

    Args:
        id: "task/name", where the task is the grade_id of the notebook's graded cell.
        points: The points that the check can give.
        title: What is asked, in words.
        public: Whether the student's own check runs it.

    Returns:
        The decorator of the function.

    Raises:
        ValueError: The id has another form.
    """
    if id.count("/") != 1:
        raise ValueError(f"a check's id is 'task/name', not {id!r}")

    def mark(function: Function) -> Function:
        known = Check(id, points, title, public)
        function.check = known  # type: ignore[attr-defined]  # read from pytest's item
        return function

    return mark


def checks_of(problem: str) -> list[Check]:
    """All checks of a problem ("problem2"), in the order in which they run."""
    checks = []
    for file in _files(problem):
        inside = file.relative_to(_PROBLEMS).with_suffix("").parts
        module = importlib.import_module(".".join(("autograder.problems", *inside)))
        checks += [f.check for f in vars(module).values() if hasattr(f, "check")]
    if len({known.id for known in checks}) != len(checks):
        raise ValueError(f"two checks of {problem} have one id")
    return checks


def _files(problem: str) -> list[Path]:
    if problem not in problems_with_checks():
        known = ", ".join(problems_with_checks())
        raise ValueError(f"there is no {problem!r} with checks; there are: {known}")
    folder = _PROBLEMS / problem
    names = [folder / "checks.py", folder / "instructors" / "hidden_checks.py"]
    return [file for file in names if file.is_file()]


def problems_with_checks() -> list[str]:
    """The problems that can be graded."""
    return sorted(path.parent.name for path in _PROBLEMS.glob("problem*/checks.py"))


def points_of(problem: str) -> dict[str, float]:
    """The points that all checks of each task can give together.

    The hidden checks count too, even in the student's bundle, which lacks them.
    """
    points: dict[str, float] = {}
    for known in checks_of(problem):
        points[known.task] = points.get(known.task, 0) + known.points
    file = _PROBLEMS / "points.json"
    if file.is_file():  # in the student's bundle, which lacks the hidden checks
        points = json.loads(file.read_text(encoding="utf-8"))[problem]
    return points


def run_checks(
    problem: str,
    student: Any,
    seed: int,
    *,
    public_only: bool = False,
    task: str | None = None,
) -> list[CheckResult]:
    """Ask ``student`` everything that the problem's checks ask.

    This never raises for what the student's code does.

    Args:
        problem: The problem, such as "problem2".
        student: Answers the questions, as ``autograder.sandbox.student.Student`` does.
        seed: Decides every input; grading takes a fresh one.
        public_only: Leave out the hidden checks.
        task: Run the checks of this task only.

    Returns:
        One result per check, in the order of the checks.

    Raises:
        ValueError: There is no such problem or task.
    """
    wanted = [
        c
        for c in checks_of(problem)
        if (c.public or not public_only) and task in (None, c.task)
    ]
    if not wanted:
        raise ValueError(f"{problem} has no task {task!r}")
    run = _Run(student, seed, wanted, Transcript(problem))
    arguments = [
        *map(str, _files(problem)),
        "-c",
        str(_OPTIONS),
        "--rootdir",
        str(_PROBLEMS),
        "--import-mode=importlib",
        "--noconftest",
        "--assert=plain",
    ]
    # These plugins would write files, print, install handlers, or turn a student's
    # warning into a failure.
    for plugin in ("cacheprovider", "terminal", "capture", "logging", "warnings"):
        arguments += ["-p", f"no:{plugin}"]
    for plugin in ("faulthandler", "unraisableexception", "threadexception"):
        arguments += ["-p", f"no:{plugin}"]
    with (
        _ONE_AT_A_TIME,
        _pytest_environment(),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        # NumPy warns of a student's huge numbers. Where warnings are errors, such a
        # warning would count as our mistake.
        warnings.simplefilter("ignore")
        code = pytest.main(arguments, plugins=[run])
        return run.finish(code)


class _Run:
    """The pytest plugin of one run: it gives the fixtures and keeps the verdicts."""

    def __init__(
        self, student: Any, seed: int, wanted: list[Check], transcript: Transcript
    ) -> None:
        self._student, self._seed, self._transcript = student, seed, transcript
        self._wanted = wanted
        self._results: dict[str, CheckResult] = {}
        self._stopped: dict[str, str] = {}  # task -> why the rest of it is not run

    @pytest.fixture
    def student(self) -> Any:
        return self._student

    @pytest.fixture
    def transcript(self) -> Transcript:
        return self._transcript

    @pytest.fixture
    def rng(self, request: pytest.FixtureRequest) -> np.random.Generator:
        """Each check's own random numbers.

        One more check then leaves the inputs of the others as they were.
        """
        name = request.function.check.id.encode()
        return np.random.default_rng([self._seed, zlib.crc32(name)])

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make pytest's tracebacks short.

        Nobody reads pytest's own report, and its long tracebacks take most of the time
        of a failing check.
        """
        config.option.tbstyle = "native"

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        ids = {known.id for known in self._wanted}
        items[:] = [
            item for item in items if getattr(item.obj, "check", _NONE).id in ids
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Function) -> None:
        if item.obj.check.task in self._stopped:
            pytest.skip(self._stopped[item.obj.check.task])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Iterator[None]:
        known: Check = item.obj.check
        error = call.excinfo.value if call.excinfo else None
        if call.when == "call" or error is not None:
            self._results.setdefault(known.id, self._judge(known, error))
        yield

    def _judge(self, known: Check, error: BaseException | None) -> CheckResult:
        kind = getattr(error, "kind", None)
        earned = 0.0
        if error is None:
            status, message, earned = "passed", "", known.points
        elif isinstance(error, Shortfall):
            status, message = "failed", str(error)
            earned = error.fraction * known.points
        elif isinstance(error, pytest.skip.Exception):
            status, message = "not-run", self._stopped[known.task]
        elif kind in STATUS_OF_KIND:
            status, message = STATUS_OF_KIND[kind], str(error)
            # The task's other checks would run into the same again, and all checks
            # share the time.
            if kind == "timed-out":
                self._stopped[known.task] = "an earlier call took too long"
            elif kind == "crashed":
                self._stopped[known.task] = "an earlier call ended the process"
        else:
            status = "grader-error"
            message = "".join(traceback.format_exception(error)).strip()
        return CheckResult(
            known.id, known.title, known.points, earned, status, message, known.public
        )

    def finish(self, code: int) -> list[CheckResult]:
        """All results, in the order of the checks.

        A check that pytest never reached is a mistake of ours. The hints come last,
        when the transcript is complete.
        """
        results = []
        for known in self._wanted:
            missing = CheckResult(
                known.id,
                known.title,
                known.points,
                0.0,
                "grader-error",
                f"pytest ended with {code!r} before this check",
                known.public,
            )
            result = self._results.get(known.id, missing)
            if result.status == "failed":
                result = replace(result, hint=self._transcript.hint(known.task))
            results.append(result)
        return results


_NONE = Check("", 0, "", False)


@contextmanager
def _pytest_environment() -> Iterator[None]:
    """Hide the surrounding project's pytest plugins and options.

    Afterwards PYTEST_CURRENT_TEST is as an outer pytest left it.
    """
    names = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST")
    before = {name: os.environ.pop(name, None) for name in names}
    before["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = os.environ.get(
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    )
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
