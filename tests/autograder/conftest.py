"""What the tests of the autograder share."""

from __future__ import annotations

import shutil
import sys

import pytest


@pytest.fixture(scope="session")
def needs_bubblewrap() -> None:
    """Skips where there is no sandbox to test."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap (apt-get install bubblewrap)")
