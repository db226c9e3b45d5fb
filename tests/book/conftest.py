"""The built book on loopback, and the machine's Chromium with no network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
from chromium import PATIENCE, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BOOK = Path(__file__).resolve().parents[2] / "book"
HTML = BOOK / "_build" / "html"
# They are no package.
sys.path += [str(BOOK), str(BOOK / "_ext")]
DESK = {"viewport": {"width": 1280, "height": 800}}

# Notes when the page had loaded, its fonts were there, and its formulas, diagrams and
# pictures were drawn. The page that only leads to the first one is never drawn.
DRAWN = """
window.addEventListener("load", async () => {
  if (document.querySelector("meta[http-equiv=refresh]")) return;
  if (document.querySelector(".math")) await window.MathJax?.startup?.promise;
  const count = (selector) => document.querySelectorAll(selector).length;
  while (count("pre.mermaid") > count("pre.mermaid svg")) {
    await new Promise((next) => setTimeout(next, 10));
  }
  await document.fonts.ready;
  const images = [...document.images].filter((i) => i.loading !== "lazy");
  await Promise.all(images.map((i) => i.decode().catch(() => null)));
  window.chapter4Drawn = Math.round(performance.now());
});
"""


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


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Makes an empty page with nothing kept, closed at the end of the test.

    Its arguments are those of playwright's ``new_context``.
    """
    with ExitStack() as contexts:

        def make(**options: Any) -> Page:
            context = contexts.enter_context(browser.new_context(**DESK | options))
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.add_init_script(DRAWN)
            return page

        yield make


@pytest.fixture
def visit(home: str, new_page: Callable[..., Page]) -> Iterator[Callable[..., Page]]:
    """Opens a page of the book and waits until it is drawn.

    A complaint or a failed request fails the test if ``watched``, and so does a request
    of another machine, since none can be reached.
    """
    trouble: list[str] = []

    def go(address: str, *, watched: bool = True, **options: Any) -> Page:
        page = new_page(**options)
        scripts = options.get("java_script_enabled", True)
        if watched:
            page.on("pageerror", lambda e: trouble.append(str(e)))
            page.on(
                "console",
                lambda m: trouble.append(m.text) if m.type == "error" else None,
            )
        if watched and scripts:
            # Without scripts the browser breaks off what it began to load for them.
            page.on("requestfailed", lambda r: trouble.append(r.url))
        page.goto(urljoin(home, address))
        if scripts:
            page.wait_for_function("window.chapter4Drawn !== undefined")
        return page

    yield go
    assert trouble == []
