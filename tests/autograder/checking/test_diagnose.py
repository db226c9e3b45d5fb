"""What the known mistakes reply is kept for the next student with the same seed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autograder.checking import diagnose
from autograder.checking.diagnose import Mistake, Transcript
from autograder.sandbox.inside.values import Recipe

HINT = "It is twice as large."
NET = {"classes": 2, "size": [3, 2, 2]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a right function and two wrong ones are asked; one of them raises."""
    seen: list[Any] = []

    def variant(factor: float) -> Any:
        def function(x: torch.Tensor, *rest: Any) -> torch.Tensor:
            seen.append((factor, float(x.sum())))
            if not factor:
                raise ValueError
            return x.mul_(factor)  # changes what it is given

        return function

    known = SimpleNamespace(
        RIGHT={"task": variant(1)},
        MISTAKES={
            "task": [
                Mistake("twice", HINT, lambda: variant(2)),
                Mistake("raises", "It raises.", lambda: variant(0)),
            ]
        },
    )
    monkeypatch.setattr(diagnose, "_known_mistakes", lambda problem: known)
    diagnose._replies_to_the_same.cache_clear()
    return seen


def hint(reply: float, *arguments: Any, seed: int = 1) -> str:
    transcript = Transcript("problem1", seed)
    transcript.note("task", arguments, np.array([reply]), lambda reply: reply)
    return transcript.hint("task")


def test_the_next_student_is_compared_without_asking_again(asked: list[Any]) -> None:
    x = torch.ones(1)
    assert hint(2, x) == HINT
    assert asked == [(1, 1), (2, 1), (0, 1)]
    assert hint(2, x) == HINT
    assert hint(1, x) == hint(3, x) == ""
    assert len(asked) == 3
    assert x == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((torch.ones(1),), (torch.full((1,), 2.0),)),
        ((torch.ones(1), 1), (torch.ones(1), 2)),
        ((torch.ones(1), [0, 1]), (torch.ones(1), [1, 0])),
        ((torch.ones(1), np.ones(2)), (torch.ones(1), np.ones((2, 1)))),
        ((torch.ones(1), np.zeros(1)), (torch.ones(1), np.zeros(1, "int64"))),
        (
            (torch.ones(1), Recipe("power", 1, NET)),
            (torch.ones(1), Recipe("power", 2, NET)),
        ),
    ],
)
def test_another_question_is_asked_anew(
    asked: list[Any], first: tuple[Any, ...], second: tuple[Any, ...]
) -> None:
    assert hint(2 * float(first[0]), *first) == HINT
    assert hint(2 * float(second[0]), *second) == HINT
    assert len(asked) == 6


def test_replies_to_another_seed_are_forgotten(asked: list[Any]) -> None:
    for seed in (1, 2, 1):
        assert hint(2, torch.ones(1), seed=seed) == HINT
    assert len(asked) == 9


def test_what_is_remembered_has_a_limit(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of students must not fill the memory."""
    monkeypatch.setattr(diagnose, "KEPT", 10_000)
    questions = [torch.full((1000,), float(i)) for i in range(1, 5)]
    for x in questions:
        hint(0, x)
    replies = diagnose._replies_to_the_same("problem1", 1)
    assert 0 < sum(map(diagnose._bytes, replies._known.values())) <= 10_000
    assert hint(2, torch.ones(1)) == HINT, "and all goes on"
    assert diagnose._bytes({"a": [torch.ones(10), np.ones(3)]}) >= 64


def test_a_hint_explains_what_was_asked_after_it(asked: list[Any]) -> None:
    transcript = Transcript("problem1", 1)
    for factor, wanted in ((2, HINT), (3, "")):
        reply = np.array([factor * 1.0])
        transcript.note("task", (torch.ones(1),), reply, lambda reply: reply)
        assert transcript.hint("task") == wanted


def test_a_giant_is_not_kept(asked: list[Any]) -> None:
    """A few dozen would fill the memory of the process that asks."""
    transcript = Transcript("problem1", 1)
    for size in (diagnose.MOST, diagnose.MOST + 1):
        reply = np.zeros(size, np.int8)
        transcript.note("task", (torch.ones(1),), reply, lambda reply: reply)
    assert [probe.seen.size for probe in transcript._probes["task"]] == [diagnose.MOST]
