"""The only door to student code: ``student.call("smooth_grad", ...)``.

``LocalStudent`` calls functions of this very process, for a student's check in their
own kernel. ``SandboxedStudent`` puts the question to a process that may lie, hang or
die, and turns each of these into a ``StudentError``. Both give the same values for the
same code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.sandbox.error_lines import binds, one_line, raised
from autograder.sandbox.fork_client import Lost
from autograder.sandbox.inside import protocol, values
from autograder.sandbox.launcher import Ending, Launcher, Process
from autograder.sandbox.notebook import Cell
from autograder.sandbox.stopwatch import IDLE_SECONDS, Starved, Stopwatch

# Seconds of computing for a whole submission. The slowest right one takes a twentieth,
# and an old machine may be several times as slow. One that is slow on purpose keeps a
# worker busy for no longer.
BUDGET_SECONDS = 100.0
MAX_OUTPUT = 4_000
MAX_WARNINGS = 10
# Where the cell is looked for that makes a name: failed cells, and characters of each.
MAX_LOOK = 50, 5_000
# A cell that kills the process is left out of the next start. A submission gets this
# many starts.
MAX_STARTS = 5


def limits_of(budget: float) -> dict[str, float]:
    """What ``SandboxedStudent`` allows within a budget of seconds of computing.

    Five calls or two cells without an end use it up.
    """
    return {
        "budget_seconds": budget,
        "cell_seconds": budget / 2,
        "call_seconds": budget / 5,
    }


def seed_of(run: int, course: str, student: str, problem: str) -> int:
    """Where a submission's own random numbers start: no two start alike.

    Args:
        run: The run's seed.
        course: The course's name, or "".
        student: The student's name.
        problem: The problem, such as "problem2".
    """
    whole = json.dumps([run, course, student, problem]).encode()
    return int.from_bytes(hashlib.sha256(whole).digest()[:6], "big")


_LIMITS = limits_of(BUDGET_SECONDS)


class StudentError(Exception):
    """Student code gave no usable answer.

    Attributes:
        kind: missing, raised, timed-out, crashed or bad-reply.
        line: What happened, in one line that the student understands.
        reason: For a bad reply one of type, size, depth, not-finite, form and protocol;
            otherwise "".
        cause: Why the cell failed that explains this, or "".
        killed: Whether the process was killed, which others can do as well.
    """

    def __init__(self, kind: str, line: str, reason: str = "") -> None:
        super().__init__(line)
        self.kind, self.line, self.reason, self.cause = kind, line, reason, ""
        self.killed = False


@dataclass(frozen=True)
class ModelAfter:
    """The state in which a call left a model.

    Attributes:
        changed: Those of mode, hooks, requires_grad, gradients and weights that differ.
        asked: The inputs of its forward passes, if its recipe has ``record``.
    """

    changed: tuple[str, ...]
    asked: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Observation:
    """A call's value and what it left behind.

    Everything but ``value`` is only what the evaluator says, and a cheat can forge it.
    It is good for hints, and for things that cost as much to forge as to do.

    Attributes:
        value: What the function returned.
        changed: Names or positions of the arguments that were written to.
        models: The state in which the call left each model.
        output: The end of what was printed.
    """

    value: Any
    changed: tuple[str, ...]
    models: tuple[ModelAfter, ...]
    output: str


class Student:
    """Somebody's functions.

    Attributes:
        warnings: What the cells were warned of, a line each: a few, and none twice.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def call(
        self,
        name: str,
        /,
        *args: Any,
        finite: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The value of one call.

        Tensors arrive as tensors, and a ``values.Recipe`` arrives as the model that it
        describes. Tensors come back as arrays, and tuples as lists.

        Args:
            name: The function's name.
            *args: Its positional arguments.
            finite: Refuse NaN and infinity.
            **kwargs: Its keyword arguments.

        Returns:
            None, bool, int, float, str, list, dict or NumPy array.

        Raises:
            StudentError: The code gave no usable answer.
        """
        return self.observe(name, *args, finite=finite, **kwargs).value

    def observe(
        self,
        name: str,
        /,
        *args: Any,
        finite: bool = True,
        **kwargs: Any,
    ) -> Observation:
        """As ``call``, with what the call left behind."""
        (positional, named), arrays = encoded(args, kwargs)
        question = {"op": "call", "name": name, "args": positional, "kwargs": named}
        answer, results = self._ask(question, arrays, name)
        try:
            return _observation(answer, results, finite)
        except values.BadValue as error:
            line = f"{name} gave no usable value: {error}"
            raise StudentError("bad-reply", line, error.reason) from None
        except MemoryError:
            raise _too_large(name) from None

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        raise NotImplementedError

    def _answered(
        self, answer: dict[str, Any], name: str, *, heed: bool
    ) -> dict[str, Any]:
        """Return an answer that has the known form; keep its warnings, or drop them."""
        match answer.pop("warnings", []):
            case [*lines] if all(isinstance(line, str) for line in lines):
                new = map(one_line, lines[: MAX_WARNINGS if heed else 0])
                every = dict.fromkeys([*self.warnings, *new])
                self.warnings = [*every][:MAX_WARNINGS]
                return _checked(answer, name)
        raise _no_answer(name)


class LocalStudent(Student):
    """Functions of this very process, where nothing is limited.

    It is for the student's own check in their own kernel, and for nothing else.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        super().__init__()
        self._namespace = dict(namespace)

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        from autograder.sandbox.inside import evaluator

        with evaluator.quiet_streams() as printed, nothing_shown():
            answer, results = evaluator.answer(self._namespace, question, arrays)
        if answer.get("error", {}).get("line", "").startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt
        answer |= {"output": printed()}
        return self._answered(answer, name, heed=True), results


@contextlib.contextmanager
def nothing_shown() -> Iterator[None]:
    """Keeps the pictures and values that a function shows out of the report.

    What it prints is kept out too, by ``evaluator.quiet_streams``.
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    open_before = set(pyplot.get_fignums()) if pyplot else set()
    with contextlib.ExitStack() as stack:
        if "IPython" in sys.modules:
            from IPython.utils.capture import capture_output

            stack.enter_context(capture_output(stdout=False, stderr=False))
        yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        for number in set(pyplot.get_fignums()) - open_before:
            pyplot.close(number)  # a notebook shows all open figures when a cell ends


class SandboxedStudent(Student):
    """A submission's functions in a process of its own; a context manager.

    The process starts with the first question. A process that hangs or dies is replaced
    for the next call. One that is killed may not be to blame: the first time, the same
    question is put again.

    Args:
        launcher: A ``Sandbox`` or ``Subprocess``.
        cells: The submission's code.
        call_seconds: How long one answer may compute.
        cell_seconds: How long one cell may compute.
        budget_seconds: How long all answers and cells may compute together.
        idle_seconds: How long one answer or cell may wait for something other than a
            processor core.
        seed: Where the notebook's own random numbers start, in each process; None for
            anywhere.

    Attributes:
        failed_cells: A cell's name -> why it failed at first, with cell and line.
        kinds: The kinds of what went wrong, in calls and in cells.
        starved: How the machine was too busy, in a line, or "". If it was, nothing is
            known of this submission: ask it again, alone.
    """

    def __init__(
        self,
        launcher: Launcher,
        cells: Sequence[Cell],
        *,
        call_seconds: float = _LIMITS["call_seconds"],
        cell_seconds: float = _LIMITS["cell_seconds"],
        budget_seconds: float = BUDGET_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self._seed = seed
        self._launcher, self._cells = launcher, list(cells)
        self._call_seconds, self._cell_seconds = call_seconds, cell_seconds
        self._watch, self._starts = Stopwatch(budget_seconds, idle_seconds), 0
        self._process: Process | None = None
        self._asked, self._spared = False, False
        self.starved = ""
        self.failed_cells: dict[str, str] = {}
        self.kinds: set[str] = set()
        self._left_out: set[str] = set()

    def __enter__(self) -> SandboxedStudent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and everything that it started."""
        self._end()

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if self.starved:
            raise Starved(self.starved)
        self._start()
        self._asked = True
        try:
            return self.exchange(question, arrays, name, self._call_seconds)
        except StudentError as error:
            if self._spares(error):
                return self._ask(question, arrays, name)
            self.kinds.add(error.kind)
            error.cause = self._cause(error, name)
            raise

    @property
    def first_failure(self) -> str:
        """Why the first of the cells failed that did, or ""."""
        return next((self.failed_cells[cell.name] for cell in self._failed()), "")

    def _failed(self) -> list[Cell]:
        return [cell for cell in self._cells if cell.name in self.failed_cells]

    def _cause(self, error: StudentError, name: str) -> str:
        """Why the cell failed that explains an error: the one that makes what lacks.

        If none of them makes it, it is the first.
        """
        lacking = re.search(r"NameError\b.*: name '(\w+)' is not", error.line)
        if error.kind == "raised" and lacking:
            name = lacking[1]
        elif error.kind != "missing":
            return ""
        cells, characters = MAX_LOOK
        for cell in self._failed()[:cells]:
            if binds(cell.source[:characters], name):
                return self.failed_cells[cell.name]
        return self.first_failure

    def _start(self) -> None:
        """Starts a process, unless there is one, and runs the cells in it."""
        while self._process is None:
            if self._watch.used_up:
                raise StudentError("timed-out", self._watch.used_up)
            self._starts += 1
            if self._starts > MAX_STARTS:
                raise StudentError(
                    "crashed", "the notebook ended its process too often"
                )
            self._process = self._launcher.open()
            self._sow()
            for cell in self._cells:
                if cell.name not in self._left_out and self._process is not None:
                    self._run(cell)

    def _sow(self) -> None:
        if self._seed is None:
            return
        question = {"op": "seed", "seed": self._seed}
        try:
            self.exchange(question, [], "the start", self._cell_seconds)
        except StudentError as error:  # none of the student's code has run
            raise RuntimeError(f"a new process did not answer: {error}") from None

    def _run(self, cell: Cell) -> None:
        question = {"op": "run", "source": cell.source, "name": cell.name}
        try:
            self.exchange(question, [], cell.name, self._cell_seconds)
        except StudentError as error:
            if self._spares(error):
                return
            self.kinds.add(error.kind)
            # Students read this of hidden checks as well. A process that replaces
            # another one runs the cells again, and they could tell by the clock what
            # the other one was asked. So cells tell nothing once a question was put.
            if not self._asked:
                self.failed_cells[cell.name] = error.line
            if self._process is None:
                self._left_out.add(cell.name)

    def _spares(self, error: StudentError) -> bool:
        """Whether this does not count: the first time that a process was killed."""
        spared = error.killed and not self._spared
        self._spared |= spared
        return spared

    def exchange(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
        seconds: float,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Puts one question to the evaluator, and receives the answer.

        A process that does not keep to the protocol is ended.

        Args:
            question: What ``evaluator.answer`` understands.
            arrays: The question's arrays.
            name: The function or cell, for messages.
            seconds: How long the answer may compute.

        Returns:
            The answer and its arrays.

        Raises:
            StudentError: No usable answer came, or the answer is an error.
            Starved: The machine was too busy to say so. Nothing is answered any more.
        """
        assert self._process is not None
        if self._watch.used_up:
            raise StudentError("timed-out", self._watch.used_up)
        sock, wait = self._process.sock, self._watch.wait
        # An answer that was written before the question was read can't know the ticket.
        ticket = secrets.token_hex(8)
        try:
            self._watch.begin(self._process, name, seconds)
            protocol.send(sock, question | {"id": ticket}, arrays, wait)
            answer, results = protocol.receive(sock, wait)
            if answer.pop("id", None) != ticket:
                raise protocol.BadFrame("the answer to another question")
            # A warning that comes with a call could tell the student what a hidden
            # check asked.
            heed = question["op"] == "run"
            return self._answered(answer, name, heed=heed), results
        except TimeoutError as error:
            self._end()
            raise StudentError("timed-out", str(error)) from None
        except Starved as error:
            self._end()
            self.starved = str(error)
            raise
        except (protocol.Closed, Lost):
            raise self._crash(name, self._end()) from None
        except MemoryError:
            self._end()
            raise _too_large(name) from None
        except protocol.BadFrame as error:
            self._end()
            line = f"the answer to {name} is none of the worker's: {error}"
            raise StudentError("bad-reply", line, "protocol") from None

    def _crash(self, name: str, ending: Ending | None) -> StudentError:
        limits = self._launcher.limits
        if ending is None:
            return StudentError("crashed", f"the process ended while {name} ran")
        # The kernel counts coarsely when it applies the limit, and finely when it
        # reports the time used.
        if ending.cpu_seconds > limits.cpu_seconds - 0.5:
            line = f"{name} used more than {limits.cpu_seconds} seconds of computing"
            return StudentError("timed-out", line)
        how = f"exit code {ending.code}"
        if ending.code < 0:
            how = f"signal {-ending.code}"
            with contextlib.suppress(ValueError):  # a signal without a name
                how = signal.Signals(-ending.code).name
        crash = StudentError("crashed", f"the process ended while {name} ran ({how})")
        crash.killed = ending.code == -signal.SIGKILL
        return crash

    def _end(self) -> Ending | None:
        process, self._process = self._process, None
        if process is None:
            return None
        ending = process.end()
        self._watch.end(ending.cpu_seconds)
        return ending


def encoded(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[list[Any], list[Any]], list[np.ndarray]]:
    """Arguments as JSON trees; the arrays of all of them are in one list."""
    both, arrays = values.encode([list(args), dict(kwargs)])
    return (both[0], both[1]["dict"]), arrays


def _checked(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an answer that has the known form; raise the error in it."""
    match answer:
        case {"output": str(), "value": _, **rest} if not rest:
            return answer
        case {
            "output": str(),
            "error": {"kind": str(kind), "line": str(line), **more},
            **rest,
        } if not rest:
            if kind == "raised":
                raise StudentError("raised", raised(name, line))
            line = one_line(line)
            if kind == "missing":
                raise StudentError("missing", f"{name} is {line} in the notebook")
            if kind == "bad-reply":
                reason = more.get("reason")
                known = ("type", "size", "depth", "not-finite", "form")
                reason = reason if reason in known else "form"
                line = f"{name} gave no usable value: {line}"
                raise StudentError("bad-reply", line, reason)
    raise _no_answer(name)


def _no_answer(name: str) -> StudentError:
    line = f"the answer to {name} is none of the worker's"
    return StudentError("bad-reply", line, "protocol")


def _too_large(name: str) -> StudentError:
    line = f"{name} gave no usable value: there is no memory for it"
    return StudentError("bad-reply", line, "size")


def _observation(
    answer: dict[str, Any], arrays: list[np.ndarray], finite: bool
) -> Observation:
    both = values.decode(answer["value"], arrays, finite=finite, whole=True)
    match both:
        case {
            "value": value,
            "after": {"changed": list(changed), "models": list(models)},
        } if all(isinstance(name, str) for name in changed):
            after = tuple(_model_after(model) for model in models)
            output = answer["output"][-MAX_OUTPUT:]
            return Observation(value, tuple(changed), after, output)
    raise values.BadValue("a message that follows no known form", "form")


def _model_after(reported: Any) -> ModelAfter:
    match reported:
        case {"changed": list(changed), "asked": list(asked)} if all(
            isinstance(name, str) for name in changed
        ) and all(isinstance(array, np.ndarray) for array in asked):
            return ModelAfter(tuple(changed), tuple(asked))
    raise values.BadValue("a message that follows no known form", "form")
