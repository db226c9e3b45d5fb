"""The machine's Chromium, for tests that look at pages.

Nothing is downloaded, and no other machine is reached.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks of another machine fails at once, and the tests look for this
    # failure.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

PATIENCE = 300_000  # milliseconds: on a busy machine nothing but what hangs fails


@contextmanager
def launched(**options: Any) -> Iterator[Browser]:
    """A running Chromium; the test is skipped where there is none.

    Args:
        **options: Arguments of playwright's ``launch``.

    Yields:
        The browser.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(
            "no Chromium on this machine: install the package `chromium` for the"
            " browser checks"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=FLAGS, timeout=PATIENCE, **options
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, source: Path | str, **options: Any) -> Iterator[Page]:
    """A page opened from a file or made of HTML, without a network.

    Args:
        browser: A running Chromium.
        source: The file, or the HTML itself.
        **options: Arguments of playwright's ``new_context``.

    Yields:
        The page.

    Raises:
        AssertionError: If the page asks for more than itself and a frame inside it, or
            complains.
    """
    size = {"width": 900, "height": 700}
    context = browser.new_context(**{"offline": True, "viewport": size} | options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on(
        "console",
        lambda m: errors.append(m.text) if m.type in ("error", "warning") else None,
    )
    try:
        if isinstance(source, str):
            page.set_content(source)
        else:
            page.goto(source.as_uri())
        yield page
    finally:
        context.close()
    others = [url for url in asked if not url.startswith("data:")]
    assert all(url.startswith(("file:", "about:srcdoc")) for url in others), others
    assert len(others) <= (0 if isinstance(source, str) else 2), others
    assert errors == []
