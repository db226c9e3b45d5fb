"""Problem 4: every known mistake loses points and reads its own hint.

Right answers lose nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import submissions
from accepted import right_submissions
from submissions import lost, student_of

from autograder.checking.runner import CheckResult, checks_of, points_of, run_checks
from autograder.course import release
from autograder.problems.problem4 import checks as public
from autograder.problems.problem4 import questions
from autograder.problems.problem4.instructors import hidden_checks as hidden
from autograder.problems.problem4.instructors import mistakes
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import LocalStudent, SandboxedStudent

WRONG = [(task, name) for task, hints in mistakes.HINTS.items() for name in hints]
TOLD = [(task, name) for task, told in mistakes.TOLD.items() for name in told]
RIGHT = right_submissions("problem4")
POINTS = {
    "average-attention": 4,
    "word-matrix": 4,
    "without-special": 2,
    "most-attended": 2,
    "claims": 4,
    "sentence": 4,
}


def checked(task: str, mistake: str, seed: int = 7) -> list[CheckResult]:
    source = mistakes.wrong_submission(task, mistake)
    return submissions.checked("problem4", source, task, seed)


@pytest.mark.parametrize("seed", [3, 20])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_loses_nothing(name: str, seed: int) -> None:
    results = run_checks("problem4", student_of(RIGHT[name]), seed)
    assert [(r.id, r.message) for r in lost(results)] == []
    assert sum(r.earned for r in results) == 20


def test_there_are_at_least_eight_right_answers() -> None:
    assert len(RIGHT) >= 8
    assert len(set(RIGHT.values())) == len(RIGHT)


@pytest.mark.parametrize(("task", "name"), WRONG)
def test_a_mistake_loses_points_and_is_named(task: str, name: str) -> None:
    failed = checked(task, name)
    assert failed
    hints = {r.hint for r in failed if r.status == "failed"}
    assert hints == {mistakes.HINTS[task][name]}


@pytest.mark.parametrize(("task", "name"), TOLD)
def test_a_mistake_that_no_number_shows_is_told(task: str, name: str) -> None:
    failed = checked(task, name)
    assert any(mistakes.TOLD[task][name] in r.message for r in failed)
    assert not any(r.hint for r in failed), "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize("task", mistakes.FUNCTIONS)
def test_the_variants_code_without_a_mistake_is_right(task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    assert checked(task, "") == []


def test_a_misspelt_mistake_would_be_seen() -> None:
    """A name that the code lacks changes nothing, and would give the right answer."""
    source = mistakes.wrong_submission("claims", "")
    for task, name in WRONG + TOLD:
        inner = name.partition(": ")[2] if task == "sentence" else ""
        assert f'"{inner or name}"' in source, name


def test_points_are_round_and_public_checks_stand_in_the_public_file() -> None:
    assert points_of("problem4") == POINTS
    first = {c.id for c in checks_of("problem4") if c.public}
    shown = run_checks("problem4", LocalStudent({}), 1, public_only=True)
    assert {r.id for r in shown} == first
    assert set(public.HINTS) == set(POINTS)


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
    texts = {hidden.sentence(np.random.default_rng(seed)) for seed in range(6)}
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


def test_a_sentence_that_nobody_has_by_heart_has_no_pieces() -> None:
    texts = {questions.plain_sentence(np.random.default_rng(seed)) for seed in range(6)}
    assert len(texts) > 3
    for text in texts:
        assert questions.analysis(text).tokens == len(text.split()) + 2


REPLIES = ("None", "[]", "[1, 2]", "'a'", "{}", "-1", "[[1], [2, 3]]", "{'words': 3}")


@pytest.mark.parametrize("reply", REPLIES)
def test_odd_replies_are_failures_and_not_grader_errors(reply: str) -> None:
    names = [name for name, _ in mistakes.FUNCTIONS.values()]
    source = "".join(f"def {name}(*a): return {reply}\n" for name in names)
    results = run_checks("problem4", student_of(source), 5)
    assert sum(r.earned for r in results) == 0
    assert {r.status for r in lost(results)} == {"failed"}
    assert all(r.message and "\n" not in r.message for r in results)


def test_the_notebook_folds_the_hints_that_the_check_shows() -> None:
    path = release.COURSE / "solutions" / "problem4" / "problem4.md"
    text = path.read_text("utf-8")
    flat = " ".join(text.split())
    for task, hints in public.HINTS.items():
        assert f"grade_id: {task}\n" in text
        assert all(hint in flat for hint in hints)
    for claim in questions.CLAIMS:
        assert f"| `{claim}` |" in text


@pytest.mark.usefixtures("needs_bubblewrap")
def test_right_and_wrong_answers_fare_alike_in_the_sandbox() -> None:
    """MiniLM is there, the reference is not."""
    wrong = mistakes.wrong_submission("sentence", "special: scaled to sum 1")
    copied = (
        "import chapter4\ndef most_attended(matrix):\n"
        "    return chapter4.most_attended(matrix)\n"
    )
    with Sandbox(problem=4, hide=[release.COURSE]) as launcher:

        def asked(source: str) -> list[CheckResult]:
            with SandboxedStudent(launcher, [Cell("cell 1", source)]) as student:
                return run_checks("problem4", student, 11)

        assert lost(asked(RIGHT["einsum"])) == []
        failed = lost(asked(wrong))
        assert {r.task for r in failed} == {"sentence"}
        hint = mistakes.HINTS["sentence"]["special: scaled to sum 1"]
        assert {r.hint for r in failed} == {hint}
        copies = asked(copied)
    assert sum(r.earned for r in copies) == 0
    said = [r.message for r in copies if r.task == "most-attended"]
    assert all("write your own most_attended" in message for message in said)


def test_an_unusable_value_for_no_weights_is_not_half_noticed() -> None:
    source = (
        mistakes.wrong_submission("average-attention", "")
        + "right = average_attention\ndef average_attention(model, ids):\n"
        "    return object() if model.empty else right(model, ids)\n"
    )
    results = run_checks("problem4", student_of(source), 5, task="average-attention")
    assert [(r.id, r.earned) for r in lost(results)] == [("average-attention/empty", 0)]
