"""The tests are tested: every known mistake fails the oracle meant for it.

It must fail by a wrong value and not by a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wrong
from oracles import all_oracles, unrecorded
from wrong import MISTAKES

ALL = [
    (kind, mistake, oracle)
    for kind, (_, known) in MISTAKES.items()
    for mistake, oracle in known.items()
]


def failures(kind: str, impl: Callable[..., Any]) -> dict[str, str]:
    """Oracle -> why ``impl`` fails it.

    Any error but an AssertionError is raised: a crash proves nothing.
    """
    failed = {}
    with unrecorded():
        for name, oracle in all_oracles(kind).items():
            try:
                oracle(impl)
            except AssertionError as error:
                failed[name] = str(error)
    return failed


@pytest.mark.parametrize("kind", MISTAKES)
def test_the_same_code_without_a_mistake_passes(kind: str) -> None:
    """Otherwise the variants could fail for another reason than their mistake."""
    make, _ = MISTAKES[kind]
    assert failures(kind, make("")) == {}


@pytest.mark.parametrize(
    ("kind", "mistake", "oracle"),
    ALL,
    ids=[f"{kind}: {mistake}" for kind, mistake, _ in ALL],
)
def test_every_mistake_is_caught(kind: str, mistake: str, oracle: str) -> None:
    make, _ = MISTAKES[kind]
    failed = failures(kind, make(mistake))
    assert oracle in failed, (
        f"not caught by {oracle}, but by {sorted(failed) or 'nothing'}"
    )
    assert failed[oracle], "an oracle says what is wrong"


def test_a_misspelt_mistake_would_be_seen() -> None:
    """Each name must occur in the code.

    A name that no variant knows changes nothing, so it could never be caught.
    """
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(wrong.__file__).parent.glob("*.py")
    )
    for _, mistake, _ in ALL:
        assert code.count(f'"{mistake}"') >= 2, mistake
