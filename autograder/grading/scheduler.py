"""The instructor's run: several workers find a result for each submission.

A run that was stopped can be continued.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autograder.checking.runner import CheckResult
from autograder.grading.state import Record, State, basis_of, digest_of
from autograder.grading.submissions import Submission
from autograder.sandbox.launcher import SandboxUnavailable
from autograder.sandbox.notebook import Unreadable, read_notebook
from autograder.sandbox.student import BUDGET_SECONDS, seed_of

# Seconds that a submission may take beyond twice the student's own time, the start of
# the sandbox included. Only a mistake of ours takes longer.
PATIENCE = 600.0
STOP_SECONDS = 20.0
WORKER = (sys.executable, "-m", "autograder.grading.worker")
Say = Callable[[Record, int, int], None]


@dataclass(frozen=True)
class Plan:
    """How a run is done.

    Attributes:
        within: The folder of all submissions.
        seed: Decides the questions, which are the same for everybody.
        workers: How many workers there are at most.
        sandbox: Whether submissions run in the sandbox.
        hide: Folders that no sandbox may show.
        budget: Seconds that a submission's own code may take in all.
        course: The course's name, or "".
        releases: Problem -> the notebook that was handed out, where there is one.
    """

    within: Path
    seed: int
    workers: int
    sandbox: bool = True
    hide: Sequence[Path] = ()
    budget: float = BUDGET_SECONDS
    course: str = ""
    releases: Mapping[str, Path] = field(default_factory=dict)

    def basis(self, digest: str, problem: str) -> str:
        """A digest of everything that decides a notebook's result in this run."""
        release = self.releases.get(problem)
        if release is not None:
            digest += hashlib.sha256(release.read_bytes()).hexdigest()
        return basis_of(digest, problem, self.seed, self.sandbox, self.budget)


def grade_all(
    submissions: Sequence[Submission], plan: Plan, state: State, say: Say
) -> dict[str, Record]:
    """Find a record for each submission.

    Args:
        submissions: What to grade.
        plan: How the run is done.
        state: Keeps each record as soon as it is known.
        say: Is called with each record, with how many are done, and with how many there
            are.

    Returns:
        Key of a submission -> its record.

    Raises:
        SandboxUnavailable: There is no sandbox here. Once a submission has been graded,
            a sandbox that does not start costs no more than the rows that need it.
    """
    records: dict[str, Record] = {}
    waiting: queue.SimpleQueue[Submission] = queue.SimpleQueue()

    def done(submission: Submission, record: Record) -> None:
        records[submission.key] = record
        say(record, len(records), len(submissions))

    count = 0
    for submission in submissions:
        known = _known(submission, plan, state)
        if known is not None:
            done(submission, known)
        else:
            waiting.put(submission)
            count += 1
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    begun = threading.Event()
    with contextlib.ExitStack() as stack:
        for _ in range(min(plan.workers, count)):
            worker = stack.enter_context(_WorkerProcess(plan, begun))
            threading.Thread(
                target=_work, args=[worker, plan, waiting, finished], daemon=True
            ).start()
        for _ in range(count):
            outcome = finished.get()
            if isinstance(outcome, BaseException):
                raise outcome
            submission, record = outcome
            if record.status != "grader-error":
                state.save(submission.key, record)
            done(submission, record)
    return records


def _known(submission: Submission, plan: Plan, state: State) -> Record | None:
    """The record of a submission that needs no grading (any more)."""
    if submission.missing:
        return Record(
            submission.student, submission.problem, "missing", submission.missing
        )
    record = state.record(submission.key)
    if record is None or not record.digest:
        return None
    try:
        digest = digest_of(read_notebook(submission.path, plan.within))
    except Unreadable:
        return None
    same = record.basis == plan.basis(digest, submission.problem)
    return record if same else None


def _work(
    worker: _WorkerProcess,
    plan: Plan,
    waiting: queue.SimpleQueue[Submission],
    finished: queue.SimpleQueue[Any],
) -> None:
    """The thread of one worker: it only waits for the worker's process."""
    try:
        while True:
            try:
                submission = waiting.get_nowait()
            except queue.Empty:
                return
            answer = worker.ask(submission)
            basis = plan.basis(answer.get("digest", ""), submission.problem)
            checks = tuple(CheckResult(**check) for check in answer.pop("checks", ()))
            record = Record(
                submission.student,
                submission.problem,
                **answer,
                basis=basis,
                checks=checks,
            )
            finished.put((submission, record))
    except BaseException as error:
        finished.put(error)


class _WorkerProcess:
    """A worker's process, replaced if it dies; a context manager.

    Args:
        plan: How the run is done.
        begun: Is set as soon as any worker has graded a submission.
    """

    def __init__(self, plan: Plan, begun: threading.Event) -> None:
        self._plan, self._begun = plan, begun
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed at our exit
        self._closed = False

    def ask(self, submission: Submission) -> dict[str, Any]:
        """A submission's result; a grader-error if we fail over it twice."""
        plan, student, problem = self._plan, submission.student, submission.problem
        order = {
            "problem": problem,
            "path": str(submission.path),
            "within": str(plan.within),
            "seed": plan.seed,
            "own_seed": seed_of(plan.seed, plan.course, student, problem),
            "release": str(plan.releases.get(problem, "")),
        }
        why = ""
        for _ in range(2):
            answer = self._put(json.dumps(order).encode() + b"\n")
            if answer is None:
                why = f"the grader's process ended twice: {self._last_words()}"
            elif "unavailable" not in answer:
                self._begun.set()
                return answer
            elif self._begun.is_set():
                why = answer["unavailable"].splitlines()[0]
            else:
                raise SandboxUnavailable(answer["unavailable"])
        return {"status": "grader-error", "message": why}

    def _put(self, order: bytes) -> dict[str, Any] | None:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(PATIENCE + 2 * self._plan.budget, process.kill)
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
            raise KeyboardInterrupt
        if self._process is None:
            settings = {
                "sandbox": self._plan.sandbox,
                "hide": [str(path.resolve()) for path in self._plan.hide],
                "budget": self._plan.budget,
            }
            self._process = subprocess.Popen(
                [*WORKER, json.dumps(settings)],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Ctrl-C must reach the run only, which ends its workers itself.
                start_new_session=True,
            )
        return self._process

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.seek(0)
        self._errors.truncate()
        return lines[-1][:200] if lines else "it was killed or took too long"

    def __enter__(self) -> _WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
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


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def open_run(state: State, seed: int | None, **more: Any) -> Iterator[dict[str, Any]]:
    """Open a run, new or continued.

    What is known of the run, with what the block adds, is saved at the block's end. The
    block sets "finished"; otherwise the next run continues this one.

    Args:
        state: Where the run is kept.
        seed: The run's seed. None takes the seed of the run that is continued, or a
            fresh one.
        **more: What else is to be known of the run.

    Yields:
        What is known of the run.
    """
    with state.locked():
        run = state.run()
        resumed = run.get("finished") is False and seed in (None, run.get("seed"))
        if not resumed:
            state.forget()
            run = {
                "seed": secrets.randbits(48) if seed is None else seed,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "pages": run.get("pages", []),
            }
        run |= {**more, "finished": False, "resumed": resumed}
        state.save_run(run)
        yield run
        state.save_run(run)
