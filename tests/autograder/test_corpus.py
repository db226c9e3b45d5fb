"""The cheats against the real checks of problem 2: none gets more points than what stands beside it has earned, none
leaves the grader without a verdict, and the next student's full marks are full marks.
"""

from __future__ import annotations

import copy
import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile
import pytest

from autograder import nbgrader_plugin, release
from autograder.checking import CheckResult, checks_of, run_checks
from autograder.notebook import Cell, cells_of, read_cells
from autograder.sandbox import Limits, Sandbox
from autograder.student import SandboxedStudent

SOURCE = release.COURSE / "solutions" / "problem2" / "problem2.md"
RELEASE = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
FOLDER = Path(__file__).parent / "attacks"
SEED = 11  # none that a submission could know: grading takes a fresh one
FULL = 20.0
# Attacks between two submissions that must get full marks.
EVERY = 16


@dataclass(frozen=True)
class Attack:
    """A submission that knows these checks. most: the points that it may get; its file says why, if there are any."""

    name: str
    honest: str
    most: float
    source: str

    def cells(self, solution: str) -> list[Cell]:
        before = [Cell("cell 1", solution)] if self.honest == "before" else []
        return [*before, Cell("cell 2", self.source)]


def attacks() -> list[Attack]:
    """The attacks that show against real checks only."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        told = dict(re.findall(r"^# (most|honest): ([^ \n]+)", text, flags=re.M))
        honest, most = told.get("honest", "no"), float(told.get("most", 0))
        found.append(Attack(path.stem, honest, most, text))
    return found


def solution() -> str:
    """The solved notebook's code, without our cells and the picture at its end."""
    cells = cells_of(release.source_notebook(SOURCE))
    return "\n".join(c.source for c in cells).partition("### BEGIN SOLUTION\nimport")[0]


CORPUS = hostile.attacks()
SOLUTION = solution()
# Right but for one mistake: what is less than full marks shows whether an attack adds anything.
FLAWED = SOLUTION.replace("range(n_samples)", "range(1, n_samples)")


@pytest.fixture(scope="module")
def sandbox(needs_bubblewrap: None) -> Iterator[Sandbox]:
    """One for all, as in a grading: whoever spoils it spoils it for the next."""
    with Sandbox(2, limits=Limits(memory=2**28, cpu_seconds=60)) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A file of the grader's and a port on which nobody listens."""
    secret = tmp_path_factory.mktemp("solutions") / "secret_solution.txt"
    secret.write_text("the expected value")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"secret": secret, "port": free.getsockname()[1]}


def graded(
    sandbox: Sandbox, cells: Sequence[Cell], seconds: float = 10, **limits: float
) -> list[CheckResult]:
    """All checks of problem 2; a verdict each, and never "got" in what is said: the attacks' word for a find."""
    limits = {
        "call_seconds": seconds,
        "cell_seconds": min(seconds, 3),
        **limits,
    }
    with SandboxedStudent(sandbox, cells, **limits) as student:
        results = run_checks("problem2", student, SEED)
    assert [r for r in results if r.status == "grader-error"] == []
    assert [r.message for r in results if re.search(r"\bgot\b", r.message)] == []
    return results


def points(results: Sequence[CheckResult]) -> float:
    return sum(r.earned for r in results)


@pytest.fixture(scope="module")
def flawed_points(sandbox: Sandbox) -> float:
    found = points(graded(sandbox, [Cell("cell 1", FLAWED)]))
    assert 0 < found < FULL
    return found


@pytest.mark.parametrize(
    ("number", "attack"),
    list(enumerate(CORPUS)),
    ids=[attack.name for attack in CORPUS],
)
def test_a_cheat_earns_nothing_here(
    number: int,
    attack: hostile.Attack,
    sandbox: Sandbox,
    surroundings: dict[str, Any],
    flawed_points: float,
) -> None:
    """What stands beside it is flawed, so that even a repaired answer would show."""
    cells = attack.cells("smooth_grad", FLAWED, **surroundings)
    deserved = 0.0 if attack.honest == "no" else flawed_points
    assert points(graded(sandbox, cells, min(attack.seconds, 5))) <= deserved
    if number % EVERY == 0:
        assert points(graded(sandbox, [Cell("cell 1", SOLUTION)])) == FULL


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)
def test_a_cheat_that_knows_the_checks_earns_no_more_than_it_deserves(
    attack: Attack, sandbox: Sandbox
) -> None:
    assert points(graded(sandbox, attack.cells(SOLUTION))) <= attack.most


def test_after_all_of_them_full_marks_are_full_marks(
    sandbox: Sandbox, surroundings: dict[str, Any]
) -> None:
    secret = surroundings["secret"]
    assert secret.read_text() == "the expected value"
    assert list(secret.parent.iterdir()) == [secret]
    assert points(graded(sandbox, [Cell("cell 1", SOLUTION)])) == FULL


def test_there_are_enough_of_them() -> None:
    assert len(attacks()) >= 10


def test_garbage_after_the_public_questions_loses_the_hidden_points(
    sandbox: Sandbox,
) -> None:
    known = {attack.name: attack for attack in attacks()}
    hidden = {c.id for c in checks_of("problem2") if not c.public}
    for name in ("honest_for_the_first_calls", "honest_for_public_questions"):
        results = graded(sandbox, known[name].cells(SOLUTION))
        assert all(r.status == "passed" for r in results if r.public)
        lost = {r.id for r in results if r.earned < r.points}
        assert lost <= hidden
        assert {"smooth-grad/noise", "smooth-grad/samples"} <= lost


def test_a_submission_that_is_slow_on_purpose_ends_with_its_time(
    sandbox: Sandbox,
) -> None:
    slow = "import time\ndef smooth_grad(*a):\n    time.sleep(0.4)\n"
    slow += "error_curve = samples_needed = smooth_grad\n"
    start = time.monotonic()
    results = graded(sandbox, [Cell("cell 1", slow)], 0.5, budget_seconds=1.5)
    assert time.monotonic() - start < 6
    assert points(results) == 0
    assert {"timeout", "not-run"} <= {r.status for r in results}


def test_letters_of_full_width_are_the_same_name_to_python(
    sandbox: Sandbox, flawed_points: float
) -> None:
    """The other side of the lookalikes: an honest student whose keyboard is set so."""
    wide = FLAWED.replace("def smooth_grad", "def ｓmooth_grad")
    assert wide != FLAWED
    assert points(graded(sandbox, [Cell("cell 1", wide)])) == flawed_points


# Whole notebooks.

CLAIM = {"grade": True, "points": 1000, "schema_version": 3, "task": False}
PASSED = "8 of 8 checks passed, 12 of 12 points.\nPASSED    everything (12 of 12)\n"


def notebook(flawed: bool) -> dict[str, Any]:
    """The release, or the solution with its mistake, as JSON; without the picture at its end, which takes long."""
    found: dict[str, Any] = json.loads(RELEASE.read_text(encoding="utf-8"))
    if flawed:
        solved = release.source_notebook(SOURCE).cells
        found["cells"] = json.loads(json.dumps(solved))
        for cell in found["cells"]:
            source = "".join(cell["source"])
            cell["source"] = source.replace("range(n_samples)", "range(1, n_samples)")
    found["cells"] = [c for c in found["cells"] if c["id"] != "study"]
    return found


def with_outputs(nb: dict[str, Any]) -> None:
    """Outputs as the grader writes them: the verdict, and the points as the last expression."""
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            said = {"output_type": "stream", "name": "stdout", "text": PASSED}
            score = {"text/plain": "1000"}
            result = {"output_type": "execute_result", "execution_count": 1}
            result |= {"data": score, "metadata": {}}
            cell["outputs"] = [said, result]


def with_claims(nb: dict[str, Any]) -> None:
    """Every cell is a graded one of a thousand points, in metadata that nbgrader reads."""
    for i, cell in enumerate(nb["cells"]):
        own = cell["metadata"].get("nbgrader", {})
        claim = {"locked": False, "solution": True, "grade_id": f"bonus-{i}"}
        cell["metadata"]["nbgrader"] = CLAIM | claim | own | {"points": 1000}
    nb["metadata"]["autograder"] = {"seed": 1, "points": 1000}


def with_copies(nb: dict[str, Any]) -> None:
    """Every graded cell three times, under its own name and all others'."""
    graded_cells = [c for c in nb["cells"] if "nbgrader" in c["metadata"]]
    for cell in graded_cells:
        for k in range(2):
            again = copy.deepcopy(cell) | {"id": f"{cell['id']}-{k}"}
            again["metadata"]["nbgrader"] |= {"points": 1000}
            nb["cells"].append(again)


DISGUISES = [with_outputs, with_claims, with_copies]


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("flawed", [False, True], ids=["release", "flawed"])
def test_what_a_notebook_says_of_itself_is_worth_nothing(
    flawed: bool, disguise: Any, sandbox: Sandbox, flawed_points: float, tmp_path: Path
) -> None:
    told = notebook(flawed)
    disguise(told)
    path = tmp_path / "problem2.ipynb"
    path.write_text(json.dumps(told), encoding="utf-8")
    results = graded(sandbox, read_cells(path, within=tmp_path))
    assert points(results) == (flawed_points if flawed else 0)


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda d: d.__name__)
def test_in_nbgrader_the_release_says_what_a_cell_is_worth(disguise: Any) -> None:
    import nbformat

    told = notebook(flawed=True)
    disguise(told)
    back = nbgrader_plugin.restored(nbformat.from_dict(told), nbformat.read(RELEASE, 4))
    ours = [c.metadata.nbgrader for c in back.cells if "nbgrader" in c.metadata]
    ids = [cell.grade_id for cell in ours]
    assert len(ids) == len(set(ids))
    assert sum(cell.points for cell in ours if cell.grade) == FULL
