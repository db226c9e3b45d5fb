"""Problem 4, public checks: what each word of BERT attends to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

import chapter4
from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, credit, require
from autograder.problems.common import (
    require_none,
    said,
)
from autograder.problems.problem4.questions import (
    ACCIDENTS,
    ADVICE,
    ARTICLE,
    CAT,
    CLAIMS,
    EXACT,
    MAT,
    ON,
    SAT,
    SENTENCE,
    THE,
    analysed,
    analysis,
    as_average,
    average,
    built,
    choices,
    decided,
    led,
    merged,
    parted,
    pieces,
    require_analysis,
    require_unchanged,
    sentence,
    text_model,
    token_ids,
    weights_of,
)
from autograder.sandbox.student import StudentError

# While a task's check fails, these are shown one by one. The notebook has the same
# ones, folded.
HINTS = {
    "average-attention": (
        "Ask the model for `output_attentions=True` and look at what comes back: a"
        " tuple with one tensor for each layer, (1, heads, T, T).",
        "`torch.stack` makes one tensor of them, (layers, 1, heads, T, T). Take the"
        " batch axis away, then average over the two axes that are no tokens.",
        "There is no mean over an empty tuple: look at it before you stack, and"
        " raise a ValueError.",
    ),
    "word-matrix": (
        "Make a list of groups first: for each word the positions of its tokens, for"
        " each special token a group of its own.",
        "Do the columns first: attention to a word is the sum over the word's columns."
        " You then have (T, G).",
        "Then the rows: attention from a word is the mean over the word's rows. Every"
        " row must still sum to 1.",
    ),
    "without-special": (
        "`special` is an array of True and False, so `~special` picks the words.",
        "Take away rows and columns. What the rows of words had in the columns of"
        " special tokens is the removed mass.",
    ),
    "most-attended": (
        "A word often looks at itself. Set its own entry to -1 in a COPY of its row,"
        " then take argmax.",
        "If you cut the entry out of the row instead, every position behind it moves by"
        " one.",
    ),
    "claims": (
        "Name the positions: `the, cat, sat, on, article, mat = range(6)`. Row q looks,"
        " column k is looked at.",
        "Write small functions: the rank of k in row q without q itself; the even share"
        " of a row, again without q.",
        "Try your function on a matrix that you fill by hand, so that you know what"
        " must come out.",
    ),
    "sentence": (
        "`tokenizer(text, return_tensors='pt')` gives `input_ids`, and its method"
        " `word_ids()` says which word each token belongs to, None for a special one.",
        "Make the names in the order of the groups: [CLS], the words, [SEP]. Then both"
        " lists are names[k] for each k that `most_attended` gives.",
        "For `with_special` ask the whole matrix and leave out what the special tokens"
        " themselves look at.",
    ),
}


@check("average-attention/mean", 1.4, "The mean over layers and heads", public=True)
def test_mean(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for layers, heads, count in ((4, 3, 8), (3, 2, 8)):
        recipe, ids = text_model(rng, layers, heads), token_ids(rng, count)
        matrix = average(student, transcript, recipe, ids)
        right = chapter4.average_attention(weights_of(recipe, ids))
        asked.append((matrix, right, layers, heads))
    for matrix, right, layers, heads in asked:
        rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
        require(
            not (np.abs(columns - 1) <= EXACT).all()
            or (np.abs(rows - 1) <= EXACT).all(),
            "the columns sum to 1 and the rows do not: the matrix is transposed. A row"
            " looks, a column is looked at.",
        )
        require(
            (np.abs(rows - 1) <= EXACT).all(),
            "every row of a mean of attention weights sums to 1; yours sum to"
            f" {said(rows.min())} to {said(rows.max())}.",
        )
        off = np.abs(matrix - right).max()
        require(
            off <= EXACT,
            f"the matrix is off by up to {off:.3f} from the mean over all {layers}"
            f" layers and all {heads} heads.",
        )


@check(
    "average-attention/care",
    0.8,
    "One matrix; the model is left as it was",
    public=True,
    needs="mean",
)
def test_care(student: Any, rng: Generator) -> None:
    recipe, ids = text_model(rng, 2, 3), token_ids(rng, 6)
    seen = student.observe("average_attention", recipe, ids)
    as_average(seen.value, 2, 3, 6)
    left = {word for model in seen.models for word in model.changed}
    require_none(
        {
            "the batch axis is still there: the matrix is (T, T)": (
                np.ndim(seen.value) != 2
            ),
            "the model came back in another mode: it is in evaluation mode already": (
                "mode" in left
            ),
            "the model came back changed: take your hooks away, and leave requires_grad"
            " as it was": bool(left & {"hooks", "requires_grad", "weights"}),
            "input_ids has changed: work on a copy": bool(seen.changed),
        }
    )


@check(
    "average-attention/empty",
    1,
    "A model that gives no weights is noticed",
    public=True,
    needs="mean",
)
def test_empty(student: Any, rng: Generator) -> None:
    noticed = "the model's attentions are an empty tuple, and nothing was noticed"
    ids = token_ids(rng, 6)
    try:
        student.call("average_attention", text_model(rng, 2, 3, empty=True), ids)
    except StudentError as error:
        if error.reason == "not-finite":
            require(
                False, f"{noticed}: the mean of nothing is NaN. Raise a ValueError."
            )
        if error.kind != "raised":
            raise
        said = error.line.partition(" raised ")[2]
        if said.startswith(ACCIDENTS):
            credit(
                0.5,
                "the model's attentions are an empty tuple, and the function stopped"
                f" by accident ({error.line[:90]}): look first, and raise a ValueError"
                " that says what to do.",
            )
        if not any(word in said.lower() for word in ADVICE):
            credit(
                0.5,
                "the error should say what to do, such as which implementation of"
                f" attention to ask for; yours says: {said[:120]}.",
            )
    else:
        require(False, f"{noticed}: raise a ValueError.")


@check("word-matrix/pieces", 2, "To a word the sum, from a word the mean", public=True)
def test_pieces(student: Any, transcript: Transcript, rng: Generator) -> None:
    question = pieces(rng, [0, 1, 3, 1, 2, 0])
    matrix = merged(student, transcript, question)
    rows = matrix.sum(axis=1)
    require(
        (np.abs(rows - 1) <= EXACT).all(),
        "attention TO a word is the sum over its pieces, FROM a word the mean, so that"
        f" every row still sums to 1; yours sum to {said(rows.min())} to"
        f" {said(rows.max())}.",
    )
    off = np.abs(matrix - question.answer).max()
    require(
        off <= EXACT,
        f"the merged matrix is off by up to {off:.3f}: add the columns of a word's"
        " pieces, average their rows.",
    )


@check(
    "word-matrix/whole",
    0.8,
    "Words of one piece stay as they are",
    public=True,
    needs="pieces",
)
def test_whole(student: Any, transcript: Transcript, rng: Generator) -> None:
    question = pieces(rng, [0, 1, 1, 1, 1, 0])
    off = np.abs(merged(student, transcript, question) - question.answer).max()
    require(
        off <= EXACT,
        "every word is one token, so the matrix stays what it was; yours is off by up"
        f" to {off:.3f}.",
    )


@check(
    "word-matrix/care",
    0.4,
    "The array is left as it was",
    public=True,
    needs="pieces",
)
def test_word_care(student: Any, rng: Generator) -> None:
    question = pieces(rng, [0, 1, 2, 0])
    seen = student.observe("word_matrix", question.attention, question.word_ids)
    require_unchanged(seen)


@check(
    "without-special/parts",
    1,
    "Weights between words, and what was removed",
    public=True,
)
def test_parts(student: Any, transcript: Transcript, rng: Generator) -> None:
    matrix = rng.dirichlet(np.full(7, 0.7), size=7)
    special = np.array([True, False, False, False, False, False, True])
    weights, removed = parted(student, transcript, matrix, special)
    off = np.abs(weights - matrix[1:-1, 1:-1]).max()
    require(
        off <= EXACT,
        f"the weights between words change by up to {off:.3f}: take rows and columns"
        " away and scale nothing.",
    )
    right = matrix[1:-1, 0] + matrix[1:-1, -1]
    off = np.abs(removed - right).max()
    require(
        off <= EXACT,
        "the removed mass of a word is what its row gave to special tokens"
        f" ({right[0]:.3f} for the first word); yours is {removed[0]:.3f}.",
    )


@check(
    "without-special/anywhere",
    0.8,
    "Special tokens in the middle, or none at all",
    public=True,
    needs="parts",
)
def test_anywhere(student: Any, transcript: Transcript, rng: Generator) -> None:
    for places in ([0, 4], [5, 6, 8], []):
        matrix = rng.dirichlet(np.full(9, 0.7), size=9)
        special = np.zeros(9, dtype=bool)
        special[places] = True
        weights, removed = parted(student, transcript, matrix, special)
        off = np.abs(weights - matrix[~special][:, ~special]).max()
        lost = np.abs(removed + weights.sum(axis=1) - 1).max()
        where = f"at {places}" if places else "nowhere"
        require(
            off <= EXACT,
            f"with special tokens {where} the weights between words are off by up to"
            f" {off:.3f}.",
        )
        require(
            lost <= EXACT,
            f"with special tokens {where} a row's weights and its removed mass sum to 1"
            f" but for {lost:.3f}.",
        )


@check(
    "without-special/care",
    0.2,
    "The matrix is left as it was",
    public=True,
    needs="parts",
)
def test_special_care(student: Any, rng: Generator) -> None:
    matrix = rng.dirichlet(np.full(5, 0.7), size=5)
    special = np.array([True, False, False, False, True])
    require_unchanged(student.observe("without_special", matrix, special))


@check(
    "most-attended/first", 0.9, "The most attended word, itself left out", public=True
)
def test_first(student: Any, transcript: Transcript, rng: Generator) -> None:
    count = 6
    matrix = rng.uniform(0.01, 0.02, (count, count))
    matrix[np.diag_indices(count)] += 0.5
    right = [int(rng.choice([k for k in range(count) if k != q])) for q in range(count)]
    matrix[range(count), right] += 0.2
    assert led(matrix)
    found = choices(student, transcript, matrix)
    require(
        found != list(range(count)),
        "every word was found to look most at itself: leave the word itself out before"
        " you look for the largest.",
    )
    require(
        found == right,
        f"the first choices of the six rows are {right}, yours are {found}.",
    )


@check(
    "most-attended/care",
    0.2,
    "The matrix is left as it was",
    public=True,
    needs="first",
)
def test_most_care(student: Any, rng: Generator) -> None:
    require_unchanged(student.observe("most_attended", rng.uniform(size=(5, 5))))


ALL_TRUE = {
    (CAT, SAT): 5.0,
    (CAT, THE): 4.0,
    (SAT, CAT): 4.0,
    (SAT, ON): 5.0,
    (MAT, ARTICLE): 5.0,
    (MAT, ON): 4.0,
    (THE, CAT): 4.0,
    (ARTICLE, MAT): 4.0,
    (ON, MAT): 3.0,
}
ALL_FALSE = {
    (CAT, MAT): 5.0,
    (CAT, THE): 0.5,
    (SAT, THE): 4.0,
    (SAT, MAT): 5.0,
    (MAT, THE): 5.0,
    (MAT, CAT): 4.0,
    (THE, ARTICLE): 4.0,
    (ARTICLE, THE): 4.0,
    (ON, CAT): 3.0,
}
# What makes one of the six claims false and leaves the others true.
ONE_FALSE: dict[str, dict[tuple[int, int], float]] = {
    "cat-attends-sat": {(CAT, SAT): 3.3},
    "sat-attends-cat-and-on": {(SAT, ON): 1.0, (SAT, THE): 5.0},
    "mat-attends-the-and-on": {(MAT, ON): 1.0, (MAT, CAT): 4.0},
    "mutual-syntax": {(ARTICLE, MAT): 0.5},
    "locality": {
        **dict.fromkeys(((THE, k) for k in (SAT, ON, ARTICLE, MAT)), 3.4),
        **dict.fromkeys(((CAT, k) for k in (ON, ARTICLE, MAT)), 3.0),
        **dict.fromkeys(((SAT, k) for k in (THE, ARTICLE, MAT)), 3.0),
        **dict.fromkeys(((ARTICLE, k) for k in (THE, CAT, SAT)), 3.4),
        **dict.fromkeys(((MAT, k) for k in (THE, CAT, SAT)), 3.4),
        (ON, MAT): 30.0,
    },
    "prepositions-to-nouns": {(ON, CAT): 6.0},
}


def require_some(student: Any, transcript: Transcript, rng: Generator) -> None:
    """Half of the claims must always be decided right where one of them is false.

    So the same verdict on all claims, or verdicts known by heart, are not enough.
    """
    right = set(CLAIMS)
    for i in rng.permutation(len(CLAIMS)):
        lie = CLAIMS[i]
        found = decided(student, transcript, built(rng, ALL_TRUE | ONE_FALSE[lie]))
        right -= {name for name in CLAIMS if found[name] is not (name != lie)}
    require(
        len(right) >= len(CLAIMS) / 2,
        "in matrices where one claim is false and the others are true, only"
        f" {len(right)} of {len(CLAIMS)} claims are always decided right: read each"
        " claim from the weights.",
    )


# The right verdicts on the embedded model's weights.
MINILM = dict(zip(CLAIMS, (False, False, False, True, True, True), strict=True))


@check("claims/all-or-none", 0.5, "All six hold, or none of them", public=True)
def test_all_or_none(student: Any, transcript: Transcript, rng: Generator) -> None:
    for pairs, truth in ((ALL_TRUE, True), (ALL_FALSE, False)):
        found = decided(student, transcript, built(rng, pairs))
        wrong = [name for name in CLAIMS if found[name] is not truth]
        require(
            not wrong,
            f"in a matrix made so that every claim is {str(truth).lower()}, you say"
            f" otherwise of {', '.join(wrong)}.",
        )
    require_some(student, transcript, rng)


@check(
    "claims/minilm",
    0.5,
    f"“{SENTENCE}” in MiniLM",
    public=True,
    needs="all-or-none",
)
def test_minilm(student: Any, transcript: Transcript, rng: Generator) -> None:
    found = decided(student, transcript, analysis(SENTENCE).weights)
    wrong = [name for name in CLAIMS if found[name] is not MINILM[name]]
    require(
        not wrong,
        f"by the rules of the task {len(wrong)} of 6 verdicts on MiniLM's weights are"
        f" wrong: {', '.join(wrong)}.",
    )


@check(
    "claims/one-false",
    1,
    "One claim is false, and the others hold",
    public=True,
    needs="all-or-none",
)
def test_one_false(student: Any, transcript: Transcript, rng: Generator) -> None:
    wrong = []
    for lie in CLAIMS:
        found = decided(student, transcript, built(rng, ALL_TRUE | ONE_FALSE[lie]))
        bad = [name for name in CLAIMS if found[name] is not (name != lie)]
        wrong += [f"where {lie} alone is false: {', '.join(bad)}"] if bad else []
    require(not wrong, f"decided wrongly {'; '.join(wrong)}.")


@check("sentence/the-cat", 2, f"“{SENTENCE}”, from text to words", public=True)
def test_sentence(student: Any, transcript: Transcript, rng: Generator) -> None:
    require_analysis(*analysed(student, transcript, SENTENCE))
    # The second sentence is one that nobody knows by heart.
    require_analysis(*analysed(student, transcript, sentence(rng)))
