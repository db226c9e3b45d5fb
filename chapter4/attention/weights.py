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
    """The attention weights of one text.

    ``weights[layer, head, q, k]`` is how much token q (the row) looks at token k.

    Attributes:
        weights: (L, H, T, T) float. Every row sums to 1.
        tokens: T pieces, as the model sees them.
        words: The text's words.
        word_ids: For each token the index of its word in ``words``, None for a special
            token.
        special: (T,) bool, True for tokens such as [CLS] and [SEP] that stand for no
            part of the text.
        model_name: The model's name.
    """

    weights: np.ndarray
    tokens: list[str]
    words: list[str]
    word_ids: list[int | None]
    special: np.ndarray
    model_name: str

    def head(self, layer: int, head: int) -> np.ndarray:
        """The matrix of one head.

        Args:
            layer: The layer. Negative numbers count from the end.
            head: The head. Negative numbers count from the end.

        Returns:
            The weights, (T, T).

        Raises:
            ValueError: If a layer or head is out of range.
            TypeError: If a layer or head is not an integer.
        """
        layers, heads = self.weights.shape[:2]
        at = check_position("layer", layer, layers, self.model_name)
        return self.weights[at, check_position("head", head, heads, self.model_name)]


def attention_weights(text: str, bert: TextModel | None = None) -> TextAttention:
    """The attention weights of every layer and head for one text.

    The model is left as it was, its attention setting too.

    Args:
        text: A sentence or more, as long as the model allows.
        bert: What ``load_bert(name)`` or ``load_sentiment(name)`` returns, or None for
            the embedded MiniLM, which is loaded once.

    Returns:
        The weights with their tokens and words.

    Raises:
        TypeError: If ``text`` is no text, or ``bert`` is no pair of a model and a
            tokenizer.
        ValueError: If the text is empty or too long, or if the model gives no weights.

    References:
        Vaswani et al. 2017, arXiv:1706.03762.
    """
    model, tokenizer = text_model(bert)
    encoded = tokenize(text, model, tokenizer)
    ids: list[int] = encoded["input_ids"]
    mask = torch.ones(1, len(ids), dtype=torch.long)
    weights = attentions_of(model, input_ids=torch.tensor([ids]), attention_mask=mask)
    tokens: list[str] = list(tokenizer.convert_ids_to_tokens(ids))
    # Special tokens are found by their ids, not by the tokenizer's own mask. That mask
    # takes a [SEP] typed in the text for a word.
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
    """The mean over layers and heads: (L, H, T, T) to (T, T).

    Its rows still sum to 1.

    Args:
        attention: A result of :func:`chapter4.attention_weights`, or an array
            (L, H, T, T).
        layers: An index, several, or None for all. Negative numbers count from the end.
        heads: An index, several, or None for all. Negative numbers count from the end.

    Returns:
        The mean, (T, T).

    Raises:
        ValueError: If an index is out of range, if there is no index, or if the array
            has another shape.
        TypeError: If an index is not an integer.
    """
    weights, name = _weights_of(attention)
    if weights.ndim != 4:
        raise ValueError(
            f"attention weights are (layers, heads, T, T), not {weights.shape}"
        )
    by_layer = weights[choose("layer", layers, len(weights), name)]
    picked = by_layer[:, choose("head", heads, weights.shape[1], name)]
    return picked.mean(axis=(0, 1))


def attention_rollout(
    attention: TextAttention | np.ndarray | Tensor, residual: bool = True
) -> np.ndarray:
    """Attention followed through all layers, as if values only flowed along it.

    The result is the product of one matrix for each layer::

        A'_L ... A'_2 A'_1

    A'_l is the mean over heads of layer l, plus the identity for the residual
    connection, with rows scaled to sum 1. MLPs and signs of values are ignored.

    Args:
        attention: A result of :func:`chapter4.attention_weights`, or an array
            (L, H, T, T) or (L, T, T).
        residual: Whether to add the identity.

    Returns:
        The product, (T, T). Row q says what share of each input token reaches token q
        at the top.

    Raises:
        ValueError: If the array has another shape, if a weight is negative or not
            finite, or if a row is all zero.

    References:
        Abnar and Zuidema 2020, arXiv:2005.00928.
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
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all() or not mixed.sum(axis=2).all():
        raise ValueError(
            "attention weights are finite and not negative, and no row of "
            "them is all zero"
        )
    for layer in mixed:
        rolled = layer / layer.sum(axis=1, keepdims=True) @ rolled
    return rolled


def text_model(bert: TextModel | None) -> TextModel:
    """``bert`` itself, or the embedded model for None.

    Raises:
        TypeError: If ``bert`` is no pair of a Transformer and a tokenizer.
    """
    if bert is None:
        return _default_bert()
    pair = isinstance(bert, tuple) and len(bert) == 2
    if not (pair and isinstance(bert[0], nn.Module)):
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
    """Encode one text by the tokenizer: lists, no batch axis.

    Args:
        text: The text.
        model: The model, whose configuration limits the length.
        tokenizer: The model's tokenizer.

    Returns:
        The tokenizer's encoding.

    Raises:
        TypeError: If ``text`` is not a string.
        ValueError: If the text is empty or too long, or if the tokenizer is a slow one.
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
    """Let ``model`` compute attention so that its weights can be seen.

    The default, SDPA, never forms the weights, and its attentions tuple is empty. The
    model's own setting is put back whatever happens.

    Args:
        model: A Hugging Face Transformer.

    Yields:
        Nothing. Inside, attention is eager.

    Raises:
        TypeError: If the model is of another kind.
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
    """Return a layer or head as a number from 0; negative ones count from the end.

    Args:
        name: What is counted, such as "layer".
        value: The position.
        count: How many there are.
        model_name: The model's name, for messages.

    Returns:
        The position, 0 to count - 1.

    Raises:
        TypeError: If the position is not an integer.
        ValueError: If it is out of range.
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
    """Find the place of a token or a word.

    Args:
        what: "token" or "word", for messages.
        wanted: Its name, in any case where that is enough, or its number. Negative
            numbers count from the end.
        names: All tokens or words.

    Returns:
        Its place in ``names``.

    Raises:
        ValueError: If the name is not there or is there twice, or if the number is out
            of range.
        TypeError: If ``wanted`` is neither a name nor an integer.
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
    """The weights of every layer for a batch of one, computed eagerly.

    The model is left as it was.

    Args:
        model: A Hugging Face Transformer.
        **inputs: The model's inputs, a batch of one.

    Returns:
        The weights, (L, H, T, T).

    Raises:
        TypeError: If the model is of another kind.
        ValueError: If it gives no weights, or weights of another shape.
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
    shapes = [tuple(layer.shape) for layer in layers]
    if any(len(s) != 4 or s[0] != 1 or s[2] != s[3] for s in shapes):
        raise ValueError(
            f"expected weights (1, heads, T, T) in each layer, not {shapes}"
        )
    weights = torch.stack(list(layers))[:, 0].cpu()
    return (weights if weights.dtype == torch.float64 else weights.float()).numpy()


def _weights_of(
    attention: TextAttention | np.ndarray | Tensor,
) -> tuple[np.ndarray, str]:
    if isinstance(attention, TextAttention):
        return attention.weights, attention.model_name
    if isinstance(attention, Tensor):
        attention = attention.detach().cpu().numpy()
    array = np.asarray(attention)
    return array if array.dtype.kind == "f" else array.astype(float), "this array"


@cache
def _default_bert() -> TextModel:
    return load_bert()
