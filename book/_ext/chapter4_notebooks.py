"""Each page with code cells as a notebook, in the menu above the page.

The notebook is a file beside the page and needs no network. Buttons for Colab and
Binder follow if the environment variable CHAPTER4_REPOSITORY has the address of a
repository at GitHub. The services open the notebooks from its branch ``notebooks``:
``book/publish.py`` sets the variable, and fills the branch with the folder that is
written here.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from bs4 import BeautifulSoup
from docutils import nodes
from github_addresses import pages_of, repository_of
from notebook_text import Links, pieces, quoted
from sphinx.application import Sphinx
from sphinx.util import logging

import chapter4

logger = logging.getLogger(__name__)

FOLDER = "notebooks"
BRANCH = "notebooks"
CLONE = "chapter4-course"

# This does nothing where chapter4 is installed. It fetches the whole course, because
# the problems' pages read their sample answers from its folder solutions/.
SETUP = """\
# Only where the course is not installed, as on Colab: this takes a minute or two.
import sys
from importlib.util import find_spec

if find_spec("chapter4") is None:
    !git clone --quiet --depth 1 {url} {clone}
    %pip install --quiet -e ./{clone}
    sys.path.insert(0, "{clone}")"""

# For Binder, whose machines have no graphics card and little disk space, and take a
# Python that is too old unless told otherwise.
BINDER = {
    "requirements.txt": """\
--extra-index-url https://download.pytorch.org/whl/cpu
-e git+{url}#egg=interpreting-deep-learning-models
""",
    "runtime.txt": "python-3.12\n",
}


def repository() -> str | None:
    """The repository's public address, https://github.com/NAME/REPOSITORY, if known.

    An address at another host gives a build warning and counts as unknown.
    """
    address = os.environ.get("CHAPTER4_REPOSITORY")
    if not address:
        return None
    url = repository_of(address)
    if url is None:
        logger.warning(
            "CHAPTER4_REPOSITORY is https://github.com/NAME/REPOSITORY, not %s",
            address,
        )
    return url


def add_notebook(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Write the notebook of a page that has cells, and put it into the page's menu."""
    parts = doctree.findall(nodes.container) if doctree is not None else ()
    if all(part.get("nb_element") != "cell_code" for part in parts):
        return
    url = repository()
    notebook = notebook_of(app, page, context["body"], url)
    target = Path(app.outdir, FOLDER, f"{page}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    here = f"{FOLDER}/{page}.ipynb"
    link = (
        f'<span class="noprint"> · <a href="{here}" download>Download as a'
        " notebook</a></span></p>"
    )
    context["body"] = re.sub(
        r'(<p class="page-facts">.*?)</p>',
        lambda facts: facts[1] + link,
        context["body"],
        count=1,
        flags=re.DOTALL,
    )
    menu = context.get("header_buttons", [])
    for group in menu:
        if group.get("label") == "download-buttons":
            group["buttons"].insert(0, _button(".ipynb", "Notebook", here))
    if url:
        menu.insert(0, _launch(url, page))


def _button(text: str, tooltip: str, url: str, icon: str = "fas fa-code") -> dict:
    return {"type": "link", "text": text, "tooltip": tooltip, "url": url, "icon": icon}


def _launch(url: str, page: str) -> dict[str, Any]:
    """The menu of services that run a notebook from the repository."""
    place = url.removeprefix("https://github.com/")
    colab = (
        f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/{page}.ipynb"
    )
    binder = (
        f"https://mybinder.org/v2/gh/{place}/{BRANCH}?urlpath=lab/tree/{page}.ipynb"
    )
    images = "_static/images"
    return {
        "type": "group",
        "label": "launch-buttons",
        "tooltip": "Run this page elsewhere",
        "icon": "fas fa-rocket",
        "buttons": [
            _button("Colab", "Run on Colab", colab, f"{images}/logo_colab.png"),
            _button("Binder", "Run on Binder", binder, f"{images}/logo_binder.svg"),
        ],
    }


def notebook_of(
    app: Sphinx, page: str, body: str, url: str | None
) -> nbformat.NotebookNode:
    """The page as a notebook: its cells without results, and its text between them.

    The cells are those that jupytext reads from the source. A warning is logged if the
    page shows other cells than its source has.

    Args:
        app: Sphinx.
        page: The page's name.
        body: The page's HTML.
        url: The repository's address, or None. With an address, a cell is added that
            installs the course where it is missing.

    Returns:
        The notebook.
    """
    source = jupytext.read(app.env.doc2path(page))
    codes = [cell for cell in source.cells if cell.cell_type == "code"]
    attachments, names = _attachments(app, body)
    texts = pieces(body, link_of(app, url), names)
    if texts.count(None) != len(codes):
        logger.warning("%s: its cells are not those of its source", page)
    cells: list[nbformat.NotebookNode] = []
    for piece in texts:
        if piece is None:
            cells += [_code(code) for code in codes[:1]]
            del codes[:1]
        else:
            cells.append(nbformat.v4.new_markdown_cell(piece))
            used = {n: a for n, a in attachments.items() if f"attachment:{n}" in piece}
            if used:
                cells[-1]["attachments"] = used
    first, rest = _split_title(cells[0].source)
    cells[0].source = "\n\n".join(filter(None, [first, _about(app, url), rest]))
    if url:
        setup = SETUP.format(url=url, clone=CLONE)
        cells.insert(1, nbformat.v4.new_code_cell(setup, metadata={"tags": ["setup"]}))
    for number, cell in enumerate(cells):
        cell["id"] = f"{page}-{number}"[-64:]
    about = {"kernelspec": dict(source.metadata["kernelspec"])}
    about["language_info"] = {"name": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata=about)


def _code(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    tags = cell.metadata.get("tags", [])
    hidden = {"hide-input", "hide-cell", "remove-input"} & set(tags)
    # JupyterLab then folds the code that the page folds.
    about = {"jupyter": {"source_hidden": True}} if hidden else {}
    return nbformat.v4.new_code_cell(cell.source, metadata=about)


def _split_title(text: str) -> tuple[str, str]:
    title, _, rest = text.partition("\n\n")
    return (title, rest) if title.startswith("# ") else ("", text)


def _about(app: Sphinx, url: str | None) -> str:
    """Where the notebook comes from and what it needs, below its title."""
    install = f"`git clone {url} {CLONE}` and " if url else ""
    folder = f"`{CLONE}`" if url else "the course's folder"
    return quoted(
        [
            (
                f"This notebook is a page of *{app.config.html_title}*, version"
                f" {chapter4.__version__}. Its text is under CC BY 4.0, its code under"
                " MIT."
            ),
            (
                "It needs Python 3.11 or newer and the course in the kernel that runs"
                f" it: {install}`python -m pip install -e .` in {folder}. No cell needs"
                " a network. Run the cells from the first to the last; the figures"
                " that the text speaks of are drawn below their cells."
            ),
        ]
    )


def link_of(app: Sphinx, url: str | None) -> Links:
    """How a notebook links to papers and pages.

    Papers are linked to their address. Pages are linked to the published book: where
    ``html_baseurl`` says, or where GitHub Pages shows the repository with the address
    ``url``. With neither they are not linked.
    """
    papers = _papers(app)
    base = app.config.html_baseurl or (pages_of(url) if url else "")

    def link(href: str) -> str | None:
        page, _, anchor = href.partition("#")
        if anchor in papers:
            return papers[anchor]
        return f"{base.rstrip('/')}/{href}" if page and base else None

    return link


def _papers(app: Sphinx) -> dict[str, str]:
    """The anchor of each cited paper on the page of references -> its address."""
    if "cite" not in app.env.domains:
        return {}
    found = {}
    for citation in app.env.get_domain("cite").data["citations"]:
        fields = citation.entry.fields
        if "doi" in fields:
            found[citation.citation_id] = f"https://doi.org/{fields['doi']}"
        elif "eprint" in fields:
            found[citation.citation_id] = f"https://arxiv.org/abs/{fields['eprint']}"
        elif "url" in fields:
            found[citation.citation_id] = fields["url"]
    return found


def _attachments(
    app: Sphinx, body: str
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The page's own pictures in the form that a notebook carries them.

    Returns:
        Name -> content by type, and ``src`` on the page -> name. What cells draw is not
        included.
    """
    soup = BeautifulSoup(body, "html.parser")
    files = {f"_images/{name}": file for file, name in app.builder.images.items()}
    content, names = {}, {}
    for image in soup.select("img"):
        src = str(image.get("src"))
        if src not in files or image.find_parent("div", class_="cell_output"):
            continue
        name = names[src] = src.removeprefix("_images/")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        data = Path(app.srcdir, files[src]).read_bytes()
        content[name] = {kind: base64.b64encode(data).decode("ascii")}
    return content, names


def write_for_binder(app: Sphinx, error: Exception | None) -> None:
    """Write what Binder installs, beside the notebooks."""
    folder = Path(app.outdir, FOLDER)
    url = repository() if error is None else None
    if url and folder.is_dir():
        for name, text in BINDER.items():
            (folder / name).write_text(text.format(url=url), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    # After the theme, which makes the menu at priority 501.
    app.connect("html-page-context", add_notebook, priority=600)
    app.connect("build-finished", write_for_binder)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
