"""BertViz's views in the book: the same view in a frame of its own, with scripts from the build's folder.

As BertViz makes it, a view loads RequireJS, jQuery and d3 from a third party, and is blank without a network.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

REQUIRE_JS = re.compile(r"<script src=\"https://[^\"]*/require\.js/[^\"]*\">\s*</script>")

# BertViz asks RequireJS for jQuery and d3; both are there already when its script runs.
# The frame grows with what it shows, so that the page scrolls and not the frame.
FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>BertViz</title>
<style>body {{ margin: 0; overflow: auto hidden; }}</style>
<script src="_static/jquery/dist/jquery.min.js"></script>
<script src="_static/d3/dist/d3.min.js"></script>
<script>
var require = {{ config() {{}} }}, requirejs = (names, ready) => ready(jQuery, d3);
</script></head><body>{view}
<script>
new ResizeObserver(() => {{
  frameElement.style.height = document.body.offsetHeight + 16 + "px";
}}).observe(document.body);
</script></body></html>"""

IFRAME = '<iframe class="bertviz" title="Interactive view of attention weights" srcdoc="{page}"></iframe>'


def frame(view: str) -> str:
    """Return the HTML of a BertViz view as an iframe that loads only the book's own scripts."""
    return IFRAME.format(page=html.escape(FRAME.format(view=REQUIRE_JS.sub("", view))))


def use_local_scripts(app: Sphinx | None, doctree: nodes.document) -> None:
    """Put every BertViz view of a page into such a frame."""
    for node in list(doctree.findall(nodes.raw)):
        if 'id="bertviz-' in node.astext():
            node.replace_self(nodes.raw("", frame(node.astext()), format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("doctree-read", use_local_scripts)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
