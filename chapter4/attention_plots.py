"""Section 4.4, drawn: rows look, columns are looked at, one colour scale wherever two matrices stand side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chapter4.attention import (
    attention_weights,
    check_position,
    cls_attention,
    vit_attention_weights,
)
from chapter4.attention_words import WordAttention, word_attention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from chapter4.attention import TextAttention
    from chapter4.images import ImageInput
    from chapter4.models import TextModel

COLOURS = "viridis"
# More labels than this on one axis can't be read; every second, third, ... is shown instead.
MAX_LABELS = 60


def visualize_attention(text: str, layer: int = 0, head: int = 0, *, bert: TextModel | None = None) -> Figure:
    """One head's attention as a heat map: the row's token looks, the column's is looked at; every row sums to 1.

    text: a sentence. layer, head: counted from 0, negative numbers from the end. bert: what `load_bert(name)` returns, or
    None for the embedded MiniLM. Returns the figure; it is shown in an interactive session only.
    Raises ValueError or TypeError for bad input. Source: Vaswani et al. 2017, arXiv:1706.03762.
    """
    attention = attention_weights(text, bert)
    layers, heads = attention.weights.shape[:2]
    at = (check_position("layer", layer, layers, attention.model_name), check_position("head", head, heads, attention.model_name))
    title = f"{attention.model_name}: attention in layer {at[0]}, head {at[1]}\n(layers 0 to {layers - 1}, heads 0 to {heads - 1})"
    return _finished(_matrix(attention.weights[at], attention.tokens, title, "Attention weight (each row sums to 1)", 1.0))


def visualize_multi_head_attention(text: str, layer: int = 0, *, bert: TextModel | None = None) -> Figure:
    """Every head of one layer, side by side on one colour scale from 0 to 1.

    Arguments, result and errors as in `visualize_attention`.
    """
    from matplotlib import pyplot as plt

    attention = attention_weights(text, bert)
    layers, heads = attention.weights.shape[:2]
    at = check_position("layer", layer, layers, attention.model_name)
    columns = next((n for n in (4, 3) if heads % n == 0), min(heads, 4))
    rows = math.ceil(heads / columns)
    side = min(1.1 + 0.2 * len(attention.tokens), 4.5)
    with plt.style.context("default"):
        figure, grid = plt.subplots(
            rows, columns, figsize=(side * columns + 1.2, side * rows + 1.4), squeeze=False, layout="constrained"
        )
        for head, axes in enumerate(grid.flat):
            if head >= heads:
                axes.remove()
                continue
            # Labels at the outer edge only, also below a column that ends one row earlier.
            outer = (head % columns == 0, head + columns >= heads)
            _heatmap(axes, attention.weights[at, head], attention.tokens, 1.0, label_rows=outer[0], label_columns=outer[1])
            axes.set_title(f"head {head}", fontsize=11)
        mesh = grid.flat[0].collections[0]
        bar = figure.colorbar(mesh, ax=[a for a in grid.flat[:heads]], shrink=0.6, pad=0.02)
        bar.set_label("Attention weight (each row sums to 1)", fontsize=12)
        figure.suptitle(f"{attention.model_name}: attention in layer {at} (of 0 to {layers - 1}), all {heads} heads", fontsize=14)
        figure.supxlabel("Key: the token that is looked at", fontsize=12)
        figure.supylabel("Query: the token that looks", fontsize=12)
    return _finished(figure)


def visualize_word_attention(attention: WordAttention | TextAttention) -> Figure:
    """Attention between words as a heat map, with the mass that went to removed special tokens beside each row.

    attention: a result of `word_attention`; or of `attention_weights`, for the mean over layers and heads with special
    tokens removed. The colour scale runs from 0 to the largest weight. Returns the figure, shown as in `visualize_attention`.
    """
    words = attention if isinstance(attention, WordAttention) else word_attention(attention, keep_special=False)
    lost = words.removed.max() > 0
    labels = [f"{w}  ({r:.0%} removed)" for w, r in zip(words.words, words.removed, strict=True)] if lost else words.words
    note = "each row scaled to sum 1" if words.renormalized else "special tokens removed, nothing scaled" if lost else "each row sums to 1"
    figure = _matrix(
        words.weights, words.words, f"Attention between words\n{words.source}", f"Attention weight ({note})",
        float(words.weights.max()), row_labels=labels, unit="word",
    )  # fmt: skip
    return _finished(figure)


def visualize_vit_attention(
    image: ImageInput,
    layer: int = -1,
    head: int | None = 0,
    *,
    model: nn.Module | None = None,
    rollout: bool = False,
) -> Figure:
    """Where a Vision Transformer's [CLS] token looks: the crop the model saw, the patches' weights, both together.

    The map does not depend on any class: it is the same whichever class is asked about.

    image: a path, a PIL image or a normalised tensor of one image. layer, head: as in `vit_attention`, None for the mean
    over heads. model: a Hugging Face Vision Transformer, or None for the embedded tiny ViT. rollout: attention followed
    from the first layer up to `layer`. Returns the figure, shown in an interactive session only.
    Raises ValueError, TypeError or FileNotFoundError for bad input.
    """
    from matplotlib import pyplot as plt

    attention = vit_attention_weights(image, model)
    grid = cls_attention(attention, layer, head, rollout=rollout)
    layers, heads = attention.weights.shape[:2]
    at = layer % layers
    what = f"rollout through layers 0 to {at}" if rollout else f"layer {at} (of 0 to {layers - 1}), "
    if not rollout:
        what += f"mean of {heads} heads" if head is None else f"head {head % heads} (of 0 to {heads - 1})"
    height, width = attention.crop.shape[:2]
    with plt.style.context("default"):
        figure, (seen, alone, both) = plt.subplots(
            1, 3, figsize=(12.5, 1.6 + 3.6 * min(height / width, 2)), layout="constrained"
        )
        seen.imshow(attention.crop)
        seen.set_title("What the model saw", fontsize=12)
        drawn = alone.imshow(grid, cmap=COLOURS, vmin=0, vmax=max(float(grid.max()), 1e-12))
        alone.set_title(f"Weight of each of {grid.shape[0]} x {grid.shape[1]} patches", fontsize=12)
        draw_patches(both, attention.crop, grid, attention.patch)
        both.set_title("Both, patch on patch", fontsize=12)
        for axes in (seen, alone, both):
            axes.set(xticks=[], yticks=[])
        bar = figure.colorbar(drawn, ax=both, shrink=0.85)
        bar.set_label("Attention of [CLS]" + (" (rollout)" if rollout else ""), fontsize=11)
        figure.suptitle(f"{attention.model_name}: where [CLS] looks, {what}", fontsize=14)
    return _finished(figure)


def draw_patches(axes: Axes, crop: np.ndarray, grid: np.ndarray, patch: tuple[int, int]) -> None:
    """Lay the weights of patches, (rows, cols), over the crop, (height, width, 3) in [0, 1], each on its own pixels.

    patch: (height, width) in pixels. Pixels beyond the last whole patch stay bare: no token stands for them.
    """
    grey = crop @ np.array([0.299, 0.587, 0.114])
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
    bottom, right = grid.shape[0] * patch[0], grid.shape[1] * patch[1]
    # Cells, not a smooth surface: between the centres of two patches the model says nothing.
    axes.imshow(
        grid, cmap=COLOURS, alpha=0.6, vmin=0, vmax=max(float(grid.max()), 1e-12),
        extent=(-0.5, right - 0.5, bottom - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    axes.set(xlim=(-0.5, crop.shape[1] - 0.5), ylim=(crop.shape[0] - 0.5, -0.5))


def _matrix(
    matrix: np.ndarray,
    labels: list[str],
    title: str,
    meaning: str,
    top: float,
    row_labels: list[str] | None = None,
    unit: str = "token",
) -> Figure:
    from matplotlib import pyplot as plt

    side = min(max(3.2 + 0.36 * len(labels), 5.0), 14.0)
    with plt.style.context("default"):
        figure, axes = plt.subplots(figsize=(side + 1.4, side), layout="constrained")
        _heatmap(axes, matrix, labels, top, row_labels=row_labels)
        bar = figure.colorbar(axes.collections[0], ax=axes, shrink=0.85)
        bar.set_label(meaning, fontsize=11)
        axes.set_title(title, fontsize=12)
        axes.set_xlabel(f"Key: the {unit} that is looked at", fontsize=11)
        axes.set_ylabel(f"Query: the {unit} that looks", fontsize=11)
    return figure


def _heatmap(
    axes: Axes,
    matrix: np.ndarray,
    labels: list[str],
    top: float,
    *,
    row_labels: list[str] | None = None,
    label_rows: bool = True,
    label_columns: bool = True,
) -> None:
    import seaborn as sns

    sns.heatmap(
        matrix, ax=axes, cmap=COLOURS, vmin=0, vmax=top, square=True, cbar=False, xticklabels=False, yticklabels=False
    )
    step = math.ceil(len(labels) / MAX_LABELS)
    shown = range(0, len(labels), step)
    size = 10 if len(labels) <= 24 else 8 if len(labels) <= 40 else 6.5
    places = [i + 0.5 for i in shown]
    across = [_plain(labels[i]) for i in shown] if label_columns else []
    down = [_plain((row_labels or labels)[i]) for i in shown] if label_rows else []
    axes.set_xticks(places if across else [], across, rotation=90, fontsize=size)
    axes.set_yticks(places if down else [], down, rotation=0, fontsize=size)


def _plain(label: str) -> str:
    # Matplotlib reads what stands between two dollar signs as mathematics.
    return label.replace("$", r"\$")


def _finished(figure: Any) -> Figure:
    from chapter4.plots import finish

    figure.set_facecolor("white")
    return finish(figure)
