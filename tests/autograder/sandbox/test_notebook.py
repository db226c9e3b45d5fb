"""A submission's file becomes code to run, or a clear reason why it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.validator import get_validator

from autograder import nbgrader_plugin
from autograder.grading import scheduler
from autograder.grading.scheduler import Plan
from autograder.grading.submissions import Submission
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
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\x00" * 100, "no JSON"),
        (b"\xff\xfe{", "no text in UTF-8"),
        ('{"cells": ["Gr\xfc\xdfe"]}'.encode("latin-1"), "no text in UTF-8"),
        (b"[]", "no list of cells"),
        (b"{}", "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
        (b'{"cells": [', "no JSON"),
        (b"[NaN, 1e999]", "no list of cells"),
        (b"[" * 200_000, "too deep"),
        (b'{"a":' * 200_000, "too deep"),
        (b'{"cells": [], "nbformat": ' + b"4" * 10_000 + b"}", "no JSON"),
        (b"PK\x03\x04 problem2.ipynb", "a zip archive: unpack it"),
        (b"PK\x03\x04 word/document.xml", "a text document: hand in the notebook"),
        (b"%PDF-1.7", "a PDF: hand in the notebook"),
        (b"\n<!DOCTYPE html><html>", "a web page: hand in the notebook"),
        (b"#!/usr/bin/python\nimport torch\n", "Python code: copy it into the cells"),
        (b'{"worksheets": [], "nbformat": 3}', "not of format 4: open it in Jupyter"),
    ],
    ids=range(19),
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


SAVED = code("x = 1") | {"id": "a", "outputs": [], "execution_count": None}
TEXT = {"cell_type": "markdown", "source": "text", "metadata": {}, "id": "t"}
NESTED = reduce(lambda inner, _: {"x": inner}, range(60), {})
R = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
NO_IDS = without(TEXT, "id"), without(SAVED, "id")
ODD_METADATA = (
    {"nbgrader": []},
    {"nbgrader": None},
    {"tags": "no list", "collapsed": "perhaps", "name": 3},
    {"tags": ["skip-execution"]},
    {"vscode": {"languageId": "python"}, "jupyter": None},
)
READABLE = {
    "as Jupyter saves it": whole(TEXT, SAVED),
    "no cells": whole(),
    "4.0, no ids": whole(*NO_IDS, nbformat_minor=0),
    "4.4 with ids": whole(TEXT, SAVED, nbformat_minor=4),
    "a minor version to come": whole(SAVED | {"new": 1}, new=2, nbformat_minor=6),
    "no ids": whole(*NO_IDS),
    "the same id twice": whole(SAVED, TEXT | {"id": "a"}),
    "odd ids": whole(*(SAVED | {"id": odd} for odd in (3, "a b", "x" * 65))),
    "ids like ours": whole(SAVED | {"id": "submitted-1"}, without(SAVED, "id")),
    "no outputs": whole(without(SAVED, "outputs", "execution_count")),
    "odd outputs": whole(SAVED | {"outputs": [3], "execution_count": "two"}),
    "a picture": whole(TEXT | {"attachments": {"a.png": {"image/png": "AAAA"}}}),
    "metadata of wrong form": whole(
        *(SAVED | {"metadata": odd} for odd in ODD_METADATA),
        metadata={"kernelspec": {"name": "python3"}, "authors": "me"},
    ),
    "no metadata": without(whole(TEXT | {"metadata": None}), "metadata"),
    "no minor version": without(whole(without(SAVED, "metadata")), "nbformat_minor"),
    "an odd minor version": whole(SAVED, nbformat_minor="5"),
    "deep metadata": whole(SAVED | {"metadata": NESTED}, metadata=NESTED),
    "half a character": whole(SAVED | {"metadata": {"x": "\ud800"}}),
    "Python with another kernel": whole(code("def f(): pass"), metadata=R),
}
NO_TYPE = "cell 1 has no cell_type that there is: "
UNREADABLE = [
    ("not of format 4: open it in Jupyter", whole(SAVED, nbformat=3)),
    ("not of format 4", whole(SAVED, nbformat=5)),
    ("not of format 4", whole(SAVED, nbformat="4")),
    (f"{NO_TYPE}'poem'", whole(SAVED | {"cell_type": "poem"})),
    (f"{NO_TYPE}none", whole(without(SAVED, "cell_type"))),
    (f"{NO_TYPE}none", whole(SAVED | {"cell_type": ["code"]})),
    ("cell 2 is no cell", whole(SAVED, "x = 1")),
    ("the source of cell 1 is no text", whole(without(SAVED, "source"))),
    ("the source of cell 2 is no text", whole(SAVED, TEXT | {"source": [1]})),
    ("written in R, not in Python", whole(SAVED | {"source": "x <- 3"}, metadata=R)),
    ("more than 1,000 cells", whole(*[SAVED] * 1001)),
    (
        "cell 1 has more than 200,000 characters",
        whole(SAVED | {"source": "x" * 200_001}),
    ),
    (
        "the cells have more than 500,000",
        whole(*[SAVED | {"source": "x" * 190_000}] * 3),
    ),
]


@pytest.mark.parametrize("book", READABLE.values(), ids=READABLE)
def test_what_is_read_is_valid_and_the_same_every_time(
    book: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "problem2.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    found = notebook.read_notebook(path)
    nbformat.validate(found)
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert [c["source"] for c in found["cells"]] == [c["source"] for c in book["cells"]]
    assert len({c["id"] for c in found["cells"]}) == len(found["cells"])
    runs = [c for c in book["cells"] if c["cell_type"] == "code"]
    assert len(read_cells(path)) == len(runs)
    assert notebook.read_notebook(path) == found
    path.write_text(json.dumps(found), encoding="utf-8")
    assert notebook.read_notebook(path) == found, "what was mended needs no mending"


@pytest.mark.parametrize(
    ("reason", "book"), [*(("", book) for book in READABLE.values()), *UNREADABLE]
)
def test_both_ways_of_grading_read_the_same_files(
    reason: str, book: dict[str, Any], tmp_path: Path
) -> None:
    """nbgrader and the batch run give the same code, or the same reason in one line."""
    path = tmp_path / "problem2.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    from_nbgrader = nbgrader_plugin._read(path)
    submission, plan = Submission("ada", "problem2", path), Plan(tmp_path, 1)
    told, found = scheduler._look(submission, plan)
    if not reason:
        assert found is not None
        asked = [Cell(*cell) for cell in plan.order(submission, found)["cells"]]
        assert asked == notebook.cells_of(from_nbgrader)
    else:
        assert told.status == "unreadable"
        assert reason in told.message
        assert "\n" not in told.message
        (cell,) = from_nbgrader.cells
        assert "could not be read" in cell.source
        assert cell.source.endswith(told.message)


def test_what_the_schema_allows_can_be_read() -> None:
    """All but what is too much, or in another language."""
    schema = get_validator(4, 5, relax_add_props=True)
    allowed = [
        reason
        for reason, book in UNREADABLE
        if book["nbformat"] == 4 and not [*schema.iter_errors(book)]
    ]
    assert allowed == [
        "written in R, not in Python",
        "more than 1,000 cells",
        "cell 1 has more than 200,000 characters",
        "the cells have more than 500,000",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_unicode(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(whole(code("x = 'ü'")), ensure_ascii=False), encoding)
    assert read_cells(path) == [Cell("cell 1", "x = 'ü'")]


def test_half_a_character_and_pictures_in_text_are_left_out(tmp_path: Path) -> None:
    picture = "![me](data:image/png;base64," + "A" * 300_000 + "=)"
    path = written(tmp_path, code("x = '\ud800'"), TEXT | {"source": picture})
    found = [c["source"] for c in notebook.read_notebook(path)["cells"]]
    assert found == ["x = '?'", "![me]()"]


SAID = "[1, 2, 3], {'a': 1}, "  # looks like JSON in an output
OUTPUT = {"output_type": "stream", "name": "stdout"}
MB = 2**20


def filled(unit: str, head: str = '"metadata": {"x": [', tail: str = "0]}") -> str:
    """A notebook file of almost 50 MB."""
    count = (49 * MB) // len(unit.encode())
    return f'{{"nbformat": 4, "cells": [], {head}{unit * count}{tail}}}'


def dearest(unit: str) -> str:
    """A file with as much of the unit as is not yet too much."""
    cost = sum(unit.encode().count(mark) * c for mark, c in notebook.COSTS.items())
    count = min(notebook.MAX_COST // cost - 100, 49 * MB // len(unit.encode()))
    return f'{{"nbformat": 4, "cells": [], "x": ["😀", {unit * count}0]}}'


MIXED = [x for i in range(12_000) for x in ([i], {"a": i}, str(i), i)]
HEAVY = {
    "tags of mixed types": lambda: json.dumps(
        whole(code("x") | {"metadata": {"tags": MIXED}})
    ),
    "bad metadata everywhere": lambda: json.dumps(
        whole(*[SAVED | {"metadata": {"tags": 1, "name": [2], "jupyter": 3}}] * 1000)
    ),
    "10,000 cells": lambda: json.dumps(whole(*[SAVED] * 10_000)),
    "outputs": lambda: json.dumps(
        whole(*[SAVED | {"outputs": [OUTPUT | {"text": SAID * 20_000}]}] * 100)
    ),
    "lists": lambda: filled("[],"),
    "deep": lambda: filled("[", tail=""),
    "deep and wide": lambda: filled("[" * 900 + "]" * 900 + ","),
    "strings": lambda: filled('"ā",'),
    "keys": lambda: filled('"a":0,', head='"x": {', tail='"b": 0}'),
    "open strings": lambda: filled('\\"', head='"'),
    "a number": lambda: filled("1", head='"x": ', tail=""),
    "a number with a point": lambda: filled("1", head='"x": 1.', tail=""),
    "a key": lambda: filled("k", head='"😀', tail='": 0'),
    "NaN": lambda: filled("NaN,"),
    **{u: lambda u=u: dearest(u) for u in ("[[0]],", '{"a":[]},', '"ā",', '"😀a",')},
}
MEASURED = """
import resource, sys, time
from autograder.sandbox.notebook import Unreadable, read_notebook
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = most(), time.process_time()
try:
    read_notebook(sys.argv[1])
except Unreadable:
    pass
print(most() - before, time.process_time() - start)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="measures as Unix does")
@pytest.mark.parametrize("heavy", HEAVY.values(), ids=HEAVY)
def test_no_file_takes_long_or_much_memory(
    heavy: Callable[[], str], tmp_path: Path
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(heavy(), encoding="utf-8")
    assert path.stat().st_size < notebook.MAX_FILE
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    megabytes, seconds = map(float, done.stdout.split())
    assert megabytes < 1000
    assert seconds < 20


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with path.open("wb") as file:
        file.truncate(notebook.MAX_FILE + 1)
    with pytest.raises(Unreadable, match="more than 50 MB: clear the outputs"):
        read_cells(path)


def test_no_memory_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(text: str) -> None:
        raise MemoryError

    monkeypatch.setattr(notebook.json, "loads", loads)
    with pytest.raises(Unreadable, match="clear its outputs"):
        read_cells(written(tmp_path))


def test_only_a_plain_file_is_opened(tmp_path: Path) -> None:
    target = written(tmp_path, code("solution"))
    link, pipe = tmp_path / "link.ipynb", tmp_path / "pipe.ipynb"
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path, reason in [
        (link, "a link"),
        (pipe, "no plain file"),
        (tmp_path, "no plain file but a folder"),
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
