"""Section 4.4: where the [CLS] token of a Vision Transformer looks.

Any number of tokens may stand before the patches, and their grid may have any shape.
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
    """The attention weights of one image.

    Token 0 is [CLS]. The last rows * cols tokens are the patches, row by row.

    Attributes:
        weights: (L, H, T, T) float: layer, head, the token that looks, and the token
            that it looks at. Every row sums to 1.
        grid: (rows, cols) of patches.
        patch: (height, width) of one patch, in pixels of the crop.
        crop: What the model saw, (height, width, 3) in [0, 1].
        model_name: The model's name.
    """

    weights: np.ndarray
    grid: tuple[int, int]
    patch: tuple[int, int]
    crop: np.ndarray
    model_name: str

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches.

        They are [CLS], a distillation token, registers.
        """
        return self.weights.shape[-1] - self.grid[0] * self.grid[1]


def vit_attention_weights(
    image: ImageInput, model: nn.Module | None = None
) -> VitAttention:
    """The attention weights of a Vision Transformer for one image.

    The result also holds the crop that the model saw.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A Hugging Face Vision Transformer with a [CLS] token (ViT, DeiT, DINOv2
            with or without registers), or None for the embedded tiny ViT. Its grid of
            patches need not be square.

    Returns:
        The weights of every layer and head, with the grid and the crop.

    Raises:
        TypeError: If the model is of another kind, or if the image has the wrong type.
        ValueError: If the image can't be used, if there are several images, or if the
            model gives no weights or has no [CLS] token.
        FileNotFoundError: If there is no such image file.

    References:
        Dosovitskiy et al. 2020, arXiv:2010.11929.
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
    size = _pair(x.shape[-2:])
    wanted = _pair(getattr(config, "image_size", size))
    # DINOv2 takes any size. In ViT and DeiT the positions are tied to one size.
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
    crop = seen_pixels(x[0].float(), model)
    return VitAttention(weights, grid, patch, crop, name_of(model))


def vit_attention(
    image: ImageInput,
    model: nn.Module | None = None,
    layer: int = -1,
    head: int | None = 0,
    *,
    rollout: bool = False,
) -> np.ndarray:
    """How much the [CLS] token of a Vision Transformer looks at each patch.

    The map does not depend on any class: it is the same whichever class is asked about.
    Its sum is less than 1, for [CLS] also looks at itself and at the other tokens
    before the patches.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A Hugging Face Vision Transformer with a [CLS] token (ViT, DeiT, DINOv2
            with or without registers), or None for the embedded tiny ViT.
        layer: The layer. Negative numbers count from the end.
        head: The head, or None for the mean over heads. Negative numbers count from the
            end.
        rollout: Follow attention from the first layer up to ``layer`` instead, over the
            mean of the heads.

    Returns:
        The weights of the patches, (rows, cols).

    Raises:
        TypeError: If the model is of another kind, or if an argument has the wrong
            type.
        ValueError: If a layer or head is out of range, if the image can't be used, if
            there are several images, or if the model gives no weights or has no [CLS]
            token.
        FileNotFoundError: If there is no such image file.
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
    """The [CLS] token's row as the grid of patches.

    Args:
        attention: A result of :func:`chapter4.vit_attention_weights`.
        layer: The layer. Negative numbers count from the end.
        head: The head, or None for the mean over heads.
        rollout: Follow attention from the first layer up to ``layer`` instead, over the
            mean of the heads.

    Returns:
        The weights of the patches, (rows, cols).

    Raises:
        TypeError: If a layer or head is not an integer.
        ValueError: If a layer or head is out of range.
    """
    layers, heads = attention.weights.shape[:2]
    at = check_position("layer", layer, layers, attention.model_name)
    if rollout:
        matrix = attention_rollout(attention.weights[: at + 1])
    else:
        which = choose("head", head, heads, attention.model_name)
        matrix = attention.weights[at, which].mean(axis=0)
    return matrix[0, attention.prefix :].reshape(attention.grid)


def _pair(value: Any) -> tuple[int, int]:
    # A configuration has one number for a square, and two numbers, height first, for
    # any other shape.
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@cache
def _default_vit() -> nn.Module:
    return load_vit()
