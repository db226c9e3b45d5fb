"""Pages are executed side by side, and only those whose results may differ."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import dependencies
import execute
import kernel
import pytest
from jupyter_cache import get_cache
from myst_nb.core.read import myst_nb_reader_plugin
from nbformat.v4 import new_code_cell
from processes import all_end, below, soon
from small_books import HEADER

BOOK = Path(execute.__file__).parent
# torch and its like need seconds, and these pages do without them.
RUN = "import execute; execute.PRELOADED = (); raise SystemExit(execute.main())"
TOOL = '''"""A module."""


def double(x):
    """Twice."""
    return 2 * x  # not three times
'''


class Course:
    """A small course: two packages, data, and a page for each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "book").mkdir()
        for module in (dependencies, execute, kernel):
            shutil.copy(str(module.__file__), root / "book")
        self.write("one/__init__.py", "")
        self.write("one/tool.py", TOOL)
        self.write("two.py", TOOL)
        self.write("data/numbers.txt", "7")
        self.page("first", "from one.tool import double", "double(4)")
        self.page("second", "from two import double", "print(double(5))")
        self.page(
            "third",
            f"root = Path({str(root)!r})",
            "print((root / 'data/numbers.txt').read_text())",
            "print(len(list((root / 'data').iterdir())), 'files')",
        )

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(text)

    def page(self, name: str, *lines: str) -> None:
        path = f"import sys; sys.path.insert(0, {str(self.root)!r})"
        cells = [path, "from pathlib import Path", *lines]
        body = "".join(f"```{{code-cell}} ipython3\n{c}\n```\n\n" for c in cells)
        self.write(f"book/{name}.md", f"{HEADER}# {name}\n\n{body}")

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RUN],
            cwd=self.root / "book",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self) -> tuple[int, set[str], str]:
        """The exit code, which pages were executed, and what was said."""
        process = self.start()
        said, _ = process.communicate()
        return process.returncode, set(re.findall(r"(\w+) took", said)), said

    def results(self, page: str) -> str:
        """What Sphinx finds for a page: the text that its cells gave."""
        cache = get_cache(str(self.root / "book" / "_build" / ".jupyter_cache"))
        notebook = myst_nb_reader_plugin(str(self.root / "book" / f"{page}.md"))
        _, found = cache.merge_match_into_notebook(notebook)
        outputs = [o for c in found.cells for o in c.get("outputs", ())]
        texts = [o.get("text") or o["data"]["text/plain"] for o in outputs]
        return "|".join(text.strip() for text in texts)


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course(tmp_path)


def test_what_was_done_before_a_failure_is_kept(course: Course) -> None:
    course.page("bad", "1 / 0")
    code, executed, said = course.run()
    assert (code, executed) == (1, {"first", "second", "third"})
    assert "ERROR in bad" in said
    assert "ZeroDivisionError" in said
    assert re.search(r"\[book\] 1/4 .*; left: \w+, \w+, \w+\n", said), said
    course.page("bad", "1 / 1")
    assert course.run()[:2] == (0, {"bad"})
    assert course.results("first") == "8"
    assert course.results("second") == "10"
    assert course.results("third") == "7|1 files"
    assert course.results("bad") == "1.0"


@pytest.mark.slow
def test_only_what_may_differ_is_executed(course: Course) -> None:
    """One course goes through one change after the other."""
    assert course.run()[:2] == (0, {"first", "second", "third"})

    assert course.run()[:2] == (0, set())
    course.change("one/tool.py", "# not three times", "# a comment")
    course.change("one/tool.py", '"""Twice."""', '"""Two times."""')
    course.change("book/first.md", "double(4)", "double(4)  # eight")
    course.change("book/first.md", "# first", "# Another title")
    assert course.run()[:2] == (0, set())
    assert course.results("first") == "8"

    course.change("one/tool.py", "2 * x", "3 * x")
    assert course.run()[:2] == (0, {"first"})
    assert course.results("first") == "12"

    course.change("book/second.md", "double(5)", "double(6)")
    assert course.run()[:2] == (0, {"second"})
    assert course.results("second") == "12"

    course.write("data/numbers.txt", "9")
    assert course.run()[:2] == (0, {"third"})
    course.write("data/more.txt", "")
    assert course.run()[:2] == (0, {"third"})
    assert course.results("third") == "9|2 files"

    course.change("book/first.md", "double(4)", "double(4);")
    assert course.run()[:2] == (0, {"first"})
    assert course.results("first") == ""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_keeps_what_is_done_and_leaves_no_kernel(
    course: Course, end: signal.Signals
) -> None:
    begun = course.root / "begun"
    course.page("endless", f"Path({str(begun)!r}).touch()", "while True: pass")
    process = course.start()
    kept = course.root / "book" / "_build" / "executed"
    assert soon(lambda: begun.exists() and len(list(kept.glob("*.json"))) == 3)
    children = below(process.pid)
    assert children
    os.killpg(process.pid, end)
    try:
        assert process.wait() != 0
        assert all_end(children)
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.communicate()
    assert json.loads((kept / "first.json").read_text())["results"]


def test_a_file_that_changes_meanwhile_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether the cells saw the old file or the new one."""
    monkeypatch.setattr(execute, "EXECUTED", tmp_path)
    monkeypatch.setattr(dependencies, "ROOT", tmp_path)
    source = tmp_path / "page.md"
    source.write_text(f"{HEADER}```{{code-cell}} ipython3\n1\n```\n")
    (tmp_path / "used.txt").write_text("")
    page = execute.Page(source, [])
    for moment, kept in ((execute.BEGAN + 1, False), (execute.BEGAN - 1, True)):
        os.utime(tmp_path / "used.txt", (moment, moment))
        page.keep(["file:used.txt"])
        assert page.find() is kept


def test_code_is_the_same_without_its_comments() -> None:
    code = dependencies.code_of_module
    assert code(TOOL) == code(TOOL.replace("not three times", "x").replace("Twice", ""))
    assert code(TOOL) != code(TOOL.replace("2 * x", "x * 2"))
    # A text that is no docstring counts.
    assert code("x = 'a'") != code("x = 'b'")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("f(x)  # a", "f(x)", True),
        ("f(x)", "f(x);", False),
        ("%time f(x)", "%time f(y)", False),
        ("f('# a')", "f('# b')", False),
    ],
)
def test_cells_with_the_same_results(one: str, other: str, same: bool) -> None:
    """A semicolon decides whether a cell shows its last value."""
    code = dependencies.code_of_cell
    assert (code(new_code_cell(one)) == code(new_code_cell(other))) is same


def test_tags_of_a_cell_count() -> None:
    tagged = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    code = dependencies.code_of_cell
    assert code(tagged) != code(new_code_cell("1 / 0"))


def test_libraries_are_the_packages_own() -> None:
    """Requirements with their installed versions; extras do not count."""
    found = dependencies.libraries()
    assert any(r.startswith("torch==") for r in found)
    assert not any(r.startswith(("jupyter-book", "ruff", "pytest")) for r in found)


def test_pages_share_the_cores_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PHYS_PAGES": 6 * 2**30 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert execute.workers(16) == 3
    assert execute.workers(1) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert execute.workers(16) == 1
