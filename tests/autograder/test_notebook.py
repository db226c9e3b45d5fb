"""A submission's file becomes code to run, or a clear reason why it can't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder import notebook
from autograder.notebook import Cell, Unreadable, read_cells

MINIMAL = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}


def written(folder: Path, *cells: Any, **more: Any) -> Path:
    path = folder / "problem2.ipynb"
    path.write_text(json.dumps(MINIMAL | {"cells": list(cells)} | more))
    return path


def code(source: Any, **nbgrader: Any) -> dict[str, Any]:
    metadata = {"nbgrader": nbgrader} if nbgrader else {}
    return {"cell_type": "code", "source": source, "metadata": metadata}


def test_cells_in_order_with_their_places(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"cell_type": "markdown", "source": "text"},
        code("a = 1"),
        {"cell_type": "raw", "source": "raw"},
        code(["b = 2\n", "c = 3"]),
        code(""),
    )
    expected = [
        Cell("cell 2", "a = 1"),
        Cell("cell 4", "b = 2\nc = 3"),
        Cell("cell 5", ""),
    ]
    assert read_cells(path) == expected


def test_what_jupyter_writes(tmp_path: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 'Grüße'")])
    path = tmp_path / "a.ipynb"
    nbformat.write(book, path)
    assert read_cells(path) == [Cell("cell 1", "x = 'Grüße'")]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_cells(path)) == 1


@pytest.mark.parametrize(
    ("metadata", "runs"),
    [
        ({"grade": True, "solution": False, "locked": True}, False),
        ({"grade": False, "solution": False, "locked": True}, False),
        ({"grade": True, "solution": True, "locked": False}, True),
        ({"grade": False, "solution": True, "locked": False}, True),
        ({"task": True}, True),
    ],
)
def test_test_cells_and_locked_cells_are_ours(
    tmp_path: Path, metadata: dict[str, Any], runs: bool
) -> None:
    assert bool(read_cells(written(tmp_path, code("x", **metadata)))) == runs


@pytest.mark.parametrize(
    "metadata", [None, [], 3, {"nbgrader": []}, {"nbgrader": None}]
)
def test_odd_metadata_is_no_metadata(tmp_path: Path, metadata: Any) -> None:
    cell = code("x") | {"metadata": metadata}
    assert len(read_cells(written(tmp_path, cell))) == 1


def test_a_tag_does_not_keep_a_cell_from_running(tmp_path: Path) -> None:
    cell = code("x") | {"metadata": {"tags": ["skip-execution"]}}
    assert len(read_cells(written(tmp_path, cell))) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b"\x00" * 100, "no JSON"),
        (b"\xff\xfe{", "no text in UTF-8"),
        (b"[]", "no list of cells"),
        (b"{}", "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
        (b'{"cells": [], "nbformat": 3}', "format 4"),
        (b'{"cells": [], "nbformat": "4"}', "format 4"),
        (b'{"cells": [], "cells": [], "nbformat": 4}', "twice"),
        (b"[" * 200_000, "too deep"),
        (b'{"a":' * 200_000, "too deep"),
        (b'{"cells": [], "nbformat": ' + b"4" * 10_000 + b"}", "no JSON"),
        (b'{"cells": [1], "nbformat": 4}', "cell 1 is no cell"),
        (b'{"cells": [{"cell_type": "code", "source": 1}], "nbformat": 4}', "no text"),
        (
            b'{"cells": [{"cell_type": "code", "source": [1]}], "nbformat": 4}',
            "no text",
        ),
        (
            b'{"cells": [{"cell_type": "code", "source": "\\ud800"}], "nbformat": 4}',
            "half a character",
        ),
    ],
    ids=range(16),
)
def test_what_is_no_notebook(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=reason):
        read_cells(path)


def test_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="1,000 cells"):
        read_cells(written(tmp_path, *[code("")] * 1001))
    with pytest.raises(Unreadable, match="cell 1 has more than 200,000"):
        read_cells(written(tmp_path, code("x" * 200_001)))
    monkeypatch.setattr(notebook, "MAX_FILE", 100)
    with pytest.raises(Unreadable, match="MB"):
        read_cells(written(tmp_path, code("x" * 100)))


def test_only_a_plain_file_is_opened(tmp_path: Path) -> None:
    target = written(tmp_path, code("solution"))
    link, pipe = tmp_path / "link.ipynb", tmp_path / "pipe.ipynb"
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path, reason in [
        (link, "a link"),
        (pipe, "no plain file"),
        (tmp_path, "no plain file"),
        (Path("/dev/zero"), "no plain file"),
        (tmp_path / "none.ipynb", "no such file"),
    ]:
        with pytest.raises(Unreadable, match=reason):
            read_cells(path)


def test_a_folder_that_is_a_link_to_somebody_elses_work(tmp_path: Path) -> None:
    alice, eve = tmp_path / "alice", tmp_path / "eve"
    alice.mkdir()
    path = written(alice, code("answer = 42"))
    eve.symlink_to(alice)
    assert read_cells(path, within=tmp_path)
    with pytest.raises(Unreadable, match="a link"):
        read_cells(eve / path.name, within=tmp_path)
