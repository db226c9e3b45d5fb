"""Reads a submission's file: the student's cells in order, without our cells.

Nothing in the file is trusted, and nothing in it is run here.

Both ways of grading, nbgrader's and the batch run's, read files here. So they always
agree whether a file is a notebook.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.sandbox.inside.protocol import unique_keys

MAX_FILE = 20 * 2**20
MAX_CELLS = 1_000
MAX_SOURCE = 200_000
MAX_DEPTH = 50


class Unreadable(ValueError):
    """The file is not a notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Cell:
    """One code cell.

    Attributes:
        name: Such as "cell 3", by its place among all cells, as a student counts.
        source: Its code as text.
    """

    name: str
    source: str


def read_cells(path: Path | str, within: Path | None = None) -> list[Cell]:
    """The code cells of a submission, without nbgrader's test and locked cells.

    Args:
        path: The submission's file.
        within: The folder of all submissions. No folder below it may be a link, because
            a link could lead to somebody else's work.

    Returns:
        The cells in order.

    Raises:
        Unreadable: The file is not a notebook that can be graded.
    """
    return cells_of(read_notebook(path, within))


def read_notebook(path: Path | str, within: Path | None = None) -> dict[str, Any]:
    """A submission as a valid notebook of format 4.5, whatever minor version it has.

    Nobody should lose points for a missing or repeated id of a cell, or for metadata of
    the wrong form, so these are mended. Outputs and pictures are left out.

    Args:
        path: The submission's file.
        within: The folder of all submissions. No folder below it may be a link, because
            a link could lead to somebody else's work.

    Returns:
        The notebook, valid by nbformat's schema.

    Raises:
        Unreadable: The file is not a plain file, is too large, is not JSON, or is not a
            notebook by nbformat's schema. The message is one line.
    """
    path = Path(path)
    if within is not None and path.resolve() != within.resolve() / path.relative_to(
        within
    ):
        raise Unreadable("the file or its folder is a link")
    data = _bytes_of(path)
    try:
        notebook = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        raise Unreadable("the file is no text in UTF-8") from None
    except RecursionError:
        raise Unreadable("the file is nested too deep for a notebook") from None
    except (ValueError, MemoryError) as error:
        raise Unreadable(f"the file is no JSON: {str(error)[:200]}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Unreadable("the file is no notebook: it has no list of cells")
    if notebook.get("nbformat") != 4:
        raise Unreadable(
            "the notebook is not of format 4: open it in Jupyter and save it"
        )
    if len(notebook["cells"]) > MAX_CELLS:
        raise Unreadable(f"the notebook has more than {MAX_CELLS:,} cells")
    return _valid(notebook)


def cells_of(notebook: dict[str, Any]) -> list[Cell]:
    """The student's code cells in a notebook."""
    return [
        Cell(f"cell {i}", cell["source"])
        for i, cell in enumerate(notebook["cells"], start=1)
        if cell["cell_type"] == "code" and not _is_ours(cell)
    ]


def _valid(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook in format 4.5, with the parts that matter to us; or Unreadable."""
    import nbformat
    from nbformat.validator import normalize

    minor = notebook.get("nbformat_minor")
    cells = [_cell(cell, i) for i, cell in enumerate(notebook["cells"], start=1)]
    if not isinstance(minor, int) or isinstance(minor, bool):
        raise Unreadable("the notebook does not say its nbformat_minor")
    if not isinstance(notebook.get("metadata"), dict):
        raise Unreadable("the notebook has no metadata")
    # Since 4.0, minor versions have only added things.
    whole = {
        "cells": _with_ids(cells),
        "metadata": notebook["metadata"],
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    if _depth(whole) > MAX_DEPTH:
        raise Unreadable("the file is nested too deep for a notebook")
    try:
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("the notebook has half a character in it") from None
    _, found = normalize(nbformat.from_dict(whole), strip_invalid_metadata=True)
    try:
        nbformat.validate(found)
    except nbformat.ValidationError as error:
        first = str(error).strip().split("\n")[0]
        raise Unreadable(f"the file is no notebook: {first[:200]}") from None
    valid: dict[str, Any] = found
    return valid


def _cell(cell: Any, i: int) -> dict[str, Any]:
    """Cell number ``i``, with the parts that matter to us."""
    if not isinstance(cell, dict):
        raise Unreadable(f"cell {i} is no cell")
    kind = cell.get("cell_type")
    if kind not in ("code", "markdown", "raw"):
        raise Unreadable(f"cell {i} has no cell_type that there is: {str(kind)[:40]!r}")
    found = {"id": cell.get("id"), "cell_type": kind, "source": _source_of(cell, i)}
    if not isinstance(cell.get("metadata"), dict):
        raise Unreadable(f"cell {i} has no metadata")
    found["metadata"] = cell["metadata"]
    if kind == "code":
        found |= {"outputs": [], "execution_count": None}
    return found


def _with_ids(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each cell an id of its own; the same file always gets the same ids."""
    seen: set[str] = set()
    for i, cell in enumerate(cells):
        known = cell["id"]
        if not isinstance(known, str) or not re.fullmatch(r"[\w-]{1,64}", known, re.A):
            known = f"submitted-{i}"
        again = 0
        while known in seen:
            again += 1
            known = f"submitted-{i}-{again}"
        cell["id"] = known
        seen.add(known)
    return cells


def _depth(value: Any) -> int:
    """How deep lists and mappings are nested."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [v for v in level if isinstance(v, dict | list)]
        level = [x for v in inner for x in (v.values() if isinstance(v, dict) else v)]
    return depth


def _bytes_of(path: Path) -> bytes:
    # The file is opened before it is looked at, so that nobody can change it in
    # between. O_NOFOLLOW refuses a link, and without O_NONBLOCK a pipe would block.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | flags)
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except OSError as error:
        why = "it is a link" if path.is_symlink() else os.strerror(error.errno or 0)
        raise Unreadable(f"the file can't be opened: {why}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("it is no plain file")
        if status.st_size > MAX_FILE:
            raise Unreadable(f"the file has more than {MAX_FILE // 2**20} MB")
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _is_ours(cell: dict[str, Any]) -> bool:
    metadata = cell.get("metadata")
    ours = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(ours, dict) or ours.get("solution"):
        return False
    return bool(ours.get("grade") or ours.get("locked"))


def _source_of(cell: dict[str, Any], i: int) -> str:
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Unreadable(f"the source of cell {i} is no text")
    if cell["cell_type"] == "code" and len(source) > MAX_SOURCE:
        raise Unreadable(f"cell {i} has more than {MAX_SOURCE:,} characters")
    try:
        source.encode()
    except UnicodeEncodeError:
        raise Unreadable(f"cell {i} has half a character in it") from None
    return source
