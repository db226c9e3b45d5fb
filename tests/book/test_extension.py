"""The book's Sphinx extension, on a small book of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from unittest.mock import Mock

import chapter4_book
import chapter4_problems
import pytest
from docutils import nodes
from PIL import Image
from small_books import build_book
from sphinx.errors import ExtensionError

import chapter4
from autograder.course import release
from autograder.course import source as problem_source

DRAWN = "# A\n\n```{mermaid}\nflowchart LR\n  accDescr: From a to <b>\n  a --> b\n```\n"
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


FIGURE = "word " * 500 + "\n\n```{figure} wide.png\n:alt: a picture\n\nCaption\n```\n"
FACTS = "# A\n\n```{page-facts}\n:difficulty: "
PAGES = {
    "a": DRAWN,
    "undescribed": DRAWN.replace("accDescr", "%% "),
    "plain": "# B\n\nText.\n",
    "stacked": TABLE,
    "unstacked": TABLE.replace(":class: stacked\n", ""),
    "facts": f"{FACTS}Easy\n```\n\n{FIGURE}",
    "whole": f"{FACTS}Hard\n:whole-book:\n```\n\n{FIGURE}",
    "tasks": f"{FACTS}Hard\n:tasks: about 9 minutes, 3 points\n```\n",
    "pictures": "# A\n\n![three](wide.png)\n\n![two](square.png)\n",
}


def build(folder: Path, *, fresh: bool = True) -> str:
    """Builds a folder's pages with the extension and gives its warnings."""
    settings = {"extensions": ["myst_parser", "chapter4_book"], "root_doc": "a"}
    with pytest.MonkeyPatch.context() as patch:
        # No script folders here: only an earlier build makes the real ones.
        for name in ("VENDOR", "SCRIPTS"):
            (folder / name).mkdir(exist_ok=True)
            patch.setattr(chapter4_book, name, folder / name)
        return build_book(folder, folder, settings, fresh=fresh)[1]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages; the only warning is of the diagram without a description.

    A screen reader can't describe such a one. It fails the book's build, where warnings
    are errors.
    """
    folder = tmp_path_factory.mktemp("book")
    Image.new("RGB", (30, 10)).save(folder / "wide.png")
    Image.new("RGB", (20, 10)).save(folder / "square.png")
    for name, text in PAGES.items():
        text = f"---\norphan: true\n---\n{text}"
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (warning,) = build(folder).splitlines()
    assert "undescribed.md" in warning
    assert "accDescr" in warning
    return {
        name: (folder / "out" / f"{name}.html").read_text("utf-8") for name in PAGES
    }


def test_scripts_only_where_a_diagram_is(html: dict[str, str]) -> None:
    """A page loads the drawing scripts if it has a diagram; the source is escaped."""
    assert "From a to &lt;b&gt;" in html["a"]
    assert "a --&gt; b" in html["a"]
    for script in ("mermaid/dist/mermaid.min.js", "diagrams.js"):
        assert script in html["a"]
    assert "mermaid" not in html["plain"]
    assert "diagrams.js" not in html["plain"]


def test_stderr_is_quoted_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cell wrote to stderr is a warning with the text itself."""
    page = nodes.document(None, None)
    for kind, text in {"stderr": "UserWarning: look here", "stdout": "well"}.items():
        page += nodes.literal_block("", text, classes=["output", kind])
    warning = Mock()
    monkeypatch.setattr(chapter4_book.logger, "warning", warning)
    chapter4_book.warn_of_stderr(None, page)
    heard = [call.args[0] % call.args[1:] for call in warning.call_args_list]
    assert heard == ["a cell wrote to stderr:\nUserWarning: look here"]


def test_a_stacked_table_repeats_the_columns_names(html: dict[str, str]) -> None:
    """Each cell carries its column's name for the phone; other tables stay."""
    names = re.findall(
        r'<p class="column-name">(\w+)</p>\s*<p>(\w+)</p>', html["stacked"]
    )
    assert names == [("Printed", "zeros"), ("Right", "black")]
    assert "column-name" not in html["unstacked"]


@pytest.mark.parametrize(
    ("page", "facts"),
    [
        # Title and caption bring the 500 words to just above two and a half minutes.
        ("facts", "Easy · Reading time: about 3 minutes · 1 figure"),
        (
            "whole",
            "Hard · Reading time: about 5 minutes · 2 figures · Version"
            f" {chapter4.__version__}",
        ),
        (
            "tasks",
            "Hard · Tasks: about 9 minutes, 3 points · Reading time: about 1 minute",
        ),
    ],
)
def test_page_facts_count_this_page_or_the_whole_book(
    html: dict[str, str], page: str, facts: str
) -> None:
    """Reading time from the words, in minutes; figures in singular and plural."""
    found = re.findall(r'class="page-facts">([^<]*)<', html[page])
    assert found == [f"Difficulty: {facts}"]


def test_wide_figures_are_marked(html: dict[str, str]) -> None:
    """Only a picture with several panels in a row scrolls on a phone."""
    assert re.search(r'<img alt="three" class="wide"', html["pictures"])
    assert not re.search(r'<img alt="two" class="wide"', html["pictures"])


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
nbgrader: {grade: false, grade_id: half-code, solution: true, task: false}
---
def half(x):
    ### BEGIN SOLUTION
    return math.fsum([x]) / 2
    ### END SOLUTION
```

```{code-cell} ipython3
---
nbgrader: {grade: true, grade_id: half, locked: true, points: 4, solution: false}
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
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source of a course of one problem, which the extension reads."""
    source = tmp_path / "solutions" / "problem1" / "problem1.md"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(chapter4_problems, "COURSE", tmp_path)
    monkeypatch.setattr(
        chapter4_problems,
        "read_problem",
        lambda name: problem_source.read_problem(name, tmp_path),
    )
    monkeypatch.setattr(
        chapter4_problems, "problems", lambda: release.problems(tmp_path)
    )
    return source


def test_a_problem_stands_on_the_page_as_its_source_has_it(course: Path) -> None:
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
    course: Path, tmp_path: Path
) -> None:
    """The second build sees the new statement although the page itself is as it was."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\n```{problem-statement} 1\n```\n")
    assert build(folder) == ""
    built = folder / "out" / "a.html"
    assert "Halve numbers." in built.read_text(encoding="utf-8")
    later = built.stat().st_mtime + 100
    course.write_text(SOURCE.replace("Halve numbers", "Halve two"), encoding="utf-8")
    os.utime(course, (later, later))
    assert build(folder, fresh=False) == ""
    assert "Halve two." in built.read_text(encoding="utf-8")


def test_a_part_that_is_not_there_stops_the_build(course: Path, tmp_path: Path) -> None:
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\n```{problem-answer} 1 third\n```\n")
    with pytest.raises(ExtensionError, match="no sample answer 'third': choose from"):
        build(folder)


@pytest.mark.parametrize(
    "first", ["Easy. About 5 minutes. 7", "# Problem 1: Halves\n\nEasy"]
)
def test_a_source_without_its_line_of_facts_is_refused(
    course: Path, first: str, tmp_path: Path
) -> None:
    course.write_text(SOURCE.replace(first, "So"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"problem1\.md must begin with a title and"):
        problem_source.read_problem("problem1", tmp_path)
