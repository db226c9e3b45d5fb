"""Time is computing time: code that hangs ends, and a busy machine costs no points."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from accepted import right_submissions
from processes import below, soon

from autograder.checking.runner import checks_of, run_checks
from autograder.sandbox import family, stopwatch
from autograder.sandbox.launcher import Sandbox, Subprocess
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent, Starved, StudentError

PROJECT = Path(__file__).parents[3]
CODE = """
import os, threading, time

def spin():
    while True:
        pass

def in_c():
    return sum(range(10**12))  # no other thread gets Python's lock meanwhile

def sleep(seconds):
    time.sleep(seconds)
    return "awake"

def poll():
    while True:
        time.sleep(0.01)

def wake():
    while True:
        time.sleep(0.5)

def locked():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def many(name):
    every = [threading.Thread(target=globals()[name]) for _ in range(190)]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()

def compute(seconds, then=None):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    if then is not None:
        os._exit(then)
    return "done"

def cores(wanted=None):
    if wanted:
        os.sched_setaffinity(0, wanted)
    return sorted(os.sched_getaffinity(0))
"""
CELLS = [Cell("cell 1", CODE)]
COMPUTES = r"{} used more than 0\.5 seconds of computing"
WAITS = r"{} waits: for 1 seconds it neither computed nor waited for a processor core"
ENDLESS = {
    "a loop": (("spin",), COMPUTES),
    "a loop in C": (("in_c",), COMPUTES),
    "190 threads in loops": (("many", "spin"), COMPUTES),
    "a long sleep": (("sleep", 1000), WAITS),
    "a look now and then": (("poll",), WAITS),
    "a lock that nobody opens": (("locked",), WAITS),
    "190 threads that wake now and then": (("many", "wake"), WAITS),
}


@pytest.fixture
def sandbox(sandboxes: Callable[[int], Sandbox]) -> Sandbox:
    return sandboxes(2)


def asked(launcher: Any, cells: list[Cell] = CELLS, **limits: float) -> Any:
    return SandboxedStudent(launcher, cells, **limits)


@pytest.mark.parametrize(("call", "line"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_ended_and_the_line_says_what_it_did(
    sandbox: Sandbox, call: tuple[Any, ...], line: str
) -> None:
    # Threads take computing to start.
    with asked(sandbox, call_seconds=0.5, idle_seconds=1.0) as student:
        if call == ("many", "wake"):
            student._call_seconds = 30.0
        with pytest.raises(StudentError, match=line.format(call[0])) as caught:
            student.call(*call)
    assert caught.value.kind == "timed-out"
    assert student.starved == ""


def test_a_wait_within_the_limit_is_no_harm(sandbox: Sandbox) -> None:
    with asked(sandbox, idle_seconds=2.0) as student:
        assert [student.call("sleep", 0.7) for _ in range(3)] == ["awake"] * 3


def test_the_budget_counts_computing_over_all_processes(sandbox: Sandbox) -> None:
    with asked(sandbox, budget_seconds=0.3) as student:
        lines = []
        for _ in range(4):  # each ends before anybody looks at what it uses
            with pytest.raises(StudentError) as caught:
                student.call("compute", 0.12, 3)
            lines.append(caught.value.line)
        assert lines[0] == "the process ended while compute ran (exit code 3)"
        assert lines[3] == "the notebook has used up its 0.3 seconds of computing"
        assert caught.value.kind == "timed-out"
        assert student._starts <= 3, "one that may not compute is not started"


def test_the_budget_counts_waiting_as_well(sandbox: Sandbox) -> None:
    """Else each of a hundred calls could wait for nine seconds."""
    with asked(sandbox, budget_seconds=1.0) as student:
        assert student.call("sleep", 0.6) == "awake"
        with pytest.raises(StudentError, match="has waited for 1 seconds in all"):
            student.call("sleep", 3.0)
        with pytest.raises(StudentError, match="has waited for 1 seconds in all"):
            student.call("cores")
        assert student._watch._spent.ran < 0.5


def test_a_cell_has_its_own_limit(sandbox: Sandbox) -> None:
    cells = [Cell("cell 1", "while True: pass"), Cell("cell 2", "f = abs")]
    with asked(sandbox, cells, cell_seconds=0.5) as student:
        assert student.call("f", -1) == 1
    line = "cell 1 used more than 0.5 seconds of computing"
    assert student.failed_cells == {"cell 1": line}


def test_a_submission_has_one_core_and_can_not_take_another(
    needs_bubblewrap: None,
) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    last = len(allowed) - 1
    with Sandbox(2, core=last + 2 * len(allowed)) as box, asked(box) as student:
        assert student.call("cores") == [allowed[last]]
        for wanted in (allowed, [allowed[last]]):
            with pytest.raises(StudentError, match="PermissionError"):
                student.call("cores", wanted)


STOPPED = f"""
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent
with Sandbox(2) as box:
    with SandboxedStudent(box, [Cell("cell 1", {CODE!r})], idle_seconds=2.5) as student:
        student.call("cores")
        usage = student._process.usage
        student._process.usage = lambda: (usage(), print("looked", flush=True))[0]
        print(student.call("sleep", 1.5))
"""


def test_a_grader_that_was_stopped_takes_the_answer_that_is_there(
    needs_bubblewrap: None,
) -> None:
    """It was away for longer than the submission may wait."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=pipe, text=True, cwd=PROJECT
    ) as grader:
        assert grader.stdout is not None
        assert grader.stdout.readline() == "looked\n"
        one = psutil.Process(grader.pid)
        assert soon(lambda: one.status() == psutil.STATUS_SLEEPING), "it waits again"
        grader.send_signal(signal.SIGSTOP)
        time.sleep(4)
        grader.send_signal(signal.SIGCONT)
        assert grader.stdout.read().endswith("awake\n")


@contextlib.contextmanager
def busy(count: int, cores: set[int] | None = None) -> Iterator[None]:
    """So many processes that compute, each in a session of its own.

    The kernel shares the cores among sessions first.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", "while True: pass"], start_new_session=True
                )
            )
            stack.callback(one.kill)
            if cores:
                os.sched_setaffinity(one.pid, cores)
        yield


def gives_way(sandbox: Sandbox) -> int:
    """Lets everybody else go before a sandbox's only submission; its process."""
    (pid,) = below(sandbox._server._server)
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    groups = Path(f"/proc/{pid}/autogroup")
    try:
        if groups.exists():
            groups.write_text("19")
    except PermissionError:
        pytest.skip("this user may not let the sandbox's process give way")
    return pid


def test_who_gets_no_core_is_starved_and_not_too_slow(sandbox: Sandbox) -> None:
    limits = {"call_seconds": 0.4, "idle_seconds": 2.0}
    with asked(sandbox, **limits) as student:
        own = set(student.call("cores"))
        gives_way(sandbox)
        usage, seen = student._process.usage, [student._process.usage()]
        student._process.usage = lambda: seen.append(usage()) or seen[-1]
        start = time.monotonic()
        with busy(2, own), pytest.raises(Starved) as caught:
            student.call("compute", 0.35)
        # First of all: it was really so.
        assert seen[-1].starved - seen[0].starved > (time.monotonic() - start) / 2
        words = "the machine was too busy: in ([.0-9]+) seconds this notebook got"
        words += " ([.0-9]+) seconds of computing"
        clock, ran = map(float, re.fullmatch(words, str(caught.value)).groups())
        assert clock >= 0.4 * stopwatch.ONE_BY_THE_CLOCK
        assert ran < 0.35
        with pytest.raises(Starved, match="too busy"):
            student.call("cores")
        assert student.starved == str(caught.value)
        assert student.kinds == set()
        assert student._starts == 1
    with asked(sandbox, **limits) as student:
        assert student.call("compute", 0.35) == "done"


def test_the_clock_goes_on_from_answer_to_answer(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of a hundred could take almost the longest time."""
    monkeypatch.setattr(stopwatch, "ALL_BY_THE_CLOCK", 0.5)
    with asked(sandbox, budget_seconds=8.0) as student:
        assert student.call("compute", 0.4) == "done"
        with pytest.raises(Starved, match=r"too busy: in [4-9]"):
            student.call("compute", 3.8)


def test_an_honest_one_beside_190_threads_on_its_core(
    sandboxes: Callable[[int], Sandbox],
) -> None:
    source = next(iter(right_submissions("problem2").values()))
    caught: list[BaseException] = []

    def hostile() -> None:
        try:
            other.call("many", "spin")
        except BaseException as error:
            caught.append(error)

    with (
        asked(sandboxes(1), call_seconds=5.0) as other,
        asked(sandboxes(2), [Cell("cell 1", source)]) as honest,
    ):
        (core,) = other.call("cores")
        thread = threading.Thread(target=hostile)
        thread.start()
        results = run_checks("problem2", honest, seed=5)
        (pid,) = below(sandboxes(2)._server._server)
        assert os.sched_getaffinity(pid) == {core}
        assert thread.is_alive(), "it was there all the time"
        thread.join()
    assert {result.status for result in results} == {"passed"}
    assert "used more than 5 seconds of computing" in str(caught[0])


@pytest.mark.parametrize("idle_cores", [True, False])
def test_where_the_kernel_does_not_say_who_waits_what_hangs_still_ends(
    monkeypatch: pytest.MonkeyPatch, idle_cores: bool
) -> None:
    """As on macOS and Windows: there nobody waits for a core while one is free."""
    monkeypatch.setattr(family, "KERNEL_SAYS", False)
    shares = [100.0, 0.0 if idle_cores else 100.0]
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: shares)
    with Subprocess(2) as plain, asked(plain, call_seconds=0.2) as student:
        student._watch._idle = 1.0
        expected = StudentError if idle_cores else Starved
        with pytest.raises(expected, match="waits" if idle_cores else "too busy"):
            student.call("sleep", 1000)
    with (
        Subprocess(2) as plain,
        asked(plain, call_seconds=0.5) as student,
        pytest.raises(StudentError, match=COMPUTES.format("spin")),
    ):
        student.call("spin")


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 24])
@pytest.mark.parametrize("problem", [1, 2, 3, 4, 5])
def test_points_do_not_depend_on_how_busy_the_machine_is(
    sandboxes: Callable[[int], Sandbox], problem: int, count: int
) -> None:
    name = f"problem{problem}"
    source = next(iter(right_submissions(name).values()))
    with asked(sandboxes(problem), [Cell("cell 1", source)]) as student, busy(count):
        results = run_checks(name, student, seed=5)
    assert sum(r.earned for r in results) == sum(c.points for c in checks_of(name))
    assert student.starved == ""
