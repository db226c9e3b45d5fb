"""One worker process of a grading run: it grades one submission after another.

Each submission runs in the sandbox. The worker is a process because threads would
disturb each other: checks compute, too, and draw random numbers. It reads orders and
writes answers, a line of JSON each. It ends when whoever started it is gone, or has had
nothing to ask for long.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autograder.checking.runner import CheckResult, run_checks
from autograder.grading.state import fingerprint, unlike
from autograder.sandbox.launcher import (
    Launcher,
    Limits,
    Sandbox,
    SandboxUnavailable,
    Subprocess,
)
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent, limits_of

# Status of a check, or kind of a cell's failure -> the submission's status. The gravest
# comes first.
_GRAVEST = {"crashed": "crashed", "timeout": "timed-out", "timed-out": "timed-out"}
OTHER = """\
a worker has another version of the course than the run: {differs}. Install the same \
one in both places, then give the command again."""
# A cluster's worker whose run was killed must not keep a sandbox for ever.
IDLE_SECONDS = 600.0

_ENDED = threading.Event()  # whoever gave the orders is gone


class Worker:
    """Grades submissions, and keeps the sandbox of the last problem for the next one.

    Args:
        sandbox: Whether submissions run in the sandbox.
        hide: Folders that the sandbox may not show.
        core: Decides which core the submissions get; None for any.
        **limits: The limits that ``SandboxedStudent`` takes.
    """

    def __init__(
        self,
        sandbox: bool,
        hide: Sequence[Path],
        core: int | None = None,
        **limits: float,
    ) -> None:
        self._sandbox, self._hide, self._core = sandbox, hide, core
        self._limits = limits
        self._problem = ""
        self._launcher: Launcher | None = None
        self._starting = 0.0  # seconds of this submission that starting a sandbox took

    def grade(
        self,
        problem: str,
        cells: Sequence[Cell],
        seed: int,
        own_seed: int | None = None,
    ) -> dict[str, Any]:
        """Grade one submission.

        Args:
            problem: The problem, such as "problem2".
            cells: The submission's code.
            seed: Decides the questions.
            own_seed: Where the submission's own random numbers start, or None.

        Returns:
            The fields of the submission's ``Record`` that grading finds out. The status
            "starved" is no record's: the machine was too busy for a verdict.

        Raises:
            SandboxUnavailable: There is no sandbox here.
        """
        start = time.perf_counter()
        self._starting = 0.0
        try:
            result = self._judge(problem, cells, seed, own_seed)
        except SandboxUnavailable:
            raise
        except Exception:  # one row per submission, whatever happens
            why = traceback.format_exc().strip()
            result = {"status": "grader-error", "message": why}
        seconds = time.perf_counter() - start - self._starting
        return {**result, "seconds": round(max(0.0, seconds), 3)}

    def _judge(
        self, problem: str, cells: Sequence[Cell], seed: int, own_seed: int | None
    ) -> dict[str, Any]:
        for _ in range(2):
            student = SandboxedStudent(
                self._ready(problem), cells, seed=own_seed, **self._limits
            )
            with student:
                results = run_checks(problem, student, seed)
            if _ENDED.is_set():
                raise KeyboardInterrupt
            if student.starved:
                return {"status": "starved", "message": student.starved}
            if all(result.status != "grader-error" for result in results):
                break
            self.close()  # the sandbox may be to blame: try once more, in a new one
        status = status_of(results, student.kinds)
        return {
            "status": status,
            "message": _why(status, results, student.first_failure),
            "checks": [asdict(result) for result in results],
            "failed_cells": student.failed_cells,
            "warnings": student.warnings,
        }

    def _ready(self, problem: str) -> Launcher:
        if self._problem != problem or self._launcher is None:
            start = time.perf_counter()
            self.close()
            number = int(problem.removeprefix("problem"))
            budget = math.ceil(self._limits.get("budget_seconds", 0))
            limits = Limits(cpu_seconds=max(Limits.cpu_seconds, budget))
            self._launcher = (
                Sandbox(number, limits=limits, hide=self._hide, core=self._core)
                if self._sandbox
                else Subprocess(number, limits=limits)
            )
            self._problem = problem
            self._starting += time.perf_counter() - start
        return self._launcher

    def close(self) -> None:
        """Ends the sandbox."""
        launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.close()


def status_of(results: Sequence[CheckResult], kinds: set[str]) -> str:
    """A submission's status.

    A cell that hung or crashed counts only where points were lost.
    """
    met = {result.status for result in results}
    if "grader-error" in met:
        return "grader-error"
    if any(result.earned < result.points for result in results):
        met |= kinds
    return next((status for name, status in _GRAVEST.items() if name in met), "graded")


def _why(status: str, results: Sequence[CheckResult], first_failure: str) -> str:
    """What explains the status or the loss of points: first the cell that failed."""
    if all(result.earned == result.points for result in results):
        return ""
    states = [_GRAVEST.get(result.status, result.status) for result in results]
    messages = [r.message for r, s in zip(results, states, strict=True) if s == status]
    return "; ".join(filter(None, dict.fromkeys([first_failure, *messages[:1]])))


def main() -> None:
    """Reads orders from stdin until it is closed."""
    settings = json.loads(sys.argv[1])
    # Answers go out where stdout was; whatever else prints must not spoil them.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=[orders], daemon=True).start()
    worker = _worker(settings)
    try:
        # Another machine may have another version of what decides a result.
        differs = unlike(settings["fingerprint"], fingerprint())
        while order := orders.get(timeout=IDLE_SECONDS):
            try:
                if differs:
                    raise SandboxUnavailable(OTHER.format(differs=differs))
                answer = worker.grade(**_order(order))
            except SandboxUnavailable as error:
                answer = {"unavailable": str(error)}
            print(json.dumps(answer), file=answers, flush=True)
    except (KeyboardInterrupt, BrokenPipeError, queue.Empty):
        pass
    finally:
        worker.close()


def _worker(settings: dict[str, Any]) -> Worker:
    # A folder that another machine does not have needs no hiding there.
    hide = [path for path in map(Path, settings["hide"]) if path.exists()]
    limits = limits_of(settings["budget"])
    return Worker(settings["sandbox"], hide, settings["core"], **limits)


def _order(line: bytes) -> dict[str, Any]:
    order = json.loads(line)
    return {**order, "cells": [Cell(*cell) for cell in order["cells"]]}


def _read(orders: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    # Whoever asked has ended or was killed: nobody wants the result any more.
    _ENDED.set()
    orders.put(b"")
    if hasattr(signal, "pthread_kill"):
        ident = threading.main_thread().ident
        if ident is not None:
            signal.pthread_kill(ident, signal.SIGINT)


if __name__ == "__main__":
    main()
