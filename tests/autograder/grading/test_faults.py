"""What goes wrong around a run costs no grade: the same command then goes on.

Each test proves first that the fault happened. Then each submission has exactly one
row, equal to that of a run that nothing disturbed.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from accepted import right_submissions
from courses import notebook
from processes import all_end, below, soon

from autograder.course.release import COURSE
from autograder.grading.state import State

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
    pytest.mark.usefixtures("needs_bubblewrap"),
]
# While this cell runs, the process has this name in /proc.
SLOW = """
import ctypes, time
name = ctypes.CDLL(None).prctl
name(15, b"slow-{}", 0, 0, 0)
time.sleep(2)
name(15, b"python", 0, 0, 0)
"""
ONE, TWO = (next(iter(right_submissions(f"problem{i}").values())) for i in (1, 2))
FLAWED = TWO.replace("noise_level * (x.max() - x.min())", "noise_level")
# Student -> what is killed while their slow cell runs, and a word of its command.
VICTIMS = {
    "eve": ("submission", "autograder.sandbox.inside.fork_server"),
    "fay": ("fork server", "autograder.sandbox.inside.fork_server"),
    "gus": ("bubblewrap", "bwrap"),
    "hal": ("worker", "autograder.grading.worker"),
}
FEW = {
    ("ben", "problem2"): notebook(FLAWED),
    ("cem", "problem2"): notebook(TWO),
    ("dia", "problem2"): '{"cells": [',
}
SLOWLY = {(s, "problem2"): notebook(SLOW.format(s) + TWO) for s in VICTIMS}
ODD = {("ada", "problem1"): notebook(ONE), ("ben", "problem1"): notebook()}
CLASS = {**FEW, **SLOWLY, **ODD}
Grades = dict[tuple[str, str], Any]


def hand_in(place: Path, works: dict[tuple[str, str], Any]) -> Path:
    for (student, problem), work in works.items():
        path = place / "submitted" / student / problem / f"{problem}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(work if isinstance(work, str) else json.dumps(work))
    return place


class Run:
    """The command at work in a folder."""

    def __init__(self, place: Path, *arguments: str, first: str = "") -> None:
        self.said = place / "said"
        paths = os.pathsep.join(filter(None, [first, str(COURSE)]))
        told = ["--output", "out", "--seed", "7", "--no-gradebook", *arguments]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autograder", "grade", "submitted", *told],
                cwd=place,
                env=os.environ | {"PYTHONPATH": paths},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def ended(self) -> tuple[int, str]:
        """How it ended, and what it said."""
        code = self.process.wait(300)  # seconds: it must not wait for ever either
        said = self.said.read_text()
        assert "Traceback" not in said, said
        return code, said


@contextmanager
def started(place: Path, *arguments: str, first: str = "") -> Iterator[Run]:
    running = Run(place, *arguments, first=first)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def run(place: Path, *arguments: str, first: str = "") -> tuple[int, str]:
    with started(place, *arguments, first=first) as running:
        return running.ended()


def grades(place: Path) -> Grades:
    """All that is said of each submission, but for times."""
    with open(place / "out/grades.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    told = json.loads((place / "out/grades.json").read_bytes())["submissions"]
    found: Grades = {}
    for row, more in zip(table, told, strict=True):
        key = row["student"], row["problem"]
        assert key not in found, f"{key} twice"
        assert key == (more["student"], more["problem"])
        found[key] = {**row, **more, "seconds": None}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    place = hand_in(tmp_path_factory.mktemp("undisturbed"), CLASS)
    code, said = run(place, "--workers", "2")
    assert code == 0, said
    scores = {key: one["score"] for key, one in grades(place).items()}
    assert 0 < scores.pop(("ben", "problem2")) < 20
    right = {(student, "problem2"): 20 for student in ("cem", *VICTIMS)}
    wanted = right | {("ada", "problem1"): 10, ("ben", "problem1"): 0}
    assert {key: score for key, score in scores.items() if score is not None} == wanted
    return place


def same(place: Path, undisturbed: Path) -> None:
    """Nothing is lost, doubled or different."""
    names = [path.name for path in (place / "submitted").iterdir()]
    problems = {path.parent.name for path in place.glob("submitted/*/*/*.ipynb")}
    wanted = {
        (student, problem): one
        for (student, problem), one in grades(undisturbed).items()
        if student in names and problem in problems
    }
    assert grades(place) == wanted


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a few submissions that nobody has graded yet."""
    return hand_in(tmp_path, FEW)


@pytest.fixture
def graded(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run's folder."""
    return Path(shutil.copytree(undisturbed, tmp_path / "copy"))


def one_line(said: str, *words: str) -> None:
    """The command has told a person in one line what to do."""
    (line,) = [line for line in said.splitlines() if line.startswith("autograder:")]
    assert all(word in line for word in words), said


# Processes that are killed.


def status(pid: int, field: str) -> str:
    """A field of what Linux says of a process, or ""."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return line.partition(":")[2].strip()
    return ""


def command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def chain(run: int, student: str) -> list[int]:
    """A slow submission's process and all above it, below the run; [] if none is."""
    for pid in below(run):
        if status(pid, "Name") == f"slow-{student}":
            found = [pid]
            while (above := int(status(found[-1], "PPid") or run)) != run:
                found.append(above)
            return found
    return []


@pytest.mark.slow
def test_whatever_is_killed_below_the_run(tmp_path: Path, undisturbed: Path) -> None:
    """Each once, while another slow submission is asked."""
    place = hand_in(tmp_path, SLOWLY)
    with started(place, "--workers", "2") as running:
        pid, left = running.process.pid, dict(VICTIMS)

        def kills() -> bool:
            for student, (name, word) in list(left.items()):
                found = chain(pid, student)
                if len(found) != 5:
                    continue
                number = {"submission": 0, "fork server": 1, "bubblewrap": 3}.get(
                    name, 4
                )
                assert word in command(found[number])
                os.kill(found[number], signal.SIGKILL)
                assert all_end(found[: number + 1])
                assert f"problem2  {student}" not in running.said.read_text()
                del left[student]
            return not left or running.process.poll() is not None

        assert soon(kills)
        assert not left, "it was graded before it was killed"
        code, said = running.ended()
    assert code == 0, said
    same(place, undisturbed)


@pytest.mark.slow
def test_the_run_is_killed(tmp_path: Path, undisturbed: Path) -> None:
    slow = {("eve", "problem2"): SLOWLY["eve", "problem2"]}
    place = hand_in(tmp_path, FEW | slow)
    with started(place, "--workers", "2") as running:
        pid = running.process.pid
        assert soon(lambda: chain(pid, "eve"))
        workers = below(pid)
        running.process.kill()
        assert running.ended()[0] == -signal.SIGKILL
    assert len(workers) >= 5
    assert all_end(workers), "a worker outlives its run"
    assert not (place / "out/grades.csv").exists(), "half a table is none"
    assert 0 < len(records(place)) < 4
    code, said = run(place, "--workers", "2")
    assert code == 0, said
    assert "going on" in said
    same(place, undisturbed)


# The folder of the results.


@pytest.fixture
def disk(place: Path) -> Iterator[Path]:
    """A small disk of its own at ``out``."""
    out = place / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(out)]
    if os.getuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("needs root's right to mount a disk")
    yield out
    subprocess.run(["umount", "--lazy", str(out)], check=True)


@pytest.mark.slow
def test_a_disk_that_nobody_may_write_to_and_one_that_is_full(
    place: Path, disk: Path, undisturbed: Path
) -> None:
    """It is full at the start, among the records, and among the pages."""
    remount = ["mount", "-o", "remount,ro", str(disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (disk / "probe").touch()
    code, said = run(place, "--workers", "1")
    assert code == 1
    one_line(said, os.strerror(errno.EROFS), "out", "goes on")
    subprocess.run([*remount[:2], "remount,rw", str(disk)], check=True)

    filler, kept = disk / "filler", []
    for room in (0, 16, 40):
        filler.write_bytes(bytes(1024 * (256 - room)))
        code, said = run(place, "--workers", "1")
        assert code == 1
        # Only the kernel has this to say of a write.
        one_line(said, os.strerror(errno.ENOSPC), "out", "goes on")
        kept.append(len([*disk.glob("state/*.json")]))
        filler.unlink()
    assert 0 == kept[0] < kept[1] < kept[2], "each time something else was not written"
    code, said = run(place, "--workers", "1")
    assert code == 0, said
    same(place, undisturbed)
    assert not [*disk.rglob("*.tmp")]


@pytest.mark.slow
def test_two_runs_at_once(place: Path, undisturbed: Path) -> None:
    other = place / "other"
    other.mkdir()
    (place / "out").mkdir()
    for name in ("submitted", "out"):
        (other / name).symlink_to(place / name)
    with started(place) as one, started(other) as another:
        ends = dict([one.ended(), another.ended()])
    assert {*ends} == {0, 1}, "one grades, the other refuses"
    one_line(ends[1], "another run is writing")
    assert "rows" not in ends[1]
    assert "[3/3]" in ends[0]
    same(place, undisturbed)


# What is found in the folder of the results.


def records(place: Path) -> dict[tuple[str, str], Path]:
    found = {}
    for path in (place / "out/state").glob("*.json"):
        told = json.loads(path.read_bytes())
        if "student" in told:
            found[told["student"], told["problem"]] = path
    return found


SPOILS = {
    "ben": lambda data: b"",
    "cem": lambda data: data[: len(data) // 2],
    "eve": lambda data: bytes(256),
    "fay": lambda data: b'{"student": "fay", "problem": "problem2", "checks": []}',
    "gus": lambda data: data.replace(b"graded", b"crashed"),
}


@pytest.mark.slow
def test_records_that_are_spoilt_are_made_anew(graded: Path, undisturbed: Path) -> None:
    """A record of another student is nobody else's."""
    files = records(graded)
    for student, spoil in SPOILS.items():
        path = files[student, "problem2"]
        whole = path.read_bytes()
        path.write_bytes(spoil(whole))
        assert path.read_bytes() != whole
    shutil.copy(files["cem", "problem2"], files["hal", "problem2"])
    code, said = run(graded, "--workers", "2")
    assert code == 0, said
    for student in (*SPOILS, "hal"):
        assert f"problem2  {student}" in said, "it is graded again"
    assert "problem1  ada" not in said, "what is whole is not"
    same(graded, undisturbed)


@pytest.mark.slow
def test_a_run_that_is_spoilt_or_somebody_elses(
    graded: Path, undisturbed: Path
) -> None:
    """It deletes nothing elsewhere either."""
    path, mine = graded / "out/state/run.json", graded / "mine.txt"
    mine.touch()
    foreign = {"seed": 7, "pages": ["../mine.txt"], "finished": True}
    for data in (path.read_bytes()[:-9], b"[]", None):
        if data is None:
            State(graded / "out").save_run(foreign)
        else:
            path.write_bytes(data)
        code, said = run(graded)
        assert code == 0, said
        assert mine.exists()
        same(graded, undisturbed)


@pytest.mark.slow
def test_links_are_not_written_through(graded: Path, undisturbed: Path) -> None:
    outside = graded / "outside"
    outside.mkdir()
    record = records(graded)["cem", "problem2"]
    for name in ("lock", "run.json", record.name, "../index.html"):
        path = graded / "out/state" / name
        (outside / path.name).write_text("mine")
        path.unlink()
        path.symlink_to(outside / path.name)
    code, said = run(graded)
    assert {path.read_text() for path in outside.iterdir()} == {"mine"}
    assert code == 0, said
    same(graded, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["record", "run.json"])
def test_a_folder_in_the_place_of_a_file(
    graded: Path, undisturbed: Path, what: str
) -> None:
    path = records(graded)["cem", "problem2"]
    path = path if what == "record" else path.with_name(what)
    path.unlink()
    path.mkdir()
    (path / "x").touch()
    code, said = run(graded)
    assert code == 1
    one_line(said, path.name, os.strerror(errno.EISDIR), "goes on")
    shutil.rmtree(path)
    code, said = run(graded)
    assert code == 0, said
    same(graded, undisturbed)


# The clock.

CLOCK = """
import datetime, os, sys, threading, time
real = time.time

def jumping():
    return real() + (0, 7200, -7200)[int(time.monotonic() / 0.4) % 3]

class Now(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(jumping(), tz)

def witness():
    role = "worker" if "autograder.grading.worker" in sys.orig_argv else "run"
    last = Now.now()
    while True:
        time.sleep(0.1)
        now = Now.now()
        if abs((now - last).total_seconds()) > 3600:
            with open(os.environ["JUMPS"], "a") as file:
                print(role, "on" if now > last else "back", file=file)
        last = now

time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
datetime.datetime = Now
threading.Thread(target=witness, daemon=True).start()
"""


@pytest.mark.slow
def test_a_clock_that_jumps(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours on and back, all the time, for the run and its workers."""
    first = place / "first"
    first.mkdir()
    (first / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("JUMPS", str(place / "jumps"))
    # Dask would look after minutes for workers that it has not heard of by the clock.
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "2s")
    code, said = run(place, "--workers", "1", first=str(first))
    jumps = {*(place / "jumps").read_text().splitlines()}
    assert jumps == {"run on", "run back", "worker on", "worker back"}
    assert code == 0, said
    same(place, undisturbed)
