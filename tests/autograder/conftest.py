"""What the tests of the autograder share."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def needs_bubblewrap() -> None:
    """Skips where there is no sandbox to test."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap (apt-get install bubblewrap)")


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Solutions draw, as students do; open figures are closed for the next test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
