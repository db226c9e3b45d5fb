"""What users have is what they had before the files moved (before_the_move.json).

The grades of the sample class are compared in tests/book/test_instructors.py.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
BEFORE = json.loads((HERE / "before_the_move.json").read_text(encoding="utf-8"))
# Internal names that are called otherwise since then.
RENAMED = {
    "Evidence": "Transcript",
    "Lane": "Worker",
    "Plain": "Subprocess",
    "begun": "open_run",
    "undisturbed": "frozen_eval",
}
# What came since then, on purpose. Students have two whole folders, of which they had
# only parts.
ADDED: dict[str, set[str]] = {
    "wheel": {"copy_code", "grad_cam_plus_plus"},
    "student bundle": {
        "copy_code",
        "grad_cam_plus_plus",
        "problems_with_checks",
        "mistakes",
        "right_functions",
        "source_with",
        "adopt_orphans",
        "close_all_but",
        "confine",
        "limit",
        "drop_capabilities",
        "filter_program",
        "forbid_system_calls",
        "mount_own",
        "isolated_fork",
        "threads_of",
        "ended",
        "opened",
        "tell",
        "try_out",
        "watch_threads",
    },
}
# A stub is no function any more; a model card names the file that draws its pictures.
CHANGED = {"stub.py.txt", "MODEL_CARD.md", "recipe.json"}
ACCEPTED = HERE.parent / "accepted"


def collector() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect", HERE / "collect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(part: str) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(collector().PARTS[part]()))


@pytest.mark.parametrize("part", ["public names", "commands", "checks"])
def test_what_users_call_is_as_it_was(part: str) -> None:
    now = told(part)
    assert sorted(now) == sorted(BEFORE[part])
    for name, value in BEFORE[part].items():
        assert now[name] == value, name


def same(now: dict[str, Any], before: dict[str, Any], part: str) -> None:
    wanted = {RENAMED.get(name, name) for name in before["defined"]}
    found = {*now["defined"]}
    # Only the tests use the right answers, and have them now.
    moved = {*collector().held(of_folder(ACCEPTED))["defined"]}
    assert wanted - found <= (moved if part == "wheel" else set())
    assert found - wanted == ADDED.get(part, set())
    for name, digest in before["data"].items():
        assert name in CHANGED or now["data"][name] == digest, name
    assert {*now["data"]} == {*before["data"]}


def of_folder(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in folder.glob("*.py")]


@pytest.mark.parametrize("part", ["wheel", "student bundle"])
def test_what_is_packed_holds_what_it_held(part: str) -> None:
    same(told(part), BEFORE[part], part)


def test_a_sandbox_shows_what_it_showed() -> None:
    now = told("sandboxes")
    assert sorted(now) == sorted(BEFORE["sandboxes"])
    for problem, before in BEFORE["sandboxes"].items():
        same(now[problem], before, f"sandbox of {problem}")
