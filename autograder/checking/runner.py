"""Runs the checks, which ask a student's code for numbers.

A check is a plain function that says in words what is wrong with the numbers. A
problem's public checks are in ``autograder/problems/problemN/checks.py``. The others
are in its folder ``instructors``, which students do not get. The same functions serve
the student's own check, nbgrader, the batch run and pytest; only the ``student`` that
they are given differs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from autograder.checking.diagnose import Transcript
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.stopwatch import Starved

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
# A task's other checks would run into the same trouble again, and all checks share the
# time. The status of one check -> why the rest of its task is not run.
STOPS = {
    "timeout": "an earlier call took too long",
    "crashed": "an earlier call ended the process",
}
# Characters of a message: a check may quote a student's value of any length.
MAX_MESSAGE = 1_000
MAX_TRACEBACK = 10_000
_PROBLEMS = Path(__file__).parents[1] / "problems"


@dataclass(frozen=True)
class Check:
    """What is known of a check before it runs.

    Attributes:
        id: "task/name"; a task is one graded cell of the notebook.
        points: The points that the check can give.
        title: What is asked, in words.
        public: Whether the student's own check runs it.
        needs: The id of the check without which this one earns nothing, or "".
    """

    id: str
    points: float
    title: str
    public: bool
    needs: str = ""

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
        cause: Why the cell failed that explains an error, if one does. For a hidden
            check it is always the first that failed.
    """

    id: str
    title: str
    points: float
    earned: float
    status: str
    message: str
    public: bool
    hint: str = ""
    cause: str = ""

    @property
    def task(self) -> str:
        return self.id.partition("/")[0]


def reason_of(result: CheckResult) -> str:
    """Why points were lost, in one line that a student may read.

    For a hidden check this is the known mistake that explains the numbers, or else the
    kind of trouble and the failed cell before it. A cell ran before any question was
    put, so why it failed tells nothing of a question.

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
    reason = result.hint or HIDDEN_REASONS.get(result.status, "")
    return f"{result.cause}; then {reason}" if result.cause else reason


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
    id: str, points: float, title: str, *, public: bool, needs: str = ""
) -> Callable[[Function], Function]:
    """Mark a function ``test_...(student, ...)`` as a check.

    It is given what it names: ``student``, ``rng`` (seeded) and ``transcript``.

    Args:
        id: "task/name", where the task is the grade_id of the notebook's graded cell.
        points: The points that the check can give.
        title: What is asked, in words.
        public: Whether the student's own check runs it.
        needs: The name of an earlier check of the same task, whose numbers everything
            else rests on: where that one does not pass, this one earns nothing. So one
            mistake costs the same share in every task.

    Returns:
        The decorator of the function.

    Raises:
        ValueError: The id has another form.
    """
    if id.count("/") != 1:
        raise ValueError(f"a check's id is 'task/name', not {id!r}")
    needed = f"{id.partition('/')[0]}/{needs}" if needs else ""

    def mark(function: Function) -> Function:
        known = Check(id, points, title, public, needed)
        function.check = known  # type: ignore[attr-defined]
        return function

    return mark


def checks_of(problem: str) -> list[Check]:
    """All checks of a problem ("problem2"), in the order in which they run."""
    return [function.check for function in _functions(problem)]


def _functions(problem: str) -> list[Any]:
    """The functions that carry a check, in the order in which they run."""
    if problem not in problems_with_checks():
        known = ", ".join(problems_with_checks())
        raise ValueError(f"there is no {problem!r} with checks; there are: {known}")
    found: list[Any] = []
    for inside in ("checks", "instructors.hidden_checks"):
        if (_PROBLEMS / problem / f"{inside.replace('.', '/')}.py").is_file():
            module = importlib.import_module(f"autograder.problems.{problem}.{inside}")
            found += [f for f in vars(module).values() if hasattr(f, "check")]
    if len({function.check.id for function in found}) != len(found):
        raise ValueError(f"two checks of {problem} have one id")
    seen = {""}
    for function in found:
        if function.check.needs not in seen:
            raise ValueError(f"{function.check.id} needs a check that runs before it")
        seen.add(function.check.id)
    return found


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
        f
        for f in _functions(problem)
        if (f.check.public or not public_only) and task in (None, f.check.task)
    ]
    if not wanted:
        raise ValueError(f"{problem} has no task {task!r}")
    run = Run(problem, student, seed)
    # The hints come last, when the transcript is complete.
    return [run.with_hint(result) for result in [run.result_of(f) for f in wanted]]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """NumPy warns of a student's huge numbers.

    Where warnings are errors, such a warning would count as our mistake.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


class Run:
    """One student's way through the checks of a problem.

    Args:
        problem: The problem, such as "problem2".
        student: Answers the questions.
        seed: Decides every input.

    Attributes:
        student: Answers the questions.
        transcript: What the student was asked and what the replies looked like.
        stopped: Task -> why the rest of its checks are not run.
    """

    def __init__(self, problem: str, student: Any, seed: int) -> None:
        self.student, self._seed = student, seed
        self.transcript = Transcript(problem, seed)
        self.stopped: dict[str, str] = {}
        self._unmet: dict[str, str] = {}  # id -> title of a check that did not pass

    @_without_warnings()
    def call(self, function: Any) -> None:
        """Call the function of a check with what it names; what it raises is judged."""
        # Each check has its own random numbers: one more check leaves the inputs of the
        # others as they were.
        seed = [self._seed, zlib.crc32(function.check.id.encode())]
        given = {
            "student": self.student,
            "rng": np.random.default_rng(seed),
            "transcript": self.transcript,
        }
        named = inspect.signature(function).parameters
        needed = self._unmet.get(function.check.needs)
        try:
            function(**{name: given[name] for name in named})
            require(not needed, f'counts only together with "{needed}".')
        except BaseException as error:
            self._unmet[function.check.id] = function.check.title
            if needed and isinstance(error, Shortfall):
                error.fraction = 0.0
            raise

    def judged(self, known: Check, error: BaseException) -> CheckResult:
        """The verdict on a check that raised ``error``."""
        kind = getattr(error, "kind", None)
        if isinstance(error, Shortfall):
            return _result(known, "failed", str(error), error.fraction * known.points)
        if kind in STATUS_OF_KIND:
            status = STATUS_OF_KIND[kind]
            if status in STOPS:
                self.stopped[known.task] = STOPS[status]
            cause = getattr(error, "cause", "")
            said = f"{cause}; then {error}" if cause else str(error)
            if cause and not known.public:
                # Code that is asked may choose the name that it lacks, and with it the
                # cell; so it could tell the student what it was asked.
                cause = getattr(self.student, "first_failure", "")
            return replace(_result(known, status, said), cause=cause)
        if isinstance(error, Starved):
            return _result(known, "grader-error", str(error))
        # Every array is bounded, and so is what a right check makes of it.
        if isinstance(error, MemoryError):
            said = "there is no memory for what your code returned."
            return _result(known, "error", said)
        lines = "".join(traceback.format_exception(error)).strip()[-MAX_TRACEBACK:]
        said = "".join(c if c.isprintable() or c == "\n" else "?" for c in lines)
        return replace(_result(known, "grader-error", ""), message=said)

    def result_of(self, function: Any) -> CheckResult:
        """The verdict of one check, without a hint."""
        known: Check = function.check
        if known.task in self.stopped:
            return _result(known, "not-run", self.stopped[known.task])
        try:
            self.call(function)
        # Not KeyboardInterrupt, with which a person or the run ends the grading.
        except (Exception, SystemExit) as error:
            return self.judged(known, error)
        return _result(known, "passed", "", known.points)

    @_without_warnings()
    def with_hint(self, result: CheckResult) -> CheckResult:
        """The verdict with the known mistake that explains the replies so far."""
        if result.status != "failed":
            return result
        return replace(result, hint=self.transcript.hint(result.task))


def _result(
    known: Check, status: str, message: str, earned: float = 0.0
) -> CheckResult:
    said = one_line(message, MAX_MESSAGE)
    return CheckResult(
        known.id, known.title, known.points, earned, status, said, known.public
    )
