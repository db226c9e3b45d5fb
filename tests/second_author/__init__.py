"""The known mistakes of each problem, written anew by somebody who had not read them.

A check must know a mistake, and not one person's way of making it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any


def submission(problem: str, task: str = "", mistake: str = "") -> str:
    """The source of a submission that is right but for one mistake in one task."""
    own: Any = importlib.import_module(f"second_author.{problem}")
    parts = dict(own.RIGHT)
    if mistake:
        change = own.MISTAKES[task][mistake]
        parts[task] = change if isinstance(change, str) else edited(parts[task], change)
    return own.IMPORTS + "".join(parts.values())


def edited(source: str, changes: list[tuple[str, str]]) -> str:
    for old, new in changes:
        assert source.count(old) == 1, f"not once in the right answer: {old}"
        source = source.replace(old, new)
    return source


def problems() -> list[str]:
    """The problems that have a second author."""
    return sorted(path.stem for path in Path(__file__).parent.glob("problem*.py"))


def listed(problem: str) -> set[tuple[str, str]]:
    """The tasks and mistakes of a problem that have a second author."""
    if problem not in problems():
        return set()
    own: Any = importlib.import_module(f"second_author.{problem}")
    return {(task, name) for task, names in own.MISTAKES.items() for name in names}
