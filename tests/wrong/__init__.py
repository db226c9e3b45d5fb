"""Known mistakes that can be run: methods.py is right, mutants.py says how to break it.

The tables say which oracle must catch which mistake.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wrong.mutants import MUTANTS

__all__ = ["MUTANTS", "implementation"]

RIGHT = Path(__file__).with_name("methods.py")


def implementation(kind: str, old: str = "", new: str = "") -> Any:
    """A method of methods.py, with a mistake if a text and another for it are given."""
    source = RIGHT.read_text(encoding="utf-8")
    assert old in source, f"methods.py has no longer {old}"
    namespace: dict[str, Any] = {"__name__": "wrong.methods"}
    code = source.replace(old, new) if old else source
    exec(compile(code, RIGHT, "exec"), namespace)
    return namespace[kind]
