"""Every patch applies and names tests that there are; every larger module has one."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from mutations.run import APPLY, ROOT, Mutation, mutations

MUTATIONS = mutations()
LARGE = 150  # lines
LEFT_OUT = ("mutants.py", "mistakes.py")  # wrong on purpose
OF_TRAINING = "chapter4/training/"  # run by hand: one in its loop will do


def broken_files() -> Counter[str]:
    """How many patches each file has."""
    text = [each.path.read_text(encoding="utf-8") for each in MUTATIONS]
    names = [re.findall(r"^\+\+\+ b/(\S+)$", one, flags=re.MULTILINE) for one in text]
    return Counter(name for each in names for name in each)


def large_modules() -> list[str]:
    """The modules that must have a patch."""
    paths = [
        p for top in ("chapter4", "autograder") for p in (ROOT / top).rglob("*.py")
    ]
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted(paths)
        if path.name not in LEFT_OUT and len(path.read_text().splitlines()) > LARGE
    ]


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS) >= 60
    sandbox = [f for f in broken_files() if f.startswith("autograder/sandbox/")]
    assert sum(broken_files()[file] for file in sandbox) >= 10
    assert broken_files()["chapter4/core/folding.py"] >= 2


def test_every_large_module_has_one() -> None:
    known = broken_files()
    assert known["chapter4/training/loop.py"]
    wanted = [name for name in large_modules() if not name.startswith(OF_TRAINING)]
    assert wanted
    assert [name for name in wanted if not known[name]] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.path.stem)
def test_it_applies_and_its_tests_exist(mutation: Mutation) -> None:
    command = [*APPLY, "--check", str(mutation.path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    named = [Path(word.partition("::")[0]) for word in mutation.tests]
    files = [ROOT / path for path in named if path.parts[0] == "tests"]
    assert files
    assert all(file.exists() for file in files)


def test_each_says_what_it_breaks() -> None:
    for each in MUTATIONS:
        why = each.path.read_text(encoding="utf-8").partition("\nTests:")[0]
        assert re.fullmatch(r"[A-Z][^\n]+\.", why), each.path.name
