"""What the public and the hidden checks of problem 4 share.

They share questions with known answers, and how they read a student's replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

import chapter4
from autograder.checking.diagnose import Features, Transcript
from autograder.checking.runner import Shortfall, require
from autograder.problems.common import require_array
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe
from autograder.sandbox.student import Observation

SENTENCE = "The cat sat on the mat"
# Positions in the sentence: its two articles are two words.
THE, CAT, SAT, ON, ARTICLE, MAT = range(6)
CLAIMS = (
    "cat-attends-sat",
    "sat-attends-cat-and-on",
    "mat-attends-the-and-on",
    "mutual-syntax",
    "locality",
    "prepositions-to-nouns",
)
BERT = Recipe("chapter4", 0, {"load": "load_bert", "name": "minilm"})
EXACT = 1e-5  # for weights that are at most 1, in float32
# A first choice leads by at least this much, so that rounding can't change it.
MARGIN = 1e-3
# How an error begins that nobody raised on purpose.
ACCIDENTS = (
    *("AttributeError", "IndexError", "KeyError", "RuntimeError", "StopIteration"),
    *("TypeError", "UnboundLocalError", "ZeroDivisionError"),
)
# One of these is in every sentence that says what to do about weights that are not
# there.
ADVICE = (
    *("eager", "attn", "implementation", "sdpa", "flash", "output_attentions"),
    *("load", "use ", "set ", "ask", "choose", "switch", "pass ", "call", "try "),
    *("enable", "make sure", "must", "need", "request", "should"),
)


def text_model(rng: Generator, layers: int, heads: int, **options: Any) -> Recipe:
    """A tiny Transformer that nobody has seen before."""
    options |= {"layers": layers, "heads": heads, "width": 4 * heads}
    return Recipe("attention", int(rng.integers(2**31)), options)


def token_ids(rng: Generator, count: int) -> Tensor:
    """Token numbers (1, T), all different."""
    return torch.from_numpy(rng.permutation(50)[None, :count])


def weights_of(recipe: Recipe, ids: Tensor) -> np.ndarray:
    """The weights (L, H, T, T) of a tiny Transformer."""
    with torch.no_grad():
        layers = tiny_models.build(recipe)(ids).attentions
    return np.asarray(torch.cat(layers), dtype=np.float64)


def readable(read: Features) -> Features:
    """``read`` for the transcript; a reply of another form counts as none."""

    def features(reply: Any) -> Any:
        try:
            return read(reply)
        except Shortfall as error:
            raise ValueError(str(error)) from None

    return features


def average(
    student: Any, transcript: Transcript, recipe: Recipe, ids: Tensor
) -> np.ndarray:
    """The matrix (T, T) that ``average_attention`` returns."""
    reply = student.call("average_attention", recipe, ids)
    layers, heads, count, _ = weights_of(recipe, ids).shape

    def seen(reply: Any) -> np.ndarray:
        return as_average(reply, layers, heads, count)

    transcript.note("average-attention", (recipe, ids), reply, readable(seen))
    return seen(reply)


def as_average(reply: Any, layers: int, heads: int, count: int) -> np.ndarray:
    """The reply as a matrix (T, T); a message says what is wrong with its form."""
    matrix = _array(reply, "average_attention", "one matrix")
    t = (count, count)
    if matrix.shape == (1, *t):
        matrix = matrix[0]
    hint = {
        (layers, *t): ": the heads are averaged and the layers are not",
        (heads, *t): ": the layers are averaged and the heads are not",
        (layers, heads, *t): ": nothing is averaged",
        (layers, 1, heads, *t): ": nothing is averaged",
        (count - 2, count - 2): (
            ": special tokens were dropped silently. Here every token stays; they are"
            " taken away later, on the record"
        ),
    }.get(matrix.shape, "")
    require(
        matrix.shape == t,
        f"for {count} tokens the matrix is ({count}, {count}), yours is"
        f" {matrix.shape}{hint}.",
    )
    return matrix


def require_unchanged(seen: Observation) -> None:
    require(
        not seen.changed,
        "what was handed over has changed: work on a copy (copy or clone).",
    )


@dataclass(frozen=True)
class Pieces:
    """A question to ``word_matrix``, and its answer.

    Attributes:
        attention: Attention between tokens, (T, T).
        word_ids: The word that each token belongs to; None for a special token.
        answer: Attention between words and special tokens, (G, G).
        words: Number of words.
        specials: Number of special tokens.
    """

    attention: np.ndarray
    word_ids: list[int | None]
    answer: np.ndarray
    words: int
    specials: int


def pieces(rng: Generator, sizes: Sequence[int]) -> Pieces:
    """Attention between tokens whose merged matrix is known, because it is drawn first.

    Args:
        rng: Draws the weights.
        sizes: The number of pieces of each word, in order; 0 is a special token.

    Returns:
        The question and its answer.
    """
    group_of = [g for g, size in enumerate(sizes) for _ in range(max(size, 1))]
    word_ids: list[int | None] = []
    for g, size in enumerate(sizes):
        word = None if size == 0 else sum(s > 0 for s in sizes[:g])
        word_ids += [word] * max(size, 1)
    groups = range(len(sizes))
    # What each token gives to each group. A group's row is the mean of its tokens'
    # rows.
    given = rng.dirichlet(np.full(len(sizes), 0.8), size=len(group_of))
    answer = np.stack([given[np.equal(group_of, g)].mean(axis=0) for g in groups])
    # A group's tokens share what the group gets; every row splits it in another way.
    attention = np.empty((len(group_of), len(group_of)))
    for g in groups:
        columns = np.flatnonzero(np.equal(group_of, g))
        split = rng.dirichlet(np.full(len(columns), 1.5), size=len(group_of))
        attention[:, columns] = given[:, [g]] * split
    specials = sum(size == 0 for size in sizes)
    return Pieces(attention, word_ids, answer, len(sizes) - specials, specials)


def merged(student: Any, transcript: Transcript, question: Pieces) -> np.ndarray:
    """The matrix (G, G) that ``word_matrix`` returns."""
    arguments = (question.attention, question.word_ids)
    reply = student.call("word_matrix", *arguments)

    def seen(reply: Any) -> np.ndarray:
        return as_merged(reply, question)

    transcript.note("word-matrix", arguments, reply, readable(seen))
    return seen(reply)


def as_merged(reply: Any, question: Pieces) -> np.ndarray:
    """The reply as a matrix (G, G); a message says what is wrong with its form."""
    matrix = _array(reply, "word_matrix", "one matrix")
    tokens, groups = len(question.word_ids), len(question.answer)
    hint = ""
    if matrix.shape == (tokens, tokens):
        hint = ": pieces are not merged; tokens with one word_id make one word"
    elif matrix.shape in ((groups, tokens), (tokens, groups)):
        hint = (
            ": pieces are merged in one direction only, and it takes rows and columns"
        )
    elif matrix.shape == (question.words, question.words):
        hint = ": special tokens were dropped silently; word_matrix keeps each of them"
    elif matrix.ndim == 2 and question.words < len(matrix) < groups:
        hint = ": special tokens were merged; each of them stays alone"
    require(
        matrix.shape == (groups, groups),
        f"{question.words} words and {question.specials} special tokens make ({groups},"
        f" {groups}), yours is {matrix.shape}{hint}.",
    )
    return matrix


def parted(
    student: Any, transcript: Transcript, matrix: np.ndarray, special: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weights (W, W) and the removed mass (W,) that ``without_special`` returns."""
    arguments = (matrix, special)
    reply = student.call("without_special", *arguments)

    def seen(reply: Any) -> np.ndarray:
        weights, removed = as_parted(reply, special)
        return np.concatenate([weights.ravel(), removed])

    transcript.note("without-special", arguments, reply, readable(seen))
    return as_parted(reply, special)


def as_parted(reply: Any, special: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reply as weights and removed mass; a message says what is wrong with it."""
    require(
        isinstance(reply, (list, tuple)) and len(reply) == 2,
        "without_special returns two things, the weights between words and the mass"
        " removed from each row: what was taken away is part of the answer.",
    )
    total, words = len(special), int((~special).sum())
    weights = _array(reply[0], "without_special", "the weights first")
    removed = _array(reply[1], "without_special", "the removed mass second")
    hint = ""
    if weights.shape == (total, total):
        hint = ": special tokens are to go, not to be set to 0"
    elif weights.shape in ((words, total), (total, words)):
        hint = ": take both the rows and the columns of special tokens away"
    elif weights.shape == (total - words, total - words):
        hint = ": the words were taken away and the special tokens kept"
    require(
        weights.shape == (words, words),
        f"between {words} words the weights are ({words}, {words}), yours are"
        f" {weights.shape}{hint}.",
    )
    hint = ""
    if removed.size == 1:
        hint = ": one number for each word, not one for all"
    elif removed.shape == (total,):
        hint = ": leave the rows of special tokens out"
    require(
        removed.shape == (words,),
        f"the removed mass of {words} words has the shape ({words},), yours has"
        f" {removed.shape}{hint}.",
    )
    return weights, removed


def choices(student: Any, transcript: Transcript, matrix: np.ndarray) -> list[int]:
    """The column for each row that ``most_attended`` returns."""
    reply = student.call("most_attended", matrix)

    def seen(reply: Any) -> list[int]:
        return as_choices(reply, len(matrix))

    transcript.note("most-attended", (matrix,), reply, readable(seen))
    return seen(reply)


def as_choices(reply: Any, count: int) -> list[int]:
    """The reply as one position for each row."""
    require(
        not isinstance(reply, dict)
        and not (isinstance(reply, list) and any(isinstance(x, str) for x in reply)),
        "most_attended returns positions (numbers from 0) in a list, one for each row.",
    )
    found = _array(reply, "most_attended", "a list of positions")
    require(
        found.shape == (count,),
        f"{count} words have {count} first choices, one each; yours have the shape"
        f" {found.shape}.",
    )
    require(
        (found == found.round()).all(),
        "most_attended returns positions, not weights: use argmax.",
    )
    return [int(x) for x in found]


def led(matrix: np.ndarray) -> bool:
    """Whether every row's first choice leads clearly, with and without the diagonal."""
    apart = matrix - np.diag(np.full(len(matrix), np.inf))
    tops = (np.sort(values, axis=1)[:, -2:] for values in (matrix, apart))
    return all((np.diff(top, axis=1) > MARGIN).all() for top in tops)


def decided(
    student: Any, transcript: Transcript, weights: np.ndarray
) -> dict[str, bool]:
    """The verdicts that ``decide_claims`` returns."""
    reply = student.call("decide_claims", weights)

    def seen(reply: Any) -> list[bool]:
        return list(as_verdicts(reply).values())

    transcript.note("claims", (weights,), reply, readable(seen))
    return as_verdicts(reply)


def as_verdicts(reply: Any) -> dict[str, bool]:
    """The reply as claim -> True or False, in the order of ``CLAIMS``."""
    require(
        isinstance(reply, dict),
        "decide_claims returns a dictionary: the name of each claim and True or False.",
    )
    missing = [name for name in CLAIMS if name not in reply]
    unknown = [name for name in reply if name not in CLAIMS]
    require(not missing, f"decide_claims says nothing about {', '.join(missing)}.")
    require(not unknown, f"{', '.join(map(shown, unknown[:3]))} is none of the claims.")
    verdicts = {}
    for name in CLAIMS:
        value = reply[name]
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(()).item()
        require(
            isinstance(value, bool),
            f"the verdict on {name} is True or False, not {shown(value)}.",
        )
        verdicts[name] = value
    return verdicts


def built(rng: Generator, pairs: dict[tuple[int, int], float]) -> np.ndarray:
    """Weights between six words: about equal, except for the given pairs.

    A row's sum is less than 1, since the special tokens had the rest.

    Args:
        rng: Draws the weights.
        pairs: (row, column) -> the factor by which this weight exceeds the others.

    Returns:
        The weights, (6, 6).
    """
    weights = rng.uniform(0.95, 1.05, (6, 6))
    weights[np.diag_indices(6)] *= rng.choice([0.5, 3, 8]) * rng.uniform(0.7, 1.3, 6)
    for (q, k), times in pairs.items():
        weights[q, k] *= times
    kept = rng.uniform(0.2, 0.95) * rng.uniform(0.8, 1, (6, 1))
    return np.asarray(kept * weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Analysis:
    """What ``analyse_sentence`` should say about a sentence of W words.

    Attributes:
        words: The words, in order.
        weights: Attention between words, (W, W).
        removed: What each word gives to the special tokens, (W,).
        with_special: The word or special token that each word attends to most.
        without_special: The word that each word attends to most.
        tokens: Number of tokens, special ones included.
    """

    words: list[str]
    weights: np.ndarray
    removed: np.ndarray
    with_special: list[str]
    without_special: list[str]
    tokens: int


@cache
def bert() -> Any:
    """The grader's own copy of the model that reads the sentence."""
    return tiny_models.build(BERT)


def analysis(text: str) -> Analysis:
    """The book's own answer for a sentence."""
    attention = chapter4.attention_weights(text, bert())
    between = chapter4.word_attention(attention, keep_special=False)
    everything = chapter4.word_attention(attention)
    with_special, without_special = (
        [found.best.to_word for found in chapter4.most_attended(words)]
        for words in (everything, between)
    )
    return Analysis(
        between.words,
        between.weights.astype(np.float64),
        between.removed.astype(np.float64),
        with_special,
        without_special,
        len(attention.tokens),
    )


LEAD = 1e-4  # by which a first choice leads in the embedded model


def is_clear(right: Analysis) -> bool:
    """Whether rounding can change no word's first choice."""
    apart = np.where(np.eye(len(right.words), dtype=bool), -1, right.weights)
    top = np.sort(apart, axis=1)[:, -2:]
    return bool((np.diff(top, axis=1) > LEAD).all())


ADJECTIVES = ("tabby", "grumpy", "sleepy", "fluffy", "whiskered")
ANIMALS = ("kitten", "hamster", "tortoise", "hedgehog", "gecko", "chinchilla", "wombat")
VERBS = ("napped", "dozed", "snoozed", "crouched", "lounged", "sprawled")
PLACES = ("windowsill", "doormat", "beanbag", "footstool", "hammock", "radiator")


def sentence(rng: Generator) -> str:
    """A sentence with words of several pieces, whose first choices are clear."""
    while True:
        first = f"The {rng.choice(ADJECTIVES)} {rng.choice(ANIMALS)}"
        text = f"{first} {rng.choice(VERBS)} on the {rng.choice(PLACES)}"
        if is_clear(analysis(text)):
            return text


def analysed(
    student: Any, transcript: Transcript, text: str
) -> tuple[dict[str, Any], Analysis]:
    """What ``analyse_sentence`` says, in a checked form, and what it should say."""
    right = analysis(text)
    reply = student.call("analyse_sentence", text, BERT, finite=False)

    def seen(reply: Any) -> np.ndarray:
        found = as_analysis(reply, right)
        same = [
            [
                a == b.casefold()
                for a, b in zip(found[key], getattr(right, key), strict=True)
            ]
            for key in ("words", "with_special", "without_special")
        ]
        return np.concatenate(
            [found["weights"].ravel(), found["removed"], np.ravel(same)]
        )

    # The known mistakes run on a model that is loaded once. A recipe would be built
    # anew for each of them.
    transcript.note("sentence", (text, bert()), reply, readable(seen))
    return as_analysis(reply, right), right


def as_analysis(reply: Any, right: Analysis) -> dict[str, Any]:
    """The reply with its words in lower case and its numbers as arrays."""
    keys = ("words", "weights", "removed", "with_special", "without_special")
    require(
        isinstance(reply, dict),
        "analyse_sentence returns a dictionary with " + ", ".join(keys) + ".",
    )
    missing = [key for key in keys if key not in reply]
    require(not missing, f"analyse_sentence's dictionary lacks {', '.join(missing)}.")
    count = len(right.words)
    found: dict[str, Any] = {}
    for key in ("words", "with_special", "without_special"):
        names = reply[key]
        require(
            isinstance(names, list) and all(isinstance(name, str) for name in names),
            f"{key!r} is a list of words, as text.",
        )
        found[key] = [name.strip().casefold() for name in names]
        hint = ""
        if len(names) == right.tokens:
            hint = ": special tokens are among them"
        elif len(names) == right.tokens - 2:
            hint = ": pieces are not merged"
        elif len(names) == count + 2:
            hint = (
                ": special tokens look at words as well, but the question is about the"
                " words"
            )
        require(
            len(names) == count,
            f"the sentence has {count} words, {key!r} has {len(names)}{hint}.",
        )
    for key, shape in (("weights", (count, count)), ("removed", (count,))):
        found[key] = require_array(
            reply[key], f"analyse_sentence must return numbers under {key!r}."
        )
        require(
            found[key].shape == shape,
            f"{key!r} has the shape {shape} for {count} words, yours has"
            f" {found[key].shape}.",
        )
    return found


def require_analysis(found: dict[str, Any], right: Analysis) -> None:
    """End the check unless every part of the analysis is right."""
    wrong = [
        f"{shown(a)} for {b!r}"
        for a, b in zip(found["words"], right.words, strict=True)
        if a != b.casefold()
    ]
    require(not wrong, f"the words are not those of the sentence: {', '.join(wrong)}.")
    weights, removed = found["weights"], found["removed"]
    diagonal, own = np.diagonal(weights), np.diagonal(right.weights)
    off = np.abs(weights - right.weights)
    require(
        np.abs(diagonal - own).max() <= EXACT or (off > EXACT).sum() > len(own),
        "the diagonal of the weights is changed and the rest is right: most_attended"
        " must work on a copy.",
    )
    require(
        np.isfinite(weights).all() and np.isfinite(removed).all(),
        "the weights or the removed mass hold NaN or infinity.",
    )
    require(
        off.max() <= EXACT,
        f"the weights between words are off by up to {off.max():.3f}: the mean over"
        " layers and heads, pieces merged, special tokens away, nothing scaled.",
    )
    off = np.abs(removed - right.removed)
    require(
        off.max() <= EXACT,
        f"the removed mass is off by up to {off.max():.3f}: it is what each word gives"
        " to the special tokens.",
    )
    for key, words in (("with_special", "with"), ("without_special", "without")):
        wrong = [
            f"{word} looks at {b}, not at {shown(a)}"
            for word, a, b in zip(
                right.words, found[key], getattr(right, key), strict=True
            )
            if a != b.casefold()
        ]
        require(not wrong, f"{words} special tokens: {'; '.join(wrong)}.")


def shown(value: Any) -> str:
    """A student's value in a message: short, and printable whatever it is."""
    return repr(value if isinstance(value, bool | int | float) else str(value)[:40])


def _array(reply: Any, name: str, what: str) -> np.ndarray:
    require(reply is not None, f"{name} returned None: return {what}.")
    found = require_array(reply, f"{name} must return {what}, in numbers.")
    require(np.isfinite(found).all(), f"{name} returned NaN or infinity.")
    return found
