"""Reads a submission's file, and decides which of its cells run.

Nothing in the file is trusted, and nothing in it is run here. What is needed of it is
copied, checked, into a notebook of our own, before any library looks at it.

Both ways of grading, nbgrader's and the batch run's, read files here and ask here what
runs. So they always agree.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MAX_FILE = 50 * 2**20
MAX_CELLS = 1_000
MAX_SOURCE = 200_000  # characters in a cell
MAX_TEXT = 500_000  # characters in all cells
# Bytes that a character outside of strings can cost at most once JSON is parsed, and
# how many all of them may cost: a file of 50 MB could become gigabytes.
COSTS = {b"{": 100, b"[": 100, b",": 80, b":": 260}
MAX_COST = 600 * 2**20
MAX_QUOTES = 4_000_000  # in a file whose strings are looked at one by one
# A string of JSON; one that is not closed goes to the end.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# A picture inside of Markdown.
PICTURE = re.compile(r"data:[\w/+.-]{1,100};base64,[\w+/=%]*", re.ASCII)
# What a cell defines.
DEFINES = re.compile(r"^(?:async )?(?:def|class) (\w+)", re.MULTILINE)
MENDED = "submitted-"  # so begins an id that a cell has from us

HAND_IN = "hand in the notebook itself, the file that ends in .ipynb"
ARCHIVE = "unpack it and hand in the .ipynb inside"
DOCUMENT = f"a text document: {HAND_IN}"
ZIP = b"PK\x03\x04"
OTHERS = {
    ZIP: f"a zip archive: {ARCHIVE}",
    b"\x1f\x8b": f"an archive: {ARCHIVE}",
    b"Rar!": f"an archive: {ARCHIVE}",
    b"7z\xbc\xaf": f"an archive: {ARCHIVE}",
    b"%PDF": f"a PDF: {HAND_IN}",
    b"{\\rtf": DOCUMENT,
    b"\xd0\xcf\x11\xe0": DOCUMENT,
}
# What we believe of nbgrader's metadata, and its types.
MARKS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("grade", "locked", "solution", "task"), (bool,)),
    **dict.fromkeys(("grade_id", "cell_type"), (str,)),
    "points": (int, float),
}


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


class Known(NamedTuple):
    """What a submission's cell is.

    Attributes:
        ours: The cell of the release that it is, or None.
        runs: Whether it is the student's code.
    """

    ours: Any
    runs: bool


def read_cells(path: Path | str, within: Path | None = None) -> list[Cell]:
    """The student's code in a file, as its metadata tells it from ours.

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

    It has the cells' types, ids and texts, and what nbgrader's metadata says of them.
    Outputs, pictures and all other metadata are left out. Nobody should lose points for
    a missing or repeated id or for odd metadata, so these are mended.

    Args:
        path: The submission's file.
        within: The folder of all submissions. No folder below it may be a link, because
            a link could lead to somebody else's work.

    Returns:
        The notebook, valid by nbformat's schema.

    Raises:
        Unreadable: The file is not a plain file, is too large, is not JSON, or has no
            cells in the form of a notebook. The message is one line.
    """
    path = Path(path)
    if within is not None and _is_link(path, within):
        raise Unreadable("the file or its folder is a link")
    try:
        return _notebook(_parsed(_bytes_of(path)))
    except RecursionError:
        raise Unreadable("the file is nested too deep for a notebook") from None
    except MemoryError:
        raise _too_much() from None


def _is_link(path: Path, within: Path) -> bool:
    try:
        return path.resolve() != within.resolve() / path.relative_to(within)
    except (RuntimeError, OSError):  # a link that leads to itself
        return True


def cells_of(
    submitted: Mapping[str, Any], release: Mapping[str, Any] | None = None
) -> list[Cell]:
    """The student's code in a notebook, in the order in which it stands there."""
    known = known_cells(submitted, release)
    return [
        Cell(f"cell {i}", cell["source"])
        for i, cell in enumerate(submitted["cells"], start=1)
        if known[i - 1].runs
    ]


def known_cells(
    submitted: Mapping[str, Any], release: Mapping[str, Any] | None = None
) -> list[Known]:
    """What each cell of a submission is, whatever an editor did to it.

    - Our test cells and locked cells are known by their text, and do not run. With
      other text in it such a cell is the student's own.
    - A cell for an answer is known by its grade_id, or by its id where the metadata is
      lost. As Markdown or raw text it is code all the same, unless a code cell is known
      by the same name or defines the same: then somebody keeps an old version.
    - Every other code cell runs: split, copied or moved, where it stands.

    Args:
        submitted: The submission.
        release: The notebook that was handed out. Without it, as on a student's
            machine, the metadata alone says which cells are ours.

    Returns:
        What each cell is, in order.
    """
    ours = release["cells"] if release is not None else ()
    locked = {_plain(cell): cell for cell in ours if _is_locked(cell)}
    named = {name: c for c in ours if not _is_locked(c) for name in _names(c)}
    found = []
    for cell in submitted["cells"]:
        names = _names(cell)
        name = next((n for n in names if n in named), names[0] if names else "")
        found.append((cell, locked.get(_plain(cell)) or named.get(name), name))
    code = [(cell, name) for cell, _, name in found if cell["cell_type"] == "code"]
    as_code = {name for _, name in code}
    defined = {each for cell, _ in code for each in DEFINES.findall(cell["source"])}
    known = []
    for cell, own, name in found:
        if _is_locked(own or ({} if release else cell)):
            runs = False
        elif cell["cell_type"] == "code":
            runs = True
        else:
            mark = _mark(cell)
            kind = (
                own["cell_type"]
                if own
                else mark.get("solution") and mark.get("cell_type")
            )
            again = defined & {*DEFINES.findall(cell["source"])}
            runs = kind == "code" and name not in as_code and not again
        known.append(Known(own, runs))
    return known


def _parsed(data: bytes) -> Any:
    """The JSON in a file."""
    for start, what in OTHERS.items():
        if data.startswith(start):
            word = start == ZIP and b"word/" in data
            raise Unreadable(f"the file is {DOCUMENT if word else what}")
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise Unreadable(f"the file is no text in UTF-8: {HAND_IN}") from None
    if _costs_too_much(text.encode()):
        raise _too_much()
    try:
        return json.loads(text)
    except ValueError as error:
        why = _other_text(text) or f"no JSON: {str(error)[:200]}"
        raise Unreadable(f"the file is {why}") from None


def _costs_too_much(data: bytes) -> bool:
    """Whether JSON could take too much memory as objects."""
    if _cost(data) <= MAX_COST:
        return False
    # Text in strings may look like JSON, such as what a cell has printed.
    quotes = data.count(b'"') - data.count(b'\\"')
    return quotes > MAX_QUOTES or _cost(STRING.sub(b"", data)) > MAX_COST


def _cost(data: bytes) -> int:
    return sum(cost * data.count(mark) for mark, cost in COSTS.items())


def _too_much() -> Unreadable:
    return Unreadable(
        "the notebook holds too much data: clear its outputs and save it again"
    )


def _other_text(text: str) -> str:
    """What a text that is no JSON seems to be, and what to do; or ""."""
    start = text[:10_000].lstrip().lower()
    if not text.strip():
        return f"empty: save it in Jupyter, and {HAND_IN}"
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return f"a web page: {HAND_IN}"
    if start[:1] != "{" and re.search("^(import|from|def|class) ", start, re.M):
        return "Python code: copy it into the cells of the notebook, and hand that in"
    return ""


def _notebook(found: Any) -> dict[str, Any]:
    """What we need of a notebook, checked and copied."""
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        if isinstance(found, dict) and "worksheets" in found:
            found = {"cells": [], "nbformat": 3}
        else:
            raise Unreadable("the file is no notebook: it has no list of cells")
    if found.get("nbformat") != 4:
        raise Unreadable(
            "the notebook is not of format 4: open it in Jupyter and save it"
        )
    if len(found["cells"]) > MAX_CELLS:
        raise Unreadable(f"the notebook has more than {MAX_CELLS:,} cells")
    cells = [_cell(cell, i) for i, cell in enumerate(found["cells"], start=1)]
    if sum(len(cell["source"]) for cell in cells) > MAX_TEXT:
        raise Unreadable(f"the cells have more than {MAX_TEXT:,} characters")
    language = _language(found.get("metadata"))
    if language and not any("def " in cell["source"] for cell in cells):
        raise Unreadable(f"the notebook is written in {language}, not in Python")
    return {
        "cells": _with_ids(cells),
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _language(metadata: Any) -> str:
    """The language of a notebook's kernel if it says one, and not Python; or ""."""
    for part, key in (("kernelspec", "language"), ("language_info", "name")):
        said = metadata.get(part) if isinstance(metadata, dict) else None
        language = said.get(key) if isinstance(said, dict) else None
        if isinstance(language, str) and language.strip():
            return "" if "python" in language.lower() else ascii(language[:20])[1:-1]
    return ""


def _cell(cell: Any, i: int) -> dict[str, Any]:
    """What we need of cell number ``i``, checked and copied."""
    if not isinstance(cell, dict):
        raise Unreadable(f"cell {i} is no cell")
    kind = cell.get("cell_type")
    if kind not in ("code", "markdown", "raw"):
        said = ascii(kind[:40]) if isinstance(kind, str) else "none"
        raise Unreadable(f"cell {i} has no cell_type that there is: {said}")
    mark = {
        key: value
        for key, value in _mark(cell).items()
        if type(value) in MARKS.get(key, ())
    }
    return {
        "id": cell.get("id"),
        "cell_type": kind,
        "source": _source_of(cell, i),
        "metadata": {"nbgrader": mark} if mark else {},
        **({"outputs": [], "execution_count": None} if kind == "code" else {}),
    }


def _with_ids(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each cell an id of its own; the same file always gets the same ids."""
    seen: set[str] = set()
    for i, cell in enumerate(cells):
        known = cell["id"]
        if not isinstance(known, str) or not re.fullmatch(r"[\w-]{1,64}", known, re.A):
            known = f"{MENDED}{i}"
        again = 0
        while known in seen:
            again += 1
            known = f"{MENDED}{i}-{again}"
        cell["id"] = known
        seen.add(known)
    return cells


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
            folder = stat.S_ISDIR(status.st_mode)
            raise Unreadable(f"it is no plain file{' but a folder' if folder else ''}")
        if status.st_size > MAX_FILE:
            raise Unreadable(
                f"the file has more than {MAX_FILE // 2**20} MB: clear the outputs and"
                " save it again"
            )
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _source_of(cell: dict[str, Any], i: int) -> str:
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Unreadable(f"the source of cell {i} is no text")
    if cell["cell_type"] != "code":
        source = PICTURE.sub("", source)
    if len(source) > MAX_SOURCE:
        raise Unreadable(f"cell {i} has more than {MAX_SOURCE:,} characters")
    return source.encode(errors="replace").decode()  # no half characters


def _mark(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """What nbgrader's metadata say of a cell; {} if nothing."""
    metadata = cell.get("metadata")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return mark if isinstance(mark, dict) else {}


def _is_locked(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is a test cell or locked: ours, and nobody's answer."""
    mark = _mark(cell)
    return not mark.get("solution") and bool(mark.get("grade") or mark.get("locked"))


def _names(cell: Mapping[str, Any]) -> list[str]:
    """What a cell can be known by: its grade_id, then its id."""
    both = (_mark(cell).get("grade_id"), cell.get("id", MENDED))
    return [name for name in both if name and not name.startswith(MENDED)]


def _plain(cell: Mapping[str, Any]) -> str:
    """A cell's text, however an editor ends its lines."""
    return "\n".join(line.rstrip() for line in cell["source"].strip().splitlines())
