"""Section 4.4 as an interactive figure: the attention matrix of a text, every layer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from chapter4.attention.weights import attention_weights, check_position, find_by_name
from chapter4.explore.attention_data import (
    FULL,
    Stack,
    colours,
    readable,
    shared_data,
    stack_of,
    strongest,
    weight,
)
from chapter4.explore.view import Choice, Explorer, file_text

if TYPE_CHECKING:
    from chapter4.inputs.models import TextModel

# A table with more rows is hard to read.
MAX_TOKENS = 48
# The ends of the colour scale. They are the same for all layers and heads, so that
# these can be compared. Means are small: beside the special tokens they are visible
# only with the second end.
ENDS = (1, 0.2)

_CAPTION = (
    "Attention of {model}. A row looks, a column is looked at; every row sums to 1."
    " Choose a token, by the list or at the table's edge, to mark its row and its"
    " column. In the table the arrow keys move from cell to cell."
)
_TWICE = " The number behind # is a token's position, counted from 0."


def explore_attention(
    text: str,
    bert: TextModel | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    token: int | str | None = None,
) -> Explorer:
    """The attention matrix of a text as a table with a choice of layer, head and token.

    Args:
        text: A sentence.
        bert: What :func:`chapter4.load_bert` or :func:`chapter4.load_sentiment`
            returns, or None for the embedded MiniLM.
        layer: The layer that is shown first, counted from 0; negative ones count from
            the end. None for the mean over all layers.
        head: The head that is shown first, counted in the same way. None for the mean
            over all heads.
        token: The token that is followed first, or its position where it occurs twice.
            None for the first one that is not special.

    Returns:
        A figure that needs no network. The weights in it are rounded to 1/65535.

    Raises:
        TypeError: If ``text`` is no text, ``bert`` is no model, or a position is not an
            integer.
        ValueError: If the text is empty or has more than ``MAX_TOKENS`` (48) tokens, if
            the model gives no weights, or if a layer, a head or a token does not exist.

    References:
        Vaswani et al. 2017, arXiv:1706.03762.
    """
    attention = attention_weights(text, bert)
    count, model = len(attention.tokens), attention.model_name
    if count > MAX_TOKENS:
        raise ValueError(
            f"the text has {count} tokens; a table of at most {MAX_TOKENS} can be read"
        )
    layers, heads = attention.weights.shape[:2]
    stack = stack_of(attention.weights)
    at = -1 if layer is None else check_position("layer", layer, layers, model)
    which = -1 if head is None else check_position("head", head, heads, model)
    at, which = at % len(stack.layers), which % len(stack.heads)
    names = readable(attention.tokens)
    chosen = int((~attention.special).argmax())
    if token is not None:
        chosen = find_by_name("token", token, attention.tokens)
    shown = stack.values[at, which]
    return Explorer(
        title=f"Attention between the tokens of a text, {model}",
        controls=[
            Choice("layer", "Layer", stack.layers, at),
            Choice("head", "Head", stack.heads, which),
            Choice("token", "Token", names, chosen),
            Choice("end", "Colours end at", list(map(str, ENDS))),
        ],
        stage=_stage(shown, names, chosen),
        said=said(stack, at, which, names, chosen),
        caption=_CAPTION.format(model=model)
        + (_TWICE if len(set(attention.tokens)) < count else ""),
        data={"kind": "text", "ends": ENDS, **shared_data(stack, names)},
        script="attention.js",
    )


def said(stack: Stack, layer: int, head: int, names: list[str], token: int) -> str:
    """The sentences about one token: what it looks at most, and what looks at it."""
    shown = stack.values[layer, head]
    # In quotes, because a token may be a word such as "and".
    quoted = [f"“{name}”" for name in names]
    return (
        f"{stack.where(layer, head)}. Token {quoted[token]} looks most at"
        f" {strongest(shown[token], quoted, token)}. It is looked at most by"
        f" {strongest(shown[:, token], quoted, token)}. Spread evenly, each weight"
        f" would be {1 / len(names):.3f}."
    )


def scale(top: str) -> str:
    """The colour bar from 0 to ``top`` as HTML."""
    stops = ", ".join(colours()[0][::15])
    return (
        '<p class="explorer-attention-scale"><span>Weight 0</span><span'
        ' class="explorer-attention-bar" style="background: linear-gradient(to right,'
        f' {stops})"></span><span data-part="top">{top}</span></p>'
    )


def style() -> str:
    """The attention figures' own CSS."""
    return f"<style>\n{file_text('attention.css')}</style>"


def _stage(shown: np.ndarray, names: list[str], chosen: int) -> str:
    # The still picture is this table: coloured cells with their numbers, as HTML.
    safe = [escape(name) for name in names]
    columns = "".join(
        '<th scope="col"><span class="explorer-attention-name"'
        f' dir="auto">{name}</span></th>'
        for name in safe
    )
    rows = "\n".join(
        '<tr><th scope="row"><span class="explorer-attention-name"'
        f' dir="auto">{safe[q]}</span></th>'
        + "".join(_cell(int(units), q, k, chosen) for k, units in enumerate(row))
        + "</tr>"
        for q, row in enumerate(shown)
    )
    return f"""{style()}
<div class="explorer-attention">
<div class="explorer-attention-scroll">
<table data-part="table" aria-label="Weights: rows look, columns are looked at">
<thead><tr><td></td>{columns}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
{scale("1")}
<p data-part="cell" aria-live="polite"></p>
</div>"""


def _cell(units: int, q: int, k: int, chosen: int) -> str:
    table, black_from = colours()
    at = round(units * (len(table) - 1) / FULL)
    ink = "#000" if at >= black_from else "#fff"
    marks = " ".join(
        name for name, on in (("on-row", q == chosen), ("on-column", k == chosen)) if on
    )
    return (
        f'<td class="{marks}" style="background: {table[at]}; color: {ink}">'
        f"{weight(units, 2).removeprefix('0')}</td>"
    )
