"""The cheats against the real checks of all five problems.

None gets more points than what stands beside it has earned, none leaves the grader
without a verdict, and the next student's full marks are full marks.

Each cheat of the corpus meets one problem, in turn, and those that fake an answer meet
all five. Every day only the latter run, each against one problem; the rest is slow.
With CHAPTER4_EVERY_PROBLEM=1 in the environment all of them meet all five.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile
import pytest
from targets import TARGETS, Target

from autograder import nbgrader_plugin
from autograder.checking.runner import CheckResult, checks_of, run_checks
from autograder.course import release
from autograder.sandbox.launcher import Limits, Sandbox
from autograder.sandbox.notebook import Cell, read_cells
from autograder.sandbox.student import Observation, SandboxedStudent

FOLDER = Path(__file__).parents[1] / "attacks"
SEED = 11  # none that a submission could know: grading takes a fresh one
# Attacks between two submissions that must get full marks.
EVERY = 16
EVERYWHERE = os.environ.get("CHAPTER4_EVERY_PROBLEM") == "1"


@dataclass(frozen=True)
class Attack:
    """A submission that knows one problem's checks.

    ``most``: the points that it may get; its file says why, if there are any.
    """

    name: str
    target: Target
    honest: str
    most: float
    source: str

    def cells(self) -> list[Cell]:
        """The notebook's code cells."""
        solution = [Cell("cell 1", self.target.solution)]
        before = solution if self.honest == "before" else []
        return [*before, Cell("cell 2", self.source)]


def attacks() -> list[Attack]:
    """The attacks that show against real checks only.

    A file's name begins with its problem, if that is not the second.
    """
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        told = dict(re.findall(r"^# (most|honest): ([^ \n]+)", text, flags=re.M))
        honest, most = told.get("honest", "no"), float(told.get("most", 0))
        problem = re.match(r"problem\d", path.stem)
        target = TARGETS[problem.group() if problem else "problem2"]
        found.append(Attack(path.stem, target, honest, most, text))
    return found


CORPUS = hostile.attacks()
ATTACKS = attacks()
PROBLEMS = list(TARGETS)


def meetings() -> list[Any]:
    """Which cheat meets which problem's checks."""
    found = []
    for i, problem in enumerate(PROBLEMS):
        for k, attack in enumerate(CORPUS):
            in_turn = k % len(PROBLEMS) == i
            marks = () if in_turn and attack.fakes else pytest.mark.slow
            if EVERYWHERE or attack.fakes or in_turn:
                name = f"{problem}-{attack.name}"
                found.append(pytest.param(problem, attack, marks=marks, id=name))
    return found


class Watched(SandboxedStudent):
    """Sees whether an attack says that it got what it is not allowed to have."""

    def observe(self, name: str, /, *args: Any, **kwargs: Any) -> Observation:
        seen = super().observe(name, *args, **kwargs)
        said = seen.value if isinstance(seen.value, str) else ""
        assert not said.startswith("got"), said
        return seen


@dataclass(frozen=True)
class GradedProblem:
    """A problem's checks, and one sandbox for all, as in a grading.

    Whoever spoils the sandbox spoils it for the next.
    """

    target: Target
    sandbox: Sandbox

    def graded(
        self, cells: Sequence[Cell], seconds: float = 10, **limits: float
    ) -> list[CheckResult]:
        """All checks, with a verdict each.

        No message has the word "got", with which the attacks report a find.
        """
        own = {"call_seconds": seconds, "idle_seconds": seconds}
        limits = own | {"cell_seconds": min(seconds, 3), **limits}
        with Watched(self.sandbox, cells, **limits) as student:
            results = run_checks(self.target.problem, student, SEED)
        assert [r for r in results if r.status == "grader-error"] == []
        assert [r.message for r in results if re.search(r"\bgot\b", r.message)] == []
        return results

    def points(self, cells: Sequence[Cell], seconds: float = 10) -> float:
        return sum(r.earned for r in self.graded(cells, seconds))

    def earned(self, source: str) -> float:
        """The points of an honest notebook of one cell, with time to spare."""
        results = self.graded([Cell("cell 1", source)], 60, cell_seconds=60)
        return sum(r.earned for r in results)

    @functools.cached_property
    def flawed_points(self) -> float:
        """Those of the submission with one mistake, before anybody has cheated."""
        found = self.earned(self.target.flawed)
        assert 0 < found < self.target.full
        return found

    def lost(self, source: str) -> list[tuple[str, str, str]]:
        """What such a notebook loses: check, status and message."""
        results = self.graded([Cell("cell 1", source)], 60, cell_seconds=60)
        return [(r.id, r.status, r.message) for r in results if r.earned < r.points]


@pytest.fixture(scope="module")
def graded_problems(needs_bubblewrap: None) -> Iterator[Callable[[str], GradedProblem]]:
    """Return the GradedProblem of a problem, opened at its first use.

    All are closed when the tests are done.
    """
    limits = Limits(memory=2**29, cpu_seconds=60)
    with contextlib.ExitStack() as stack:

        @functools.cache
        def opened(problem: str) -> GradedProblem:
            sandbox = Sandbox(int(problem[-1]), limits=limits)
            return GradedProblem(TARGETS[problem], stack.enter_context(sandbox))

        yield opened


@pytest.fixture
def graded_problem(
    request: pytest.FixtureRequest, graded_problems: Callable[[str], GradedProblem]
) -> GradedProblem:
    """The GradedProblem of the problem that a test names.

    With the scope of a module, pytest would open a new one for every test.
    """
    return graded_problems(request.param)


@pytest.fixture
def flawed_points(graded_problem: GradedProblem) -> float:
    return graded_problem.flawed_points


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A file of the grader's and a port on which nobody listens."""
    secret = tmp_path_factory.mktemp("solutions") / "secret_solution.txt"
    secret.write_text("the expected value")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"secret": secret, "port": free.getsockname()[1]}


in_every_problem = pytest.mark.parametrize("graded_problem", PROBLEMS, indirect=True)
in_problem_2 = pytest.mark.parametrize("graded_problem", ["problem2"], indirect=True)


@pytest.mark.parametrize(
    ("graded_problem", "attack"),
    meetings(),
    indirect=["graded_problem"],
)
def test_a_cheat_earns_nothing(
    graded_problem: GradedProblem,
    attack: hostile.Attack,
    surroundings: dict[str, Any],
    flawed_points: float,
) -> None:
    """What stands beside it is flawed, so that even a repaired answer would show."""
    target = graded_problem.target
    cells = attack.cells(target.function, target.flawed, **surroundings)
    if attack.honest == "no":
        others = " = ".join([*target.others, target.function])
        cells.append(Cell("cell 4", others))
    deserved = 0.0 if attack.honest == "no" else flawed_points
    assert graded_problem.points(cells, min(attack.seconds, 5)) <= deserved
    if CORPUS.index(attack) % EVERY == 0:
        assert graded_problem.lost(target.solution) == []


@pytest.mark.parametrize(
    ("graded_problem", "attack"),
    [(attack.target.problem, attack) for attack in ATTACKS],
    indirect=["graded_problem"],
    ids=[attack.name for attack in ATTACKS],
)
def test_a_cheat_that_knows_the_checks_earns_no_more_than_it_deserves(
    graded_problem: GradedProblem, attack: Attack
) -> None:
    assert graded_problem.points(attack.cells()) <= attack.most


@in_every_problem
def test_after_all_of_them_the_grades_are_what_they_were(
    graded_problem: GradedProblem, surroundings: dict[str, Any], flawed_points: float
) -> None:
    secret, port = surroundings["secret"], surroundings["port"]
    assert secret.read_text() == "the expected value"
    assert list(secret.parent.iterdir()) == [secret]
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0
    assert graded_problem.lost(graded_problem.target.solution) == []
    assert graded_problem.earned(graded_problem.target.flawed) == flawed_points


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 10
    everywhere = [attack for attack in CORPUS if attack.fakes]
    assert len(everywhere) >= 20
    assert {met.values[1].name for met in meetings()} == {a.name for a in CORPUS}


@in_problem_2
def test_garbage_after_the_public_questions_loses_the_hidden_points(
    graded_problem: GradedProblem,
) -> None:
    known = {attack.name: attack for attack in ATTACKS}
    hidden = {c.id for c in checks_of("problem2") if not c.public}
    for name in ("honest_for_the_first_calls", "honest_for_public_questions"):
        results = graded_problem.graded(known[name].cells())
        assert all(r.status == "passed" for r in results if r.public)
        lost = {r.id for r in results if r.earned < r.points}
        assert lost <= hidden
        assert {"smooth-grad/noise"} <= lost


@in_problem_2
def test_a_submission_that_is_slow_on_purpose_ends_with_its_time(
    graded_problem: GradedProblem,
) -> None:
    slow = "import time\ndef smooth_grad(*a):\n    time.sleep(0.4)\n"
    slow += "error_curve = samples_needed = smooth_grad\n"
    start = time.monotonic()
    results = graded_problem.graded([Cell("cell 1", slow)], 0.5, budget_seconds=1.5)
    assert time.monotonic() - start < 6
    assert sum(r.earned for r in results) == 0
    assert {"timeout", "not-run"} <= {r.status for r in results}


@in_problem_2
def test_letters_of_full_width_are_the_same_name_to_python(
    graded_problem: GradedProblem, flawed_points: float
) -> None:
    """The other side of the lookalikes: an honest student whose keyboard is set so."""
    wide = graded_problem.target.flawed.replace("def smooth_grad", "def ｓmooth_grad")
    assert wide != graded_problem.target.flawed
    assert graded_problem.earned(wide) == flawed_points


# Whole notebooks.

CLAIM = {"grade": True, "points": 1000, "schema_version": 3, "task": False}
PASSED = "8 of 8 checks passed, 12 of 12 points.\nPASSED    everything (12 of 12)\n"


def notebook(target: Target, flawed: bool) -> dict[str, Any]:
    """The release, or the solution with its mistake, as JSON.

    The cell that measures is left out, because it takes long.
    """
    name, folder = target.problem, release.COURSE / "exercises" / target.problem
    found: dict[str, Any] = json.loads((folder / f"{name}.ipynb").read_text("utf-8"))
    if flawed:
        path = release.COURSE / "solutions" / name / f"{name}.md"
        found["cells"] = json.loads(json.dumps(release.source_notebook(path).cells))
        flaw = target.flawed.removeprefix(target.solution)
        for cell in found["cells"]:
            if f"def {target.function}(" in "".join(cell["source"]):
                cell["source"] = "".join(cell["source"]) + flaw
    kept = [c for c in found["cells"] if c["id"] != "study"]
    return found | {"cells": kept}


def with_outputs(nb: dict[str, Any]) -> None:
    """Outputs as the grader writes them: the verdict, and last the points."""
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            said = {"output_type": "stream", "name": "stdout", "text": PASSED}
            score = {"text/plain": "1000"}
            result = {"output_type": "execute_result", "execution_count": 1}
            result |= {"data": score, "metadata": {}}
            cell["outputs"] = [said, result]


def with_claims(nb: dict[str, Any]) -> None:
    """Every cell is graded and has a thousand points, in metadata nbgrader reads."""
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


def with_everything(nb: dict[str, Any]) -> None:
    """All of them at once."""
    for disguise in (with_outputs, with_claims, with_copies):
        disguise(nb)


DISGUISES = [with_outputs, with_claims, with_copies, with_everything]


@pytest.mark.parametrize(
    ("graded_problem", "disguise"),
    [
        *(("problem2", disguise) for disguise in DISGUISES),
        *(
            pytest.param(problem, with_everything, marks=pytest.mark.slow)
            for problem in PROBLEMS
            if problem != "problem2"
        ),
    ],
    indirect=["graded_problem"],
)
@pytest.mark.parametrize("flawed", [False, True], ids=["release", "flawed"])
def test_what_a_notebook_says_of_itself_is_worth_nothing(
    flawed: bool,
    disguise: Any,
    graded_problem: GradedProblem,
    flawed_points: float,
    tmp_path: Path,
) -> None:
    told = notebook(graded_problem.target, flawed)
    disguise(told)
    path = tmp_path / "told.ipynb"
    path.write_text(json.dumps(told), encoding="utf-8")
    found = graded_problem.points(read_cells(path, within=tmp_path))
    assert found == (flawed_points if flawed else 0)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.problem)
@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda d: d.__name__)
def test_in_nbgrader_the_release_says_what_a_cell_is_worth(
    disguise: Any, target: Target
) -> None:
    import nbformat

    told = notebook(target, flawed=True)
    disguise(told)
    path = release.COURSE / "exercises" / target.problem / f"{target.problem}.ipynb"
    back = nbgrader_plugin.restored(nbformat.from_dict(told), nbformat.read(path, 4))
    ours = [c.metadata.nbgrader for c in back.cells if "nbgrader" in c.metadata]
    ids = [cell.grade_id for cell in ours]
    assert len(ids) == len(set(ids))
    assert sum(cell.points for cell in ours if cell.grade) == target.full
