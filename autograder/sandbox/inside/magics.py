"""Notebook cells as plain Python.

IPython's magics and shell lines do nothing. But the statement behind ``%time`` runs,
and so does the body under ``%%time`` and ``%%capture``.
"""

from __future__ import annotations

from typing import Any

# Python follows these magics, and the names that it sets stay. With %timeit they don't.
TRANSPARENT = frozenset({"time", "capture", "prun"})


def plain_python(source: str) -> str:
    """A cell as Python, by IPython's own parser where IPython is installed."""
    if not any(mark in source for mark in "%!?"):
        return source
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError:
        return source
    transformed: str = TransformerManager().transform_cell(source)
    return transformed


class Magics:
    """What ``get_ipython()`` returns: it runs no shell and changes no setting."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.user_ns = namespace

    def run_line_magic(self, name: str, line: str, *_: Any, **__: Any) -> None:
        if name in TRANSPARENT:
            exec(line, self.user_ns)

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in TRANSPARENT:
            exec(plain_python(cell), self.user_ns)

    def system(self, command: str) -> None:
        print(f"not run here: {command}")

    def getoutput(self, command: str, *_: Any, **__: Any) -> list[str]:
        self.system(command)
        return []


def stand_in_for_ipython(namespace: dict[str, Any]) -> dict[str, Any]:
    """The names that a notebook finds without importing them."""
    magics = Magics(namespace)
    return {"get_ipython": lambda: magics, "display": lambda *_, **__: None}
