"""Books of one or two pages, which the tests of the book's Sphinx extensions build."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "_ext"
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


def build_book(
    source: Path, folder: Path, settings: Mapping[str, Any], **options: Any
) -> tuple[int, str]:
    """Build a book.

    Args:
        source: The folder with the pages.
        folder: Gets the pages, in its folder ``out``, and Sphinx's own files.
        settings: Values of ``conf.py``.
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
            freshenv=True,
            **options,
        )
        app.build(force_all=True)
    return app.statuscode, re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())
