"""What is kept of a run, and what decides whether it still holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

import chapter4
from autograder.checking.runner import CheckResult, problems_with_checks
from autograder.grading import state
from autograder.grading.state import (
    PARTS,
    Record,
    State,
    basis_of,
    differences,
    fingerprint,
    unlike,
)
from autograder.grading.submissions import key_of

CHECKS = (CheckResult("t/x", "X", 2, 0.1 + 0.2, "failed", "why", True),)
RECORD = Record(
    "Zoë",
    "problem2",
    "graded",
    basis={"notebook": "n", "seed": "7"},
    checks=CHECKS,
    failed_cells={"cell 3": "why"},
    warnings=["one"],
)
KEY = key_of("Zoë", "problem2")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of both packages, which tests may change, and nothing read before."""
    for name, package in (("autograder", state._OURS), ("chapter4", _chapter4())):
        skip = shutil.ignore_patterns("__pycache__", "weights", "photos")
        shutil.copytree(package, tmp_path / name, ignore=skip)
    ours = tmp_path / "autograder"
    monkeypatch.setattr(state, "_OURS", ours)
    monkeypatch.setattr(
        state, "_SANDBOX", (ours / "sandbox", ours / "grading/worker.py")
    )
    init = str(tmp_path / "chapter4/__init__.py")
    monkeypatch.setattr(
        state, "chapter4", SimpleNamespace(__file__=init, __version__="9")
    )
    _forget()
    yield tmp_path
    _forget()


def _chapter4() -> Path:
    return Path(chapter4.__file__).parent


def _forget() -> None:
    for cached in (state.text_of, state.libraries, state.bubblewrap):
        cached.cache_clear()


def basis(problem: str = "problem2", **given: Any) -> dict[str, str]:
    """As a process finds it that has just begun."""
    _forget()
    usual = {"notebook": "n", "release": None, "seed": 7, "budget": 100.0}
    return basis_of(problem, **{**usual, "sandbox": True, **given})


def test_a_basis_is_the_same_for_the_same_and_plain(tmp_path: Path) -> None:
    first = basis()
    assert list(first) == list(PARTS)
    assert json.loads(json.dumps(first)) == first == basis()
    assert differences(first, basis(budget=100)) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"notebook": "m"}, ["the notebook"]),
        ({"seed": 8}, ["the seed"]),
        ({"budget": 100.5}, ["the time limit"]),
        ({"sandbox": False}, ["the sandbox"]),
        ({"seed": 8, "notebook": "m"}, ["the notebook", "the seed"]),
    ],
)
def test_what_is_given_has_a_part_of_its_own(
    given: dict[str, Any], words: list[str]
) -> None:
    assert differences(basis(), basis(**given)) == words


def test_the_release_is_known_by_its_bytes(tmp_path: Path) -> None:
    release = tmp_path / "problem2.ipynb"
    release.write_bytes(b"1")
    first = basis(release=release)
    assert differences(basis(), first) == ["the release"]
    release.write_bytes(b"2")
    assert differences(first, basis(release=release)) == ["the release"]


EVERYBODY = set(problems_with_checks())


@pytest.mark.parametrize(
    ("file", "whose", "words"),
    [
        ("autograder/problems/problem3/checks.py", {"problem3"}, "the checks"),
        ("autograder/problems/problem3/new.py", {"problem3"}, "the checks"),
        (
            "autograder/problems/problem3/instructors/mutants.py",
            {"problem3"},
            "the checks",
        ),
        ("autograder/problems/common.py", EVERYBODY, "the checks"),
        ("autograder/problems/points.json", EVERYBODY, "the checks"),
        ("autograder/checking/runner.py", EVERYBODY, "the checks"),
        ("autograder/sandbox/student.py", EVERYBODY, "the sandbox"),
        ("autograder/sandbox/stub.py.txt", EVERYBODY, "the sandbox"),
        ("autograder/sandbox/inside/shell.py", EVERYBODY, "the sandbox"),
        ("autograder/grading/worker.py", EVERYBODY, "the sandbox"),
        ("chapter4/plain.py", EVERYBODY, "chapter4"),
        ("chapter4/weights/tiny/model.safetensors", EVERYBODY, "chapter4"),
        ("autograder/grading/html.py", set(), ""),
        ("autograder/grading/state.py", set(), ""),
        ("autograder/problems/__pycache__/common.cpython-311.pyc", set(), ""),
        ("chapter4/.plain.py.swp", set(), ""),
    ],
)
def test_a_file_that_changes_decides_the_results_that_it_can_change(
    code: Path, file: str, whose: set[str], words: str
) -> None:
    before = {problem: basis(problem) for problem in EVERYBODY}
    (code / file).parent.mkdir(parents=True, exist_ok=True)
    with (code / file).open("ab") as text:
        text.write(b"\n")
    told = {name: differences(before[name], basis(name)) for name in EVERYBODY}
    assert {name for name, changed in told.items() if changed} == whose
    assert all(changed in ([words], []) for changed in told.values())


def test_a_file_that_moves_is_another_one(code: Path) -> None:
    before = basis()
    (code / "chapter4/plain.py").rename(code / "chapter4/planer.py")
    assert differences(before, basis()) == ["chapter4"]


def test_the_code_is_read_once_by_a_process(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For thousands of submissions; and it has imported what it found first."""
    before = basis()
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=AssertionError))
    after = basis_of(
        "problem2", notebook="n", release=None, seed=7, sandbox=True, budget=100
    )
    assert after == before


def test_another_version_of_a_library_is_another_basis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, versions = basis(), state.libraries()
    assert versions["torch"] == metadata.version("torch")
    assert {"IPython", "matplotlib", "captum", "python"} <= {*versions}
    assert "ruff" not in versions, "tests need it, no result does"
    real = metadata.version
    for name in ("captum", "IPython"):
        monkeypatch.setattr(
            metadata, "version", lambda n, other=name: "0" if n == other else real(n)
        )
        assert differences(before, basis()) == ["the libraries"]


def test_where_nothing_is_installed_the_libraries_are_known_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _forget()
    lost = Mock(side_effect=metadata.PackageNotFoundError)
    monkeypatch.setattr(metadata, "requires", lost)
    assert {"torch", "numpy", "IPython"} <= {*state.libraries()}
    _forget()


def test_another_bubblewrap_is_another_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    monkeypatch.setenv("PATH", str(tmp_path))
    told = [basis(), basis(sandbox=False)]
    for version in (1, 2):
        program.write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
        program.chmod(0o755)
        told.append(basis())
    assert len({each["sandbox"] for each in told}) == 4
    assert differences(told[1], basis(sandbox=False)) == [], "nobody asks it there"
    _forget()


def test_two_machines_that_are_alike_say_nothing() -> None:
    here = fingerprint()
    assert unlike(here, json.loads(json.dumps(here))) == ""


def test_two_machines_say_in_one_sentence_what_differs(code: Path) -> None:
    here = fingerprint()
    (code / "chapter4/plain.py").write_text("")
    (code / "autograder/problems/problem5/checks.py").write_text("")
    _forget()
    there = fingerprint()
    torch = here["libraries"]["torch"]
    there["libraries"] = {**there["libraries"], "torch": "1.0", "odd": "3"}
    del there["libraries"]["numpy"]
    numpy = here["libraries"]["numpy"]
    assert unlike(here, there) == (
        f"libraries: numpy {numpy} here, none there, odd none here, 3 there, torch"
        f" {torch} here, 1.0 there; the text of the checks differs; the text of"
        " chapter4 differs"
    )
    assert unlike(here, {}).endswith("the text of chapter4 differs")


# The files.


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    kept = State(tmp_path)
    kept.save(KEY, RECORD)
    assert State(tmp_path).record(KEY) == RECORD
    assert kept.record(key_of("Zoe", "problem2")) is None


def spoilt() -> dict[str, bytes]:
    """Files that are no record of Zoë's work on problem 2."""
    whole = state._sealed(asdict(RECORD)).encode()
    told = json.loads(whole)
    of_old = {**told, "basis": "5f2a"}
    del of_old["seal"]
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "zeros": bytes(len(whole)),
        "not UTF-8": whole.replace(b"Zo\\u00eb", b"Zo\xeb"),
        "a bit": whole.replace(b'"earned": 0.3', b'"earned": 1.3'),
        "deep": b"[" * 100_000,
        "a list": b'["seal"]',
        "a number": b"3",
        "null": b"null",
        "foreign": b'{"seal": "x", "name": "Zo\\u00eb"}',
        "foreign, sealed": state._sealed({"checks": 3}).encode(),
        "later": state._sealed({**asdict(RECORD), "mood": 1}).encode(),
        "without a seal": json.dumps(of_old).encode(),
        "somebody else's": state._sealed(
            asdict(replace(RECORD, student="ada"))
        ).encode(),
        "another problem's": state._sealed(
            asdict(replace(RECORD, problem="problem3"))
        ).encode(),
    }


@pytest.mark.parametrize("name", spoilt())
def test_what_we_have_not_written_whole_for_this_work_is_no_record(
    tmp_path: Path, name: str
) -> None:
    kept = State(tmp_path)
    (tmp_path / f"state/{KEY}.json").write_bytes(spoilt()[name])
    assert kept.record(KEY) is None
    kept.save(KEY, RECORD)
    assert kept.record(KEY) == RECORD


def test_a_folder_in_a_records_place_is_no_record(tmp_path: Path) -> None:
    kept = State(tmp_path)
    (tmp_path / f"state/{KEY}.json").mkdir()
    assert kept.record(KEY) is None


def test_of_a_run_only_what_we_have_written_is_known(tmp_path: Path) -> None:
    """Its pages are deleted, so nobody else may name them."""
    kept = State(tmp_path)
    assert kept.run() == {}
    kept.save_run({"seed": 7, "pages": ["feedback/ada/problem2.html"]})
    assert kept.run() == {"seed": 7, "pages": ["feedback/ada/problem2.html"]}
    path = tmp_path / "state/run.json"
    whole = path.read_bytes()
    for text in (whole.replace(b"feedback/ada", b"../.."), whole[:-9], b"\xff", b"[]"):
        path.write_bytes(text)
        assert kept.run() == {}


def test_all_is_forgotten_but_the_run_and_what_is_asked_for(tmp_path: Path) -> None:
    kept = State(tmp_path)
    kept.save_run({"seed": 7})
    other = replace(RECORD, student="ada")
    kept.save(KEY, RECORD)
    kept.save(key_of("ada", "problem2"), other)
    (tmp_path / "state/.0123456789abcdef.tmp").write_text("half")
    kept.forget(but=[KEY])
    assert kept.record(KEY) == RECORD
    assert {p.name for p in (tmp_path / "state").iterdir()} == {
        "run.json",
        f"{KEY}.json",
    }
    kept.forget()
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["run.json"]
