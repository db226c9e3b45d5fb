"""One worker of a grading run: a process that grades one submission after another.

Each submission runs in the sandbox. The worker is a process because threads would
wait for each other: checks compute, too. It reads orders and writes answers, a line of
JSON each. It ends when the run that started it is gone.
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
from autograder.grading.state import digest_of
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.launcher import (
    Launcher,
    Limits,
    Sandbox,
    SandboxUnavailable,
    Subprocess,
)
from autograder.sandbox.notebook import Unreadable, cells_of, read_notebook
from autograder.sandbox.student import SandboxedStudent, limits_of

# Status of a check, or kind of a cell's failure -> the submission's status. The gravest
# comes first.
_GRAVEST = {"crashed": "crashed", "timeout": "timed-out", "timed-out": "timed-out"}

_ENDED = threading.Event()  # whoever gave the orders is gone


class Worker:
    """Grades submissions, and keeps the sandbox of the last problem for the next one.

    Args:
        sandbox: Whether submissions run in the sandbox.
        hide: Folders that the sandbox may not show.
        **limits: The limits that ``SandboxedStudent`` takes.
    """

    def __init__(self, sandbox: bool, hide: Sequence[Path], **limits: float) -> None:
        self._sandbox, self._hide, self._limits = sandbox, hide, limits
        self._problem = ""
        self._launcher: Launcher | None = None
        self._starting = 0.0  # seconds of this submission that starting a sandbox took

    def grade(
        self,
        problem: str,
        path: Path,
        within: Path,
        seed: int,
        own_seed: int | None = None,
        release: str = "",
    ) -> dict[str, Any]:
        """Grade one submission.

        Args:
            problem: The problem, such as "problem2".
            path: The submission's file.
            within: The folder of all submissions.
            seed: Decides the questions.
            own_seed: Where the submission's own random numbers start, or None.
            release: The notebook that was handed out, or "".

        Returns:
            The fields of the submission's ``Record`` that grading finds out.

        Raises:
            SandboxUnavailable: There is no sandbox here.
        """
        start = time.perf_counter()
        self._starting = 0.0
        try:
            result = self._judge(problem, path, within, seed, own_seed, release)
        except SandboxUnavailable:
            raise
        except Exception:  # one row per submission, whatever happens
            why = traceback.format_exc().strip()
            result = {"status": "grader-error", "message": why}
        seconds = time.perf_counter() - start - self._starting
        return {**result, "seconds": round(max(0.0, seconds), 3)}

    def _judge(
        self,
        problem: str,
        path: Path,
        within: Path,
        seed: int,
        own_seed: int | None,
        release: str,
    ) -> dict[str, Any]:
        try:
            notebook = read_notebook(path, within)
        except Unreadable as error:
            return {"status": "unreadable", "message": one_line(str(error))}
        cells = cells_of(notebook, read_notebook(release) if release else None)
        for _ in range(2):
            student = SandboxedStudent(
                self._ready(problem), cells, seed=own_seed, **self._limits
            )
            with student:
                results = run_checks(problem, student, seed)
            if _ENDED.is_set():
                raise KeyboardInterrupt
            if all(result.status != "grader-error" for result in results):
                break
            self.close()  # the sandbox may be to blame: try once more, in a new one
        status = status_of(results, student.kinds)
        return {
            "status": status,
            "message": _why(status, results, student.first_failure),
            "digest": digest_of(notebook),
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
                Sandbox(number, limits=limits, hide=self._hide)
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
        while order := orders.get():
            try:
                answer = worker.grade(**_order(order))
            except SandboxUnavailable as error:
                answer = {"unavailable": str(error)}
            print(json.dumps(answer), file=answers, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        worker.close()


def _worker(settings: dict[str, Any]) -> Worker:
    hide = [Path(path) for path in settings["hide"]]
    return Worker(settings["sandbox"], hide, **limits_of(settings["budget"]))


def _order(line: bytes) -> dict[str, Any]:
    order = json.loads(line)
    return {**order, "path": Path(order["path"]), "within": Path(order["within"])}


def _read(orders: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    # The run has ended or was killed: nobody wants the result any more.
    _ENDED.set()
    orders.put(b"")
    if hasattr(signal, "pthread_kill"):
        ident = threading.main_thread().ident
        if ident is not None:
            signal.pthread_kill(ident, signal.SIGINT)


if __name__ == "__main__":
    main()
