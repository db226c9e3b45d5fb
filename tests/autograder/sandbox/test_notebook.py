"""A submission's file becomes code to run, or a clear reason why it can't."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.validator import get_validator

from autograder import nbgrader_plugin
from autograder.grading import worker
from autograder.sandbox import notebook
from autograder.sandbox.notebook import Cell, Unreadable, read_cells

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
        {"cell_type": "markdown", "source": "text", "metadata": {}},
        code("a = 1"),
        {"cell_type": "raw", "source": "raw", "metadata": {}},
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
    "metadata",
    [
        {"nbgrader": []},
        {"nbgrader": None},
        {"tags": "no list", "collapsed": "perhaps", "name": 3},
        {"vscode": {"languageId": "python"}, "jupyter": None},
    ],
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


def whole(*cells: Any, **more: Any) -> dict[str, Any]:
    return MINIMAL | {"cells": list(cells)} | more


def without(thing: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name not in names}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


SAVED = code("x = 1") | {"id": "a", "outputs": [], "execution_count": None}
TEXT = {"cell_type": "markdown", "source": "text", "metadata": {}, "id": "t"}
READABLE = {
    "as Jupyter saves it": whole(TEXT, SAVED),
    "no cells": whole(),
    "4.0, no ids": whole(without(TEXT, "id"), without(SAVED, "id"), nbformat_minor=0),
    "4.4 with ids": whole(TEXT, SAVED, nbformat_minor=4),
    "a minor version to come": whole(SAVED | {"new": 1}, new=2, nbformat_minor=6),
    "no ids": whole(without(SAVED, "id"), without(SAVED, "id")),
    "the same id twice": whole(SAVED, TEXT | {"id": "a"}),
    "odd ids": whole(
        SAVED | {"id": 3}, SAVED | {"id": "a b"}, SAVED | {"id": "x" * 65}
    ),
    "ids like ours": whole(SAVED | {"id": "submitted-1"}, without(SAVED, "id")),
    "no outputs": whole(without(SAVED, "outputs", "execution_count")),
    "odd outputs": whole(SAVED | {"outputs": [3], "execution_count": "two"}),
    "a picture": whole(TEXT | {"attachments": {"a.png": {"image/png": "AAAA"}}}),
    "metadata of wrong form": whole(
        SAVED | {"metadata": {"tags": 3, "name": 1}},
        metadata={"kernelspec": {"name": "python3"}, "authors": "me"},
    ),
}
UNREADABLE = {
    "cell 1 has no metadata": whole(without(SAVED, "metadata")),
    "cell 2 has no metadata": whole(TEXT, TEXT | {"metadata": None}),
    "the notebook has no metadata": without(whole(SAVED), "metadata"),
    "the notebook does not say its nbformat_minor": without(
        whole(SAVED), "nbformat_minor"
    ),
    "does not say its nbformat_minor": whole(SAVED, nbformat_minor="5"),
    "say its nbformat_minor": whole(SAVED, nbformat_minor=True),
    "not of format 4": whole(SAVED, nbformat=3),
    "not of format 4: open it in Jupyter": whole(SAVED, nbformat=5),
    "cell 1 has no cell_type that there is: 'poem'": whole(
        SAVED | {"cell_type": "poem"}
    ),
    "cell 1 has no cell_type that there is: 'None'": whole(without(SAVED, "cell_type")),
    r"cell 1 has no cell_type that there is: \"\['code'\]\"": whole(
        SAVED | {"cell_type": ["code"]}
    ),
    "cell 2 is no cell": whole(SAVED, "x = 1"),
    "the source of cell 1 is no text": whole(without(SAVED, "source")),
    "the source of cell 2 is no text": whole(SAVED, TEXT | {"source": [1]}),
    "cell 1 has half a character": whole(TEXT | {"source": "\ud800"}),
    "the notebook has half a character": whole(SAVED, metadata={"x": "\ud800"}),
    "nested too deep": whole(SAVED | {"metadata": nested(60)}),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_is_read_is_valid_and_the_same_every_time(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "problem2.ipynb"
    path.write_text(json.dumps(READABLE[name]), encoding="utf-8")
    found = notebook.read_notebook(path)
    nbformat.validate(found)
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert [c["source"] for c in found["cells"]] == [
        c["source"] for c in READABLE[name]["cells"]
    ]
    assert len({c["id"] for c in found["cells"]}) == len(found["cells"])
    assert notebook.read_notebook(path) == found
    path.write_text(json.dumps(found), encoding="utf-8")
    assert notebook.read_notebook(path) == found, "what was mended needs no mending"


@pytest.mark.parametrize("name", [*READABLE, *UNREADABLE])
def test_both_ways_of_grading_read_the_same_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nbgrader and the batch run give the same code, or the same reason in one line."""
    path = tmp_path / "problem2.ipynb"
    path.write_text(json.dumps((READABLE | UNREADABLE)[name]), encoding="utf-8")
    from_nbgrader = nbgrader_plugin._read(path)
    asked: list[Cell] = []

    def run_checks(problem: str, student: Any, seed: int) -> list[Any]:
        asked.extend(student._cells)
        return []

    monkeypatch.setattr(worker, "run_checks", run_checks)
    monkeypatch.setattr(worker.Worker, "_ready", lambda self, problem: None)
    told = worker.Worker(False, []).grade("problem2", path, tmp_path, 1)
    if name in READABLE:
        assert told["status"] == "graded"
        assert asked == notebook.cells_of(from_nbgrader)
    else:
        assert told["status"] == "unreadable"
        assert re.search(name, told["message"])
        assert "\n" not in told["message"]
        (cell,) = from_nbgrader.cells
        assert cell.source.endswith(told["message"])


def test_what_the_schema_allows_can_be_read() -> None:
    """All but what would break a file or a stack later on."""
    allowed = set()
    schema = get_validator(4, 5, relax_add_props=True)
    for name, book in (READABLE | UNREADABLE).items():
        if book["nbformat"] == 4 and not [*schema.iter_errors(book)]:
            allowed.add(name)
    assert {*allowed} - {*READABLE} == {
        "cell 1 has half a character",
        "the notebook has half a character",
        "nested too deep",
    }
    assert len(allowed & {*READABLE}) > 3


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
