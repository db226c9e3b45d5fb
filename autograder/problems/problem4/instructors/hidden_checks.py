"""Problem 4: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

import chapter4
from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, credit, require
from autograder.problems.problem4.questions import (
    ARTICLE,
    CAT,
    CLAIMS,
    EXACT,
    MAT,
    ON,
    SAT,
    THE,
    analysed,
    average,
    built,
    choices,
    decided,
    led,
    merged,
    pieces,
    require_analysis,
    sentence,
    text_model,
    token_ids,
    weights_of,
)

MATRICES = 96
# The two sides of a comparison differ by at least this much, relative to the larger
# one.
CLEAR = 0.02


@check(
    "average-attention/sizes",
    0.8,
    "Other numbers of layers and heads",
    public=False,
    needs="mean",
)
def test_sizes(student: Any, transcript: Transcript, rng: Generator) -> None:
    for layers, heads, count in ((1, 4, 5), (5, 1, 9), (2, 3, 12)):
        for dtype in ("float32", "float64"):
            recipe = text_model(rng, layers, heads, dtype=dtype)
            ids = token_ids(rng, count)
            matrix = average(student, transcript, recipe, ids)
            right = chapter4.average_attention(weights_of(recipe, ids))
            off = np.abs(matrix - right).max()
            require(
                off <= EXACT,
                f"with {layers} layers and {heads} heads the matrix is off by up to"
                f" {off:.3f} from their mean.",
            )


@check(
    "word-matrix/everywhere",
    0.8,
    "Words of several pieces and special tokens anywhere",
    public=False,
    needs="pieces",
)
def test_everywhere(student: Any, transcript: Transcript, rng: Generator) -> None:
    for sizes in ([0, 4, 1, 2, 0, 3, 0, 0], [2, 2, 1, 0], [0, 1, 1, 5]):
        question = pieces(rng, sizes)
        off = np.abs(merged(student, transcript, question) - question.answer).max()
        require(
            off <= EXACT,
            f"with words of {', '.join(str(s) for s in sizes if s)} pieces the matrix"
            f" is off by up to {off:.3f}.",
        )


@check(
    "most-attended/any",
    0.9,
    "Matrices of other sizes and scales",
    public=False,
    needs="first",
)
def test_any(student: Any, transcript: Transcript, rng: Generator) -> None:
    for count in (11, 5, 2):
        matrix = rng.dirichlet(np.ones(count), size=count)
        while not led(matrix):
            matrix = rng.dirichlet(np.ones(count), size=count)
        others = np.where(np.eye(count, dtype=bool), -1, matrix)
        right = others.argmax(axis=1).tolist()
        found = choices(student, transcript, matrix)
        wrong = sum(a != b for a, b in zip(found, right, strict=True))
        require(
            not wrong,
            f"{wrong} of {count} first choices are wrong in a matrix of {count} words.",
        )


@check(
    "claims/any",
    2,
    "Each claim, decided from any weights",
    public=False,
    needs="all-or-none",
)
def test_claims(student: Any, transcript: Transcript, rng: Generator) -> None:
    wrong = dict.fromkeys(CLAIMS, 0)
    for weights in claim_matrices(rng):
        found, right = decided(student, transcript, weights), verdicts(weights)
        for name in CLAIMS:
            wrong[name] += found[name] is not right[name]
    bad = [f"{name} ({n} of {MATRICES})" for name, n in wrong.items() if n]
    if bad:
        fraction = 1 - len(bad) / len(CLAIMS)
        credit(fraction, f"decided wrongly in some matrices: {', '.join(bad)}.")


@check(
    "sentence/another",
    2,
    "Another sentence with words of several pieces",
    public=False,
    needs="the-cat",
)
def test_another(student: Any, transcript: Transcript, rng: Generator) -> None:
    require_analysis(*analysed(student, transcript, sentence(rng)))


def claim_matrices(rng: Generator) -> list[np.ndarray]:
    """Matrices in which every claim is sometimes true and sometimes false.

    Often a single weight decides.
    """
    found: list[np.ndarray] = []
    want = {(name, truth): MATRICES // 6 for name in CLAIMS for truth in (True, False)}
    while len(found) < MATRICES:
        weights = built(rng, _some_pairs(rng))
        comparisons = [
            pair for pairs in _comparisons(weights).values() for pair in pairs
        ]
        if any(abs(a - b) < CLEAR * max(a, b) for a, b in comparisons):
            continue
        right = verdicts(weights)
        lacking = [key for key in right.items() if want[key] > 0]
        if not lacking and any(want[key] > 0 for key in want):
            continue
        for key in lacking:
            want[key] -= 1
        found.append(weights)
    return found


def _some_pairs(rng: Generator) -> dict[tuple[int, int], float]:
    """Most of the weights that the claims ask for, and some weight elsewhere."""
    asked = [
        (CAT, SAT),
        (SAT, CAT),
        (SAT, ON),
        (MAT, ARTICLE),
        (MAT, ON),
        (THE, CAT),
        (CAT, THE),
        (ARTICLE, MAT),
        (ON, MAT),
    ]
    pairs = {pair: float(rng.uniform(2.5, 6)) for pair in asked}
    for i in rng.permutation(len(asked))[: rng.integers(0, 3)]:
        pairs[asked[i]] = float(rng.uniform(0.3, 1.2))
    # The wrong article, with enough weight to be confused with the right one.
    if rng.random() < 0.5:
        pairs |= {pair: float(rng.uniform(2, 6)) for pair in ((THE, MAT), (MAT, THE))}
    # Code that counts only the next word must find something else.
    if rng.random() < 0.3:
        pairs |= {(q, q - 1): float(rng.uniform(0.2, 0.6)) for q in range(1, 6)}
    for _ in range(rng.integers(0, 6)):
        q, k = rng.permutation(6)[:2]
        pairs[int(q), int(k)] = float(rng.uniform(0.3, 9))
    return pairs


def verdicts(weights: np.ndarray) -> dict[str, bool]:
    """The claims by the rules of the task.

    A claim holds if the left side of each of its comparisons is larger.
    """
    return {
        name: all(bool(a > b) for a, b in pairs)
        for name, pairs in _comparisons(weights).items()
    }


def _comparisons(weights: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    def best_of_the_rest(q: int, *keys: int) -> float:
        return max(weights[q, k] for k in range(6) if k not in (q, *keys))

    def first(q: int, *keys: int) -> list[tuple[float, float]]:
        return [(weights[q, k], best_of_the_rest(q, *keys)) for k in keys]

    def above_even(q: int, k: int) -> tuple[float, float]:
        return weights[q, k], (weights[q].sum() - weights[q, q]) / 5

    both = [(CAT, SAT), (THE, CAT), (ARTICLE, MAT)]
    both += [(k, q) for q, k in both]
    gap = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    return {
        "cat-attends-sat": first(CAT, SAT),
        "sat-attends-cat-and-on": first(SAT, CAT, ON),
        "mat-attends-the-and-on": first(MAT, ARTICLE, ON),
        "mutual-syntax": [above_even(q, k) for q, k in both],
        "locality": [(weights[gap == 1].mean(), weights[gap > 1].mean())],
        "prepositions-to-nouns": [(weights[ON, MAT], weights[ON, CAT])],
    }
