"""The only door to student code: `student.call("smooth_grad", ...)`.

`LocalStudent` calls functions of the very process, for a student's check in their own
kernel. `SandboxedStudent` puts the question to a process that may lie, hang or die, and
turns each of these into a `StudentError`. Both give the same values for the same code.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from autograder.sandbox.inside import protocol, values
from autograder.sandbox.launcher import Ending, Launcher, Process
from autograder.sandbox.notebook import Cell

# Of a whole submission, by the clock. The slowest right answer of the five problems takes 2.2 s of computing, and 9.7 s
# where others want the machine too: ten times that. One that is slow on purpose keeps a worker for no longer.
BUDGET_SECONDS = 100.0
MAX_LINE = 300
# A cell that kills the process is left out the next time; so many times at most.
MAX_STARTS = 5


def limits_of(budget: float) -> dict[str, float]:
    """What `SandboxedStudent` allows within a budget of seconds: five calls or two cells that hang use it up."""
    return {
        "budget_seconds": budget,
        "cell_seconds": budget / 2,
        "call_seconds": budget / 5,
    }


_LIMITS = limits_of(BUDGET_SECONDS)


class StudentError(Exception):
    """Student code gave no usable answer. `kind` is missing, raised, timed-out, crashed or
    bad-reply; `line` says it in one line that the student understands.

    reason: for a bad reply type, size, depth, not-finite, form or protocol; else "".
    """

    def __init__(self, kind: str, line: str, reason: str = "") -> None:
        super().__init__(line)
        self.kind, self.line, self.reason = kind, line, reason


@dataclass(frozen=True)
class ModelAfter:
    """What a call left of a model. changed: of mode, hooks, requires_grad, gradients and
    weights those that differ. asked: the inputs of its forward passes, if its recipe has
    `record`.
    """

    changed: tuple[str, ...]
    asked: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Observation:
    """A call's value and what it left behind. All but `value` is the worker's word, which a
    cheat can forge: good for hints and for what costs as much to forge as to do.

    changed: names or positions of the arguments that were written to.
    """

    value: Any
    changed: tuple[str, ...]
    models: tuple[ModelAfter, ...]
    output: str
    seconds: float


class Student(Protocol):
    """Somebody's functions."""

    def call(
        self,
        name: str,
        /,
        *args: Any,
        deadline: float | None = None,
        finite: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The value of one call: None, bool, int, float, str, list, dict or NumPy array.

        Tensors arrive as tensors, `values.Recipe` as the model that it describes; tensors
        come back as arrays, tuples as lists. deadline: seconds. finite: refuse NaN and
        infinity. Raises StudentError.
        """

    def observe(
        self,
        name: str,
        /,
        *args: Any,
        deadline: float | None = None,
        finite: bool = True,
        **kwargs: Any,
    ) -> Observation:
        """As `call`, with what the call left behind."""


class _Asking:
    """What both students share: the question's form, and the answer's."""

    def call(
        self,
        name: str,
        /,
        *args: Any,
        deadline: float | None = None,
        finite: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The value of one call; see `Student`."""
        return self.observe(
            name, *args, deadline=deadline, finite=finite, **kwargs
        ).value

    def observe(
        self,
        name: str,
        /,
        *args: Any,
        deadline: float | None = None,
        finite: bool = True,
        **kwargs: Any,
    ) -> Observation:
        """A call's value and what it left behind; see `Student`."""
        (positional, named), arrays = encoded(args, kwargs)
        question = {"op": "call", "name": name, "args": positional, "kwargs": named}
        answer, results = self._ask(question, arrays, name, deadline)
        try:
            return _observation(answer, results, finite)
        except values.BadValue as error:
            line = f"{name} gave no usable value: {error}"
            raise StudentError("bad-reply", line, error.reason) from None

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
        deadline: float | None,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        raise NotImplementedError


class LocalStudent(_Asking):
    """Functions of this very process: the student's own check in their own kernel, and
    nothing else. A deadline is not kept.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = dict(namespace)

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
        deadline: float | None,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        from autograder.sandbox.inside import evaluator

        with evaluator.quiet_streams() as printed, nothing_shown():
            answer, results = evaluator.answer(self._namespace, question, arrays)
        if answer.get("error", {}).get("line", "").startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt
        return _checked(answer | {"output": printed()}, name), results


@contextlib.contextmanager
def nothing_shown() -> Iterator[None]:
    """Pictures and values that a function shows in a notebook are kept from the report, as what it prints is."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    open_before = set(pyplot.get_fignums()) if pyplot else set()
    with contextlib.ExitStack() as stack:
        if "IPython" in sys.modules:
            from IPython.utils.capture import capture_output

            stack.enter_context(capture_output(stdout=False, stderr=False))
        yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        for number in set(pyplot.get_fignums()) - open_before:
            pyplot.close(number)  # a notebook shows at a cell's end whatever is open


class SandboxedStudent(_Asking):
    """A submission's functions in a process of its own, started when first asked; a
    context manager.

    launcher: a `Sandbox` or `Subprocess`. cells: the submission's code. call_seconds, cell_seconds:
    how long one answer and one cell may take; budget_seconds: all of them together. A
    process that hangs or dies is replaced for the next call.
    """

    def __init__(
        self,
        launcher: Launcher,
        cells: Sequence[Cell],
        *,
        call_seconds: float = _LIMITS["call_seconds"],
        cell_seconds: float = _LIMITS["cell_seconds"],
        budget_seconds: float = BUDGET_SECONDS,
    ) -> None:
        self._launcher, self._cells = launcher, list(cells)
        self._call_seconds, self._cell_seconds = call_seconds, cell_seconds
        self._whole, self._budget, self._starts = budget_seconds, budget_seconds, 0
        self._process: Process | None = None
        # Why a cell failed, by the cell's name.
        self.failed_cells: dict[str, str] = {}
        self._left_out: set[str] = set()

    def __enter__(self) -> SandboxedStudent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and all that it started."""
        self._end()

    def _ask(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
        deadline: float | None,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        self._start()
        try:
            return self.exchange(question, arrays, name, deadline or self._call_seconds)
        except StudentError as error:
            if error.kind == "missing":
                raise StudentError("missing", error.line + self._why(name)) from None
            raise

    def _why(self, name: str) -> str:
        for cell in self._cells:
            if cell.name in self.failed_cells and f"def {name}" in cell.source:
                return f" ({cell.name} failed: {self.failed_cells[cell.name]})"
        return ""

    def _start(self) -> None:
        """A process that has run every cell that can be run."""
        while self._process is None:
            self._starts += 1
            if self._starts > MAX_STARTS:
                raise StudentError(
                    "crashed", "the notebook ended its process too often"
                )
            self._process = self._launcher.open()
            for cell in self._cells:
                if cell.name not in self._left_out and self._process is not None:
                    self._run(cell)

    def _run(self, cell: Cell) -> None:
        question = {"op": "run", "source": cell.source, "name": cell.name}
        try:
            self.exchange(question, [], cell.name, self._cell_seconds)
        except StudentError as error:
            self.failed_cells[cell.name] = error.line
            if self._process is None:
                self._left_out.add(cell.name)

    def exchange(
        self,
        question: dict[str, Any],
        arrays: list[np.ndarray],
        name: str,
        seconds: float,
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """One question and its answer. A process that does not keep to the protocol is
        ended.
        """
        assert self._process is not None
        if self._budget <= 0:
            raise self._used_up()
        short = self._budget < seconds
        seconds = min(seconds, self._budget)
        sock, start = self._process.sock, time.monotonic()
        # What was written before the question was read can't know its ticket.
        ticket = secrets.token_hex(8)
        try:
            protocol.send(sock, question | {"id": ticket}, arrays, start + seconds)
            answer, results = protocol.receive(sock, start + seconds)
            if answer.pop("id", None) != ticket:
                raise protocol.BadFrame("the answer to another question")
            return _checked(answer, name), results
        except TimeoutError:
            self._end()
            if short:
                raise self._used_up() from None
            line = f"{name} gave no answer within {seconds:.3g} seconds"
            raise StudentError("timed-out", line) from None
        except protocol.Closed:
            raise self._crash(name, self._end()) from None
        except protocol.BadFrame as error:
            self._end()
            line = f"the answer to {name} is none of the worker's: {error}"
            raise StudentError("bad-reply", line, "protocol") from None
        finally:
            self._budget -= time.monotonic() - start

    def _used_up(self) -> StudentError:
        line = f"the notebook has used up its time of {self._whole:g} seconds"
        return StudentError("timed-out", line)

    def _crash(self, name: str, ending: Ending | None) -> StudentError:
        limits = self._launcher.limits
        if ending is None:
            return StudentError("crashed", f"the process ended while {name} ran")
        # The kernel counts in ticks when it limits, and finely when it tells.
        if ending.cpu_seconds > limits.cpu_seconds - 0.5:
            line = f"{name} used more than {limits.cpu_seconds} seconds of computing"
            return StudentError("timed-out", line)
        how = f"exit code {ending.code}"
        if ending.code < 0:
            how = signal.Signals(-ending.code).name
        return StudentError("crashed", f"the process ended while {name} ran ({how})")

    def _end(self) -> Ending | None:
        process, self._process = self._process, None
        return process.end() if process is not None else None


def encoded(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[list[Any], list[Any]], list[np.ndarray]]:
    """Arguments as JSON trees, all with their numbers in one list of arrays."""
    both, arrays = values.encode([list(args), dict(kwargs)])
    return (both[0], both[1]["dict"]), arrays


def one_line(text: str) -> str:
    """Text from a submission as one printable line: no control characters, no escape
    sequences, nothing that changes the direction of writing.
    """
    text = text[: 4 * MAX_LINE]
    kept = "".join(
        " " if unicodedata.category(c)[0] in "CZ" else c
        for c in unicodedata.normalize("NFC", text)
    )
    line = " ".join(kept.split())
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def _checked(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """An answer of the known form; an error in it is raised."""
    match answer:
        case {"output": str(), "value": _, **rest} if not rest:
            return answer
        case {
            "output": str(),
            "error": {"kind": str(kind), "line": str(line), **more},
            **rest,
        } if not rest:
            line = one_line(line)
            if kind == "missing":
                raise StudentError("missing", f"{name} is {line} in the notebook")
            if kind == "raised":
                raise StudentError("raised", f"{name} raised {line}")
            if kind == "bad-reply":
                reason = more.get("reason")
                known = ("type", "size", "depth", "not-finite", "form")
                reason = reason if reason in known else "form"
                line = f"{name} gave no usable value: {line}"
                raise StudentError("bad-reply", line, reason)
    line = f"the answer to {name} is none of the worker's"
    raise StudentError("bad-reply", line, "protocol")


def _observation(
    answer: dict[str, Any], arrays: list[np.ndarray], finite: bool
) -> Observation:
    both = values.decode(answer["value"], arrays, finite=finite)
    match both:
        case {
            "value": value,
            "after": {
                "changed": list(changed),
                "models": list(models),
                "seconds": float(seconds),
            },
        } if all(isinstance(name, str) for name in changed):
            after = tuple(_model_after(model) for model in models)
            output = answer["output"]
            return Observation(value, tuple(changed), after, output, seconds)
    raise values.BadValue("a message that follows no known form", "form")


def _model_after(told: Any) -> ModelAfter:
    match told:
        case {"changed": list(changed), "asked": list(asked)} if all(
            isinstance(name, str) for name in changed
        ) and all(isinstance(array, np.ndarray) for array in asked):
            return ModelAfter(tuple(changed), tuple(asked))
    raise values.BadValue("a message that follows no known form", "form")
