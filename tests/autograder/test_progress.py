"""What is remembered between sessions, and how a notebook shows a check."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from bs4 import BeautifulSoup
from targets import TARGETS

from autograder import cli, progress, selfcheck
from autograder.checking.runner import CheckResult, points_of
from autograder.course import release

ALL = sum(len(points_of(f"problem{number}")) for number in range(1, 6))
PASSED = CheckResult("roughness/form", "Form", 1, 1, "passed", "", True)
FAILED = CheckResult("roughness/value", "Value", 1, 0, "failed", "why", True)
SMOOTH_GRAD = """\
import torch
def smooth_grad(image, model, target_class, n_samples, noise_level, seed):
    x = image.clone().requires_grad_()
    return torch.autograd.grad(model(x)[0, target_class], x)[0]
"""
CHECK = """\
from autograder.selfcheck import self_check
self_check("problem2", "smooth-grad", globals())
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAPTER4_PROGRESS", str(tmp_path / "progress"))
    return tmp_path / "progress"


def state_of(name: str, problem: str = "problem1") -> progress.Task:
    tasks = progress.Progress().tasks
    (found,) = (t for t in tasks if (t.problem, t.name) == (problem, name))
    return found


def test_the_last_check_of_a_task_is_remembered() -> None:
    assert state_of("roughness").state == "not begun"
    progress.remember([PASSED, FAILED], "problem1")
    found = state_of("roughness")
    assert (found.state, found.passed, found.checks) == ("begun", 1, 2)
    progress.remember([PASSED, PASSED], "problem1")
    assert state_of("roughness").state == "finished"
    assert progress.Progress().finished("problem1") == (1, 6)
    progress.remember([FAILED], "problem1")
    assert state_of("roughness").state == "begun", "it no longer passes"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"passed": 3, "checks": 2, "when": "2026-01-01"}',
        '{"passed": 1, "checks": 1, "when": "<b>now</b>"}',
        '{"passed": "x", "checks": 1, "when": "2026-01-01"}',
        '{"passed": 1, "checks": 1}',
        "\udce4",
    ],
)
def test_a_file_of_somebody_else_is_no_result(place: Path, text: str) -> None:
    (place / "problem1").mkdir(parents=True)
    file = place / "problem1" / "roughness.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert state_of("roughness").state == "not begun"


def test_a_terminal_and_a_notebook_remember_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solved = release.COURSE / "solutions/problem2/problem2.ipynb"
    assert cli.main(["check", str(solved), "--task", "samples-needed"]) == 0
    assert "1 of 3 tasks of this problem" in capsys.readouterr().out
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(TARGETS["problem2"].solution, namespace)
    assert selfcheck.self_check("problem2", "error-curve", namespace) is None
    assert "2 of 3 tasks of this problem" in capsys.readouterr().out
    # Another session.
    told = subprocess.run(
        [sys.executable, "-m", "autograder", "progress"],
        cwd=release.COURSE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert "Problem 2: 2 of 3 tasks finished" in told
    assert f"All problems: 2 of {ALL} tasks finished; next: Problem 1, task 1." in told


def test_it_is_exported_and_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.remember([PASSED], "problem1")

    def exported(name: str, *more: str) -> str:
        assert cli.main(["progress", "--export", str(tmp_path / name), *more]) == 0
        return (tmp_path / name).read_text(encoding="utf-8")

    rows = json.loads(exported("a.json"))
    assert [r["name"] for r in rows if r["state"] == "finished"] == ["roughness"]
    table = list(csv.DictReader(io.StringIO(exported("a.csv"))))
    assert [{k: str(v) for k, v in row.items()} for row in rows] == table
    page = BeautifulSoup(exported("a.html", "--forget"), "html.parser")
    assert "Problem 1: 1 of 6 tasks finished" in page.text
    assert len(page.select("tbody tr")) == ALL
    assert f"0 of {ALL} tasks finished" in capsys.readouterr().out
    assert cli.main(["progress", "--export", str(tmp_path / "a.pdf")]) == 2
    assert "a .csv, .json or .html file" in capsys.readouterr().err


def test_where_nothing_can_be_kept_the_check_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHAPTER4_PROGRESS", str(tmp_path / "file"))
    assert selfcheck.self_check("problem2", "samples-needed", {}) == 0
    assert "can't be kept for your next session" in capsys.readouterr().out


def test_a_notebook_names_cell_and_line_and_shows_no_bare_number() -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (SMOOTH_GRAD, CHECK)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook).execute(cwd=str(release.COURSE))
    said, value = notebook.cells[1].outputs
    text = " ".join(said["text"].split())
    assert "smooth_grad raised ValueError in cell [1], line 4: the model takes" in text
    assert "add it with image[None]" in text
    assert value["data"]["text/plain"] == "0.0", "nbgrader's validate reads it"
    assert "0 of" in value["data"]["text/html"]


@pytest.mark.slow
@pytest.mark.parametrize("problem", TARGETS)
def test_the_first_answer_of_a_fresh_kernel_comes_soon(problem: str) -> None:
    """Within 5 seconds of processor time, imports included."""
    task = next(iter(points_of(problem)))
    source = f"{TARGETS[problem].solution}\nimport time\n"
    source += "from autograder.selfcheck import self_check\n"
    source += f"assert self_check({problem!r}, {task!r}, globals()) is None\n"
    source += "print('seconds:', time.process_time())"
    told = subprocess.run(
        [sys.executable, "-c", source],
        cwd=release.COURSE,
        # On a busy machine, threads that wait for each other count as computing.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert float(told.rpartition("seconds:")[2]) < 5
