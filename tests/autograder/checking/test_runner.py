"""The runner of checks: verdicts, partial credit, and what is no student's fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograder.checking import runner
from autograder.checking.runner import CheckResult, check, checks_of, credit, run_checks
from autograder.sandbox.student import LocalStudent, Starved, StudentError

CHECKS = """
import sys
import warnings
import numpy as np
from autograder.checking.runner import check, credit, require

@check("one/passes", 2, "Passes", public=True)
def test_passes(student, rng, transcript):
    assert rng.normal() != rng.normal()
    warnings.warn("no mistake")
    assert np.float64(1e308) * 10 == np.inf

@check("one/fails", 2, "Fails", public=True)
def test_fails(student):
    require(student.call("f", 1) == 2, "f(1) is 2.")

@check("one/part", 4, "Half", public=False)
def test_part(student):
    credit(0.5, "half of it.")

@check("two/late", 1, "Late", public=False)
def test_late(student):
    student.call("late")

@check("two/after", 1, "After", public=False)
def test_after(student):
    student.call("f", 1)

@check("three/ours", 1, "Ours", public=False)
def test_ours(student):
    {}["our mistake"]

@check("three/memory", 1, "Too much", public=False)
def test_memory(student):
    np.zeros((2**23, 2**23))

@check("three/quotes", 1, "Quotes", public=True)
def test_quotes(student):
    require(False, f"yours is {chr(27)}[31m {'x' * 10**6}")

@check("three/explained", 1, "Explained", public=False)
def test_explained(student):
    student.call("explained")

@check("three/public", 1, "Explained to all", public=True)
def test_public(student):
    student.call("explained")

@check("three/leaves", 1, "Leaves", public=False)
def test_leaves(student):
    sys.exit("our mistake, too")

@check("three/names", 1, "Names what there is not", public=False)
def test_names(capsys):
    pass

@check("three/starves", 1, "Starves", public=False)
def test_starves(student):
    student.call("starve")

@check("three/crash", 1, "Crash", public=False)
def test_crash(student, rng):
    student.call("crash")

@check("three/again", 1, "Again", public=False)
def test_again(student, rng):
    student.call("crash")

@check("four/base", 1, "The base", public=True)
def test_base(student):
    require(student.call("f", 1) == 2, "f(1) is 2.")

@check("four/rests", 2, "Rests on it", public=False, needs="base")
def test_rests(student):
    pass

@check("four/part", 2, "Half, and rests on it", public=False, needs="base")
def test_rests_by_half(student):
    credit(0.5, "half of it.")

@check("four/good", 1, "Good", public=True)
def test_good(student):
    pass

@check("four/free", 2, "Rests on what passes", public=False, needs="good")
def test_free(student):
    pass

def test_not_marked():
    raise AssertionError("not a check")
"""


CAUSE = "cell 2, line 1: ModuleNotFoundError: No module named 'cv2'"


class Scripted:
    """A student whose functions end as their names say."""

    first_failure = "cell 1, line 1: FileNotFoundError"

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        if name == "late":
            raise StudentError("timed-out", "late used more than 5 seconds")
        if name == "starve":
            raise Starved("the machine was too busy")
        if name == "explained":
            error = StudentError("missing", "explained is not defined")
            error.cause = CAUSE
            raise error
        if name == "stop":
            raise KeyboardInterrupt
        if name == "crash":
            raise StudentError("crashed", "the process ended")
        return args[0]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, CheckResult]:
    install(tmp_path, monkeypatch, "problem97", CHECKS)
    found = run_checks("problem97", Scripted(), seed=1)
    return {result.id: result for result in found}


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str
) -> None:
    """A problem's checks elsewhere than in the package."""
    import autograder.problems

    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    (folder / name / "checks.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(runner, "_PROBLEMS", folder)
    monkeypatch.setattr(autograder.problems, "__path__", [str(folder)])
    monkeypatch.syspath_prepend(str(folder))


def test_each_ending_has_its_status(results: dict[str, CheckResult]) -> None:
    assert {r.id: (r.status, r.earned) for r in results.values()} == {
        "one/passes": ("passed", 2),
        "one/fails": ("failed", 0),
        "one/part": ("failed", 2),
        "two/late": ("timeout", 0),
        "two/after": ("not-run", 0),
        "three/ours": ("grader-error", 0),
        "three/memory": ("error", 0),
        "three/quotes": ("failed", 0),
        "three/explained": ("error", 0),
        "three/public": ("error", 0),
        "three/leaves": ("grader-error", 0),
        "three/names": ("grader-error", 0),
        "three/starves": ("grader-error", 0),
        "three/crash": ("crashed", 0),
        "three/again": ("not-run", 0),
        "four/base": ("failed", 0),
        "four/rests": ("failed", 0),
        "four/part": ("failed", 0),
        "four/good": ("passed", 1),
        "four/free": ("passed", 2),
    }


def test_what_rests_on_wrong_numbers_earns_nothing_and_says_why(
    results: dict[str, CheckResult],
) -> None:
    assert results["four/rests"].message == 'counts only together with "The base".'
    assert results["four/part"].message == "half of it."


def test_what_a_check_needs_runs_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CHECKS.replace('needs="base"', 'needs="free"')
    install(tmp_path, monkeypatch, "problem95", source)
    with pytest.raises(ValueError, match="four/rests needs a check that runs before"):
        checks_of("problem95")


def test_messages_are_one_line_and_say_why(results: dict[str, CheckResult]) -> None:
    assert results["one/fails"].message == "f(1) is 2."
    assert results["one/part"].message == "half of it."
    assert results["one/passes"].message == ""
    assert "took too long" in results["two/after"].message


def test_a_message_is_short_and_printable_whatever_it_quotes(
    results: dict[str, CheckResult],
) -> None:
    assert results["three/quotes"].message.startswith("yours is [31m xxx")
    assert len(results["three/quotes"].message) == runner.MAX_MESSAGE


def test_the_cell_that_explains_an_error_comes_first(
    results: dict[str, CheckResult],
) -> None:
    """In a hidden check too: a cell fails before any question is put.

    There it is always the first, since an answer decides which cell explains it.
    """
    told = f"{CAUSE}; then explained is not defined"
    assert runner.reason_of(results["three/public"]) == told
    hidden = f"{Scripted.first_failure}; then {runner.HIDDEN_REASONS['error']}"
    assert runner.reason_of(results["three/explained"]) == hidden
    assert results["three/explained"].message == told, "for those who teach"


def test_a_mistake_of_ours_comes_with_its_whole_traceback(
    results: dict[str, CheckResult],
) -> None:
    message = results["three/ours"].message
    assert message.startswith("Traceback")
    assert "in test_ours" in message
    assert message.endswith("KeyError: 'our mistake'")
    assert results["three/leaves"].message.endswith("SystemExit: our mistake, too")
    assert results["three/names"].message.endswith("KeyError: 'capsys'")
    assert results["three/starves"].message == "the machine was too busy", "nobody's"


def test_whoever_stops_the_run_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt is no verdict, and no later check is asked."""
    stop = CHECKS.replace('student.call("f", 1) == 2', 'student.call("stop")')
    install(tmp_path, monkeypatch, "problem96", stop)
    with pytest.raises(KeyboardInterrupt):
        run_checks("problem96", Scripted(), 1)


def test_no_grader_imports_pytest() -> None:
    """Graders and students need not have it; the file that is for pytest does."""
    package = Path(runner.__file__).parents[1]
    importing = re.compile(r"^\s*(import|from) _?pytest", re.MULTILINE)
    found = [p for p in package.rglob("*.py") if importing.search(p.read_text("utf-8"))]
    assert found == [package / "problems" / "conftest.py"]


def test_only_what_is_asked_for_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "problem98", CHECKS)
    public = run_checks("problem98", Scripted(), 1, public_only=True)
    shown = ["one/passes", "one/fails", "three/quotes", "three/public"]
    shown += ["four/base", "four/good"]
    assert [r.id for r in public] == shown
    task = run_checks("problem98", Scripted(), 1, task="two")
    assert [r.id for r in task] == ["two/late", "two/after"]
    with pytest.raises(ValueError, match="no task 'five'"):
        run_checks("problem98", Scripted(), 1, task="five")


def test_a_file_that_cannot_be_imported_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "problem99", "import does_not_exist\n")
    with pytest.raises(ModuleNotFoundError):
        run_checks("problem99", Scripted(), 1)


def test_an_unknown_problem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there are: .*problem2"):
        run_checks("problem7", Scripted(), 1)


def test_the_seed_decides_every_input() -> None:
    """Same seed, same questions; another seed, other questions."""

    class Recorder(LocalStudent):
        def observe(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
            asked.append(np.asarray(args[0], dtype=float).sum())
            return super().observe(name, *args, **kwargs)

    runs = []
    for seed in (1, 1, 2):
        asked: list[float] = []
        run_checks("problem2", Recorder({"smooth_grad": lambda *a: a[0]}), seed)
        runs.append(asked)
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])


def test_it_prints_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy = {"smooth_grad": lambda *a: print("loud")}
    run_checks("problem2", LocalStudent(noisy), 1, task="smooth-grad")
    assert capfd.readouterr() == ("", "")
    assert [*tmp_path.iterdir()] == []


def test_marks_are_checked() -> None:
    with pytest.raises(ValueError, match="task/name"):
        check("no-task", 1, "x", public=True)
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        credit(1.0, "all of it is no part")
    assert all(c.points >= 0 and c.title for c in checks_of("problem2"))
