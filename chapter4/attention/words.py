"""Problem 4: attention between words.

The pieces of a word are merged, special tokens are kept or removed, and claims are
answered by numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chapter4.attention.weights import (
    TextAttention,
    average_attention,
    choose,
    find_by_name,
)

if TYPE_CHECKING:
    from chapter4.attention.weights import Which


@dataclass(frozen=True)
class WordAttention:
    """Attention between words.

    ``weights[i, j]`` is how much word i (the row) looks at word j. A row of ``weights``
    plus its ``removed`` is 1, unless ``renormalized``.

    Attributes:
        words: W words, with special tokens among them where they were kept.
        weights: (W, W).
        special: (W,) bool, True for special tokens.
        pieces: How many tokens make each word.
        removed: (W,), the mass of each row that fell on special tokens and was removed;
            0 where they were kept.
        renormalized: Whether each row was scaled to sum 1.
        n_tokens: The number of tokens of the text, special ones included.
        source: In words, what the matrix is.
    """

    words: list[str]
    weights: np.ndarray
    special: np.ndarray
    pieces: list[int]
    removed: np.ndarray
    renormalized: bool
    n_tokens: int
    source: str


@dataclass(frozen=True)
class AttentionPair:
    """How much one word looks at another, with what is needed to judge the number.

    Attributes:
        from_word: The word that looks.
        from_index: Its position.
        to_word: The word that it looks at.
        to_index: Its position.
        weight: The attention weight, from the row of ``from_word``.
        rank: 1 for the most attended of the ``among`` other words. Equal weights share
            a rank.
        among: How many other words there are.
        uniform: What ``to_word`` would get if the row were spread evenly over all
            tokens.
        even_share: What ``to_word`` would get if the mass that goes to the other words
            were spread evenly over their pieces.
    """

    from_word: str
    from_index: int
    to_word: str
    to_index: int
    weight: float
    rank: int
    among: int
    uniform: float
    even_share: float

    def __str__(self) -> str:
        ends = (
            f"{self.from_word} ({self.from_index}) -> {self.to_word} ({self.to_index})"
        )
        return (
            f"{ends}: {self.weight:.3f}, rank {self.rank} of {self.among}, even share"
            f" {self.even_share:.3f}"
        )


@dataclass(frozen=True)
class MostAttended:
    """The word that ``word`` looks at most, itself excluded, and the next one.

    Attributes:
        word: The word that looks.
        index: Its position.
        best: The word that it looks at most.
        runner_up: The next one; None where there is no third word.
    """

    word: str
    index: int
    best: AttentionPair
    runner_up: AttentionPair | None


def merge_pieces(matrix: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Merge tokens: attention TO a group is the SUM, FROM a group the MEAN.

    Rows keep their sum where the groups cover every token.

    Args:
        matrix: Attention between tokens, (T, T).
        groups: The token indices of each group.

    Returns:
        Attention between groups, (G, G).

    References:
        Clark et al. 2019, arXiv:1906.04341.
    """
    to_groups = np.stack(
        [matrix[:, list(group)].sum(axis=1) for group in groups], axis=1
    )
    return np.stack([to_groups[list(group)].mean(axis=0) for group in groups])


def word_attention(
    attention: TextAttention,
    matrix: np.ndarray | None = None,
    *,
    layers: Which = None,
    heads: Which = None,
    keep_special: bool = True,
    renormalize: bool = False,
    source: str | None = None,
) -> WordAttention:
    """Attention between the words of a text.

    The pieces of a word are merged. Special tokens are kept or removed.

    Args:
        attention: A result of :func:`chapter4.attention_weights`.
        matrix: (T, T) over its tokens, such as a rollout; None for the mean over
            ``layers`` and ``heads``.
        layers: An index, several, or None for all. Negative numbers count from the end.
        heads: An index, several, or None for all. Negative numbers count from the end.
        keep_special: False removes the rows and columns of [CLS] and [SEP], and reports
            the mass that each row lost in ``.removed``.
        renormalize: Scale what is left of each row to sum 1. Without it nothing is
            scaled.
        source: What a matrix of your own is, in words, for titles.

    Returns:
        The weights between words, (W, W), with the words.

    Raises:
        ValueError: If the matrix has another shape, if it is given together with layers
            or heads, if an index is out of range, or if a row has no mass left to
            scale.
        TypeError: If an index is not an integer.
    """
    count = len(attention.tokens)
    if matrix is None:
        n_layers, n_heads = attention.weights.shape[:2]
        picked_layers = choose("layer", layers, n_layers, attention.model_name)
        picked_heads = choose("head", heads, n_heads, attention.model_name)
        matrix = average_attention(attention, picked_layers, picked_heads)
        origin = (
            f"{_part('layer', picked_layers, n_layers)},"
            f" {_part('head', picked_heads, n_heads)}"
        )
    elif layers is not None or heads is not None:
        raise ValueError("give a matrix, or layers and heads, but not both")
    else:
        matrix, origin = np.asarray(matrix), "a matrix made elsewhere"
    if matrix.shape != (count, count):
        raise ValueError(
            f"the text has {count} tokens, so the matrix is ({count}, {count}), not"
            f" {matrix.shape}"
        )

    groups: list[list[int]] = []
    names: list[str] = []
    number: dict[int, int] = {}
    for i, word in enumerate(attention.word_ids):
        if word in number:
            groups[number[word]].append(i)
            continue
        if word is not None:
            number[word] = len(groups)
        groups.append([i])
        names.append(attention.tokens[i] if word is None else attention.words[word])
    special = np.array([attention.word_ids[group[0]] is None for group in groups])

    merged, removed = merge_pieces(matrix, groups), np.zeros(len(groups), matrix.dtype)
    kept = np.arange(len(groups)) if keep_special else np.flatnonzero(~special)
    if not keep_special:
        removed = merged[:, special].sum(axis=1)[kept]
        merged = merged[np.ix_(kept, kept)]
    if renormalize:
        totals = merged.sum(axis=1, keepdims=True)
        if (totals <= 0).any():
            raise ValueError(
                "a row has no mass left on words, so it can't be scaled to sum 1"
            )
        merged = merged / totals
    return WordAttention(
        words=[names[i] for i in kept],
        weights=merged,
        special=special[kept],
        pieces=[len(groups[i]) for i in kept],
        removed=removed,
        renormalized=renormalize,
        n_tokens=count,
        source=source or f"{attention.model_name}, {origin}",
    )


def attention_pair(
    attention: WordAttention | TextAttention, from_word: int | str, to_word: int | str
) -> AttentionPair:
    """How much ``from_word`` looks at ``to_word``, and what to compare that with.

    The result has the weight, its rank among the other words, and the even share.

    Args:
        attention: A result of :func:`chapter4.word_attention`, which says what is
            counted; or of :func:`chapter4.attention_weights`, for the mean over all
            layers and heads without special tokens.
        from_word: A word, or its position where it occurs twice.
        to_word: A word, or its position where it occurs twice.

    Returns:
        The pair with its numbers.

    Raises:
        ValueError: If a word is unknown or occurs twice, if a position is out of range,
            or if both are the same word.
        TypeError: If an argument has the wrong type.
    """
    words = _words_of(attention)
    row = find_by_name("word", from_word, words.words)
    column = find_by_name("word", to_word, words.words)
    if row == column:
        raise ValueError(
            f"{words.words[row]!r} ({row}) is both ends; a word is not ranked against"
            " itself"
        )
    return _pair(words, row, column)


def most_attended(attention: WordAttention | TextAttention) -> list[MostAttended]:
    """For each word the word that it looks at most, itself excluded.

    Args:
        attention: A result of :func:`chapter4.word_attention`, in which special tokens
            compete where they were kept; or of :func:`chapter4.attention_weights`, for
            the mean over all layers and heads without special tokens.

    Returns:
        One entry for each word, with weight, rank and the runner-up.

    Raises:
        ValueError: If there is only one word.
        TypeError: If ``attention`` is neither of the two.
    """
    words = _words_of(attention)
    if len(words.words) < 2:
        raise ValueError(f"the only word is {words.words[0]!r}; it takes two to attend")
    found = []
    for i in np.flatnonzero(~words.special).tolist():
        order = [
            j for j in np.argsort(-words.weights[i], kind="stable").tolist() if j != i
        ]
        runner_up = _pair(words, i, order[1]) if len(order) > 1 else None
        found.append(
            MostAttended(words.words[i], i, _pair(words, i, order[0]), runner_up)
        )
    return found


def attention_by_distance(attention: WordAttention | TextAttention) -> dict[int, float]:
    """The mean weight between words by signed distance.

    -1 is the word before, +1 the next, 0 the word itself. Special tokens have no
    distance and are left out. This is the number behind "attention is local".

    Args:
        attention: A result of :func:`chapter4.word_attention`, or of
            :func:`chapter4.attention_weights`, for the mean over all layers and heads
            without special tokens.

    Returns:
        For each distance the mean weight.

    Raises:
        TypeError: If ``attention`` is neither of the two.
    """
    words = _words_of(attention)
    real = np.flatnonzero(~words.special)
    weights = words.weights[np.ix_(real, real)]
    return {
        d: float(np.diagonal(weights, d).mean())
        for d in range(1 - len(real), len(real))
    }


def _pair(words: WordAttention, i: int, j: int) -> AttentionPair:
    row, pieces = words.weights[i], np.array(words.pieces)
    others = [k for k in range(len(row)) if k != i]
    return AttentionPair(
        from_word=words.words[i],
        from_index=i,
        to_word=words.words[j],
        to_index=j,
        weight=float(row[j]),
        rank=1 + sum(1 for k in others if row[k] > row[j]),
        among=len(others),
        uniform=float(
            pieces[j] / (pieces.sum() if words.renormalized else words.n_tokens)
        ),
        even_share=float(row[others].sum() * pieces[j] / pieces[others].sum()),
    )


def _words_of(attention: WordAttention | TextAttention) -> WordAttention:
    if isinstance(attention, TextAttention):
        return word_attention(attention, keep_special=False)
    if not isinstance(attention, WordAttention):
        raise TypeError(
            "expected a result of word_attention or attention_weights, not"
            f" {type(attention).__name__}"
        )
    return attention


def _part(name: str, chosen: list[int], count: int) -> str:
    if len(chosen) == 1:
        return f"{name} {chosen[0]}"
    if len(chosen) == count:
        return f"mean of all {count} {name}s"
    return f"mean of {name}s {', '.join(map(str, chosen))}"
