"""A student's text and code as HTML, in time and without harm to whoever reads it.

nbgrader shows both in the formgrader and in the feedback.
"""

from __future__ import annotations

from html import escape
from typing import Any

import bleach
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

MAX_SHOWN = 10_000  # characters of a cell that are shown with markup
MAX_TAGS = 200
MAX_LINES = 1_000
TAGS = (
    *("br", "del", "details", "div", "hr", "p", "pre", "span", "sub", "summary", "sup"),
    *("dd", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("table", "tbody", "td", "th", "thead", "tr"),
)


def harmless_markdown(source: str) -> str:
    """Markdown as HTML without scripts, styles, frames or pictures from elsewhere.

    What is very long or full of tags stays text: it could take hours. No element has an
    id or a class, because the formgrader finds its own buttons and fields by them.
    """
    if len(source) > MAX_SHOWN or source.count("<") > MAX_TAGS:
        return f"<pre>{escape(source)}</pre>"
    html = bleach.clean(
        MarkdownWithMath(renderer=PlainCode(escape=False)).render(source),
        tags=[*bleach.ALLOWED_TAGS, *TAGS],
        attributes={"a": ["href", "title"]},
    )
    return str(html)


class PlainCode(IPythonRenderer):
    """Shows code in Markdown without colours: some lexers take minutes for 3 kB."""

    def block_code(self, code: str, info: str | None = None) -> str:
        return f"<pre>{escape(code)}</pre>\n"


def coloured_code(source: str, language: str = "", metadata: Any = None) -> str:
    """Code as HTML in colours, unless it is so long that these could take an hour."""
    if len(source) > MAX_SHOWN or source.count("\n") > MAX_LINES:
        return f'<div class="highlight"><pre>{escape(source)}</pre></div>'
    html: str = Highlight2HTML(pygments_lexer="ipython3")(source, metadata=metadata)
    return html
