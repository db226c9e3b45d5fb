"""The control group around a sandbox: a real one where the machine gives one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.sandbox import cgroup

MEMORY, PROCESSES = 2**28, 30
TAKES = "import sys; taken = b'x' * int(sys.argv[1]); print(len(taken))"
STARTS = """
import threading
end, started = threading.Event(), 0
try:
    for _ in range(99):
        threading.Thread(target=end.wait).start()
        started += 1
except RuntimeError:
    pass
print(started)
end.set()
"""


def test_a_real_group_limits_memory_and_processes() -> None:
    with cgroup.limited(MEMORY, PROCESSES) as command:
        if not command:
            pytest.skip("this machine gives this user no control group")

        def said(code: str, *arguments: str) -> str:
            python = [*command, sys.executable, "-c", code, *arguments]
            return subprocess.run(python, capture_output=True, text=True).stdout

        assert said(TAKES, str(MEMORY // 2)) == f"{MEMORY // 2}\n"
        assert said(TAKES, str(MEMORY * 2)) == ""
        assert 0 < int(said(STARTS)) < PROCESSES
        groups = [Path(word) for word in command if "chapter4-" in word]
        assert all(group.is_dir() for group in groups)
    assert not any(group.exists() for group in groups)


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's groups of version 2 as systemd makes them, from ordinary files."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "OWN", tmp_path / "own")
    monkeypatch.setattr(cgroup, "STOP_SECONDS", 0)
    own = tmp_path / "cgroup/user.slice/app.slice/terminal.scope"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/user.slice/app.slice/terminal.scope\n")
    (own / "cgroup.subtree_control").write_text("")
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (own.parents[1] / "cgroup.subtree_control").write_text("memory pids\n")
    return own


def test_the_nearest_place_that_passes_the_limits_on(tree: Path) -> None:
    gone = tree.parent / "chapter4-999999999-0"  # nobody has this number
    running = tree.parent / f"chapter4-{os.getpid()}-x"
    gone.mkdir()
    running.mkdir()
    with cgroup.limited(MEMORY, PROCESSES) as command:
        done = subprocess.run([*command, "echo", "a b"], capture_output=True, text=True)
        assert done.stdout == "a b\n"
        (group,) = (Path(word) for word in command if "chapter4-" in word)
        assert group.parent == tree.parent
        assert (group / "memory.max").read_text() == str(MEMORY)
        assert (group / "pids.max").read_text() == str(PROCESSES)
        assert (group / "cgroup.procs").read_text().strip().isdecimal()
    assert running.exists()
    assert not gone.exists()


@pytest.mark.parametrize("lacks", ["memory", "pids"])
def test_a_place_that_lacks_a_limit_is_passed_over(tree: Path, lacks: str) -> None:
    near = tree.parent / "cgroup.subtree_control"
    near.write_text(near.read_text().replace(lacks, ""))
    with cgroup.limited(MEMORY, PROCESSES) as command:
        assert any(f"{tree.parents[1]}/chapter4-" in word for word in command)
        assert not list(tree.parent.glob("chapter4-*"))


def test_a_group_that_cannot_be_entered_is_not_used(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a session over ssh, whose groups belong to root."""
    monkeypatch.setattr(cgroup, "_numbers", iter([7]))
    for folder in (tree.parent, tree.parents[1]):
        # A folder in the file's place: not even root can write to it.
        (folder / f"chapter4-{os.getpid()}-7" / "cgroup.procs").mkdir(parents=True)
    with cgroup.limited(MEMORY, PROCESSES) as command:
        assert command == []


def test_a_machine_without_groups_gives_none(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "OWN", tree / "nothing")
    with cgroup.limited(MEMORY, PROCESSES) as command:
        assert command == []
