"""The same run on a cluster of Dask workers, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from courses import notebook, submit
from distributed import Client, Security
from processes import all_end, below, soon
from targets import TARGETS

from autograder import cli
from autograder.grading import cluster

# What each Dask worker of a test runs first: its worker processes only do what the
# notebook's text says.
STUB = """
import json, os, select, sys
from pathlib import Path
place = Path(sys.argv[1])
unfit = False
if (place / "one-is-unfit").exists():
    try:
        (place / "unfit").touch(exist_ok=False)
        unfit = True
    except FileExistsError:
        pass
for line in sys.stdin:
    order = json.loads(line)
    words = order["cells"][0][1].split()
    with open(place / "log", "a") as file:
        print(os.getppid(), words[0], order["seed"], file=file)
    if unfit:
        print(json.dumps({"unavailable": "bubblewrap is missing"}), flush=True)
        continue
    while words[2:] == ["held"] and not (place / "go").exists():
        if select.select([sys.stdin], [], [], 0.02)[0]:
            os._exit(0)
    check = {"id": "smooth-grad/form", "title": "Form", "points": 12,
             "earned": float(words[1]), "status": "failed", "message": "why",
             "public": True}
    print(json.dumps({"status": "graded", "seconds": 0.5, "checks": [check]}),
          flush=True)
"""
PRELOAD = """
from autograder.grading import pool
pool.WORKER = {command!r}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "stub.py").write_text(STUB)
    command = (sys.executable, str(tmp_path / "stub.py"), str(tmp_path))
    (tmp_path / "preload.py").write_text(PRELOAD.format(command=command))
    return tmp_path


@contextlib.contextmanager
def dask(
    place: Path, workers: int, *options: str, preload: bool = True
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers, each a process: its address, and the workers."""
    file = place / "scheduler.json"
    module = [sys.executable, "-m"]
    first = ["--preload", str(place / "preload.py")] if preload else []
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*module, *command, "--scheduler-file", str(file), *options],
                cwd=Path(cli.__file__).parents[1],
                env={**os.environ, "PYTHONPATH": "."},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        start("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard")
        assert soon(lambda: file.exists() and file.read_text().endswith("}"))
        each = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny"]
        started = [start(*each, "--no-dashboard", *first) for _ in range(workers)]
        yield json.loads(file.read_bytes())["address"], started


LOOPBACK = ("--host", "127.0.0.1")


def run(place: Path, *arguments: str) -> int:
    folders = [str(place / "submitted"), "--output", str(place / "out")]
    return cli.main(["grade", *folders, "--no-gradebook", *arguments])


def log(place: Path) -> list[list[str]]:
    with contextlib.suppress(FileNotFoundError):
        return [line.split() for line in (place / "log").read_text().splitlines()]
    return []


def scores(place: Path) -> dict[str, float]:
    rows = json.loads((place / "out/grades.json").read_bytes())["submissions"]
    assert len({row["student"] for row in rows}) == len(rows)
    return {row["student"]: row["score"] for row in rows}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_what_a_dead_worker_had_is_asked_elsewhere(place: Path) -> None:
    """Two of four are killed in the middle; nothing is lost, and nothing doubled."""
    expected = {f"s{i}": float(i) for i in range(10)}
    for name, points in expected.items():
        submit(place, name, notebook(f"{name} {points} held"))
    with dask(place, 4, *LOOPBACK) as (address, workers):
        command = [sys.executable, "-m", "autograder", "grade"]
        command += [str(place / "submitted"), "--output", str(place / "out")]
        with subprocess.Popen(
            [*command, "--no-gradebook", "--scheduler", address],
            cwd=Path(cli.__file__).parents[1],
        ) as process:
            assert soon(lambda: len({pid for pid, *_ in log(place)}) == 4)
            theirs = {worker.pid: below(worker.pid) for worker in workers[:2]}
            held = {name for pid, name, _ in log(place) if int(pid) in theirs}
            for worker in workers[:2]:
                worker.kill()
                assert worker.wait() == -9
            assert all_end(set().union(*theirs.values())), "they outlive their worker"
            assert len(held) == 2
            (place / "go").touch()
            assert process.wait() == 0
    assert scores(place) == expected
    asked = [name for _, name, _ in log(place)]
    assert held <= {name for name in asked if asked.count(name) == 2}
    assert {seed for *_, seed in log(place)} == {log(place)[0][2]}


def test_a_worker_that_can_not_grade_gets_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {f"s{i}": float(i) for i in range(5)}
    for name, points in expected.items():
        submit(place, name, notebook(f"{name} {points}"))
    (place / "one-is-unfit").touch()
    with dask(place, 2, *LOOPBACK) as (address, workers):
        with Client(address) as client:
            client.wait_for_workers(2)
        assert run(place, "--scheduler", address) == 0
        assert "bubblewrap is missing" in capsys.readouterr().err
        assert scores(place) == expected
        workers[0].kill()
        (place / "unfit").unlink()
        assert run(place, "--scheduler", address, "--again") == 1
        said = capsys.readouterr().err.splitlines()
    assert said[-1] == "autograder: bubblewrap is missing"
    assert scores(place) == expected, "nothing is lost"


def real(place: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a run with the real sandbox writes, but for times."""
    assert run(place, "--seed", "7", *arguments) == 0
    told = json.loads((place / "out/grades.json").read_bytes())["submissions"]
    shutil.rmtree(place / "out")
    return [{**each, "seconds": 0} for each in told]


@pytest.mark.slow
def test_far_away_it_comes_to_the_same(place: Path, needs_bubblewrap: None) -> None:
    """A right answer, a wrong one, one that hangs and one that goes."""
    target = TARGETS["problem2"]
    draws = f"{target.solution}\nraise ValueError(torch.rand(1).item())"
    ends = f"{target.solution}\ndef smooth_grad(*a):\n    import os; os._exit(3)"
    for name, source in {
        "ada": target.solution,
        "ben": target.flawed,
        "cem": draws,
        "dia": ends,
    }.items():
        submit(place, name, notebook(source))
    here = real(place)
    assert {told["student"]: told["auto_score"] for told in here}["ada"] == 20
    assert len({json.dumps(told["checks"]) for told in here}) == 3
    with dask(place, 2, *LOOPBACK, preload=False) as (address, _):
        assert real(place, "--scheduler", address) == here


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A certificate that everybody has, signed by itself, in files."""
    made, files = Security.temporary(), {}
    for name in ("tls_ca_file", "tls_worker_cert", "tls_worker_key"):
        file = tmp_path / name
        file.write_text(str(getattr(made, name)))
        option = "--" + name.replace("_worker", "").replace("_", "-")
        files[option] = str(file)
    return files


def test_over_the_network_it_is_encrypted(
    place: Path, keys: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place, "ada", notebook("ada 7"))
    told = [part for pair in keys.items() for part in pair]
    with dask(place, 1, "--protocol", "tls", *LOOPBACK, *told) as (address, _):
        assert address.startswith("tls://")
        assert run(place, "--scheduler", address) == 1, "without our certificate"
        assert "no Dask scheduler answers" in capsys.readouterr().err
        assert log(place) == []
        assert run(place, "--scheduler", address, *told) == 0
    assert scores(place) == {"ada": 7.0}


def test_nothing_is_sent_in_the_clear(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to an address in the network, nor where the network can call."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)  # to where nobody is
    submit(place, "ada", notebook("ada 7"))
    for address in ("192.0.2.1:8786", "tcp://cluster.example:8786", "ws://127.0.0.2.x"):
        assert run(place, "--scheduler", address) == 1
        assert "in the clear" in capsys.readouterr().err
    everywhere = {"address": "tcp://192.0.2.1:8786"}
    with dask(place, 1, *LOOPBACK) as (address, _):
        with monkeypatch.context() as patch:
            patch.setattr(cluster.Client, "scheduler_info", lambda self: everywhere)
            assert run(place, "--scheduler", address) == 1
        assert "--host 127.0.0.1" in capsys.readouterr().err
    assert log(place) == []
    assert run(place, "--scheduler", address) == 1
    assert "no Dask scheduler answers at" in capsys.readouterr().err


def test_without_a_worker_the_run_says_so(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And goes on waiting, since a cluster may start its workers late."""
    submit(place, "ada", notebook("ada 7"))
    with dask(place, 0, *LOOPBACK) as (address, _):
        given = [str(place / "submitted"), "--output", str(place / "out")]
        given += ["--no-gradebook", "--scheduler", address]
        with subprocess.Popen([sys.executable, "-m", "autograder", "grade", *given]):
            said = ""

            def told() -> bool:
                nonlocal said
                said += capfd.readouterr().err
                return "has no worker yet" in said

            assert soon(told)
            file = str(place / "scheduler.json")
            command = [sys.executable, "-m", "distributed.cli.dask_worker", *LOOPBACK]
            command += ["--no-nanny", "--no-dashboard", "--scheduler-file", file]
            command += ["--preload", str(place / "preload.py")]
            with subprocess.Popen(command) as worker:
                assert soon(lambda: (place / "out/grades.json").exists())
                worker.kill()
    assert scores(place) == {"ada": 7.0}


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("127.0.0.2:1", True),
        ("tcp://[::1]:8786", True),
        ("localhost:8786", True),
        ("inproc://10.0.0.1/1/2", True),
        ("tcp://10.0.0.1:8786", False),
        ("tcp://127.0.0.1.example.org:8786", False),
        ("tcp://0.0.0.0:8786", False),
    ],
)
def test_only_loopback_stays_on_this_machine(address: str, stays: bool) -> None:
    assert cluster._stays_here(address) == stays


LOCAL = """
import os, time
import psutil
from autograder.grading import state  # which takes torch with it
start = time.process_time()
from autograder.grading import cluster
with cluster.opened(cluster.Where(2), {}, print) as workers:
    print([c.laddr for c in psutil.net_connections("inet") if c.pid == os.getpid()])
    print(time.process_time() - start)
"""


def test_a_local_run_opens_no_port_and_starts_at_once() -> None:
    """In two seconds of processor time, Dask's import included."""
    told = subprocess.run(
        [sys.executable, "-c", LOCAL],
        cwd=Path(cli.__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    ports, seconds = told.stdout.split(b"\n")[:2]
    assert ports == b"[]"
    assert float(seconds) < 2


def test_the_recipe_for_slurm(place: Path) -> None:
    """Its jobs run here as processes, since dask-jobqueue has a queue for that."""
    submit(place, "ada", notebook("ada 7"))
    project = Path(cli.__file__).parents[1]
    recipe = (project / "book/_examples/slurm.py").read_text("utf-8")
    new = "from dask_jobqueue.local import LocalCluster as SLURMCluster"
    recipe, count = re.subn("from dask_jobqueue import SLURMCluster", new, recipe)
    here = "cores=1, worker_extra_args=['--preload', 'preload.py']"
    recipe, also = re.subn("cores=8", here, recipe)
    recipe, and_also = re.subn('"grades"', '"out", "--no-gradebook"', recipe)
    recipe, finally_ = re.subn(r"jobs=4", "jobs=2", recipe)
    assert (count, also, and_also, finally_) == (1, 1, 1, 1)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"HOME": str(place), "PATH": programs, "PYTHONPATH": str(project)}
    subprocess.run(
        [sys.executable, "-c", recipe], cwd=place, env=os.environ | given, check=True
    )
    assert scores(place) == {"ada": 7.0}
    assert (place / ".autograder").stat().st_mode & 0o777 == 0o700
