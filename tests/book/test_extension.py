"""The book's Sphinx extension, on a two-page book of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from docutils import nodes
from PIL import Image
from small_books import EXTENSIONS, build_book

DRAWN = "# A\n\n```{mermaid}\nflowchart LR\n  accDescr: From a to <b>\n  a --> b\n```\n"
PLAIN = "---\norphan: true\n---\n# B\n\nText.\n"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that builds pages with the extension and gives its warnings."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))

    def run(**pages: str) -> str:
        for name, text in pages.items():
            (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
        settings = {
            "extensions": ["myst_parser", "chapter4_book"],
            "root_doc": "a",
        }
        # No script folders here: only an earlier build makes the real ones.
        monkeypatch.setattr("chapter4_book.VENDOR", tmp_path / "vendor")
        monkeypatch.setattr("chapter4_book.SCRIPTS", tmp_path / "scripts")
        (tmp_path / "vendor").mkdir(exist_ok=True)
        (tmp_path / "scripts").mkdir(exist_ok=True)
        return build_book(tmp_path, tmp_path, settings)[1]

    return run


def test_scripts_only_where_a_diagram_is(
    build: Callable[..., str], tmp_path: Path
) -> None:
    """A page loads the drawing scripts if it has a diagram; the source is escaped."""
    assert build(a=DRAWN, b=PLAIN) == ""
    drawn = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    plain = (tmp_path / "out" / "b.html").read_text(encoding="utf-8")
    assert "From a to &lt;b&gt;" in drawn
    assert "a --&gt; b" in drawn
    assert "mermaid/dist/mermaid.min.js" in drawn
    assert "diagrams.js" in drawn
    assert "mermaid" not in plain
    assert "diagrams.js" not in plain


def test_a_diagram_needs_a_description(build: Callable[..., str]) -> None:
    """A diagram that a screen reader can't describe fails the build.

    The build fails because warnings are errors.
    """
    assert "accDescr" in build(a=DRAWN.replace("accDescr", "%% "))


def test_stderr_is_quoted_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cell wrote to stderr is a warning with the text itself."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    import chapter4_book

    page = nodes.document(None, None)
    page += nodes.literal_block(
        "", "UserWarning: look here", classes=["output", "stderr"]
    )
    page += nodes.literal_block("", "all is well", classes=["output", "stdout"])
    heard: list[str] = []
    monkeypatch.setattr(
        chapter4_book.logger,
        "warning",
        lambda text, *args, **_: heard.append(text % args),
    )
    chapter4_book.warn_of_stderr(None, page)
    assert heard == ["a cell wrote to stderr:\nUserWarning: look here"]


TABLE = """# Table

```{list-table} Two columns
:class: stacked
:header-rows: 1

* - Printed
  - Right
* - zeros
  - black
```
"""


def test_a_stacked_table_repeats_the_columns_names(
    build: Callable[..., str], tmp_path: Path
) -> None:
    """Each cell carries its column's name for the phone; other tables stay."""
    assert (
        build(
            a=TABLE,
            b="---\norphan: true\n---\n" + TABLE.replace(":class: stacked\n", ""),
        )
        == ""
    )
    stacked, plain = (
        (tmp_path / "out" / f"{page}.html").read_text(encoding="utf-8") for page in "ab"
    )
    names = re.findall(r'<p class="column-name">(\w+)</p>\s*<p>(\w+)</p>', stacked)
    assert names == [("Printed", "zeros"), ("Right", "black")]
    assert "column-name" not in plain


def test_page_facts_count_this_page_and_the_whole_book(
    build: Callable[..., str], tmp_path: Path
) -> None:
    """Reading time from the words, in minutes; figures in singular and plural."""
    facts = "```{page-facts}\n:difficulty: Easy\n```\n"
    whole = "```{page-facts}\n:difficulty: Hard\n:whole-book:\n```\n"
    words = "word " * 500 + "\n"
    figure = "```{figure} x.png\n:alt: a picture\n\nCaption\n```\n"
    (tmp_path / "x.png").write_bytes(picture(9, 9))
    assert (
        build(
            a=f"# A\n\n{facts}\n{words}\n{figure}",
            b=f"---\norphan: true\n---\n# B\n\n{whole}\n{words}\n{figure}",
        )
        == ""
    )
    first, second = (
        re.search(
            r'class="page-facts">([^<]*)<',
            (tmp_path / "out" / f"{page}.html").read_text(encoding="utf-8"),
        )
        for page in "ab"
    )
    assert first is not None
    assert second is not None
    # Title and caption bring the 500 words to just above two and a half minutes.
    assert first[1] == "Difficulty: Easy · Reading time: about 3 minutes · 1 figure"
    version = metadata.version("chapter4")
    assert (
        second[1]
        == "Difficulty: Hard · Reading time: about 5 minutes · 2 figures · Version"
        f" {version}"
    )


def test_wide_figures_are_marked(build: Callable[..., str], tmp_path: Path) -> None:
    """Only a picture with several panels in a row scrolls on a phone."""
    (tmp_path / "wide.png").write_bytes(picture(30, 10))
    (tmp_path / "square.png").write_bytes(picture(20, 10))
    assert build(a="# A\n\n![three](wide.png)\n\n![two](square.png)\n") == ""
    page = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    assert re.search(r'<img alt="three" class="wide"', page)
    assert not re.search(r'<img alt="two" class="wide"', page)


def test_page_facts_say_what_the_tasks_take(
    build: Callable[..., str], tmp_path: Path
) -> None:
    facts = (
        "```{page-facts}\n:difficulty: Hard\n:tasks: about 9 minutes, 3 points\n```\n"
    )
    assert build(a=f"# A\n\n{facts}") == ""
    page = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    assert "Difficulty: Hard · Tasks: about 9 minutes, 3 points · Reading time" in page


SOURCE = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Problem 1: Halves

Easy. About 5 minutes. 7 points: 4 for halves, 3 by hand.

Halve numbers.

The cell under each task runs the public checks.

```{code-cell} ipython3
import math
```

## Task 1: a half (4 points)

Write `half(x)`.

<details><summary>Hint 1</summary>

Divide.

</details>

| a | b | c |
|---|---|---|
| 1 | 2 | 3 |

```{code-cell} ipython3
---
nbgrader:
  grade: false
  grade_id: half-code
  locked: false
  schema_version: 3
  solution: true
  task: false
---
def half(x):
    ### BEGIN SOLUTION
    return math.fsum([x]) / 2
    ### END SOLUTION
```

```{code-cell} ipython3
---
nbgrader:
  grade: true
  grade_id: half
  locked: true
  points: 4
  schema_version: 3
  solution: false
  task: false
---
check_it()
```

+++ {"nbgrader": {"grade": false, "grade_id": "own-words", "points": 3, "task": true}}

**Rubric for task 2** (3 points, given by hand). Compare.

| x | y |
|---|---|
| 1 | 2 |

=== BEGIN MARK SCHEME ===

Secret.

=== END MARK SCHEME ===
"""

PROBLEM = """# A

```{problem-facts} 1
```

```{problem-statement} 1
```

```{problem-tasks} 1
```

## Answer

```{problem-answer} 1 half
```

```{problem-table}
```
"""


@pytest.fixture
def course(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A course of one problem, which the extension reads instead of the real one."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    import chapter4_problems

    from autograder.course import release
    from autograder.course import source as problem_source

    folder = tmp_path_factory.mktemp("course")
    (folder / "solutions" / "problem1").mkdir(parents=True)
    source = folder / "solutions" / "problem1" / "problem1.md"
    source.write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(chapter4_problems, "COURSE", folder)
    monkeypatch.setattr(
        chapter4_problems,
        "read_problem",
        lambda name: problem_source.read_problem(name, folder),
    )
    monkeypatch.setattr(chapter4_problems, "problems", lambda: release.problems(folder))
    return source


def test_a_problem_stands_on_the_page_as_its_source_has_it(
    course: Path, build: Callable[..., str]
) -> None:
    import chapter4_problems

    assert (
        chapter4_problems.expand(PROBLEM)
        == "# A\n\n```{page-facts}\n:difficulty: Easy\n:tasks: about 5 minutes, 7"
        " points\n```\n\nHalve numbers.\n\nThese are the tasks of the notebook"
        " `exercises/problem1/problem1.ipynb`; {doc}`exercises` says how to open it"
        " and how to check what you write.\n\nIt begins with these"
        " imports:\n\n```{code-block} python\nimport math\n```\n\n## Task 1: a half"
        " (4 points)\n\nWrite `half(x)`.\n\n:::::{dropdown} Hint"
        " 1\nDivide.\n:::::\n\n\n````{table}\n:class: stacked\n\n| a | b | c"
        " |\n|---|---|---|\n| 1 | 2 | 3 |\n````\n\n\n:::::{dropdown} Rubric for task"
        " 2 (3 points, given by hand)\nCompare.\n\n| x | y |\n|---|---|\n| 1 | 2"
        " |\n:::::\n\n## Answer\n\n```{code-block} python\ndef half(x):\n    return"
        " math.fsum([x]) / 2\n```\n\n````{list-table} The notebooks: minutes, points"
        " from the checks, points by hand.\n:name: tab-exercises\n:header-rows:"
        " 1\n:widths: auto\n\n* - No.\n  - Difficulty\n  - Minutes\n  - Checks\n  -"
        " By hand\n* - {doc}`1 <problem-1>`\n  - Easy\n  - 5\n  - 4\n  - 3\n````\n"
    )


def test_a_page_is_read_again_when_a_source_changes(
    course: Path, build: Callable[..., str], tmp_path: Path
) -> None:
    """The second build sees the new statement although the page itself is as it was."""
    import os

    page = "# A\n\n```{problem-statement} 1\n```\n"
    assert build(a=page) == ""
    built = tmp_path / "out" / "a.html"
    assert "Halve numbers." in built.read_text(encoding="utf-8")
    page_time = (tmp_path / "a.md").stat().st_mtime
    course.write_text(SOURCE.replace("Halve numbers", "Halve two"), encoding="utf-8")
    os.utime(course, (page_time + 100, page_time + 100))
    assert build() == ""
    assert "Halve two." in built.read_text(encoding="utf-8")


def test_a_part_that_is_not_there_stops_the_build(
    course: Path, build: Callable[..., str]
) -> None:
    from sphinx.errors import ExtensionError

    with pytest.raises(ExtensionError, match="no sample answer 'third': choose from"):
        build(a="# A\n\n```{problem-answer} 1 third\n```\n")


@pytest.mark.parametrize(
    "first", ["Easy. About 5 minutes. 7", "# Problem 1: Halves\n\nEasy"]
)
def test_a_source_without_its_line_of_facts_is_refused(
    course: Path, first: str
) -> None:
    from autograder.course.source import read_problem

    course.write_text(SOURCE.replace(first, "So"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"problem1\.md must begin with a title and"):
        read_problem("problem1", course.parents[2])


def picture(width: int, height: int) -> bytes:
    """A black PNG."""
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()
