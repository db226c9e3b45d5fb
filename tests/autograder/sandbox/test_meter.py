"""What processes have used is what the kernel says of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from processes import soon

from autograder.sandbox.family import Family
from autograder.sandbox.inside import meter
from autograder.sandbox.inside.meter import Meter, Usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

COMPUTES = """
import subprocess, sys, threading, time

def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

for line in sys.stdin:
    how, seconds = line.split()
    if how == "thread":
        one = threading.Thread(target=compute, args=[float(seconds)])
        one.start()
        one.join()
    elif how == "child":
        subprocess.run([sys.executable, "-c", f'''
import time
while time.process_time() < {seconds}:
    pass
'''])
    else:
        compute(float(seconds))
    print(time.process_time(), flush=True)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COMPUTES]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as made:
        yield made
        made.kill()


def computed(process: subprocess.Popen[str], how: str, seconds: float) -> float:
    """Seconds of its own computing, when it has computed for some more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{how} {seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def test_all_threads_count_also_those_that_have_ended(
    process: subprocess.Popen[str],
) -> None:
    read = Meter().read
    for how in ("itself", "thread"):
        own = computed(process, how, 0.3)
        assert read(process.pid).ran == pytest.approx(own, abs=0.05)
    assert own > 0.6
    assert soon(lambda: not read(process.pid).active)
    process.kill()
    process.wait()
    assert read(process.pid).ran == pytest.approx(own, abs=0.05), "the last known"


def test_what_it_has_started_counts_too_and_what_was_before_does_not(
    process: subprocess.Popen[str],
) -> None:
    computed(process, "itself", 0.3)
    family = Family(process.pid)
    assert family.usage().ran < 0.05
    computed(process, "child", 0.3)
    assert family.usage().ran == pytest.approx(0.3, abs=0.15)


class Proc:
    """A /proc of our own: threads of process 7, with state and delay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: dict[str, tuple[str, float]] = {}
        monkeypatch.setattr(meter, "_threads", lambda pid: list(self.threads))
        monkeypatch.setattr(meter, "_text", self.text)

    def text(self, path: str) -> str:
        thread, _, name = path.rpartition("/")
        if thread == "/proc/7":
            return f"7 (a) b) R 1 {'0 ' * 9}120 30 4 6 20"
        state, delay = self.threads[thread]
        if name == "schedstat":
            return f"1000 {delay * 1e9:.0f} 3\n"
        return f"8 (R R) {state} 1 {'0 ' * 9}1 2 3 4 5"


def test_threads_that_wait_for_each_other_count_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proc, read = Proc(monkeypatch), Meter().read
    monkeypatch.setattr(meter.os, "sysconf", lambda name: 100)
    proc.threads = {"a": ("S", 1.0), "b": ("S", 3.0)}
    assert read(7) == Usage(1.6, 3.0, False)
    proc.threads = {"a": ("S", 2.5), "b": ("R", 4.0)}
    assert read(7) == Usage(1.6, 4.5, True)
    # One has ended, and another one has its number.
    proc.threads = {"a": ("D", 0.1), "c": ("S", 0.5)}
    assert read(7) == Usage(1.6, 5.0, True)


def test_one_that_was_never_there() -> None:
    assert Meter().read(2**22 + 1) == Usage()
