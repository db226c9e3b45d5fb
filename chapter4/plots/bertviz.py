"""Section 4.4: BertViz's interactive views as pages that work offline.

They work in a notebook, in the book and as a file.
"""

from __future__ import annotations

import html
import json
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chapter4.attention.weights import TextAttention, attention_weights
from chapter4.inputs.images import picture_url

if TYPE_CHECKING:
    from chapter4.inputs.models import TextModel

# BertViz's pages load these scripts from a third party. Here they come from installed
# packages: (distribution, file).
SCRIPTS = (
    ("mpld3", "mpld3/js/d3.v5.min.js"),
    ("XStatic-jQuery", "xstatic/pkg/jquery/data/jquery.slim.min.js"),
)
# The browser draws every weight of a view as a line. With more lines than this it takes
# seconds to change the layer.
MAX_LINES = 100_000

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ margin: 12px; background: #fff; color: #000; \
font-family: "Helvetica Neue", Helvetica, Arial, sans-serif; }}
h1 {{ font-size: 1rem; margin: 0 0 0.25rem; }}
p {{ font-size: 0.875rem; line-height: 1.4; margin: 0 0 0.75rem; max-width: 46rem; }}
select {{ font: inherit; }}
noscript img {{ height: auto; image-rendering: pixelated; max-width: 100%; }}
#vis svg {{ overflow: visible; }}
:focus-visible {{ outline: 2px solid #0b57d0; outline-offset: 1px; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{help}</p>
{still}
<script>
{scripts}
</script>
<script>
// BertViz loads its libraries by RequireJS; here they are on the page already.
const require = {{ config() {{}} }};
const requirejs = (names, start) => start(jQuery, d3);
</script>
{body}
<script>
{keys}
</script>
</body>
</html>
"""

# BertViz's squares and thumbnails react only to the mouse; this script adds the
# keyboard. It runs again whenever BertViz draws them anew, as after a change of layer.
_KEYS = """
const name = (rect, at) => `%s`;
function reach() {
  const clickable = (rect) => rect.__on?.some((listener) => listener.type === "click");
  [...document.querySelectorAll("#vis svg rect")].filter(clickable)\
.forEach((rect, at) => {
    if (rect.tabIndex === 0) return;
    rect.tabIndex = 0;
    rect.setAttribute("role", "button");
    rect.setAttribute("aria-label", name(rect, at));
    rect.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      rect.dispatchEvent(new MouseEvent("click"));
    });
  });
}
reach();
new MutationObserver(reach).observe(document.querySelector("#vis"), \
{ childList: true });
"""


@dataclass(frozen=True)
class InteractiveView:
    """An interactive page, for a notebook or as a file.

    A notebook shows it when it is the last value of a cell. ``.save(path)`` writes it
    to a file.

    Attributes:
        html: The complete page, which needs no network.
        title: What the page shows.
        height: The height of the frame in a notebook, in pixels.
    """

    html: str
    title: str
    height: int

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, which any browser can open without a network.

        Args:
            path: The file to write.

        Returns:
            The same path.

        Raises:
            OSError: If the file can't be written.
        """
        path = Path(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f"InteractiveView({self.title!r}, {len(self.html):,} characters)"

    def _repr_html_(self) -> str:
        # The view gets its own frame, because BertViz's ids would clash with those of a
        # second view. The sandbox allows scripts and nothing else.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}"'
            f' title="{html.escape(self.title)}" sandbox="allow-scripts" style="width:'
            f" 100%; height: {self.height}px; border: 1px solid #ccc; background:"
            ' #fff;"></iframe>'
        )


def head_view(text: str, *, bert: TextModel | None = None) -> InteractiveView:
    """BertViz's head view: lines from each token to those that it looks at.

    It shows one layer at a time, with one colour for each head.

    Args:
        text: A sentence.
        bert: What :func:`chapter4.load_bert` returns, or None for the embedded MiniLM.

    Returns:
        A page that works offline.

    Raises:
        ValueError: For an empty or too long text, also for one with more lines than a
            browser can draw.
        TypeError: If an argument has the wrong type.
        RuntimeError: If this version of bertviz writes its page in another way.
        FileNotFoundError: If a package with one of the scripts is not installed.

    References:
        Vig 2019, arXiv:1906.05714.
    """
    import bertviz

    attention = attention_weights(text, bert)
    layers, heads, count, _ = attention.weights.shape
    _check_lines(heads, count)
    body = _drawn(bertviz.head_view, attention)
    note = (
        "Each line runs from the token that looks (left) to one that it looks at"
        " (right), stronger for more weight. Choose a layer; a click on a coloured"
        " square turns that head on or off, a double click shows it alone; point at a"
        " token for its own lines."
    )
    title = (
        f"{attention.model_name}: attention of {heads} heads, layer by layer (0 to"
        f" {layers - 1})"
    )
    body = body.replace('id="layer"', 'id="layer" aria-label="Layer"')
    page = _page(title, note, body, attention, "Head ${at}", 1)
    return InteractiveView(page, title, 190 + round(22.5 * count))


def model_view(text: str, *, bert: TextModel | None = None) -> InteractiveView:
    """BertViz's model view: every layer and head as a thumbnail; a click enlarges one.

    Args:
        text: A sentence. It must be shorter than for :func:`chapter4.head_view`,
            because all layers are drawn at once.
        bert: What :func:`chapter4.load_bert` returns, or None for the embedded MiniLM.

    Returns:
        A page that works offline.

    Raises:
        ValueError: For an empty or too long text, also for one with more lines than a
            browser can draw.
        TypeError: If an argument has the wrong type.
        RuntimeError: If this version of bertviz writes its page in another way.
        FileNotFoundError: If a package with one of the scripts is not installed.

    References:
        Vig 2019, arXiv:1906.05714.
    """
    import bertviz

    attention = attention_weights(text, bert)
    layers, heads, count, _ = attention.weights.shape
    _check_lines(layers * heads, count)
    body = _drawn(bertviz.model_view, attention, display_mode="light")
    note = (
        "Rows are layers, columns are heads. In each picture lines run from the tokens"
        " that look (left) to those that they look at (right), stronger for more"
        " weight. A click on a picture enlarges it, a second click closes it."
    )
    title = (
        f"{attention.model_name}: attention in all {layers} layers and {heads} heads"
    )
    name = f"Layer ${{Math.floor(at / {heads})}}, head ${{at % {heads}}}"
    # BertViz's own layout: the thumbnails, with 7 px for each token if there are 12
    # heads, or the enlarged picture, whichever is higher.
    drawn = max(layers * (count * 84 / heads + 10) + 38, count * 18 + 55)
    page = _page(title, note, body, attention, name, layers)
    return InteractiveView(page, title, 150 + round(drawn))


def _drawn(view: Callable[..., Any], attention: TextAttention, **options: Any) -> str:
    # Four digits are more than the strength of a line can show, and the page is a
    # quarter as large.
    weights = [
        torch.from_numpy(layer.astype(np.float64).round(4))[None]
        for layer in attention.weights
    ]
    # A text's tokens may hold anything, so BertViz gets numbers instead. ``_page``
    # puts in the tokens, escaped.
    stand_ins = [str(i) for i in range(len(attention.tokens))]
    with warnings.catch_warnings():
        # BertViz does not close its script file.
        warnings.simplefilter("ignore", ResourceWarning)
        return view(weights, stand_ins, html_action="return", **options).data


def _check_lines(matrices: int, count: int) -> None:
    longest = int((MAX_LINES / matrices) ** 0.5)
    if count > longest:
        raise ValueError(
            f"the text has {count} tokens; with {matrices} heads on the page at most"
            f" {longest} can be drawn"
        )


def _page(
    title: str, note: str, body: str, attention: TextAttention, name: str, layers: int
) -> str:
    from bertviz.util import format_special_chars

    body = re.sub(r'<script src="https:[^"]*"></script>', "", body, count=1)
    body = re.sub(r"require\.config\(\{.*?\}\);", "", body, count=1, flags=re.DOTALL)
    # The data is there twice: BertViz replaces its marker in a comment as well.
    found = re.search(r"const params = (\{.*\}); // HACK: .*", body)
    if found is None or "src=" in body or "paths:" in body:
        raise RuntimeError(
            "this version of bertviz writes its page in another way; versions from"
            " 1.4.1 were known"
        )
    data = json.loads(found[1])
    tokens = format_special_chars(attention.tokens)
    for matrices in data["attention"]:
        matrices["left_text"] = matrices["right_text"] = tokens
    # "<" can start a tag that ends the script. Written as \u003c it is the same string
    # to JavaScript, and HTML does not see it.
    safe = json.dumps(data).replace("<", "\\u003c")
    return _PAGE.format(
        title=html.escape(title),
        help=html.escape(note),
        still=_still(attention.weights[:layers], attention.tokens),
        scripts="\n".join(_script(*script) for script in SCRIPTS),
        body=f"{body[: found.start()]}const params = {safe};{body[found.end() :]}",
        keys=_KEYS % name,
    )


def _still(weights: np.ndarray, tokens: list[str]) -> str:
    """The picture for readers without scripts: a square for each layer and head.

    The weights are (L, A, T, T). The rows of a square look, and its columns are looked
    at.
    """
    from matplotlib import colormaps

    layers, heads, count, _ = weights.shape
    cell = max(2, 48 // count)
    squares = weights.repeat(cell, axis=2).repeat(cell, axis=3)
    squares = np.pad(squares, [(0, 0), (0, 0), (2, 2), (2, 2)], constant_values=np.nan)
    sheet = squares.transpose(0, 2, 1, 3).reshape(layers * squares.shape[2], -1)
    colours = colormaps["viridis"].with_extremes(bad="white")(sheet, bytes=True)
    which = "Layer 0" if layers == 1 else f"Rows of squares: layers 0 to {layers - 1}"
    words = (
        f"{which}; columns of squares: heads 0 to {heads - 1}. In a square each row is"
        " a token that looks, each column one that is looked at, in the order"
        f" {' '.join(tokens)}. Dark is 0, yellow is 1."
    )
    words = html.escape(words)
    image = (
        f'<img alt="Attention weights as squares. {words}"'
        f' src="{picture_url(colours[..., :3])}">'
    )
    return f"<noscript><p>Without scripts: {words}</p>{image}</noscript>"


def _script(package: str, path: str) -> str:
    try:
        file = Path(str(distribution(package).locate_file(path)))
        return file.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"{path} comes with the package {package}, which is not installed: {error}"
        ) from None
