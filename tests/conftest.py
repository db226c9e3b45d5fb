"""What every test shares: one thread, no network, no window, and the closing lines."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest

# Before torch and matplotlib are imported. The hub stays shut: a test that needs it
# would pass on some machines only.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Checks of a test must not count as somebody's own.
_progress = tempfile.TemporaryDirectory(prefix="progress-")
os.environ["CHAPTER4_PROGRESS"] = _progress.name


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Many small operations on few cores: threads only cost."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def classifier():
    """EfficientNet-Lite0, loaded once. Whoever changes it fails its own state test."""
    import chapter4

    return chapter4.load_classifier()


@pytest.fixture(scope="session")
def cat():
    """The path of the cat."""
    import chapter4

    return chapter4.sample_photo("cat")


def deviations() -> dict[str, float]:
    """The largest deviation from each oracle, as this process has seen it."""
    import sys

    return getattr(sys.modules.get("measures"), "DEVIATIONS", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The largest deviation from each oracle in this run, for CI and ``pytest -v``."""
    wanted = os.environ.get("CI") or terminalreporter.config.get_verbosity() > 0
    seen = getattr(terminalreporter.config, "deviations", deviations())
    if seen and wanted:
        terminalreporter.section("largest deviation from each oracle")
        for name, value in sorted(seen.items()):
            terminalreporter.write_line(f"{value:.1e}  {name}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of pytest-xdist's processes ends: what it saw joins the others'."""
    seen = node.config.__dict__.setdefault("deviations", {})
    for name, value in node.workeroutput.get("deviations", {}).items():
        seen[name] = max(value, seen.get(name, 0.0))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI installs everything: a skipped test fails there (CHAPTER4_NO_SKIPS=1)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deviations"] = deviations()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("CHAPTER4_NO_SKIPS") == "1"
        and reporter is not None
        and reporter.stats.get("skipped")
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
