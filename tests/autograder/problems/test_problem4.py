"""Problem 4: matrices and sentences are what they are made to be."""

from __future__ import annotations

import numpy as np
import pytest
from submissions import lost, student_of

from autograder.checking.runner import run_checks
from autograder.course import release
from autograder.problems.problem4 import checks as public
from autograder.problems.problem4 import questions
from autograder.problems.problem4.instructors import hidden_checks as hidden
from autograder.problems.problem4.instructors import mistakes


def test_the_printed_verdicts_on_minilm_follow_from_its_weights() -> None:
    weights = questions.analysis(questions.SENTENCE).weights
    assert hidden.verdicts(weights) == public.MINILM


@pytest.mark.parametrize("seed", range(20))
def test_matrices_are_what_they_are_made_to_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for pairs, truth in ((public.ALL_TRUE, True), (public.ALL_FALSE, False)):
        found = hidden.verdicts(questions.built(rng, pairs))
        assert set(found.values()) == {truth}
    for lie, changed in public.ONE_FALSE.items():
        found = hidden.verdicts(questions.built(rng, public.ALL_TRUE | changed))
        assert [name for name in found if not found[name]] == [lie]


@pytest.mark.parametrize("seed", range(4))
def test_every_claim_is_now_true_now_false_and_every_mistake_shows(seed: int) -> None:
    matrices = hidden.claim_matrices(np.random.default_rng(seed))
    table = np.array([list(hidden.verdicts(m).values()) for m in matrices])
    assert len(table) == hidden.MATRICES
    assert table.sum(axis=0).min() >= 16
    assert (~table).sum(axis=0).min() >= 16
    seen = {table.tobytes()}
    for mistake in mistakes.MISTAKES["claims"]:
        wrong = mistake.build()
        seen.add(np.array([list(wrong(m).values()) for m in matrices]).tobytes())
    assert len(seen) == 1 + len(mistakes.MISTAKES["claims"]), "two look alike"


def test_the_merged_answer_is_that_of_the_definition() -> None:
    """Word by word, in loops: TO a word the sum, FROM a word the mean."""
    question = questions.pieces(np.random.default_rng(0), [0, 2, 1, 3, 0, 0])
    assert question.word_ids == [None, 0, 0, 1, 2, 2, 2, None, None]
    groups = [[0], [1, 2], [3], [4, 5, 6], [7], [8]]
    for g, rows in enumerate(groups):
        for h, columns in enumerate(groups):
            each = [question.attention[r, c] for r in rows for c in columns]
            right = sum(each) / len(rows)
            assert question.answer[g, h] == pytest.approx(right, abs=1e-12)


def test_a_fresh_sentence_has_pieces_and_differs_by_seed() -> None:
    texts = {questions.sentence(np.random.default_rng(seed)) for seed in range(6)}
    assert len(texts) > 3
    for text in texts:
        right = questions.analysis(text)
        assert [word.casefold() for word in text.split()] == right.words
        assert right.tokens > len(right.words) + 2
        assert (right.removed > 0.1).all()


def test_always_raising_notices_nothing() -> None:
    """An untouched or a broken function must not be paid for its ValueError."""
    for error in ("NotImplementedError", "ValueError"):
        source = f"def average_attention(*a):\n    raise {error}('no')\n"
        results = run_checks(
            "problem4", student_of(source), 5, task="average-attention"
        )
        assert sum(r.earned for r in lost(results)) == 0


def test_claims_pay_for_each_claim() -> None:
    """Four right claims of six give four sixths of the points, with any weights."""
    source = mistakes.wrong_submission("claims", "one of the two is enough")
    results = run_checks("problem4", student_of(source), 5, task="claims")
    earned = {r.id: r.earned for r in results}
    assert earned["claims/any"] == pytest.approx(2 * 4 / 6)


@pytest.mark.parametrize("value", [True, False])
def test_answers_by_heart_get_nothing(value: bool) -> None:
    for claims in (dict.fromkeys(questions.CLAIMS, value), public.MINILM):
        source = f"def decide_claims(weights):\n    return {claims!r}\n"
        results = run_checks("problem4", student_of(source), 5, task="claims")
        assert sum(r.earned for r in results) == 0


def test_the_notebook_names_every_claim() -> None:
    path = release.COURSE / "solutions" / "problem4" / "problem4.md"
    text = path.read_text("utf-8")
    for claim in questions.CLAIMS:
        assert f"| `{claim}` |" in text


def test_an_unusable_value_for_no_weights_is_not_half_noticed() -> None:
    source = (
        mistakes.wrong_submission("average-attention", "")
        + "right = average_attention\ndef average_attention(model, ids):\n"
        "    return object() if model.empty else right(model, ids)\n"
    )
    results = run_checks("problem4", student_of(source), 5, task="average-attention")
    assert [(r.id, r.earned) for r in lost(results)] == [("average-attention/empty", 0)]
