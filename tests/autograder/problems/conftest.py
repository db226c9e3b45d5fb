"""What the tests of the problems share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograder.problems.problem5 import cases
from autograder.problems.problem5 import checks as public
from autograder.problems.problem5.instructors import hidden_checks as hidden


@pytest.fixture(autouse=True, scope="session")
def drawn_once() -> Iterator[None]:
    """Seeds are used again: problem 5's cases that were drawn once are kept."""
    kept: dict[tuple[str, str], tuple[cases.Case, Any]] = {}

    def make_case(cause: str, rng: np.random.Generator) -> cases.Case:
        key = cause, str(rng.bit_generator.state)
        if key not in kept:
            kept[key] = cases.make_case(cause, rng), rng.bit_generator.state
        case, rng.bit_generator.state = kept[key]
        return case

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(public, "make_case", make_case)
        patch.setattr(hidden, "make_case", make_case)
        yield
