"""The tests are tested: every known mistake fails the oracle meant for it.

It must fail by a wrong value and not by a crash.
"""

from __future__ import annotations

from typing import Any

import pytest
from measures import Oracle
from oracles import all_oracles, unrecorded
from wrong import MUTANTS, implementation

ALL = [
    (kind, oracle, old, new)
    for kind, mistakes in MUTANTS.items()
    for oracle, texts in mistakes.items()
    for old, new in texts
]


def assert_catches(oracle: Oracle, mutant: Any) -> None:
    """That the oracle refuses the mutant; any other error is raised."""
    with unrecorded(), pytest.raises(AssertionError):
        oracle(mutant)


@pytest.mark.parametrize("kind", MUTANTS)
def test_the_same_code_without_a_mistake_passes(kind: str) -> None:
    """Otherwise the variants could fail for another reason than their mistake."""
    with unrecorded():
        for oracle in all_oracles(kind).values():
            oracle(implementation(kind))


@pytest.mark.parametrize(
    ("kind", "oracle", "old", "new"), ALL, ids=[f"{a}: {d}" for a, _, _, d in ALL]
)
def test_every_mistake_is_caught(kind: str, oracle: str, old: str, new: str) -> None:
    assert_catches(all_oracles(kind)[oracle], implementation(kind, old, new))
