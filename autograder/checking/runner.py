"""Checks: plain pytest functions that ask a student's code for numbers, and say in words
what is wrong with them.

A problem's public checks stand in autograder/problems/problemN/checks.py, the others in
its folder `instructors`, which students do not get. The same functions serve the
student's own check, nbgrader and the batch run; only the `student` that they are given
differs.
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

# What a failure of the student's code makes of the check. Anything else that is raised is our own mistake.
STATUS_OF_KIND = {
    "missing": "error",
    "raised": "error",
    "bad-reply": "error",
    "timed-out": "timeout",
    "crashed": "crashed",
}
# What a student reads of a check that is not public: nothing of what it asks or expects, nor of what their code said
# when it was asked, which may repeat the question.
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
    """What is known of a check before it runs. `id` is "task/name"; a task is one graded cell of the notebook."""

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

    status: passed, failed, error (the student's code raised or is missing), timeout, crashed, not-run, or grader-error:
    then the points mean nothing, and whoever reports them must say so. message: one line for the student, "" if passed.
    hint: the known mistake that explains the numbers, if one does.
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
    """Why points were lost, in one line that a student may read; "" if none were.

    Of a hidden check it is the known mistake that explains the numbers, or else the kind of trouble.
    """
    if result.public:
        # Of a traceback of ours, what was raised.
        return result.message.strip().split("\n")[-1]
    if result.status == "failed" and not result.hint and result.earned:
        return "a part of the answer is not right."
    return result.hint or HIDDEN_REASONS.get(result.status, "")


class Shortfall(Exception):
    """A check's verdict that not all points are earned."""

    def __init__(self, message: str, fraction: float = 0.0) -> None:
        super().__init__(message)
        self.fraction = fraction


def require(condition: object, message: str) -> None:
    """End the check without points, and with `message`, unless `condition` holds."""
    if not condition:
        raise Shortfall(message)


def credit(fraction: float, message: str) -> NoReturn:
    """End the check with this fraction of its points, and say in `message` what the rest would have needed."""
    if not 0 <= fraction < 1:
        raise ValueError(f"a fraction of the points is in [0, 1), not {fraction}")
    raise Shortfall(message, fraction)


def check(
    id: str, points: float, title: str, *, public: bool
) -> Callable[[Function], Function]:
    """Mark a pytest function `test_...(student, ...)` as a check.

    id: "task/name", where the task is the grade_id of the notebook's graded cell. title: what is asked, in words.
    public: whether the student's own check runs it. Fixtures: `student`, `rng` (seeded), `transcript`.
    """
    if id.count("/") != 1:
        raise ValueError(f"a check's id is 'task/name', not {id!r}")

    def mark(function: Function) -> Function:
        function.check = Check(id, points, title, public)  # type: ignore[attr-defined]
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
    """Task -> points that all its checks can give together, those included that students do not have."""
    points: dict[str, float] = {}
    for known in checks_of(problem):
        points[known.task] = points.get(known.task, 0) + known.points
    told = _PROBLEMS / "points.json"
    if told.is_file():  # in the student's bundle, where the hidden checks are not
        points = json.loads(told.read_text(encoding="utf-8"))[problem]
    return points


def run_checks(
    problem: str,
    student: Any,
    seed: int,
    *,
    public_only: bool = False,
    task: str | None = None,
) -> list[CheckResult]:
    """Ask `student` everything that the problem's checks ask; one result per check, in their order.

    seed: decides every input; grading takes a fresh one. task: the checks of one task only. Raises ValueError if there
    is no such problem or task. Never raises for what the student's code does.
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
        *("-c", str(_OPTIONS), "--rootdir", str(_PROBLEMS)),
        *("--import-mode=importlib", "--noconftest", "--assert=plain"),
    ]
    # None of these may write a file, print, install a handler or turn a student's warning into a failure.
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
        # NumPy warns of a student's giants; where warnings are errors that would be ours.
        warnings.simplefilter("ignore")
        code = pytest.main(arguments, plugins=[run])
        return run.finish(code)


class _Run:
    """The pytest plugin of one run: gives the fixtures, keeps the verdicts."""

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
        """Its own stream for each check, so that one more check leaves the others' inputs as they were."""
        name = request.function.check.id.encode()
        return np.random.default_rng([self._seed, zlib.crc32(name)])

    def pytest_configure(self, config: pytest.Config) -> None:
        """Nobody reads pytest's own report, and its long tracebacks take most of a failing check's time."""
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
            # Not the same again for every check: the time is everybody's.
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
        """All results; what pytest never came to is a mistake of ours. Hints last, when all the transcript is there."""
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
    """No plugins or options of the surrounding project; PYTEST_CURRENT_TEST as an outer pytest left it."""
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
