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
RENAMED: dict[str, str] = {}
# What was added or taken away since then, on purpose.
ADDED: dict[str, set[str]] = {}
GONE: dict[str, set[str]] = {}


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
    wanted = wanted - GONE.get(part, set()) | ADDED.get(part, set())
    assert set(now["defined"]) == wanted
    assert now["data"] == before["data"]


@pytest.mark.parametrize("part", ["wheel", "student bundle"])
def test_what_is_packed_holds_what_it_held(part: str) -> None:
    same(told(part), BEFORE[part], part)


def test_a_sandbox_shows_what_it_showed() -> None:
    now = told("sandboxes")
    assert sorted(now) == sorted(BEFORE["sandboxes"])
    for problem, before in BEFORE["sandboxes"].items():
        same(now[problem], before, f"sandbox of {problem}")
