"""Faults that fail the build although Sphinx would accept them.

They are a picture without alt text, and a page that asks something of another machine.
Both are warnings, which ``book/build.py`` turns into errors. What a script asks for
while it runs can't be read from a page. tests/book/pages/test_pages.py watches that in
a browser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

OUTSIDE = re.compile(r"\s*(?:(?:https?|wss?|ftp):)?//", re.IGNORECASE)
CSS_OUTSIDE = re.compile(
    r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^\s"')]+)""", re.IGNORECASE
)
# Attributes that a browser loads by itself. A link's target is not one of them.
LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
# These kinds of <link> only name another page or a person: nothing is loaded.
NAMES_ONLY = {"alternate", "author", "canonical", "license", "next", "prev", "search"}


class _Reader(HTMLParser):
    """Collects what a page loads from elsewhere, and the pictures without alt text."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.undescribed: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        loaded = LOADED.get(tag, ())
        if tag == "link" and not set(given.get("rel", "").split()) <= NAMES_ONLY:
            loaded = ("href",)
        for name in loaded:
            address = given.get(name, "")
            if OUTSIDE.match(address):
                self.outside.append(f"<{tag}> {address}")
        self.outside += CSS_OUTSIDE.findall(given.get("style", ""))
        if tag == "img" and not given.get("alt", "").strip():
            self.undescribed.append(given.get("src", "")[:80])
        if "srcdoc" in given:
            frame = read(given["srcdoc"])
            self.outside += frame.outside
            self.undescribed += frame.undescribed

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.outside += CSS_OUTSIDE.findall(data)


def read(page: str) -> _Reader:
    """Read a page, including the pages in its frames."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def warn_of_missing_alt(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn of each picture without words for readers who can't see it.

    The name of its file does not count.
    """
    for node in doctree.findall(lambda n: isinstance(n, nodes.image | nodes.raw)):
        if isinstance(node, nodes.image):
            missing = [] if node.get("alt", "").strip() else [node["uri"]]
        elif "html" in node.get("format", "").split():
            missing = read(node.astext()).undescribed
        else:
            continue
        for picture in missing:
            logger.warning(
                "%s.md: the picture %s has no alt text%s",
                docname,
                Path(picture).name,
                _cell(node),
                location=docname,
            )


def _cell(node: nodes.Node) -> str:
    """Which cell draws the picture, and how to give it a text; else empty."""
    while node is not None and node.get("nb_element") != "cell_code":
        node = node.parent
    if node is None:
        return ""
    code = next(iter(node.findall(nodes.literal_block)), None)
    last = code.astext().strip().splitlines()[-1] if code is not None else ""
    return f"; its cell ends with `{last}` and needs `mystnb: {{image: {{alt: ...}}}}`"


def outside_references(folder: Path) -> Iterator[tuple[str, str]]:
    """Find what the pages and style sheets below a folder load from elsewhere.

    Yields:
        The name of a page or style sheet, and the address that it loads.
    """
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        text = path.read_text(encoding="utf-8", errors="replace")
        css = path.suffix == ".css"
        for address in CSS_OUTSIDE.findall(text) if css else read(text).outside:
            yield path.relative_to(folder).as_posix(), address


def warn_of_outside_references(app: Sphinx, error: Exception | None) -> None:
    """Warn of each built page that needs another machine."""
    if error is None and app.builder.format == "html":
        for page, address in outside_references(Path(app.outdir)):
            logger.warning("%s asks another machine: %s", page, address)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("doctree-resolved", warn_of_missing_alt)
    app.connect("build-finished", warn_of_outside_references, priority=950)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
