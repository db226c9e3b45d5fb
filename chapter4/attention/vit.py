"""Section 4.4: where the [CLS] token of a Vision Transformer looks. Prefix tokens and
grids of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from chapter4.attention.weights import (
    attention_rollout,
    attentions_of,
    check_position,
    choose,
)
from chapter4.core.attribution import is_single
from chapter4.inputs.images import image_tensor, seen_pixels
from chapter4.inputs.models import load_vit, name_of

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


@dataclass(frozen=True)
class VitAttention:
    """The attention weights of one image. Token 0 is [CLS]; the last rows * cols tokens
    are the patches, row by row.

    weights: (L, H, T, T) float, every row sums to 1. grid: (rows, cols) of patches.
    patch: (height, width) of one, in pixels of the crop. crop: (height, width, 3) in
    [0, 1], what the model saw. model_name: the model's name.
    """

    weights: np.ndarray
    grid: tuple[int, int]
    patch: tuple[int, int]
    crop: np.ndarray
    model_name: str

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patches: [CLS], a distillation token,
        registers.
        """
        return self.weights.shape[-1] - self.grid[0] * self.grid[1]


def vit_attention_weights(
    image: ImageInput, model: nn.Module | None = None
) -> VitAttention:
    """The attention weights of a Vision Transformer for one image, and the crop that it
    saw.

    image: a path, a PIL image, or a normalised float tensor (3, H, W) or (1, 3, H, W).
    model: a Hugging Face Vision Transformer with a [CLS] token (ViT, DeiT, DINOv2 with
    or without registers), or None for the embedded tiny ViT. Its grid of patches need
    not be square.
    Raises TypeError for another kind of model, ValueError for a bad image or a model
    that gives no weights.
    Source: Dosovitskiy et al. 2020, arXiv:2010.11929.
    """
    model = _default_vit() if model is None else model
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "patch_size"):
        raise TypeError(
            "expected a Hugging Face Vision Transformer, as load_vit() returns, not"
            f" {type(model).__name__}"
        )
    x = image_tensor(image, model)
    if not is_single(image):
        raise ValueError(
            f"attention is shown for one image at a time, not for {len(x)}"
        )
    x = x.to(next(model.parameters()).dtype)
    size, wanted = (
        _pair(x.shape[-2:]),
        _pair(getattr(config, "image_size", x.shape[-2:])),
    )
    # DINOv2 takes any size; in ViT and DeiT the positions are tied to one.
    if getattr(config, "model_type", "") in ("vit", "deit") and size != wanted:
        raise ValueError(
            f"{name_of(model)} takes images of {_by(wanted)} pixels, not {_by(size)}"
        )
    weights = attentions_of(model, pixel_values=x)
    patch = _pair(config.patch_size)
    grid = (size[0] // patch[0], size[1] // patch[1])
    prefix = weights.shape[-1] - grid[0] * grid[1]
    if prefix < 1:
        raise ValueError(
            f"{name_of(model)} has no [CLS] token: {weights.shape[-1]} tokens for"
            f" {_by(grid)} patches"
        )
    registers = getattr(config, "num_register_tokens", None)
    if registers is not None and prefix != 1 + registers:
        raise ValueError(
            f"{prefix} tokens stand before the patches; [CLS] and {registers} registers"
            " were expected"
        )
    return VitAttention(
        weights, grid, patch, seen_pixels(x[0].float(), model), name_of(model)
    )


def vit_attention(
    image: ImageInput,
    model: nn.Module | None = None,
    layer: int = -1,
    head: int | None = 0,
    *,
    rollout: bool = False,
) -> np.ndarray:
    """How much the [CLS] token of a Vision Transformer looks at each patch: (rows,
    cols).

    The map does not depend on any class: it is the same whichever class is asked about.
    Its sum is less than 1 by what [CLS] gives to itself and to the other tokens before
    the patches.

    image, model: as in `vit_attention_weights`. layer: negative numbers count from the
    end. head: None for the mean over heads. rollout: follow attention from the first
    layer up to `layer` instead, over the mean of the heads.
    Raises ValueError or TypeError for bad input, also for a layer or head out of range.
    """
    return cls_attention(
        vit_attention_weights(image, model), layer, head, rollout=rollout
    )


def cls_attention(
    attention: VitAttention,
    layer: int = -1,
    head: int | None = 0,
    *,
    rollout: bool = False,
) -> np.ndarray:
    """The [CLS] token's row as the (rows, cols) grid of patches; arguments as in
    `vit_attention`.
    """
    layers, heads = attention.weights.shape[:2]
    at = check_position("layer", layer, layers, attention.model_name)
    if rollout:
        matrix = attention_rollout(attention.weights[: at + 1])
    else:
        matrix = attention.weights[
            at, choose("head", head, heads, attention.model_name)
        ].mean(axis=0)
    return matrix[0, attention.prefix :].reshape(attention.grid)


def _pair(value: Any) -> tuple[int, int]:
    # Configurations give one number for a square and two, height first, for anything
    # else.
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@cache
def _default_vit() -> nn.Module:
    return load_vit()
