"""What the tests of the autograder share."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import courses
import pytest

from autograder.course import release
from autograder.sandbox.launcher import Sandbox

HIDDEN = Path(pytest.__file__).parent  # no submission needs it


@pytest.fixture(scope="session")
def needs_bubblewrap() -> None:
    """Skips where there is no sandbox to test."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap (apt-get install bubblewrap)")


@pytest.fixture(scope="session")
def sandboxes(needs_bubblewrap: None) -> Iterator[Callable[[int], Sandbox]]:
    """A problem's sandbox, which all tests of a process share, as in grading.

    It starts in an environment with a secret, and hides a folder.
    """
    with ExitStack() as running:

        def started(problem: int) -> Sandbox:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GRADER_TOKEN", "secret")
                return running.enter_context(Sandbox(problem, hide=[HIDDEN]))

        yield cache(started)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with problem 2 and a question for hand grading, released; to be copied.

    The problem's study is left out: it takes time and has no points.
    """
    text = (release.COURSE / "solutions/problem2/problem2.md").read_text("utf-8")
    text = text[: text.index("## See for yourself")] + courses.BY_HAND
    return courses.new_course(tmp_path_factory.mktemp("released"), "problem2", text)


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Solutions draw, as students do; open figures are closed for the next test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
