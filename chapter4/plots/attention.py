"""Section 4.4: figures of attention weights.

The tokens of the rows look, and the tokens of the columns are looked at. Matrices that
are shown side by side share one colour scale.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from chapter4.attention.vit import cls_attention, vit_attention_weights
from chapter4.attention.weights import attention_weights, check_position
from chapter4.attention.words import WordAttention, word_attention
from chapter4.inputs.images import brightness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from chapter4.attention.weights import TextAttention
    from chapter4.inputs.images import ImageInput
    from chapter4.inputs.models import TextModel

CMAP = "viridis"
WEIGHT = "Attention weight (each row sums to 1)"


def visualize_attention(
    text: str, layer: int = 0, head: int = 0, *, bert: TextModel | None = None
) -> Figure:
    """Draw the attention of one head as a heat map.

    The row's token looks, and the column's token is looked at. Every row sums to 1.

    Args:
        text: A sentence.
        layer: The layer, counted from 0; negative numbers count from the end.
        head: The head, counted in the same way.
        bert: What :func:`chapter4.load_bert` returns, or None for the embedded MiniLM.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.

    Raises:
        ValueError: For an empty or too long text, or a layer or head out of range.
        TypeError: If an argument has the wrong type.

    References:
        Vaswani et al. 2017, arXiv:1706.03762.
    """
    attention = attention_weights(text, bert)
    layers, heads = attention.weights.shape[:2]
    matrix = attention.head(layer, head)
    title = (
        f"{attention.model_name}: attention in layer {layer % layers}, head"
        f" {head % heads}\n(layers 0 to {layers - 1}, heads 0 to {heads - 1})"
    )
    return _matrix(matrix, attention.tokens, attention.tokens, title, WEIGHT, 1.0)


def visualize_multi_head_attention(
    text: str, layer: int = 0, *, bert: TextModel | None = None
) -> Figure:
    """Draw every head of one layer, side by side on one colour scale from 0 to 1.

    Args:
        text: A sentence.
        layer: The layer, counted from 0; negative numbers count from the end.
        bert: What :func:`chapter4.load_bert` returns, or None for the embedded MiniLM.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.

    Raises:
        ValueError: For an empty or too long text, or a layer out of range.
        TypeError: If an argument has the wrong type.
    """
    from chapter4.plots.figures import finish, new_figure

    attention = attention_weights(text, bert)
    layers, heads = attention.weights.shape[:2]
    at = check_position("layer", layer, layers, attention.model_name)
    columns = next((n for n in (3, 4) if heads % n == 0), min(heads, 4))
    side = min(1.1 + 0.2 * len(attention.tokens), 4.5)
    with _light():
        figure, grid = new_figure(
            math.ceil(heads / columns), columns, (side + 0.3, side + 0.1)
        )
        for head, axes in enumerate(grid.flat):
            if head >= heads:
                axes.remove()
                continue
            # Only panels at the outer edge have labels. A column that ends one row
            # earlier has its edge there.
            rows = attention.tokens if head % columns == 0 else None
            below = attention.tokens if head + columns >= heads else None
            _heatmap(axes, attention.weights[at, head], 1.0, rows, below, side)
            axes.set_title(f"head {head}", fontsize=11)
        shown, panels = grid.flat[0].collections[0], list(grid.flat[:heads])
        bar = figure.colorbar(shown, ax=panels, shrink=0.6, pad=0.02)
        bar.set_label(WEIGHT, fontsize=12)
        title = (
            f"{attention.model_name}: attention in layer {at} (of 0 to "
            f"{layers - 1}), all {heads} heads"
        )
        figure.suptitle(title, fontsize=14, parse_math=False)
        figure.supxlabel("Key: the token that is looked at", fontsize=12)
        figure.supylabel("Query: the token that looks", fontsize=12)
    return finish(figure)


def visualize_word_attention(attention: WordAttention | TextAttention) -> Figure:
    """Draw the attention between words as a heat map.

    Beside each row is the share of attention that went to removed special tokens. The
    colour scale runs from 0 to the largest weight.

    Args:
        attention: A result of :func:`chapter4.word_attention`, or of
            :func:`chapter4.attention_weights` for the mean over layers and heads with
            special tokens removed.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.
    """
    words = attention
    if not isinstance(words, WordAttention):
        words = word_attention(words, keep_special=False)
    rows, note = words.words, "each row sums to 1"
    if words.removed.any():
        rows = [
            f"{word} ({share:.0%} removed)"
            for word, share in zip(words.words, words.removed, strict=True)
        ]
        note = "special tokens removed, " + (
            "rows scaled to sum 1" if words.renormalized else "nothing scaled"
        )
    title, meaning = (
        f"Attention between words\n{words.source}",
        f"Attention weight\n({note})",
    )
    top = float(words.weights.max())
    return _matrix(words.weights, words.words, rows, title, meaning, top, "word")


def visualize_vit_attention(
    image: ImageInput,
    layer: int = -1,
    head: int | None = 0,
    *,
    model: nn.Module | None = None,
    rollout: bool = False,
) -> Figure:
    """Draw where a Vision Transformer's [CLS] token looks.

    The panels are the crop that the model saw, the weights of the patches, and both
    together. The map does not depend on any class: it is the same whichever class is
    asked about.

    Args:
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        layer: The layer, counted from 0; negative numbers count from the end.
        head: The head, counted in the same way, or None for the mean over heads.
        model: A Hugging Face Vision Transformer, or None for the embedded tiny ViT.
        rollout: Whether to follow the attention from the first layer up to ``layer``,
            over the mean of the heads.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.

    Raises:
        ValueError: For a bad image, a layer or head out of range, or a model that gives
            no weights.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.
    """
    from chapter4.plots.figures import PANEL, finish, new_figure

    attention = vit_attention_weights(image, model)
    grid = cls_attention(attention, layer, head, rollout=rollout)
    layers, heads = attention.weights.shape[:2]
    at = layer % layers
    if rollout:
        what = f"rollout through layers 0 to {at}"
    elif head is None:
        what = f"layer {at} (of 0 to {layers - 1}), mean of {heads} heads"
    else:
        which = f"head {head % heads} (of 0 to {heads - 1})"
        what = f"layer {at} (of 0 to {layers - 1}), {which}"
    height, width = attention.crop.shape[:2]
    with _light():
        figure, ((seen, alone, both),) = new_figure(
            1, 3, (PANEL[0], 0.8 + min(3.1 * height / width, 8.0))
        )
        seen.imshow(attention.crop)
        seen.set_title("What the model saw", fontsize=12)
        aspect = attention.patch[0] / attention.patch[1]
        drawn = alone.imshow(grid, cmap=CMAP, vmin=0, vmax=_top(grid), aspect=aspect)
        rows, columns = grid.shape
        alone.set_title(f"Weight of each of {rows} x {columns} patches", fontsize=12)
        draw_patches(both, attention.crop, grid, attention.patch)
        both.set_title("Both, patch on patch", fontsize=12)
        for axes in (seen, alone, both):
            axes.set(xticks=[], yticks=[])
        meaning = "rollout from" if rollout else "weight of"
        bar = figure.colorbar(drawn, ax=both, shrink=0.85)
        bar.set_label(f"Attention {meaning} [CLS]", fontsize=11)
        title = f"{attention.model_name}: where [CLS] looks, {what}"
        figure.suptitle(title, fontsize=14, parse_math=False)
    return finish(figure)


def draw_patches(
    axes: Axes, crop: np.ndarray, grid: np.ndarray, patch: tuple[int, int]
) -> None:
    """Lay the weights of patches over the crop, each on its own pixels.

    Pixels beyond the last whole patch stay bare: no token represents them.

    Args:
        axes: The panel to draw in.
        crop: The crop, (height, width, 3) in [0, 1].
        grid: The weights of the patches, (rows, cols).
        patch: The height and width of a patch in pixels.
    """
    # In grey, so that colour means attention.
    axes.imshow(brightness(crop), cmap="gray", vmin=0, vmax=1)
    bottom, right = grid.shape[0] * patch[0], grid.shape[1] * patch[1]
    # Cells, not a smooth surface: the model says nothing about places between the
    # centres of two patches.
    axes.imshow(
        grid,
        cmap=CMAP,
        alpha=0.6,
        vmin=0,
        vmax=_top(grid),
        extent=(-0.5, right - 0.5, bottom - 0.5, -0.5),
        interpolation="nearest",
    )
    axes.set(xlim=(-0.5, crop.shape[1] - 0.5), ylim=(crop.shape[0] - 0.5, -0.5))


def _matrix(
    matrix: np.ndarray,
    columns: list[str],
    rows: list[str],
    title: str,
    meaning: str,
    top: float,
    unit: str = "token",
) -> Figure:
    from chapter4.plots.figures import finish, new_figure

    side = min(max(1.6 + 0.36 * len(columns), 3.6), 12.0)
    with _light():
        figure, ((axes,),) = new_figure(1, 1, (side + 3.0, side + 1.7))
        _heatmap(axes, matrix, top, rows, columns, side)
        bar = figure.colorbar(axes.collections[0], ax=axes, shrink=0.85)
        bar.set_label(meaning, fontsize=11)
        figure.suptitle(title, fontsize=12, parse_math=False)
        axes.set_xlabel(f"Key: the {unit} that is looked at", fontsize=11)
        axes.set_ylabel(f"Query: the {unit} that looks", fontsize=11)
    return finish(figure)


def _heatmap(
    axes: Axes,
    matrix: np.ndarray,
    top: float,
    rows: list[str] | None,
    columns: list[str] | None,
    side: float,
) -> None:
    # rows, columns: The labels, or None where a neighbour has them.
    # side: The approximate side of the matrix, in inches.
    axes.pcolormesh(matrix, cmap=CMAP, vmin=0, vmax=top)
    axes.set(aspect="equal", xticks=[], yticks=[], frame_on=False)
    axes.invert_yaxis()
    cell = 72 * side / len(matrix)  # in points
    size = min(max(0.62 * cell, 8.0), 11.0)
    # As many labels as can be read at that size: for a long text every second, third,
    # and so on.
    shown = range(0, len(matrix), math.ceil(1.15 * size / cell))
    for labels, write, turn in (
        (columns, axes.set_xticks, 90),
        (rows, axes.set_yticks, 0),
    ):
        if labels is not None:
            places, words = [i + 0.5 for i in shown], [labels[i] for i in shown]
            write(places, words, rotation=turn, fontsize=size, parse_math=False)


def _top(grid: np.ndarray) -> float:
    return float(grid.max()) or 1.0


def _light() -> AbstractContextManager[None]:
    # Black on white, also where the reader's notebook has a dark style: the figure has
    # its own white background.
    from matplotlib import style

    return style.context("default")
