"""The data of the attention figures: token names, and the weights in little space.

The weights are those of every layer and head, with their means.
"""

from __future__ import annotations

import base64
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from chapter4.attention.weights import average_attention
from chapter4.plots.attention import CMAP

# Weights are embedded as whole 65535ths, 16 bits each: the largest error is half of
# one, which is less than 1e-5.
FULL = 65535
# About 2.7 MB of text on the page.
MAX_WEIGHTS = 1_000_000
TOP = 3

# Marks that change the direction of the text around them.
_TURNING = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@dataclass(frozen=True)
class Stack:
    """Weights of every layer and head, then the means over them.

    Attributes:
        values: (layers, heads, T, T) in 65535ths. Where there are several, the last
            layer is the mean of all layers and the last head is the mean of all heads.
        layers: Each layer in words, one for each index.
        heads: Each head in words, one for each index.
    """

    values: np.ndarray
    layers: list[str]
    heads: list[str]

    def where(self, layer: int, head: int) -> str:
        """Layer and head in words, as a sentence begins."""
        words = f"{self.layers[layer]}, {self.heads[head]}"
        return words[0].upper() + words[1:]


def stack_of(weights: np.ndarray, layers: Sequence[int] | None = None) -> Stack:
    """Round everything that can be chosen in a figure to 65535ths.

    The means are those of :func:`chapter4.average_attention`.

    Args:
        weights: Attention weights (L, H, T, T).
        layers: The layers to embed, counted from 0; None for all.

    Returns:
        The layers and heads with their means.

    Raises:
        ValueError: For more than ``MAX_WEIGHTS`` numbers.
    """
    picked = list(range(len(weights)) if layers is None else layers)
    everyone = list(range(weights.shape[1]))
    by_layer, by_head = (
        [[i] for i in each] + ([each] if len(each) > 1 else [])
        for each in (picked, everyone)
    )
    means = "all" if len(picked) == len(weights) else "these"
    size = len(by_layer) * len(by_head) * weights.shape[-1] ** 2
    if size > MAX_WEIGHTS:
        raise ValueError(
            f"{len(picked)} layers and {len(everyone)} heads of {weights.shape[-1]}"
            f" tokens make {size:,} weights; a page holds {MAX_WEIGHTS:,}: choose fewer"
            " layers, such as layers=-1"
        )
    values = np.array(
        [[average_attention(weights, ls, hs) for hs in by_head] for ls in by_layer]
    )
    return Stack(
        np.round(values * FULL).astype(np.uint16),
        [_named("layer", ls, means) for ls in by_layer],
        [_named("head", hs, "all") for hs in by_head],
    )


def as_text(values: np.ndarray) -> str:
    """The bytes of whole numbers as base64."""
    return base64.b64encode(values.tobytes()).decode()


def readable(tokens: Sequence[str]) -> list[str]:
    """Names for use in a sentence: each is unique and leaves the text around it alone.

    A token that occurs twice gets # and its position, counted from 0. A character that
    can't be seen is written as its number. Letters that may run from right to left are
    isolated, so that they can't turn the text around them.
    """
    times = Counter(tokens)
    found = []
    for at, token in enumerate(tokens):
        name = "".join(map(_seen, token)) or "(empty)"
        if not name.isascii():
            # The first mark opens an isolate and the second closes it. Nothing inside
            # affects the text outside, because _seen has written every other such mark
            # as its number.
            name = f"\u2068{name}\u2069"
        found.append(f"{name} #{at}" if times[token] > 1 else name)
    return found


def weight(units: int, digits: int = 3) -> str:
    """A weight as the figures write it: three decimals in a sentence, two in a cell."""
    return f"{units / FULL:.{digits}f}"


def strongest(units: np.ndarray, names: Sequence[str], own: int) -> str:
    """The largest weights of a row or column in words.

    Args:
        units: The row or column, (T,) in 65535ths.
        names: The tokens' names.
        own: Whose row or column it is.

    Returns:
        Words such as "a (0.500), b (0.300) and itself (0.200)".
    """
    order = np.argsort(-units.astype(int), kind="stable")[:TOP]
    found = [
        f"{'itself' if i == own else names[i]} ({weight(int(units[i]))})" for i in order
    ]
    return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))


@cache
def colours() -> tuple[list[str], int]:
    """Colours from no weight to the full scale, and where black text starts.

    Returns:
        256 colours as hex, and the index of the first one on which black is easier to
        read than white.
    """
    from matplotlib import colormaps

    table = colormaps[CMAP](np.arange(256))[:, :3]
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722]
    # Contrast with black against contrast with white, as WCAG defines it.
    black = (light + 0.05) ** 2 > 0.05 * 1.05
    bytes_of = np.round(table * 255).astype(int)
    names = ["#{:02x}{:02x}{:02x}".format(*row) for row in bytes_of]
    return names, int(black.argmax())


def shared_data(stack: Stack, names: Sequence[str]) -> dict[str, Any]:
    """The data that the script needs for every attention figure."""
    table, black_from = colours()
    return {
        # 16 bits each, low byte first.
        "weights": as_text(stack.values.astype("<u2")),
        "layers": stack.layers,
        "heads": stack.heads,
        "names": list(names),
        "colours": table,
        "blackFrom": black_from,
    }


def _named(kind: str, which: Sequence[int], means: str) -> str:
    if len(which) == 1:
        return f"{kind} {which[0]}"
    return f"mean of {means} {len(which)} {kind}s"


def _seen(letter: str) -> str:
    unseen = unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
    hidden = unseen or letter in _TURNING
    return f"U+{ord(letter):04X}" if hidden else letter
