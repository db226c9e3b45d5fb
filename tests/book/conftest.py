"""The built book on loopback, and the machine's Chromium with no network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HTML = Path(__file__).resolve().parents[2] / "book" / "_build" / "html"


class Quiet(SimpleHTTPRequestHandler):
    """The standard library's file server without a line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def home() -> Iterator[str]:
    """Serve the built book on loopback and give its address."""
    if not any(HTML.glob("*.html")):
        pytest.skip("no built book: run `make book` first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HTML)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, closed at the end of its file.

    Playwright allows one at a time, and other files open their own.
    """
    with launched() as running:
        yield running
