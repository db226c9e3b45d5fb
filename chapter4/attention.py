"""Section 4.4: the attention weights of a Transformer, over a text's tokens or an image's patches."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.attribution import is_single, undisturbed
from chapter4.images import image_tensor, seen_pixels
from chapter4.models import TextModel, load_bert, load_vit, name_of

if TYPE_CHECKING:
    from chapter4.images import ImageInput

    Which = int | Iterable[int] | None


@dataclass(frozen=True)
class TextAttention:
    """The attention weights of one text. `weights[layer, head, q, k]`: how much token q (the row) looks at token k.

    weights: (L, H, T, T) float, every row sums to 1. tokens: T pieces as the model sees them. words: the text's words.
    word_ids: for each token the index of its word in `words`, None for a special token. special: (T,) bool, True for
    tokens such as [CLS] and [SEP] that stand for no part of the text. model_name: the model's name.
    """

    weights: np.ndarray
    tokens: list[str]
    words: list[str]
    word_ids: list[int | None]
    special: np.ndarray
    model_name: str

    def head(self, layer: int, head: int) -> np.ndarray:
        """The (T, T) matrix of one head. Negative numbers count from the end; ValueError for one out of range."""
        layers, heads = self.weights.shape[:2]
        return self.weights[
            check_position("layer", layer, layers, self.model_name), check_position("head", head, heads, self.model_name)
        ]


@dataclass(frozen=True)
class VitAttention:
    """The attention weights of one image. Token 0 is [CLS]; the last rows * cols tokens are the patches, row by row.

    weights: (L, H, T, T) float, every row sums to 1. grid: (rows, cols) of patches. patch: (height, width) of a patch in
    pixels of the crop. crop: (height, width, 3) in [0, 1], what the model saw. model_name: the model's name.
    """

    weights: np.ndarray
    grid: tuple[int, int]
    patch: tuple[int, int]
    crop: np.ndarray
    model_name: str

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patches: [CLS], a distillation token, registers."""
        return self.weights.shape[-1] - self.grid[0] * self.grid[1]


def attention_weights(text: str, bert: TextModel | None = None) -> TextAttention:
    """The attention weights of every layer and head for one text.

    text: a sentence or more, as long as the model allows. bert: what `load_bert(name)` or `load_sentiment(name)`
    returns, or None for the embedded MiniLM, which is loaded once.
    Returns the weights with their tokens and words. The model is left as it was, its attention setting too.
    Raises TypeError for what is no text or no model, ValueError for a text that is empty or too long, or for a model
    that gives no weights. Source: Vaswani et al. 2017, arXiv:1706.03762.
    """
    model, tokenizer = text_model(bert)
    encoded = tokenize(text, model, tokenizer)
    ids: list[int] = encoded["input_ids"]
    weights = _attentions(model, input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    tokens = tokenizer.convert_ids_to_tokens(ids)
    # By id, not by the tokenizer's own mask: that one takes a [SEP] typed in the text for a word.
    outside = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    outside |= {tokenizer.bos_token_id, tokenizer.eos_token_id}
    special = np.array([i in outside for i in ids])
    pieces: dict[int, list[str]] = {}
    for token, word, skip in zip(tokens, encoded.word_ids(), special, strict=True):
        if word is not None and not skip:
            pieces.setdefault(word, []).append(token)
    if not pieces:
        raise ValueError(f"the text {text!r} holds no word that the model's tokenizer knows of")
    number = {word: i for i, word in enumerate(pieces)}
    word_ids = [None if s or w is None else number[w] for w, s in zip(encoded.word_ids(), special, strict=True)]
    words = [tokenizer.convert_tokens_to_string(p).strip() for p in pieces.values()]
    return TextAttention(weights, tokens, words, word_ids, special, name_of(model))


def average_attention(
    attention: TextAttention | np.ndarray | Tensor, layers: Which = None, heads: Which = None
) -> np.ndarray:
    """The mean over layers and heads: (L, H, T, T) to (T, T). Its rows still sum to 1.

    attention: a result of `attention_weights`, or an array. layers, heads: an index, several, or None for all;
    negative numbers count from the end. Raises ValueError for an index out of range, no index or a wrong shape.
    """
    weights, name = _weights_of(attention)
    if weights.ndim != 4:
        raise ValueError(f"attention weights are (layers, heads, T, T), not {weights.shape}")
    picked = weights[choose("layer", layers, len(weights), name)][:, choose("head", heads, weights.shape[1], name)]
    return picked.mean(axis=(0, 1))


def attention_rollout(attention: TextAttention | np.ndarray | Tensor, residual: bool = True) -> np.ndarray:
    """Attention followed through all layers, as if values only flowed along it: A'_L ... A'_2 A'_1.

    A'_l is the mean over heads of layer l, plus the identity for the residual connection, rows scaled to sum 1.

    attention: a result of `attention_weights`, or an array (L, H, T, T) or (L, T, T). residual: add the identity.
    Returns (T, T): row q says what share of each input token reaches token q at the top. MLPs and signs of values are
    ignored. Raises ValueError for another shape, negative or non-finite weights.
    Source: Abnar and Zuidema 2020, arXiv:2005.00928.
    """
    weights, _ = _weights_of(attention)
    if weights.ndim == 4:
        weights = weights.mean(axis=1)
    if weights.ndim != 3 or weights.shape[1] != weights.shape[2] or 0 in weights.shape:
        raise ValueError(f"rollout takes weights (L, H, T, T) or (L, T, T), not {np.shape(_weights_of(attention)[0])}")
    if not np.isfinite(weights).all() or (weights < 0).any() or (weights.sum(axis=2) <= 0).any():
        raise ValueError("attention weights are finite and not negative, and no row of them is all zero")
    rolled = identity = np.eye(weights.shape[1], dtype=weights.dtype)
    for layer in weights:
        mixed = layer + identity if residual else layer
        rolled = mixed / mixed.sum(axis=1, keepdims=True) @ rolled
    return rolled


def vit_attention_weights(image: ImageInput, model: nn.Module | None = None) -> VitAttention:
    """The attention weights of a Vision Transformer for one image, and the crop that it saw.

    image: a path, a PIL image, or a normalised float tensor (3, H, W) or (1, 3, H, W).
    model: a Hugging Face Vision Transformer with a [CLS] token (ViT, DeiT, DINOv2 with or without registers), or None
    for the embedded tiny ViT. Its grid of patches need not be square.
    Raises TypeError for another kind of model, ValueError for a bad image or a model that gives no weights.
    Source: Dosovitskiy et al. 2020, arXiv:2010.11929.
    """
    model = _default_vit() if model is None else model
    config = getattr(model, "config", None)
    if not hasattr(config, "patch_size"):
        raise TypeError(f"expected a Hugging Face Vision Transformer such as load_vit() returns, not {type(model).__name__}")
    x = image_tensor(image, model)
    if not is_single(image):
        raise ValueError(f"attention is shown for one image at a time, not for {len(x)}")
    x = x.to(next(model.parameters()).dtype)
    size, wanted = tuple(x.shape[-2:]), _pair(getattr(config, "image_size", None))
    # DINOv2 takes any size; in ViT and DeiT the positions are tied to one.
    if getattr(config, "model_type", "") in ("vit", "deit") and wanted and size != wanted:
        raise ValueError(f"{name_of(model)} takes images of {wanted[0]} x {wanted[1]} pixels, not {size[0]} x {size[1]}")
    weights = _attentions(model, pixel_values=x)
    patch = _pair(config.patch_size)
    grid = (size[0] // patch[0], size[1] // patch[1])
    prefix = weights.shape[-1] - grid[0] * grid[1]
    if prefix < 1:
        raise ValueError(f"{name_of(model)} has no [CLS] token: {weights.shape[-1]} tokens for {grid[0]} x {grid[1]} patches")
    registers = getattr(config, "num_register_tokens", None)
    if registers is not None and prefix != 1 + registers:
        raise ValueError(f"{prefix} tokens stand before the patches; [CLS] and {registers} registers were expected")
    return VitAttention(weights, grid, patch, seen_pixels(x[0].float(), model), name_of(model))


def vit_attention(
    image: ImageInput,
    model: nn.Module | None = None,
    layer: int = -1,
    head: int | None = 0,
    *,
    rollout: bool = False,
) -> np.ndarray:
    """How much the [CLS] token of a Vision Transformer looks at each patch: (rows, cols).

    The map does not depend on any class: it is the same whichever class is asked about. Its sum is less than 1 by what
    [CLS] gives to itself and to the other tokens before the patches.

    image, model: as in `vit_attention_weights`. layer: negative numbers count from the end. head: None for the mean
    over heads. rollout: follow attention from the first layer up to `layer`, over the mean of the heads; `head` is not used.
    Raises ValueError or TypeError for bad input, also for a layer or head out of range.
    """
    return cls_attention(vit_attention_weights(image, model), layer, head, rollout=rollout)


def cls_attention(attention: VitAttention, layer: int = -1, head: int | None = 0, *, rollout: bool = False) -> np.ndarray:
    """The [CLS] token's row as the (rows, cols) grid of patches; arguments as in `vit_attention`."""
    layers, _, tokens, _ = attention.weights.shape
    at = check_position("layer", layer, layers, attention.model_name)
    if rollout:
        matrix = attention_rollout(attention.weights[: at + 1])
    else:
        matrix = attention.weights[at][choose("head", head, attention.weights.shape[1], attention.model_name)].mean(axis=0)
    return matrix[0, tokens - attention.grid[0] * attention.grid[1] :].reshape(attention.grid)


def text_model(bert: TextModel | None) -> TextModel:
    """`bert` itself, or the embedded one for None. TypeError for what is no pair of model and tokenizer."""
    if bert is None:
        return _default_bert()
    if not isinstance(bert, tuple) or len(bert) != 2 or not isinstance(bert[0], nn.Module):
        raise TypeError(f"bert is what load_bert(name) returns, a model and its tokenizer, not {type(bert).__name__}")
    return TextModel(*bert)


def tokenize(text: str, model: nn.Module, tokenizer: Any) -> Any:
    """One text as the tokenizer's encoding (lists, no batch axis). ValueError where it is empty or too long for `model`."""
    if not isinstance(text, str):
        raise TypeError(f"text is one string, not {type(text).__name__}")
    if not text.strip():
        raise ValueError("the text is empty; give at least one word")
    encoded = tokenizer(text, verbose=False)
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", tokenizer.model_max_length))
    if len(encoded["input_ids"]) > limit:
        count = len(encoded["input_ids"])
        raise ValueError(f"the text has {count} tokens with the special ones; {name_of(model)} takes at most {limit}")
    if not getattr(encoded, "is_fast", False):
        raise ValueError(f"{type(tokenizer).__name__} does not say which pieces make a word; a fast tokenizer is needed")
    return encoded


@contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """Let `model` compute attention in the open, where weights can be seen; put its own setting back, whatever happens.

    The default, SDPA, never forms the weights, and its attentions tuple is empty.
    """
    if not hasattr(model, "set_attn_implementation"):
        raise TypeError(f"expected a Hugging Face Transformer, not {type(model).__name__}")
    before = model.config._attn_implementation
    try:
        if before != "eager":
            model.set_attn_implementation("eager")
        yield
    finally:
        if before != "eager":
            model.set_attn_implementation(before)


def check_position(name: str, value: Any, count: int, model_name: str) -> int:
    """A layer or head as a number from 0; negative ones count from the end. TypeError or ValueError otherwise."""
    try:
        if isinstance(value, bool):
            raise TypeError
        at = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {value!r}") from None
    if not -count <= at < count:
        raise ValueError(
            f"{name} {at} is out of range: {model_name} has {name}s 0 to {count - 1}; -1 to -{count} count from the end"
        )
    return at % count


def choose(name: str, which: Which, count: int, model_name: str) -> list[int]:
    """Layers or heads as a list: all for None, else the given ones, checked."""
    if which is None:
        return list(range(count))
    chosen = [check_position(name, i, count, model_name) for i in (which if isinstance(which, Iterable) else [which])]
    if not chosen:
        raise ValueError(f"no {name} was chosen; None takes all {count}")
    return chosen


def _attentions(model: nn.Module, **inputs: Tensor) -> np.ndarray:
    # (L, H, T, T) for a batch of one.
    device = next(model.parameters()).device
    with undisturbed(model), eager_attention(model), torch.no_grad():
        output = model(**{name: value.to(device) for name, value in inputs.items()}, output_attentions=True)
    layers = getattr(output, "attentions", None)
    if not layers or any(layer is None for layer in layers):
        raise ValueError(f"{name_of(model)} returned no attention weights, though eager attention was switched on")
    if any(layer.ndim != 4 or layer.shape[0] != 1 or layer.shape[-2] != layer.shape[-1] for layer in layers):
        raise ValueError(f"expected weights (1, heads, T, T) in each layer, not {[tuple(a.shape) for a in layers]}")
    weights = torch.stack(list(layers))[:, 0].cpu()
    return (weights if weights.dtype == torch.float64 else weights.float()).numpy()


def _weights_of(attention: TextAttention | np.ndarray | Tensor) -> tuple[np.ndarray, str]:
    if isinstance(attention, TextAttention):
        return attention.weights, attention.model_name
    array = attention.detach().cpu().numpy() if isinstance(attention, Tensor) else np.asarray(attention)
    return array if array.dtype.kind == "f" else array.astype(float), "this array"


def _pair(value: Any) -> tuple[int, int]:
    if value is None:
        return ()  # type: ignore[return-value]
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


@cache
def _default_bert() -> TextModel:
    return load_bert()


@cache
def _default_vit() -> nn.Module:
    return load_vit()
