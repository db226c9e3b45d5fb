"""Submissions that cheat or do harm.

None gets the right answer undeserved, none does harm outside its process, and the next
student's answers are what they were.
"""

from __future__ import annotations

import os
import socket
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile
import numpy as np
import pytest
from processes import below

from autograder.sandbox.launcher import Limits, Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent, StudentError

SOLUTION = """
import numpy as np
def answer(x):
    return float((np.asarray(x) ** 2).sum())
"""
ATTACKS = hostile.attacks()


@pytest.fixture
def sandbox(
    sandboxes: Callable[[int], Sandbox], monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    """One for all attacks, as in grading: who spoils it spoils it for the next one."""
    found = sandboxes(2)
    monkeypatch.setattr(found, "limits", Limits(memory=2**29, cpu_seconds=60))
    return found


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the grader's that no student may read or change."""
    path = tmp_path_factory.mktemp("solutions") / "secret_solution.txt"
    path.write_text("the expected value")
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[socket.socket]:
    """The grader's own; nobody may call it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


def outcome(student: SandboxedStudent, rng: np.random.Generator) -> str:
    """What a call with a fresh question comes to."""
    x = rng.standard_normal(5)
    try:
        value = student.call("answer", x)
    except StudentError as error:
        assert_one_plain_line(error.line)
        return error.kind
    # How an attack says that it got what it is not allowed to have.
    assert not (isinstance(value, str) and value.startswith("got")), value
    right = isinstance(value, float) and abs(value - float((x**2).sum())) < 1e-9
    return "right" if right else "wrong"


def assert_one_plain_line(line: str) -> None:
    assert 0 < len(line) < 400
    assert not any(unicodedata.category(c)[0] in "CZ" for c in line if c != " ")


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 50
    assert len({attack.tries for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_undeserved_answer_and_no_harm(
    attack: hostile.Attack, sandbox: Sandbox, secret: Path, server: socket.socket
) -> None:
    rng = np.random.default_rng()
    before, ours = below(os.getpid()), sandbox._server
    port = server.getsockname()[1]
    cells = attack.cells("answer", SOLUTION, secret=secret, port=port)
    limits = {"call_seconds": attack.seconds, "idle_seconds": attack.seconds}
    with SandboxedStudent(sandbox, cells, cell_seconds=2.0, **limits) as student:
        came_to = {outcome(student, rng)}
        time.sleep(attack.pause)
        came_to.add(outcome(student, rng))

    assert came_to <= attack.expect, student.failed_cells
    # Harm: the grader's folder, its network, the processes.
    assert secret.read_text() == "the expected value"
    assert [path.name for path in secret.parent.iterdir()] == [secret.name]
    with pytest.raises(BlockingIOError):
        server.accept()
    assert below(os.getpid()) == before
    # The next student, from the same fork server: nothing has reached that.
    with SandboxedStudent(sandbox, [Cell("cell 1", SOLUTION)]) as honest:
        assert outcome(honest, rng) == "right"
    assert sandbox._server is ours
