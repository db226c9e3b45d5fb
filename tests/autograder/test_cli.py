"""What a student sees: the check in the notebook and in the terminal."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import chapter4
from autograder import cli, selfcheck
from autograder.checking.runner import CheckResult, checks_of
from autograder.course import release, student_bundle
from autograder.problems.problem2.instructors import mistakes
from autograder.selfcheck import report, self_check


@pytest.fixture(autouse=True)
def no_failures_yet() -> None:
    selfcheck._failures.clear()


def namespace_of(task: str, mistake: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(mistakes.wrong_submission(task, mistake), namespace)
    return namespace


def result(status: str, **more: Any) -> CheckResult:
    values = {"earned": 0.0, "message": "", "public": True} | more
    return CheckResult("a/b", "A title", 2, status=status, **values)


def test_a_passed_task_says_so_and_returns_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace = namespace_of("samples-needed", "")
    assert self_check("problem2", "samples-needed", namespace) is None
    text = capsys.readouterr().out
    assert "2 of 2 checks passed, 2 of 2 points." in text
    assert "PASSED    The n that reaches a given error (1 of 1)" in text
    assert "Public checks: 2 of the task's 3 points." in " ".join(text.split())
    assert "and more (1 point)" in " ".join(text.split())
    assert "Hint" not in text


def test_a_failed_task_says_why_what_is_likely_and_each_time_the_next_hint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace = namespace_of("samples-needed", "error falls as 1/n")
    texts = []
    for _ in range(3):
        assert self_check("problem2", "samples-needed", namespace) == 0
        texts.append(capsys.readouterr().out)
    assert "FAILED    The n that reaches a given error (0 of 1)" in texts[0]
    assert "why: the errors" in texts[0]
    assert "likely: The law used is error = c/n" in texts[0]
    assert "Hint: Every measured point" in texts[0]
    assert "Hint: Solve c / sqrt(n)" in texts[1]
    assert texts[2] == texts[1], "the last hint stays"


def test_partial_points_are_returned_for_validate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace = namespace_of("error-curve", "16 times the last count")
    assert self_check("problem2", "error-curve", namespace) == 2
    text = " ".join(capsys.readouterr().out.split())
    task = [c for c in checks_of("problem2") if c.task == "error-curve"]
    public, whole = (sum(c.points for c in task if p or c.public) for p in (0, 1))
    assert f"1 of 2 checks passed, 2 of {public:g} points." in text
    assert f"Public checks: {public:g} of the task's {whole:g} points." in text


@pytest.mark.parametrize("status", selfcheck.WORDS)
def test_each_status_has_its_word(status: str) -> None:
    assert selfcheck.WORDS[status] in report([result(status)])


def test_a_check_that_is_not_public_gets_one_sentence() -> None:
    text = report([result("failed", public=False, message="mmm", hint="hhh")])
    assert "why: hhh" in text
    assert "mmm" not in text
    assert len(text.splitlines()) == 3, "the sum, the check, the reason"


def test_what_was_said_is_not_repeated() -> None:
    text = report([result("error", message="same thing")] * 3)
    assert text.count("same thing") == 1
    assert text.count("as above") == 2


def test_lines_fit_a_terminal() -> None:
    text = report([result("failed", message="word " * 100)], hint="hint " * 100)
    assert max(map(len, text.split("\n"))) <= 88


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The solution as a notebook file."""
    path = tmp_path_factory.mktemp("mine") / "problem2.ipynb"
    source = release.COURSE / "solutions" / "problem2" / "problem2.md"
    nbformat.write(release.source_notebook(source), path)
    return path


@pytest.mark.slow
def test_the_terminal_passes_a_solution_within_30_seconds_of_cpu(solved: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "autograder", "check", str(solved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All public checks passed." in done.stdout
    assert "problem2, error-curve" in done.stdout
    public = sum(c.points for c in checks_of("problem2") if c.public)
    assert f"Public checks: {public:g} of {public:g} points." in done.stdout
    assert "it is 20 points." in done.stdout
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 30


def test_the_command_fails_the_untouched_release(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = release.COURSE / "exercises" / "problem2" / "problem2.ipynb"
    assert cli.main(["check", str(path), "--task", "samples-needed"]) == 1
    said = capsys.readouterr().out
    assert "write your own code here" in said
    assert "Hint: Every measured point" in said
    assert "smooth-grad" not in said
    assert cli.main(["check", str(path), "--task", "samples-needed", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problem"] == "problem2"
    assert "NotImplementedError: write your own" in found["failed_cells"][0]
    for one in found["checks"]:
        assert (one["status"], one["earned"], one["points"]) == ("error", 0, 1)
        assert "write your own code here" in one["message"]


def test_wrong_usage_ends_with_2(
    tmp_path: Path, solved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), odd)
    for arguments, words in (
        (["check", str(tmp_path / "no.ipynb")], "there is no file"),
        (["check", str(odd)], "--problem problem2"),
        (["check", str(odd), "--problem", "problem9"], "there is no 'problem9'"),
        (["check", str(solved), "--task", "two"], "smooth-grad, error-curve"),
        (["release", "problem0"], "no source of problem0"),
    ):
        assert cli.main(arguments) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["chekc"])
    assert capsys.readouterr().err.count("\n") == 1
    broken = tmp_path / "problem2.ipynb"
    broken.write_text("{", encoding="utf-8")
    assert cli.main(["check", str(broken)]) == 1, "it is the file that is wrong"
    assert "no JSON" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.OF_THE_COURSE)
def test_what_is_missing_is_said_in_a_line_with_the_remedy(
    command: str,
    solved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submitted = tmp_path / "submitted" / "ada" / "problem2"
    submitted.mkdir(parents=True)
    shutil.copy(solved, submitted)
    output = tmp_path / "output"
    rest = {
        "bundle": ["--output", str(output)],
        "grade": [str(submitted.parents[1]), "--output", str(output)],
        "release": [],
        "sample-class": [str(output)],
    }
    if command != "bundle":
        name = "nbgrader"
        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, name, None)
        for ours in ("autograder.grading.gradebook", "autograder.nbgrader_plugin"):
            monkeypatch.delitem(sys.modules, ours, raising=False)
        assert cli.main([command, *rest[command]]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"autograder: {command} needs {name}: run make install")
        assert f"python -m pip install {name}\n" in said
        assert said.count("\n") == 1
    if command in cli.OF_A_CLONE:
        monkeypatch.setattr(release, "COURSE", tmp_path)
        assert cli.main([command, *rest[command]]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"autograder: {command} needs a clone of the course")
        assert said.count("\n") == 1
    assert not output.exists()


def test_a_module_of_ours_that_is_missing_is_no_matter_of_installing(
    solved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "autograder.selfcheck", None)
    with pytest.raises(ModuleNotFoundError, match="selfcheck"):
        cli.main(["check", str(solved)])


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_check_on_a_busy_machine_is_made_once_more_and_shows_no_points(
    times: int,
    solved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[Any] = []

    class Student(contextlib.nullcontext[Any]):
        def __init__(self, *_: Any) -> None:
            super().__init__(self)
            made.append(self)
            self.starved = "the machine was too busy" * (len(made) <= times)
            self.failed_cells, self.warnings = dict[str, str](), list[str]()

    def verdicts(problem: str, student: Student, *_: Any, **__: Any) -> Any:
        return [result("grader-error" if student.starved else "passed", earned=2.0)]

    monkeypatch.setattr("autograder.sandbox.student.SandboxedStudent", Student)
    monkeypatch.setattr("autograder.checking.runner.run_checks", verdicts)
    subprocess_ = "autograder.sandbox.launcher.Subprocess"
    monkeypatch.setattr(subprocess_, lambda problem: contextlib.nullcontext())
    monkeypatch.setattr(
        "autograder.checking.runner.points_of", lambda problem: {"a": 2.0}
    )
    code = cli.main(["check", str(solved)])
    said = capsys.readouterr()
    assert len(made) == min(times + 1, 2)
    if times < 2:
        assert code == 0
        assert "All public checks passed." in said.out
    else:
        assert code == 1
        assert said.out == ""
        why = "the machine was too busy; check it again when less else is running"
        assert said.err == f"{solved}: {why}\n"


def test_an_interrupt_and_a_place_that_cannot_be_written_are_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(student_bundle, "members", lambda: {"a": b""})
    assert cli.main(["bundle", "--output", str(tmp_path / "file" / "a.zip")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    monkeypatch.setattr(student_bundle, "members", interrupted)
    assert cli.main(["bundle"]) == 130
    assert capsys.readouterr().err == "autograder: interrupted\n"


def interrupted() -> None:
    raise KeyboardInterrupt


def test_each_help_has_an_example_that_can_be_typed_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in ("check", "progress", *cli.OF_THE_COURSE):
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
        said = capsys.readouterr().out
        (example,) = re.findall(r"^example: autograder (.+)$", said, re.MULTILINE)
        options = cli.make_parser().parse_args(example.split())
        assert options.command == command
        assert "\nexit code: 0 if " in said
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"autograder {chapter4.__version__}\n"


def test_the_problem_is_known_from_the_name_or_from_the_checks() -> None:
    notebook = nbformat.read(release.COURSE / "exercises/problem2/problem2.ipynb", 4)
    assert cli.problem_of(Path("problem2-final(3).ipynb"), {}) == "problem2"
    assert cli.problem_of(Path("homework.ipynb"), notebook) == "problem2"
    assert cli.problem_of(Path("homework.ipynb"), {"cells": []}) == ""
