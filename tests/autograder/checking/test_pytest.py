"""``pytest autograder/problems/problemN --submission FILE`` judges as graders do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.checking.runner import run_checks
from autograder.course import release
from autograder.problems import conftest
from autograder.problems.problem1.instructors import mistakes
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
# A mistake with a hint, a statement of ten wrong, and a function that ends its process.
ANSWERS = """
import os
right = statements
def statements():
    return right() | {"S1": "neither" if right()["S1"] != "neither" else "both"}
def native_resolution(*a):
    os._exit(3)
"""


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTEST, "autograder/problems/problem1", *arguments],
        cwd=release.COURSE,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_verdicts_are_those_of_a_grading(
    sandboxes: Callable[[int], Sandbox], tmp_path: Path
) -> None:
    source = mistakes.wrong_submission("roughness", "squared differences") + ANSWERS
    file = tmp_path / "answers.py"
    file.write_text(source, encoding="utf-8")
    done = run_pytest("--submission", str(file), "--seed", "9", "-v")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"submission: {file}, in the sandbox, seed 9" in done.stdout
    with SandboxedStudent(sandboxes(1), [Cell("cell 1", source)]) as student:
        results = run_checks("problem1", student, 9)
    words = {"passed": "PASSED", "not-run": "SKIPPED"}
    for result in results:
        word = words.get(result.status, "FAILED")
        assert f"::{result.id}: {result.title} {word}" in done.stdout
        if word == "FAILED":
            said = f"{result.message}\n{result.earned:g} of {result.points:g} points\n"
            said += f"likely: {result.hint}\n" if result.hint else ""
            assert said in done.stdout
    statuses = {r.status for r in results}
    assert statuses == {"passed", "failed", "crashed", "not-run"}
    assert [r for r in results if r.hint]
    assert [r for r in results if 0 < r.earned < r.points]


def test_without_a_submission_it_says_what_to_give() -> None:
    done = run_pytest()
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert "say whose answers to check with --submission FILE" in line


def test_where_there_is_no_sandbox_it_wants_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "answers.py"
    file.write_text("def total_variation(v): return 0 * v\n", encoding="utf-8")
    done = run_pytest("--submission", str(file), PATH="")
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert "graded in a sandbox" in line
    assert "--unsafe-no-sandbox runs the file with all your rights" in line
    option = ("--unsafe-no-sandbox", "-k", "roughness/by-hand")
    done = run_pytest("--submission", str(file), *option, PATH="")
    assert "without a sandbox, with all your rights" in done.stdout
    assert "1 failed" in done.stdout


def test_a_submission_is_a_notebook_its_text_or_python(tmp_path: Path) -> None:
    python = tmp_path / "answers.py"
    python.write_text("def f():\n    return 1\n\n\ndef g():\n    return 2\n")
    assert [c.source for c in conftest.cells_in(python)] == [python.read_text()]
    text = release.COURSE / "solutions" / "problem1" / "problem1.md"
    notebook = tmp_path / "problem1.ipynb"
    notebook.write_text(json.dumps(release.source_notebook(text)), encoding="utf-8")
    cells = conftest.cells_in(text)
    assert cells == conftest.cells_in(notebook)
    assert "def total_variation" in "".join(cell.source for cell in cells)
    with pytest.raises(conftest.Unreadable, match="no such file"):
        conftest.cells_in(tmp_path / "absent.md")
