"""The book's pages as a build reads them, and small books to build."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chapter4_problems import expand
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

BOOK = Path(__file__).resolve().parents[2] / "book"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)

# This header makes a page of Markdown a notebook.
HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""


def page_text(name: str) -> str:
    """A page's MyST source as a build reads it, with the parts of the problems."""
    return expand((BOOK / f"{name}.md").read_text(encoding="utf-8"))


def build_book(
    source: Path,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    fresh: bool = True,
    **options: Any,
) -> tuple[int, str]:
    """Build a book.

    Args:
        source: The folder with the pages.
        folder: Gets the pages, in its folder ``out``, and Sphinx's own files.
        settings: Values of ``conf.py``.
        fresh: Whether to read every page, whatever an earlier build has read.
        **options: More arguments of Sphinx's application.

    Returns:
        The exit code and the warnings, without colour.
    """
    warnings = io.StringIO()
    with patch_docutils(str(source)), docutils_namespace():
        app = Sphinx(
            srcdir=source,
            confdir=None,
            outdir=folder / "out",
            doctreedir=folder / "trees",
            buildername="html",
            confoverrides={"html_theme": "basic", **settings},
            status=None,
            warning=warnings,
            freshenv=fresh,
            **options,
        )
        app.build(force_all=fresh)
    return app.statuscode, re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())
