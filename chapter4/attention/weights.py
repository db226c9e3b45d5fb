"""Section 4.4: the attention weights of a Transformer: which token looks at which."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import frozen_eval
from chapter4.inputs.images import nearest
from chapter4.inputs.models import TextModel, load_bert, name_of

if TYPE_CHECKING:
    Which = int | Iterable[int] | None


@dataclass(frozen=True)
class TextAttention:
    """The attention weights of one text. `weights[layer, head, q, k]`: how much token q
    (the row) looks at token k.

    weights: (L, H, T, T) float, every row sums to 1. tokens: T pieces as the model sees
    them. words: the text's words.
    word_ids: for each token the index of its word in `words`, None for a special token.
    special: (T,) bool, True for tokens such as [CLS] and [SEP] that stand for no part
    of the text. model_name: the model's name.
    """

    weights: np.ndarray
    tokens: list[str]
    words: list[str]
    word_ids: list[int | None]
    special: np.ndarray
    model_name: str

    def head(self, layer: int, head: int) -> np.ndarray:
        """The (T, T) matrix of one head. Negative numbers count from the end;
        ValueError for one out of range.
        """
        layers, heads = self.weights.shape[:2]
        at = check_position("layer", layer, layers, self.model_name)
        return self.weights[at, check_position("head", head, heads, self.model_name)]


def attention_weights(text: str, bert: TextModel | None = None) -> TextAttention:
    """The attention weights of every layer and head for one text.

    text: a sentence or more, as long as the model allows. bert: what `load_bert(name)`
    or `load_sentiment(name)` returns, or None for the embedded MiniLM, which is loaded
    once.
    Returns the weights with their tokens and words. The model is left as it was, its
    attention setting too.
    Raises TypeError for what is no text or no model, ValueError for a text that is
    empty or too long, or for a model that gives no weights. Source: Vaswani et al.
    2017, arXiv:1706.03762.
    """
    model, tokenizer = text_model(bert)
    encoded = tokenize(text, model, tokenizer)
    ids: list[int] = encoded["input_ids"]
    mask = torch.ones(1, len(ids), dtype=torch.long)
    weights = attentions_of(model, input_ids=torch.tensor([ids]), attention_mask=mask)
    tokens: list[str] = list(tokenizer.convert_ids_to_tokens(ids))
    # By id, not by the tokenizer's own mask: that one takes a [SEP] typed in the text
    # for a word.
    outside = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    outside |= {tokenizer.bos_token_id, tokenizer.eos_token_id}
    special = np.array([i in outside for i in ids])
    pieces: dict[int, list[str]] = {}
    for token, word, skip in zip(tokens, encoded.word_ids(), special, strict=True):
        if word is not None and not skip:
            pieces.setdefault(word, []).append(token)
    if not pieces:
        raise ValueError(
            f"the text {text!r} holds no word that the model's tokenizer knows of"
        )
    number = {word: i for i, word in enumerate(pieces)}
    word_ids = [
        None if s or w is None else number[w]
        for w, s in zip(encoded.word_ids(), special, strict=True)
    ]
    words = [tokenizer.convert_tokens_to_string(p).strip() for p in pieces.values()]
    return TextAttention(weights, tokens, words, word_ids, special, name_of(model))


def average_attention(
    attention: TextAttention | np.ndarray | Tensor,
    layers: Which = None,
    heads: Which = None,
) -> np.ndarray:
    """The mean over layers and heads: (L, H, T, T) to (T, T). Its rows still sum to 1.

    attention: a result of `attention_weights`, or an array. layers, heads: an index,
    several, or None for all; negative numbers count from the end. Raises ValueError for
    an index out of range, no index or a wrong shape.
    """
    weights, name = _weights_of(attention)
    if weights.ndim != 4:
        raise ValueError(
            f"attention weights are (layers, heads, T, T), not {weights.shape}"
        )
    picked = weights[choose("layer", layers, len(weights), name)][
        :, choose("head", heads, weights.shape[1], name)
    ]
    return picked.mean(axis=(0, 1))


def attention_rollout(
    attention: TextAttention | np.ndarray | Tensor, residual: bool = True
) -> np.ndarray:
    """Attention followed through all layers, as if values only flowed along it: A'_L
    ... A'_2 A'_1.

    A'_l is the mean over heads of layer l, plus the identity for the residual
    connection, rows scaled to sum 1.

    attention: a result of `attention_weights`, or an array (L, H, T, T) or (L, T, T).
    residual: add the identity.
    Returns (T, T): row q says what share of each input token reaches token q at the
    top. MLPs and signs of values are ignored. Raises ValueError for another shape,
    negative or non-finite weights.
    Source: Abnar and Zuidema 2020, arXiv:2005.00928.
    """
    weights, _ = _weights_of(attention)
    if weights.ndim == 4:
        weights = weights.mean(axis=1)
    if weights.ndim != 3 or weights.shape[1] != weights.shape[2] or 0 in weights.shape:
        raise ValueError(
            "rollout takes weights (L, H, T, T) or (L, T, T), not "
            f"{np.shape(_weights_of(attention)[0])}"
        )
    rolled = identity = np.eye(weights.shape[1], dtype=weights.dtype)
    mixed = weights + identity if residual else weights
    if (
        not np.isfinite(weights).all()
        or (weights < 0).any()
        or not mixed.sum(axis=2).all()
    ):
        raise ValueError(
            "attention weights are finite and not negative, and no row of "
            "them is all zero"
        )
    for layer in mixed:
        rolled = layer / layer.sum(axis=1, keepdims=True) @ rolled
    return rolled


def text_model(bert: TextModel | None) -> TextModel:
    """`bert` itself, or the embedded one for None. TypeError for what is no pair of
    model and tokenizer.
    """
    if bert is None:
        return _default_bert()
    if (
        not isinstance(bert, tuple)
        or len(bert) != 2
        or not isinstance(bert[0], nn.Module)
    ):
        raise TypeError(
            "bert is what load_bert(name) returns, a model and its tokenizer, not"
            f" {type(bert).__name__}"
        )
    if not hasattr(bert[0], "set_attn_implementation"):
        raise TypeError(
            f"expected a Hugging Face Transformer, not {type(bert[0]).__name__}"
        )
    return TextModel(*bert)


def tokenize(text: str, model: Any, tokenizer: Any) -> Any:
    """One text as the tokenizer's encoding: lists, no batch axis. ValueError where it
    is empty or too long.
    """
    if not isinstance(text, str):
        raise TypeError(f"text is one string, not {type(text).__name__}")
    if not text.strip():
        raise ValueError("the text is empty; give at least one word")
    encoded = tokenizer(text, verbose=False)
    count, longest = len(encoded["input_ids"]), tokenizer.model_max_length
    limit = min(longest, getattr(model.config, "max_position_embeddings", longest))
    if count > limit:
        raise ValueError(
            f"the text has {count} tokens with the special ones; {name_of(model)} takes"
            f" at most {limit}"
        )
    if not getattr(encoded, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} does not say which pieces make a word; use a"
            " fast tokenizer"
        )
    return encoded


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """Let `model` compute attention in the open, where weights can be seen; put its own
    setting back, whatever happens.

    The default, SDPA, never forms the weights, and its attentions tuple is empty.
    """
    if not hasattr(model, "set_attn_implementation"):
        raise TypeError(
            f"expected a Hugging Face Transformer, not {type(model).__name__}"
        )
    before = model.config._attn_implementation
    try:
        if before != "eager":
            model.set_attn_implementation("eager")
        yield
    finally:
        if before != "eager":
            model.set_attn_implementation(before)


def check_position(name: str, value: Any, count: int, model_name: str) -> int:
    """A layer or head as a number from 0; negative ones count from the end. TypeError
    or ValueError otherwise.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        at = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {value!r}") from None
    if not -count <= at < count:
        raise ValueError(
            f"{name} {at} is out of range: {model_name} has {name}s 0 to {count - 1};"
            f" -1 to -{count} count from the end"
        )
    return at % count


def find_by_name(what: str, wanted: Any, names: Sequence[str]) -> int:
    """The place of a token or word: its name, in any case where that is enough, or its
    number as in check_position. ValueError for a name that is not there or there twice.
    """
    if not isinstance(wanted, str):
        return check_position(what, wanted, len(names), "this text")
    exact = [i for i, name in enumerate(names) if name == wanted]
    folded = wanted.casefold()
    found = exact or [i for i, name in enumerate(names) if name.casefold() == folded]
    if not found:
        raise ValueError(
            f"there is no {what} {wanted!r}{nearest(wanted, names)}; there are"
            f" {', '.join(names)}"
        )
    if len(found) > 1:
        raise ValueError(
            f"{wanted!r} stands at {' and '.join(map(str, found))}; give the position"
        )
    return found[0]


def choose(name: str, which: Which, count: int, model_name: str) -> list[int]:
    """Layers or heads as a list: all for None, else the given ones, checked."""
    if which is None:
        return list(range(count))
    chosen = [
        check_position(name, i, count, model_name)
        for i in (which if isinstance(which, Iterable) else [which])
    ]
    if not chosen:
        raise ValueError(f"no {name} was chosen; None takes all {count}")
    return chosen


def attentions_of(model: nn.Module, **inputs: Tensor) -> np.ndarray:
    """The weights (L, H, T, T) of every layer for a batch of one, computed eagerly; the
    model is left as it was.
    """
    device = next(model.parameters()).device
    with frozen_eval(model), eager_attention(model), torch.no_grad():
        output = model(
            **{name: value.to(device) for name, value in inputs.items()},
            output_attentions=True,
        )
    layers = getattr(output, "attentions", None)
    if not layers or any(layer is None for layer in layers):
        raise ValueError(
            f"{name_of(model)} returned no attention weights, though eager "
            "attention was switched on"
        )
    if any(
        layer.ndim != 4 or layer.shape[0] != 1 or layer.shape[-2] != layer.shape[-1]
        for layer in layers
    ):
        raise ValueError(
            "expected weights (1, heads, T, T) in each layer, not "
            f"{[tuple(a.shape) for a in layers]}"
        )
    weights = torch.stack(list(layers))[:, 0].cpu()
    return (weights if weights.dtype == torch.float64 else weights.float()).numpy()


def _weights_of(
    attention: TextAttention | np.ndarray | Tensor,
) -> tuple[np.ndarray, str]:
    if isinstance(attention, TextAttention):
        return attention.weights, attention.model_name
    array = (
        attention.detach().cpu().numpy()
        if isinstance(attention, Tensor)
        else np.asarray(attention)
    )
    return array if array.dtype.kind == "f" else array.astype(float), "this array"


@cache
def _default_bert() -> TextModel:
    return load_bert()
