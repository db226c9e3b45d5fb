"""Sphinx extension of this book: diagrams, scripts from the build's own folder,
warnings from cells.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

BOOK = Path(__file__).resolve().parent.parent
VENDOR = BOOK / "_build" / "vendor"
SCRIPTS = BOOK / "_scripts"

FIRST_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="data:,"><link rel="canonical" href="{root}.html">
<meta http-equiv="refresh" content="0; url={root}.html">
</head><body><a href="{root}.html">{title}</a></body></html>
"""


class Mermaid(SphinxDirective):
    """A diagram in Mermaid's language, drawn in the reader's browser by a script that
    the book brings along.

    The source must hold an ``accDescr:`` line: it becomes the picture's description for
    a screen reader.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram's source, escaped, in the element that the script looks
        for.
        """
        source = "\n".join(self.content)
        if "accDescr" not in source:
            message = "a mermaid diagram needs a line `accDescr: what it shows`"
            logger.warning(message, location=self.get_location())
        return [
            nodes.raw(
                "", f'<pre class="mermaid">{html.escape(source)}</pre>', format="html"
            )
        ]


def use_local_scripts(app: Sphinx, config: Config) -> None:
    """Serve vendored scripts beside the pages.

    Done here and not under ``html_static_path`` in _config.yml: Jupyter Book puts every
    script that it finds below such a folder on every page, and MathJax breaks when it
    is loaded twice.
    """
    config.html_static_path += [str(VENDOR), str(SCRIPTS)]


def add_diagram_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Load the diagram scripts on pages that have a diagram, and only there."""
    if '<pre class="mermaid">' in context.get("body", ""):
        app.add_js_file("mermaid/dist/mermaid.min.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def warn_of_stderr(app: Sphinx | None, doctree: nodes.document) -> None:
    """Turn what a cell wrote to stderr into a build warning that quotes it."""
    for node in doctree.findall(nodes.literal_block):
        if "stderr" in node["classes"]:
            logger.warning(
                "a cell wrote to stderr:\n%s", node.astext().strip(), location=node
            )


def write_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write an index.html that leads to the book's root page.

    Sphinx-external-toc writes one too: a bare tag without language, title or icon.
    """
    if error is None:
        root, title = app.config.root_doc, html.escape(app.config.html_title)
        page = FIRST_PAGE.format(root=root, title=title)
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_directive("mermaid", Mermaid)
    app.connect("config-inited", use_local_scripts)
    app.connect("doctree-read", warn_of_stderr)
    app.connect("html-page-context", add_diagram_scripts)
    app.connect("build-finished", write_first_page, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
