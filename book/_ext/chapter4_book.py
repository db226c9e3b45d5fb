"""Sphinx extension of this book: diagrams, scripts and the facts under each title.

It also turns what cells write to stderr into warnings. The scripts come from the
build's own folder.
"""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import chapter4

logger = logging.getLogger(__name__)

BOOK = Path(__file__).resolve().parent.parent
VENDOR = BOOK / "_build" / "vendor"
SCRIPTS = BOOK / "_scripts"
EXECUTED = BOOK / "_build" / "executed"

# A figure with this width over height, or more, has several panels: it scrolls on a
# phone.
WIDE = 2.0

# Of text. The time for code and figures is up to the reader.
WORDS_PER_MINUTE = 200

# The HTML of a page that needs scripts -> these scripts in their order.
PAGE_SCRIPTS = {
    '<pre class="mermaid">': ("mermaid/dist/mermaid.min.js", "diagrams.js"),
    '<div id="playground"': ("playground.js",),
    # Every page: the table of contents shows ticks, and a dark page prints light.
    "<section": ("progress.js", "print.js"),
}

FIRST_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="data:,"><link rel="canonical" href="{root}.html">
<meta http-equiv="refresh" content="0; url={root}.html">
</head><body><a href="{root}.html">{title}</a></body></html>
"""


class Mermaid(SphinxDirective):
    """A diagram in Mermaid's language.

    A script that is part of the book draws it in the reader's browser. The source must
    have an ``accDescr:`` line: it becomes the picture's description for a screen
    reader.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram's escaped source in the element that the script finds."""
        source = "\n".join(self.content)
        if "accDescr" not in source:
            message = "a mermaid diagram needs a line `accDescr: what it shows`"
            logger.warning(message, location=self.get_location())
        drawn = f'<pre class="mermaid">{html.escape(source)}</pre>'
        return [nodes.raw("", drawn, format="html")]


class Facts(nodes.General, nodes.Element):
    """The place of the facts about a page, until every page has been read."""


class PageFacts(SphinxDirective):
    """A line under a page's title: how hard it is, how long it takes, what is on it.

    With ``:tasks:`` the line also says what the page's problem needs in minutes and
    points. With ``:whole-book:`` it has the same facts about all pages together.
    """

    option_spec = {  # noqa: RUF012  # docutils declares it without ClassVar
        "difficulty": directives.unchanged_required,
        "tasks": directives.unchanged_required,
        "whole-book": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the placeholder that ``write_facts`` fills."""
        return [Facts("", **self.options)]


def count(app: Sphinx, doctree: nodes.document) -> None:
    """Note how much a page holds: words of text, code cells, figures and exercises."""
    kinds = Counter(
        name for node in doctree.findall(nodes.container) for name in node["classes"]
    )
    tags = Counter(node.tagname for node in doctree.findall(nodes.Element))
    facts = {
        # Counted by MyST, which can distinguish text from code.
        "words": app.env.metadata[app.env.docname]["wordcount"]["words"],
        "cells": kinds["cell_input"],
        "figures": tags["figure"],
        "exercises": tags["exercise_node"] + tags["exercise_enumerable_node"],
    }
    _counts(app.env)[app.env.docname] = facts


def depend_on_results(app: Sphinx, docname: str, source: list[str]) -> None:
    """Read a page again when its cells have been executed again."""
    results = EXECUTED / f"{docname}.json"
    if results.is_file():
        app.env.note_dependency(str(results))


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop the counts of a page that is read again."""
    _counts(env).pop(docname, None)


def write_facts(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the counted facts where a page asks for them."""
    every = _counts(app.env)
    for place in list(doctree.findall(Facts)):
        whole = "whole-book" in place
        chosen = every.values() if whole else [every[docname]]
        total: Counter[str] = sum((Counter(facts) for facts in chosen), Counter())
        minutes = max(1, round(total["words"] / WORDS_PER_MINUTE))
        lines = [f"Difficulty: {place['difficulty']}"]
        if "tasks" in place:
            lines.append(f"Tasks: {place['tasks']}")
        lines.append(f"Reading time: about {minutes} {_plural('minute', minutes)}")
        kinds = {"code cell": "cells", "figure": "figures", "exercise": "exercises"}
        for word, key in kinds.items():
            if total[key]:
                lines.append(f"{total[key]} {_plural(word, total[key])}")
        if whole:
            lines.append(f"Version {chapter4.__version__}")
        place.replace_self(
            nodes.paragraph("", " · ".join(lines), classes=["page-facts"])
        )


def _counts(env: BuildEnvironment) -> dict[str, dict[str, int]]:
    if not hasattr(env, "chapter4_counts"):
        env.chapter4_counts = {}  # type: ignore[attr-defined]  # our own
    return env.chapter4_counts  # type: ignore[attr-defined]  # our own


def _plural(word: str, number: int) -> str:
    return word if number == 1 else word + "s"


def use_local_scripts(app: Sphinx, config: Config) -> None:
    """Serve vendored scripts beside the pages.

    This is done here and not under ``html_static_path`` in _config.yml. Jupyter Book
    puts every script that it finds below such a folder on every page, and MathJax
    breaks when it is loaded twice.
    """
    config.html_static_path += [str(VENDOR), str(SCRIPTS)]


def add_page_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Load a script only on the pages that have what it draws."""
    for mark, files in PAGE_SCRIPTS.items():
        if mark in context.get("body", ""):
            for file in files:
                app.add_js_file(file, loading_method="defer")


def mend_roles(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Remove the roles that docutils gives to references.

    One of them is deprecated. The other one says "list", but the list's items do not
    have the role that it needs.
    """
    if "body" in context:
        body = context["body"].replace(' role="doc-biblioentry"', "")
        context["body"] = body.replace(
            '<div role="list" class="citation', '<div class="citation'
        )


def mark_wide_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the pictures of cells that have several panels in a row.

    On a phone they would be too small to read, so that the style sheet lets them
    scroll.
    """
    for image in doctree.findall(nodes.image):
        file = Path(app.srcdir, image["uri"])
        if file.suffix == ".png" and file.is_file():
            with Image.open(file) as picture:
                width, height = picture.size
            if width > WIDE * height:
                image["classes"].append("wide")


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Repeat the column's name in each cell of a table with the class ``stacked``.

    The style sheet hides the names where the table is drawn as one. It shows them on a
    phone, where the cells are one below the other.
    """
    for table in doctree.findall(nodes.table):
        if "stacked" not in table["classes"]:
            continue
        (head,), (body,) = table.findall(nodes.thead), table.findall(nodes.tbody)
        names = [entry.astext() for entry in head.findall(nodes.entry)]
        for row in body.findall(nodes.row):
            for name, cell in zip(names, row.findall(nodes.entry), strict=True):
                cell.insert(0, nodes.paragraph("", name, classes=["column-name"]))


def warn_of_stderr(app: Sphinx | None, doctree: nodes.document) -> None:
    """Turn what a cell wrote to stderr into a build warning that quotes it."""
    for node in doctree.findall(nodes.literal_block):
        if "stderr" in node["classes"]:
            logger.warning(
                "a cell wrote to stderr:\n%s", node.astext().strip(), location=node
            )


def write_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write an index.html that leads to the book's root page.

    Sphinx-external-toc writes one too, but it is a bare tag without language, title or
    icon.
    """
    if error is None:
        root, title = app.config.root_doc, html.escape(app.config.html_title)
        page = FIRST_PAGE.format(root=root, title=title)
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.setup_extension("chapter4_problems")
    app.add_directive("mermaid", Mermaid)
    app.add_directive("page-facts", PageFacts)
    app.add_node(Facts)
    app.connect("config-inited", use_local_scripts)
    app.connect("source-read", depend_on_results)
    app.connect("doctree-read", warn_of_stderr)
    app.connect("doctree-read", count)
    app.connect("doctree-read", mark_wide_figures)
    app.connect("doctree-read", name_cells)
    app.connect("env-purge-doc", forget)
    app.connect("doctree-resolved", write_facts)
    app.connect("html-page-context", add_page_scripts)
    app.connect("html-page-context", mend_roles)
    app.connect("build-finished", write_first_page, priority=900)
    # One process reads the pages: the counts of several would have to be merged.
    return {"version": "1.0", "parallel_read_safe": False, "parallel_write_safe": True}
