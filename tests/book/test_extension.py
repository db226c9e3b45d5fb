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
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "_ext"

DRAWN = "# A\n\n```{mermaid}\nflowchart LR\n  accDescr: From a to <b>\n  a --> b\n```\n"
PLAIN = "---\norphan: true\n---\n# B\n\nText.\n"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that builds pages with the extension and returns the warnings."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))

    def run(**pages: str) -> str:
        for name, text in pages.items():
            (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
        warnings = io.StringIO()
        settings = {
            "extensions": ["myst_parser", "chapter4_book"],
            "root_doc": "a",
            "html_theme": "basic",
        }
        # No script folders here: whether the real ones are there depends on an earlier build.
        monkeypatch.setattr("chapter4_book.VENDOR", tmp_path / "vendor")
        monkeypatch.setattr("chapter4_book.SCRIPTS", tmp_path / "scripts")
        (tmp_path / "vendor").mkdir()
        (tmp_path / "scripts").mkdir()
        with patch_docutils(str(tmp_path)), docutils_namespace():
            app = Sphinx(
                srcdir=tmp_path,
                confdir=None,
                outdir=tmp_path / "out",
                doctreedir=tmp_path / "trees",
                buildername="html",
                confoverrides=settings,
                status=None,
                warning=warnings,
            )
            app.build()
        return warnings.getvalue()

    return run


def test_scripts_only_where_a_diagram_is(
    build: Callable[..., str], tmp_path: Path
) -> None:
    """A page with a diagram loads the drawing scripts, a page without does not; the source is escaped."""
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
    """A diagram that a screen reader can't describe fails the build, where warnings are errors."""
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
    """Each cell carries its column's name for the phone; other tables stay as they are."""
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
    """Reading time from the words, in minutes; one figure is a figure, two are figures."""
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
        == f"Difficulty: Hard · Reading time: about 5 minutes · 2 figures · Version {version}"
    )


def test_wide_figures_are_marked(build: Callable[..., str], tmp_path: Path) -> None:
    """Only a picture with several panels in a row scrolls on a phone."""
    (tmp_path / "wide.png").write_bytes(picture(30, 10))
    (tmp_path / "square.png").write_bytes(picture(20, 10))
    assert build(a="# A\n\n![three](wide.png)\n\n![two](square.png)\n") == ""
    page = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    assert re.search(r'<img alt="three" class="wide"', page)
    assert not re.search(r'<img alt="two" class="wide"', page)


def picture(width: int, height: int) -> bytes:
    """A black PNG."""
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()
