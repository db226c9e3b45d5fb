"""Whatever a submission answers, the process that asks it stays small.

Each frame is answered to every question of a problem's real checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import giants
import pytest

from autograder.checking.runner import problems_with_checks
from autograder.grading import pool

MOST = 2**30  # bytes that the asking process may grow by


def answered(problem: str, *frames: str) -> dict[str, dict[str, Any]]:
    """What the checks of a problem made of each frame, in a process of their own."""
    done = subprocess.run(
        [sys.executable, giants.__file__, problem, *frames],
        capture_output=True,
        text=True,
        check=True,
        env=pool.environment(),
    )
    found = map(json.loads, done.stdout.splitlines())
    return {each.pop("frame"): each for each in found}


def require_small(found: dict[str, dict[str, Any]], frames: Iterable[str]) -> None:
    assert found.keys() >= {*frames}
    for frame, made in found.items():
        assert made["growth"] < MOST, (frame, made)
        assert "grader-error" not in made["statuses"], (frame, made)
        assert made["longest"] <= 1_000, (frame, made)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_process_that_asks_stays_small() -> None:
    frames = {"numbers", "named 60 times", "mappings, too many"}
    found = answered("problem2", *frames)
    require_small(found, frames)
    # The frames are not refused unread: their arrays were there.
    assert found["numbers"]["growth"] > 8 * giants.MOST / 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("problem", problems_with_checks())
def test_it_stays_small_whatever_the_problem(problem: str) -> None:
    require_small(answered(problem), giants.FRAMES)
