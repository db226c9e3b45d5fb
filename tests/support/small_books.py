"""Books of a page or two, which the tests of the book's Sphinx extensions build."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "_ext"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# What makes a page of Markdown a notebook.
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
    """Build source's pages to folder / "out": the exit code and the warnings, without colour."""
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
