"""Section 4.4 as an interactive figure: what each patch looks at in a ViT."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from chapter4.attention.vit import vit_attention_weights
from chapter4.attention.weights import check_position, choose
from chapter4.explore.attention_data import (
    Stack,
    as_text,
    colours,
    shared_data,
    stack_of,
    strongest,
    weight,
)
from chapter4.explore.attention_matrix import scale, style
from chapter4.explore.view import Choice, Explorer
from chapter4.inputs.images import brightness, picture_url

if TYPE_CHECKING:
    from chapter4.attention.vit import VitAttention
    from chapter4.attention.weights import Which
    from chapter4.inputs.images import ImageInput

ALPHA = 0.6  # the strength of the colours, as in `draw_patches`

_CAPTION = (
    "What one token of {model} looks at, on the picture that it saw. A click on a patch"
    " makes it the one that looks, and so do the arrow keys. The numbers mark the three"
    " strongest patches; the first is where the colours' scale ends. Rows and columns"
    " count from 0."
)


def explore_vit_attention(
    image: ImageInput,
    model: nn.Module | None = None,
    *,
    layer: int = -1,
    head: int | None = None,
    layers: Which = None,
    shows: str = "The picture that the model saw",
) -> Explorer:
    """A picture in patches: a click shows what a patch looks at, in any layer and head.

    The figure starts with [CLS] as the token that looks.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A Hugging Face Vision Transformer with a [CLS] token, or None for the
            embedded tiny ViT.
        layer: The layer that is shown first, counted from 0; negative ones count from
            the end.
        head: The head that is shown first, counted in the same way. None for the mean
            over all heads.
        layers: The layers that the figure holds: an index, several, or None for all. A
            large model needs a choice.
        shows: What the picture shows, for readers who do not see it.

    Returns:
        A figure that needs no network. The weights in it are rounded to 1/65535.

    Raises:
        TypeError: If ``model`` is another kind of model, if ``image`` has a type that
            is not accepted, or if a position is not an integer.
        ValueError: If the image is bad, if a layer or a head does not exist, if
            ``layer`` is not among ``layers``, or if a page can't hold so many weights.
        FileNotFoundError: If there is no such image file.

    References:
        Dosovitskiy et al. 2020, arXiv:2010.11929.
    """
    attention = vit_attention_weights(image, model)
    count, n_heads = attention.weights.shape[:2]
    name = attention.model_name
    held = choose("layer", layers, count, name)
    at = check_position("layer", layer, count, name)
    if at not in held:
        raise ValueError(
            f"layer {at} is not among the layers that the figure holds:"
            f" {', '.join(map(str, held))}"
        )
    stack = stack_of(attention.weights, held)
    which = -1 if head is None else check_position("head", head, n_heads, name)
    start, which = held.index(at), which % len(stack.heads)
    names = patch_names(attention)
    shown = stack.values[start, which, 0]
    words = said(stack, start, which, names, 0, attention.prefix)
    grey = in_grey(attention.crop)
    return Explorer(
        title=f"Attention between the patches of a picture, {name}",
        controls=[
            Choice("layer", "Layer", stack.layers, start),
            Choice("head", "Head", stack.heads, which),
            Choice("from", "Token that looks", names),
        ],
        stage=_stage(attention, overlay(attention, shown), shown, shows, words),
        said=words,
        caption=_CAPTION.format(model=name),
        data={
            "kind": "picture",
            **shared_data(stack, names),
            "grey": as_text(grey),
            "size": grey.shape,
            "grid": attention.grid,
            "patch": attention.patch,
            "alpha": ALPHA,
            "shows": shows,
        },
        script="attention.js",
    )


def patch_names(attention: VitAttention) -> list[str]:
    """Each token in words: [CLS], other prefix tokens, then each patch by its place.

    A patch is named by its row and its column.
    """
    others = [f"prefix token {i}" for i in range(1, attention.prefix)]
    rows, columns = attention.grid
    patches = [f"row {r} column {c}" for r in range(rows) for c in range(columns)]
    return ["[CLS]", *others, *patches]


def said(
    stack: Stack, layer: int, head: int, names: list[str], token: int, prefix: int
) -> str:
    """The sentences about one token: the patches that it looks at most, and the rest.

    They also say how much weight goes to the tokens before the patches.
    """
    looks = stack.values[layer, head, token]
    best = strongest(looks[prefix:], names[prefix:], token - prefix)
    before = ", ".join(
        f"{names[i]} gets {weight(int(looks[i]))}" for i in range(prefix)
    )
    who = names[token] if token < prefix else f"The patch in {names[token]}"
    return (
        f"{stack.where(layer, head)}. {who} looks most at the patches in {best}. "
        f"{before}. Spread evenly, each weight would be {1 / len(names):.3f}."
    )


def in_grey(crop: np.ndarray) -> np.ndarray:
    """The crop (H, W, 3) in [0, 1] as grey bytes (H, W): colour means attention."""
    return np.round(brightness(crop) * 255).astype(np.uint8)


def overlay(attention: VitAttention, looks: np.ndarray) -> np.ndarray:
    """One token's weights over the grey crop: (H, W, 3) bytes.

    The colours run from 0 to the strongest patch. Pixels beyond the last whole patch
    stay grey, because no token represents them.

    Args:
        attention: The weights of the image, with its grid and its crop.
        looks: The weights of one token, (T,) in 65535ths.
    """
    grid = looks[attention.prefix :].reshape(attention.grid).astype(float)
    table = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours()[0]])
    # Rounds as JavaScript does: halves go up.
    level = np.floor(grid * (len(table) - 1) / max(grid.max(), 1) + 0.5).astype(int)
    colour = table[level].repeat(attention.patch[0], 0).repeat(attention.patch[1], 1)
    pixels = in_grey(attention.crop)[..., None].repeat(3, axis=2)
    inside = pixels[: len(colour), : colour.shape[1]]
    inside[:] = np.floor((1 - ALPHA) * inside + ALPHA * colour + 0.5)
    return pixels


def _stage(
    attention: VitAttention,
    laid: np.ndarray,
    looks: np.ndarray,
    shows: str,
    words: str,
) -> str:
    height, width = laid.shape[:2]
    # The size of a patch, in per cent of the picture.
    high, wide = 100 * attention.patch[0] / height, 100 * attention.patch[1] / width
    rows, columns = attention.grid
    shape = (
        f"--shape: {width} / {height}; --cell: {100 / columns:.6g}% {100 / rows:.6g}%; "
        f"--whole-width: {wide * columns:.6g}%; --whole-height: {high * rows:.6g}%"
    )
    crop = np.round(attention.crop * 255).astype(np.uint8)
    top = weight(int(looks[attention.prefix :].max()))
    alt = f"{shows}, in grey, coloured by attention. {words}"
    return f"""{style()}
<div class="explorer-attention explorer-attention-pair">
<div>
<div class="explorer-attention-picture" style="{shape}">
<img src="{picture_url(crop)}" alt="{escape(shows)}" width="{width}" height="{height}">
</div>
</div>
<div>
<div class="explorer-attention-picture" data-part="picture" style="{shape}">
<img data-part="still" src="{picture_url(laid)}" alt="{escape(alt)}" \
width="{width}" height="{height}">
<div class="explorer-attention-grid"></div>
</div>
{scale(top)}
</div>
</div>"""
