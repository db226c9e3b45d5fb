"""What a Dask worker does for a run: it asks worker processes, one for each thread.

``grade`` is the task that the run submits. It takes and gives plain text, so that
nothing but numbers and words travels between machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

# Seconds by the clock that a submission may take, and so many times its budget. Only a
# mistake of ours takes longer.
PATIENCE, TIMES = 600.0, 25
STOP_SECONDS = 20.0
WORKER = (sys.executable, "-m", "autograder.grading.worker")


def grade(run: str, settings: str, order: str) -> str:
    """Grade one submission on this Dask worker.

    Args:
        run: The run's name; each run has its own worker processes.
        settings: What each worker process is told at its start, as JSON.
        order: What ``Worker.grade`` takes, as JSON.

    Returns:
        What ``Worker.grade`` returns, as JSON; or "unfit", with the reason why nothing
        is graded on this Dask worker, and its "address".
    """
    pool = _pool(run, json.loads(settings))
    try:
        return json.dumps(pool.ask(json.loads(order)))
    except Unfit as error:
        from distributed import get_worker

        return json.dumps({"unfit": str(error), "address": get_worker().address})


def close(run: str) -> None:
    """Ends a run's worker processes on this machine; no task of it begins any more."""
    _pool(run, {}).close()


def _pool(run: str, settings: dict[str, Any]) -> Pool:
    with _lock:
        return _pools.setdefault(run, Pool(settings))


class Unfit(RuntimeError):
    """Nothing can be graded here; the message says why."""


class Pool:
    """The worker processes of one run; each serves one thread at a time.

    Args:
        settings: What each worker process is told at its start.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._all: list[_WorkerProcess] = []
        self._idle: list[_WorkerProcess] = []
        self._changing = threading.Lock()
        self._begun = self._closed = False

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """A submission's result; a grader-error if we fail over it twice.

        Raises:
            Unfit: There is no sandbox here, or other versions; nothing was graded yet.
        """
        process, why = self._taken(order["problem"]), ""
        line = json.dumps(order).encode() + b"\n"
        try:
            for _ in range(2):
                answer = process.put(line)
                if answer is None:
                    said = process.last_words()
                    why = f"the grader's process ended twice: {said}"
                elif "unavailable" not in answer:
                    self._begun = True
                    return answer
                elif self._begun:
                    why = answer["unavailable"].splitlines()[0]
                else:
                    raise Unfit(answer["unavailable"])
        finally:
            self._idle.append(process)
        return {"status": "grader-error", "message": why, "seconds": 0.0}

    def _taken(self, problem: str) -> _WorkerProcess:
        """An idle worker process, best one with a sandbox for the problem."""
        with self._changing:
            if self._closed:
                raise RuntimeError("the run has ended")
            for process in self._idle:
                if process.problem in ("", problem):
                    break
            else:
                if self._idle:
                    process = self._idle[0]
                else:
                    core = os.getpid() + len(self._all)
                    process = _WorkerProcess(self._settings | {"core": core})
                    self._all.append(process)
                    self._idle.append(process)
            self._idle.remove(process)
            process.problem = problem
            return process

    def close(self) -> None:
        with self._changing:
            self._closed = True
            for process in self._all:
                process.close()


class _WorkerProcess:
    """A worker process, started when it is needed and replaced if it dies."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings, self.problem = settings, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close
        self._closed = False

    def put(self, order: bytes) -> dict[str, Any] | None:
        """The answer to an order, or None if the process ended over it."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        most = PATIENCE + TIMES * self._settings["budget"]
        timer = threading.Timer(most, process.kill)
        timer.start()
        try:
            process.stdin.write(order)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            self._process = None
            _kill(process)
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise RuntimeError("the run has ended")
        if self._process is None:
            self._process = subprocess.Popen(
                [*WORKER, json.dumps(self._settings)],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Ctrl-C must reach the run only, which ends its workers itself.
                start_new_session=True,
            )
        return self._process

    def last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.seek(0)
        self._errors.truncate()
        return lines[-1][:200] if lines else "it was killed or took too long"

    def close(self) -> None:
        self._closed = True
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                # The worker then ends by itself, and ends its sandbox too.
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            _kill(process)
        self._errors.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError), process:
        process.kill()


def environment() -> dict[str, str]:
    """A worker's environment variables.

    Numerical libraries use one thread each, and ``autograder`` is this one, wherever
    the run was started.
    """
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return {
        **os.environ,
        **one,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",
    }


_lock = threading.Lock()
_pools: dict[str, Pool] = {}
