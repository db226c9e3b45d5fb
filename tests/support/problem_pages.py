"""The pages as a build reads them, with the parts of the problems in their place.

book/_ext is no package, so this file loads its module from the path.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

BOOK = Path(__file__).resolve().parents[2] / "book"

_spec = importlib.util.spec_from_file_location(
    "chapter4_problems", BOOK / "_ext" / "chapter4_problems.py"
)
assert _spec is not None
assert _spec.loader is not None
problems = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(problems)


def page_text(name: str) -> str:
    """A page's MyST source, expanded."""
    return problems.expand((BOOK / f"{name}.md").read_text(encoding="utf-8"))
