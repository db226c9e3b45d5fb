"""Each page with cells as a notebook.

It has the page's own code, text that plain Jupyter shows, and buttons by configuration.
"""

from __future__ import annotations

import ast
import base64
import os
import re
from collections.abc import Callable
from pathlib import Path

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from small_books import EXTENSIONS, HEADER, PIXEL, build_book

BOOK = Path(__file__).resolve().parents[2] / "book"
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


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that builds a two-page book and gives its warnings.

    Nothing is executed.
    """
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    monkeypatch.delenv("CHAPTER4_REPOSITORY", raising=False)
    (tmp_path / "dot.png").write_bytes(base64.b64decode(PIXEL))

    def run(page: str = PAGE, **options: object) -> str:
        (tmp_path / "a.md").write_text(page, encoding="utf-8")
        (tmp_path / "other.md").write_text(OTHER, encoding="utf-8")
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
        return build_book(tmp_path, tmp_path, settings | options)[1]

    return run


def notebook(tmp_path: Path) -> nbformat.NotebookNode:
    """The tiny page's notebook."""
    return nbformat.read(tmp_path / "out" / "notebooks" / "a.ipynb", as_version=4)


def menu(tmp_path: Path, page: str = "a") -> dict[str, str]:
    """The entries of the menus above a page: their words, and where they lead."""
    text = (tmp_path / "out" / f"{page}.html").read_text(encoding="utf-8")
    links = BeautifulSoup(text, "html.parser").select("a.dropdown-item")
    return {link.get_text(strip=True): str(link["href"]) for link in links}


def test_a_page_becomes_a_notebook(build: Callable[..., str], tmp_path: Path) -> None:
    """Cells in order, formulas and figures numbered, pictures inside.

    References are words.
    """
    assert build() == ""
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


def test_the_menu_has_the_notebook(build: Callable[..., str], tmp_path: Path) -> None:
    """Only a page with cells offers its notebook; a service needs an address."""
    assert build() == ""
    assert menu(tmp_path)[".ipynb"] == "notebooks/a.ipynb"
    assert not {"Colab", "Binder"} & set(menu(tmp_path))
    assert ".ipynb" not in menu(tmp_path, "other")
    assert not (tmp_path / "out" / "notebooks" / "other.ipynb").exists()
    assert not (tmp_path / "out" / "notebooks" / "requirements.txt").exists()


@pytest.mark.parametrize("where", ["configuration", "environment"])
def test_an_address_brings_the_launch_buttons(
    build: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """One setting brings the buttons, the cell that installs, and Binder's packages.

    Links lead to notebooks.
    """
    url = "https://github.com/somebody/course"
    options = {}
    if where == "environment":
        monkeypatch.setenv("CHAPTER4_REPOSITORY", url)
    else:
        options = {"html_theme_options": {"repository_url": url}}
    assert build(**options) == ""
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
    setup, first, second = (
        cell for cell in notebook(tmp_path).cells if cell.cell_type == "code"
    )
    assert f"git clone --quiet --depth 1 {url} " in setup.source
    ast.parse(TransformerManager().transform_cell(setup.source))
    assert (first.source, second.source) == ("one = 1", "two = one + 1")
    needed = (tmp_path / "out" / "notebooks" / "requirements.txt").read_text()
    assert f"-e git+{url}#egg=chapter4" in needed.splitlines()


def test_an_address_of_another_form_is_refused(
    build: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colab knows GitHub only: another address gets a warning and no button.

    The warning names the address.
    """
    monkeypatch.setenv("CHAPTER4_REPOSITORY", "https://example.org/course")
    assert "not https://example.org/course" in build()
    assert "Colab" not in menu(tmp_path)


def test_links_lead_to_the_published_book(
    build: Callable[..., str], tmp_path: Path
) -> None:
    """Where the book has an address, a reference to another page is a link again."""
    assert build(html_baseurl="https://example.org/book/") == ""
    title = notebook(tmp_path).cells[0].source
    assert "Words on [Other page](https://example.org/book/other.html)" in title


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
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Sphinx makes of a directive becomes Markdown that Jupyter reads."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from notebook_text import pieces

    body, wanted = TEXTS[name]
    papers = {"references.html#id1": "https://doi.org/1"}
    assert pieces(body, papers.get, {}) == [wanted]


def test_cells_inside_a_box_stay_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem's sample answers stand in a box, without results but with captions."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from notebook_text import pieces

    cell = (
        '<div class="cell"><div class="cell_input"><pre>a</pre></div><div'
        ' class="cell_output"><figure><img alt="x"/><figcaption><p><span'
        ' class="caption-number">Figure 1'
        " </span>Map.</p></figcaption></figure></div></div>"
    )
    box = (
        '<div class="admonition solution"><p'
        f' class="admonition-title">Solution</p><p>See:</p>{cell}<p>So.</p></div>'
    )
    found = pieces(box, lambda _: None, {})
    assert found == ["**Solution**\n\nSee:", None, "**Figure 1.** Map.\n\nSo."]


@pytest.fixture(params=[path.stem for path in NOTEBOOKS] or [None])
def built(
    request: pytest.FixtureRequest, home: str
) -> tuple[str, nbformat.NotebookNode]:
    """A page of the built book, and its notebook."""
    assert request.param is not None, "the built book has no notebooks: build it again"
    path = HTML / "notebooks" / f"{request.param}.ipynb"
    return request.param, nbformat.read(path, as_version=4)


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


def test_the_notebook_runs_what_the_page_ran(
    built: tuple[str, nbformat.NotebookNode],
) -> None:
    """The same code in the same order as in the page's source, which the build ran."""
    page, made = built
    source = jupytext.read(BOOK / f"{page}.md")
    assert code_of(made) == code_of(source)
    assert len(code_of(made)) > 0
    nbformat.validate(made)


def test_the_notebook_reads_well(built: tuple[str, nbformat.NotebookNode]) -> None:
    """No directive or role is left as source, and no link leads nowhere.

    Every picture comes along.
    """
    _, made = built
    for cell in made.cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(
            r"^(`{3,}).*?^\1$", "", cell.source, flags=re.MULTILINE | re.DOTALL
        )
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
