"""Submissions that cheat or do harm.

None gets the right answer undeserved, none does harm outside its process, and the next
student's answers are what they were.
"""

from __future__ import annotations

import os
import socket
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import hostile
import numpy as np
import pytest

from autograder.sandbox.launcher import Limits, Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent, StudentError

SOLUTION = """
import numpy as np
def answer(x):
    return float((np.asarray(x) ** 2).sum())
"""
ATTACKS = hostile.attacks()


@pytest.fixture(scope="module")
def sandbox(needs_bubblewrap: None) -> Iterator[Sandbox]:
    """One for all attacks, as in grading: who spoils it spoils it for the next one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_TOKEN", "secret")
        launcher = Sandbox(2, limits=Limits(memory=2**29, cpu_seconds=60))
    with launcher:
        yield launcher


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the grader's that no student may read or change."""
    path = tmp_path_factory.mktemp("solutions") / "secret_solution.txt"
    path.write_text("the expected value")
    return path


@pytest.fixture(scope="module")
def port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def outcome(student: SandboxedStudent, seconds: float, rng: np.random.Generator) -> str:
    """What a call with a fresh question comes to."""
    x = rng.standard_normal(5)
    try:
        value = student.call("answer", x, deadline=seconds)
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


def processes_under(pid: int) -> int:
    """How many processes descend from one, itself not counted."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return len(children) + sum(processes_under(int(child)) for child in children)


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 50
    assert len({attack.tries for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_undeserved_answer_and_no_harm(
    attack: hostile.Attack, sandbox: Sandbox, secret: Path, port: int
) -> None:
    rng = np.random.default_rng()
    before = processes_under(os.getpid())
    cells = attack.cells("answer", SOLUTION, secret=secret, port=port)
    cell_seconds = min(attack.seconds, 3.0)
    with SandboxedStudent(sandbox, cells, cell_seconds=cell_seconds) as student:
        came_to = {outcome(student, attack.seconds, rng)}
        time.sleep(attack.pause)
        came_to.add(outcome(student, attack.seconds, rng))

    assert came_to <= attack.expect, student.failed_cells
    # Harm: the grader's folder, the port, the processes.
    assert secret.read_text() == "the expected value"
    assert [path.name for path in secret.parent.iterdir()] == [secret.name]
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0
    assert processes_under(os.getpid()) == before
    # The next student.
    with SandboxedStudent(sandbox, [Cell("cell 1", SOLUTION)]) as honest:
        assert outcome(honest, 10, rng) == "right"
