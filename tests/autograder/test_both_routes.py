"""A damaged notebook gets the same points by `autograder grade` and by nbgrader.

Whatever an editor did to it, both run the same cells, and what an honest student has
written counts.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from courses import exported, from_here, submit
from processes import all_end, below

from autograder import nbgrader_plugin
from autograder.checking.runner import CheckResult
from autograder.course import release
from autograder.grading import scheduler, worker
from autograder.grading.submissions import Submission
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import MAX_CELLS, Cell
from autograder.sandbox.student import SandboxedStudent

PROBLEM = "problem2"
RELEASE = release.COURSE / "exercises" / PROBLEM / f"{PROBLEM}.ipynb"
FULL = 20.0
WRONG = "raise NotImplementedError('an old version')"

Damage = Callable[[dict[str, Any]], None]


def solved() -> dict[str, Any]:
    """The release as a student hands it in: solved, and the study left out."""
    source = release.COURSE / "solutions" / PROBLEM / f"{PROBLEM}.md"
    answers = {c.id: c.source for c in release.source_notebook(source).cells}
    notebook: dict[str, Any] = json.loads(RELEASE.read_text("utf-8"))
    for each in notebook["cells"]:
        each["source"] = "".join(each["source"])
        if each["metadata"].get("nbgrader", {}).get("solution"):
            each["source"] = answers[each["id"]] if each["id"] != "study" else "x = 1"
    return notebook


def place(notebook: dict[str, Any], name: str) -> int:
    return next(i for i, c in enumerate(notebook["cells"]) if c["id"] == name)


def cell(notebook: dict[str, Any], name: str = "smooth-grad-code") -> dict[str, Any]:
    found: dict[str, Any] = notebook["cells"][place(notebook, name)]
    return found


def retype(kind: str, of: dict[str, Any]) -> None:
    of["cell_type"] = kind
    if kind != "code":
        of.pop("outputs", None)
        of.pop("execution_count", None)


def new(source: str, name: str = "new") -> dict[str, Any]:
    found = {"cell_type": "code", "id": name, "metadata": {}, "source": source}
    return found | {"outputs": [], "execution_count": None}


def add(notebook: dict[str, Any], after: str, *cells: dict[str, Any]) -> None:
    where = place(notebook, after) + 1
    notebook["cells"][where:where] = cells


def nothing(nb: dict[str, Any]) -> None:
    """As it should be."""


def answer_as_markdown(nb: dict[str, Any]) -> None:
    retype("markdown", cell(nb))


def answer_as_raw_text_without_metadata(nb: dict[str, Any]) -> None:
    retype("raw", cell(nb))
    cell(nb)["metadata"] = {}


def imports_as_markdown(nb: dict[str, Any]) -> None:
    retype("markdown", cell(nb, "cell-1"))


def everything_as_raw_text(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        retype("raw", each)


def split(nb: dict[str, Any]) -> None:
    """As JupyterLab splits: both parts keep the metadata."""
    first = cell(nb)
    second = copy.deepcopy(first) | {"id": "second"}
    first["source"], second["source"] = "factor = 1.0", first["source"]
    second["source"] = second["source"].replace(
        "noise_level *", "factor * noise_level *"
    )
    add(nb, "smooth-grad-code", second)


def split_without_metadata(nb: dict[str, Any]) -> None:
    split(nb)
    cell(nb)["metadata"] = {}
    cell(nb, "second")["metadata"] = {}


def split_and_a_part_as_markdown(nb: dict[str, Any]) -> None:
    split(nb)
    retype("markdown", cell(nb))
    cell(nb)["source"] = "The factor is 1."
    cell(nb, "second")["source"] = "factor = 1\n" + cell(nb, "second")["source"]


def moved_to_the_end(nb: dict[str, Any]) -> None:
    nb["cells"].append(nb["cells"].pop(place(nb, "smooth-grad-code")))


def moved_to_the_beginning(nb: dict[str, Any]) -> None:
    nb["cells"].insert(0, nb["cells"].pop(place(nb, "smooth-grad-code")))


def backwards(nb: dict[str, Any]) -> None:
    nb["cells"].reverse()


def copied(nb: dict[str, Any]) -> None:
    add(nb, "smooth-grad-code", copy.deepcopy(cell(nb)) | {"id": "again"})


def copied_and_corrected(nb: dict[str, Any]) -> None:
    copied(nb)
    cell(nb)["source"] = "def smooth_grad(*args):\n    " + WRONG


def copied_with_the_same_id(nb: dict[str, Any]) -> None:
    copied_and_corrected(nb)
    cell(nb, "again")["id"] = "smooth-grad-code"


def old_version_below_as_raw_text(nb: dict[str, Any]) -> None:
    copied(nb)
    retype("raw", cell(nb, "again"))
    cell(nb, "again")["source"] = "def smooth_grad(*args):\n    " + WRONG


def old_version_above_as_markdown(nb: dict[str, Any]) -> None:
    copied_and_corrected(nb)
    retype("markdown", cell(nb))


def old_version_below_and_the_answer_in_a_new_cell(nb: dict[str, Any]) -> None:
    answer = cell(nb)["source"]
    nb["cells"].insert(place(nb, "smooth-grad-code"), new(answer))
    retype("raw", cell(nb))
    cell(nb)["source"] = "def smooth_grad(*args):\n    " + WRONG


def metadata_lost(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["metadata"] = {}


def metadata_missing(nb: dict[str, Any]) -> None:
    for each in [nb, *nb["cells"]]:
        del each["metadata"]


def ids_lost(nb: dict[str, Any]) -> None:
    nb["nbformat_minor"] = 4
    for each in nb["cells"]:
        del each["id"]


def metadata_and_ids_lost(nb: dict[str, Any]) -> None:
    metadata_lost(nb)
    ids_lost(nb)


def typed_anew(nb: dict[str, Any]) -> None:
    code = [c["source"] for c in nb["cells"] if c["cell_type"] == "code"]
    nb["cells"] = [new(text, f"n{i}") for i, text in enumerate(code)]


def all_in_one_cell(nb: dict[str, Any]) -> None:
    own = [c["source"] for c in nb["cells"] if "code" in c["id"]]
    nb["cells"] = [new("\n\n".join([cell(nb, "cell-1")["source"], *own]))]


def ours_copied(nb: dict[str, Any]) -> None:
    add(nb, "cell-0", copy.deepcopy(cell(nb, "smooth-grad")) | {"id": "tried"})


def ours_copied_as_text(nb: dict[str, Any]) -> None:
    add(nb, "cell-0", new(cell(nb, "smooth-grad")["source"] + "\n"))


def ours_unknown_but_for_their_text(nb: dict[str, Any]) -> None:
    for name in ("smooth-grad", "error-curve", "samples-needed"):
        cell(nb, name)["metadata"] = {}
        cell(nb, name)["id"] = f"lost-{name}"


def ours_deleted(nb: dict[str, Any]) -> None:
    for name in ("smooth-grad", "error-curve", "samples-needed"):
        del nb["cells"][place(nb, name)]


def merged_into_the_test_cell(nb: dict[str, Any]) -> None:
    test, own = cell(nb, "smooth-grad"), cell(nb)
    test["source"] = own["source"] + "\n\n" + test["source"]
    nb["cells"].remove(own)


def typed_into_the_test_cell(nb: dict[str, Any]) -> None:
    cell(nb, "smooth-grad")["source"] = cell(nb)["source"]
    cell(nb)["source"] = "# YOUR CODE HERE\n" + WRONG


def answer_in_a_cell_of_its_own(nb: dict[str, Any]) -> None:
    own = cell(nb)
    add(nb, "smooth-grad-code", new(own["source"]))
    nb["cells"].remove(own)


def answer_deleted(nb: dict[str, Any]) -> None:
    nb["cells"].remove(cell(nb))


def answer_not_written(nb: dict[str, Any]) -> None:
    text = json.loads(RELEASE.read_text("utf-8"))["cells"][3]["source"]
    cell(nb)["source"] = "".join(text)


def own_cells(nb: dict[str, Any]) -> None:
    add(nb, "cell-1", new("import math"), new("x = math.pi", "y"))
    cell(nb)["source"] = "assert x > 3\n" + cell(nb)["source"]


def metadata_of_two_cells_swapped(nb: dict[str, Any]) -> None:
    one, two = cell(nb), cell(nb, "error-curve-code")
    one["metadata"], two["metadata"] = two["metadata"], one["metadata"]


def everything_locked(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["metadata"]["nbgrader"] = {"grade": True, "locked": True}


def odd_metadata(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["metadata"] = {"nbgrader": [1], "tags": {"a": 1}, "collapsed": "no"}


def unknown_grade_ids(nb: dict[str, Any]) -> None:
    for i, each in enumerate(nb["cells"]):
        if "nbgrader" in each["metadata"]:
            each["metadata"]["nbgrader"]["grade_id"] = f"other-{i}"
            each["id"] = f"other-{i}"


def the_same_id_everywhere(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["id"] = "same"


def lines_of_windows(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["source"] = each["source"].replace("\n", "\r\n")


def lines_as_a_list(nb: dict[str, Any]) -> None:
    for each in nb["cells"]:
        each["source"] = (each["source"] + "  \n").splitlines(keepends=True)


def a_cell_fails_half_way(nb: dict[str, Any]) -> None:
    add(nb, "cell-0", {"cell_type": "markdown", "source": "mine", "metadata": {}})
    nb["cells"][1]["id"] = "mine"
    cell(nb, "error-curve-code")["source"] = "x = 1\nopen('no such file')"


def a_cell_is_no_python(nb: dict[str, Any]) -> None:
    add(nb, "cell-1", new("I think that it works."))


def another_kernel(nb: dict[str, Any]) -> None:
    nb["metadata"] = {"kernelspec": {"name": "ir", "language": "R"}}


# Damage -> the points, where they are not all of them.
LOST = {answer_deleted: 3.0, answer_not_written: 3.0, a_cell_fails_half_way: 15.0}
DAMAGES: list[Damage] = [
    *(nothing, answer_as_markdown, answer_as_raw_text_without_metadata),
    *(imports_as_markdown, everything_as_raw_text, split, split_without_metadata),
    *(split_and_a_part_as_markdown, moved_to_the_end, moved_to_the_beginning),
    *(backwards, copied, copied_and_corrected, copied_with_the_same_id),
    *(old_version_below_as_raw_text, old_version_above_as_markdown, metadata_lost),
    *(metadata_missing, ids_lost, metadata_and_ids_lost, typed_anew),
    *(all_in_one_cell, ours_copied, ours_copied_as_text),
    *(ours_unknown_but_for_their_text, ours_deleted),
    *(merged_into_the_test_cell, typed_into_the_test_cell),
    *(answer_in_a_cell_of_its_own, answer_deleted),
    *(answer_not_written, own_cells, metadata_of_two_cells_swapped),
    *(everything_locked, odd_metadata, unknown_grade_ids, the_same_id_everywhere),
    *(lines_of_windows, lines_as_a_list, a_cell_fails_half_way, a_cell_is_no_python),
    *(another_kernel, old_version_below_and_the_answer_in_a_new_cell),
]


def damaged(damage: Damage, folder: Path) -> Path:
    notebook = solved()
    damage(notebook)
    path = folder / f"{PROBLEM}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def by_nbgrader(path: Path, launcher: Any, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What nbgrader's way makes of a file, without its gradebook: task -> outputs."""
    names = {"student": "ada", "assignment": PROBLEM, "notebook": PROBLEM}
    course = SimpleNamespace(root="", course_id="")
    patch.setattr(nbgrader_plugin, "_course_of", lambda _: course)
    patch.setattr(nbgrader_plugin, "_launcher", lambda *_: launcher)
    patch.setattr(nbgrader_plugin.secrets, "randbits", lambda _: 11)
    found = nbgrader_plugin.restored(
        nbgrader_plugin._read(path), nbformat.read(RELEASE, 4)
    )
    # Between its two steps nbgrader writes a file and reads it.
    found = nbformat.reads(nbformat.writes(found), 4)
    nbformat.validate(found)
    graded, _ = nbgrader_plugin.RunChecks().preprocess(found, {"nbgrader": names})
    marks = [(c, c.metadata.get("nbgrader", {})) for c in graded.cells]
    return {m["grade_id"]: c.outputs for c, m in marks if m.get("grade")}


def by_the_batch(path: Path, launcher: Any) -> list[CheckResult]:
    one = worker.Worker(True, [])
    one._problem, one._launcher = PROBLEM, launcher
    plan = scheduler.Plan(path.parent, 11, releases={PROBLEM: RELEASE})
    submission = Submission("ada", PROBLEM, path)
    _, notebook = scheduler._look(submission, plan)
    if notebook is None:
        return []
    cells = [Cell(*cell) for cell in plan.order(submission, notebook)["cells"]]
    told = one.grade(PROBLEM, cells, 11)
    return [CheckResult(**check) for check in told.get("checks", ())]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_both_run_the_same_cells(
    damage: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(damage, tmp_path)
    asked: list[Any] = []

    class Stopped(Exception):
        pass

    def run_checks(problem: str, student: Any, seed: int) -> None:
        asked.append(student._cells)
        raise Stopped

    monkeypatch.setattr(nbgrader_plugin, "run_checks", run_checks)
    monkeypatch.setattr(worker, "run_checks", run_checks)
    with pytest.raises(Stopped):
        by_nbgrader(path, None, monkeypatch)
    by_the_batch(path, SimpleNamespace(close=lambda: None))
    assert len(asked) == 2
    assert asked[0] == asked[1]


QUICK = {*LOST, merged_into_the_test_cell, answer_as_raw_text_without_metadata}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, marks=[] if damage in QUICK else pytest.mark.slow)
        for damage in DAMAGES
    ],
    ids=lambda damage: damage.__name__,
)
def test_both_give_the_same_points_and_say_the_same(
    damage: Damage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandboxes: Callable[[int], Sandbox],
) -> None:
    path = damaged(damage, tmp_path)
    results = by_the_batch(path, sandboxes(2))
    assert sum(result.earned for result in results) == LOST.get(damage, FULL)
    outputs = by_nbgrader(path, sandboxes(2), monkeypatch)
    tasks = {result.task for result in results}
    assert outputs == {
        task: nbgrader_plugin.verdict_outputs([r for r in results if r.task == task])
        for task in tasks
    }


class Deadly(SandboxedStudent):
    """Stands for a submission that has found a way to kill the fork server."""

    calls, deaths = 0, 0

    def exchange(self, question: Any, *rest: Any) -> Any:
        asks = question["op"] == "call"
        self.calls += asks
        if asks and 5 <= self.calls < 5 + self.deaths:
            launcher: Any = self._launcher
            gone = below(launcher._server.process.pid)
            os.kill(launcher._server._server, signal.SIGKILL)
            assert all_end(gone)
        return super().exchange(question, *rest)


def test_a_server_that_dies_twice_costs_one_submission_one_task_on_both(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandboxes: Callable[[int], Sandbox],
) -> None:
    """It has crashed, and keeps what it had earned; the next one has all points.

    Once may be anybody's doing, and costs nothing.
    """
    path = damaged(nothing, tmp_path)

    def points_by_nbgrader() -> float:
        outputs = by_nbgrader(path, sandboxes(2), monkeypatch)
        return sum(float(o[1].data["text/plain"]) for o in outputs.values())

    with monkeypatch.context() as patch:
        patch.setattr(worker, "SandboxedStudent", Deadly)
        patch.setattr(nbgrader_plugin, "SandboxedStudent", Deadly)
        patch.setattr(Deadly, "deaths", 1)
        results = by_the_batch(path, sandboxes(2))
        assert sum(result.earned for result in results) == FULL
        assert points_by_nbgrader() == FULL
        patch.setattr(Deadly, "deaths", 2)
        results = by_the_batch(path, sandboxes(2))
        assert "crashed" in {result.status for result in results}
        assert 0 < sum(result.earned for result in results) < FULL
        assert 0 < points_by_nbgrader() < FULL
    assert points_by_nbgrader() == FULL


def as_many_cells_as_there_may_be(nb: dict[str, Any]) -> None:
    count = MAX_CELLS - len(nb["cells"])
    nb["cells"] += [new("x = 1", f"x{i}") for i in range(count)]


def kills_and_stops_its_group(nb: dict[str, Any]) -> None:
    signals = "for s in (9, 19):\n    os.kill(0, s)"
    nb["cells"].append(new(f"import os\n{signals}", "evil"))


@pytest.mark.slow
def test_the_real_nbgrader(
    released: Path, tmp_path: Path, sandboxes: Callable[[int], Sandbox]
) -> None:
    course = Path(shutil.copytree(released, tmp_path / "course"))
    damages: list[Damage] = [kills_and_stops_its_group]
    damages += [everything_as_raw_text, metadata_and_ids_lost]
    damages += [merged_into_the_test_cell, as_many_cells_as_there_may_be]
    for damage in damages:
        notebook = solved()
        damage(notebook)
        submit(course, damage.__name__, notebook)
    (course / "submitted/eve").symlink_to(course / "submitted/metadata_and_ids_lost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(nbgrader_plugin._open, (PROBLEM, course, False), sandboxes(2))
        for student in (*(damage.__name__ for damage in damages), "eve"):
            from_here(course, "autograde", PROBLEM, student)
    scores = exported(course)
    assert scores.pop("eve") == 0, "it is somebody else's work"
    assert scores == {damage.__name__: FULL for damage in damages}
