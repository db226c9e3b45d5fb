"""Each page with cells as a notebook.

It has the page's own code, text that plain Jupyter shows, and buttons if asked for.
"""

from __future__ import annotations

import ast
import base64
import os
import re
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from notebook_text import pieces
from packaging.specifiers import SpecifierSet
from small_books import BOOK, HEADER, PIXEL, build_book

HTML = BOOK / "_build" / "html"
NOTEBOOKS = sorted((HTML / "notebooks").glob("*.ipynb"))
# The others have the same cells as their pages, which the build has executed.
EXECUTED = ("playground", "problem-1")
PAGE = (
    HEADER
    + r"""# Title

Words on {doc}`other`, and ({ref}`place`), $a_1$.

```{code-cell} ipython3
:tags: [hide-input]
one = 1
```

(place)=
## Part

$$ x^2 $$ (square)

```{code-cell} ipython3
two = one + 1
```

:::{figure} dot.png
:alt: A dot.
:name: fig-dot

One pixel.
:::
"""
)
OTHER = "---\norphan: true\n---\n# Other page\n\nNo cell.\n"


URL = "https://github.com/somebody/course"


def build(folder: Path, **options: object) -> str:
    """Builds a two-page book and gives its warnings; nothing is executed."""
    (folder / "dot.png").write_bytes(base64.b64decode(PIXEL))
    (folder / "a.md").write_text(PAGE, encoding="utf-8")
    (folder / "other.md").write_text(OTHER, encoding="utf-8")
    settings = {
        "extensions": ["myst_nb", "sphinx_book_theme", "chapter4_notebooks"],
        "root_doc": "a",
        # A list of its own: MyST-NB would add to Sphinx's default list, and later
        # builds share that.
        "source_suffix": {".md": "myst-nb"},
        "html_title": "Tiny",
        "html_theme": "sphinx_book_theme",
        "nb_execution_mode": "off",
        "myst_enable_extensions": ["dollarmath", "colon_fence"],
        "numfig": True,
        "numfig_format": {"figure": "Figure %s"},
    }
    return build_book(folder, folder, settings | options)[1]


def notebook(folder: Path) -> nbformat.NotebookNode:
    """The tiny page's notebook."""
    return nbformat.read(folder / "out" / "notebooks" / "a.ipynb", as_version=4)


def menu(folder: Path, page: str = "a") -> dict[str, str]:
    """The entries of the menus above a page: their words, and where they lead."""
    text = (folder / "out" / f"{page}.html").read_text(encoding="utf-8")
    links = BeautifulSoup(text, "html.parser").select("a.dropdown-item")
    return {link.get_text(strip=True): str(link["href"]) for link in links}


def test_a_page_becomes_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells in order, formulas and figures numbered, pictures inside.

    References are words. Only a page with cells offers its notebook, and a service
    needs an address.
    """
    monkeypatch.delenv("CHAPTER4_REPOSITORY", raising=False)
    assert build(tmp_path) == ""
    made = notebook(tmp_path)
    nbformat.validate(made)
    kinds = [cell.cell_type for cell in made.cells]
    assert kinds == ["markdown", "code", "markdown", "code", "markdown"]
    title, first, part, second, last = made.cells
    assert title.source.startswith("# Title\n\n> This notebook is a page of *Tiny*")
    assert title.source.endswith("Words on *Other page*, and (Part), $a_1$.")
    assert (first.source, second.source) == ("one = 1", "two = one + 1")
    assert first.metadata == {"jupyter": {"source_hidden": True}}
    assert part.source == "## Part\n\n$$\nx^2 \\tag{1}\n$$"
    assert last.source == "![A dot.](attachment:dot.png)\n\n**Figure 1.** One pixel."
    assert last.attachments == {"dot.png": {"image/png": PIXEL}}
    assert menu(tmp_path)[".ipynb"] == "notebooks/a.ipynb"
    assert not {"Colab", "Binder"} & set(menu(tmp_path))
    assert ".ipynb" not in menu(tmp_path, "other")
    assert [p.name for p in (tmp_path / "out" / "notebooks").iterdir()] == ["a.ipynb"]


@pytest.mark.parametrize(
    ("baseurl", "home"),
    [
        ("", "https://somebody.github.io/course/"),
        ("https://example.org/book/", "https://example.org/book/"),
    ],
)
def test_an_address_brings_the_launch_buttons_and_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseurl: str, home: str
) -> None:
    """Buttons, the cell that installs, what Binder needs, and links to the book."""
    monkeypatch.setenv("CHAPTER4_REPOSITORY", URL)
    assert build(tmp_path, html_baseurl=baseurl) == ""
    found = menu(tmp_path)
    assert (
        found["Colab"] == "https://colab.research.google.com/github/somebody/course/"
        "blob/notebooks/a.ipynb"
    )
    assert (
        found["Binder"] == "https://mybinder.org/v2/gh/somebody/course/notebooks"
        "?urlpath=lab/tree/a.ipynb"
    )
    assert "Colab" not in menu(tmp_path, "other")
    cells = notebook(tmp_path).cells
    assert f"Words on [Other page]({home}other.html)" in cells[0].source
    setup, first, second = (cell for cell in cells if cell.cell_type == "code")
    assert f"git clone --quiet --depth 1 {URL} " in setup.source
    ast.parse(TransformerManager().transform_cell(setup.source))
    assert (first.source, second.source) == ("one = 1", "two = one + 1")


def test_binder_installs_this_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name, which pip compares, and with a Python that it allows."""
    monkeypatch.setenv("CHAPTER4_REPOSITORY", URL)
    build(tmp_path)
    pyproject = (BOOK.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(pyproject)["project"]
    folder = tmp_path / "out" / "notebooks"
    needed = (folder / "requirements.txt").read_text().splitlines()
    assert f"-e git+{URL}#egg={project['name']}" in needed
    version = (folder / "runtime.txt").read_text().strip().removeprefix("python-")
    assert version in SpecifierSet(project["requires-python"])


def test_another_host_brings_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colab opens notebooks of GitHub alone."""
    monkeypatch.setenv("CHAPTER4_REPOSITORY", "https://example.org/course")
    assert "not https://example.org/course" in build(tmp_path)
    assert "Colab" not in menu(tmp_path)


TEXTS = {
    "formula in a table": (
        (
            '<table><tr><th>a</th></tr><tr><td><span class="math">\\(|x|\\)</span> or'
            " <code>a|b</code></td></tr></table>"
        ),
        "| a |\n| --- |\n| $\\vert x\\vert$ or `a\\|b` |",
    ),
    "table with a caption": (
        (
            '<table><caption><span class="caption-number">Table 2 </span>Words<a'
            ' class="headerlink">#</a></caption>'
            "<thead><tr><th>a</th></tr></thead>"
            "<tbody><tr><td>1</td></tr></tbody></table>"
        ),
        "**Table 2.** Words\n\n| a |\n| --- |\n| 1 |",
    ),
    "folded part": (
        (
            '<details><summary><span>Hint</span><svg><path d=""></path></svg></summary>'
            "<div><p>Try <em>it</em>.</p></div></details>"
        ),
        "<details>\n<summary>Hint</summary>\n\nTry *it*.\n\n</details>",
    ),
    "box": (
        (
            '<div class="admonition note"><p'
            ' class="admonition-title">Note</p><p>One.</p><p>Two.</p></div>'
        ),
        "> **Note**\n>\n> One.\n>\n> Two.",
    ),
    "listing": (
        (
            '<div class="highlight-default notranslate"><div><pre><span></span>a_b ='
            " 1\n\n\nc*d</pre></div></div>"
        ),
        "```python\na_b = 1\n\n\nc*d\n```",
    ),
    "diagram": (
        '<pre class="mermaid">graph LR\n a --&gt; b</pre>',
        "```mermaid\ngraph LR\n a --> b\n```",
    ),
    "paper": (
        (
            '<p><a href="references.html#id1">Who, 2013</a> <a'
            ' href="gradcam.html">there</a></p>'
        ),
        "[Who, 2013](https://doi.org/1) there",
    ),
    "interactive": (
        '<div class="playground"><form><button>Go</button></form></div><p>After.</p>',
        (
            "*The page has an interactive part here, which runs in the browser"
            " alone.*\n\nAfter."
        ),
    ),
    "unknown picture": (
        '<img src="_images/x.png" alt="A [dark] map."/>',
        "(A (dark) map.)",
    ),
    "cells in a box": (
        (
            '<div class="admonition solution"><p class="admonition-title">Solution</p>'
            '<p>See:</p><div class="cell"><div class="cell_input"><pre>a</pre></div>'
            '<div class="cell_output"><figure><img alt="x"/><figcaption><p>'
            '<span class="caption-number">Figure 1 </span>Map.</p></figcaption>'
            "</figure></div></div><p>So.</p></div>"
        ),
        # A problem's sample answers: without results but with captions.
        ["**Solution**\n\nSee:", None, "**Figure 1.** Map.\n\nSo."],
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str) -> None:
    """What Sphinx makes of a directive becomes Markdown that Jupyter reads."""
    body, wanted = TEXTS[name]
    papers = {"references.html#id1": "https://doi.org/1"}
    found = pieces(body, papers.get, {})
    assert found == (wanted if isinstance(wanted, list) else [wanted])


def code_of(cells: nbformat.NotebookNode) -> list[str]:
    """The code cells, without the one that installs the course where it is missing."""
    return [
        cell.source
        for cell in cells.cells
        if cell.cell_type == "code" and cell.metadata.get("tags") != ["setup"]
    ]


def test_every_page_with_cells_has_a_notebook(home: str) -> None:
    """No page is left out, and no notebook is left over."""
    pages = {
        path.stem
        for path in BOOK.glob("*.md")
        if (HTML / f"{path.stem}.html").is_file()
        and "```{code-cell}" in path.read_text(encoding="utf-8")
    }
    assert {path.stem for path in NOTEBOOKS} == pages
    for page in pages:
        text = (HTML / f"{page}.html").read_text(encoding="utf-8")
        assert f'href="notebooks/{page}.ipynb"' in text


@pytest.mark.parametrize("page", [path.stem for path in NOTEBOOKS] or [None])
def test_a_notebook_runs_what_its_page_ran_and_reads_well(
    home: str, page: str | None
) -> None:
    """The same code in the same order as in the page's source, which the build ran.

    No directive or role is left as source, no link leads nowhere, and every picture
    comes along.
    """
    assert page is not None, "the built book has no notebooks: build it again"
    made = nbformat.read(HTML / "notebooks" / f"{page}.ipynb", as_version=4)
    nbformat.validate(made)
    assert code_of(made) == code_of(jupytext.read(BOOK / f"{page}.md"))
    assert len(code_of(made)) > 0
    for cell in made.cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(r"^(`{3,}).*?^\1$", "", cell.source, flags=re.M | re.S)
        prose = re.sub(r"`[^`\n]+`", "", text)
        assert not re.search(r"^\s*(:::|`{3,}\{)|\{[a-z:-]+\}`", text, re.MULTILINE)
        assert not re.search(
            r"[\ue000\ue001]|</?(?:div|span|section|figure|a|p)\b", prose
        )
        names = re.findall(r"\]\(attachment:([^)]+)\)", text)
        assert set(names) == set(cell.get("attachments", {}))
        links = re.findall(r"\]\((?!attachment:)([^) ]+)", prose)
        assert [link for link in links if not link.startswith("https://")] == []
        assert text.count("<details>") == text.count("</details>")
        assert text.count("$$") % 2 == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED)
def test_the_notebook_runs_from_top_to_bottom(
    home: str, page: str, tmp_path: Path
) -> None:
    """As a reader runs it: outside the book's folder, each cell once, in order."""
    path = HTML / "notebooks" / f"{page}.ipynb"
    made = nbformat.read(path, as_version=4)
    # The tests' own backend draws nothing; a reader's kernel has the inline one.
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    client = NotebookClient(made, resources={"metadata": {"path": tmp_path}})
    client.execute(env=env)
    counts = [cell.execution_count for cell in made.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [out for cell in made.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert [out for out in outputs if out.output_type == "error"] == []
