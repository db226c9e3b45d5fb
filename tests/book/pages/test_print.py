"""Pages on A4 paper with margins of 15 mm, printed by Chromium, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Long listings and formulas, frames and explorers, folded code and tables, folded hints
# and a sample answer, controls.
PAGES = ("gradients", "attention", "which-map", "problem-2", "playground")
WIDTH = 680  # CSS pixels in 180 mm
HEIGHT = 1009  # and in 267 mm

REPORT = """
() => {
  const root = document.documentElement;
  const seen = {visibilityProperty: true, opacityProperty: true};
  const shown = (e) => e.checkVisibility(seen);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (e) => (e.id || e.textContent.trim().slice(0, 40) || e.tagName);
  const right = (e) => e.getBoundingClientRect().right;
  return {
    width: root.scrollWidth,
    controls: all("#pst-primary-sidebar, .sidebar-primary, .sidebar-secondary,"
      + " .bd-header, .bd-header-article, button:not(.explorer *), input, .copybtn,"
      + " .headerlink, .playground, .reading-progress, footer, .noprint")
      .filter(shown).map(name),
    cut: all("article :is(img, svg, canvas, iframe, table, pre, mjx-container)")
      .filter((e) => shown(e) && right(e) > root.clientWidth + 1).map(name),
    scrolling: all("article pre, article div.math,"
      + " article .pst-scrollable-table-container")
      .filter((e) => shown(e) && e.scrollWidth > e.clientWidth + 1).map(name),
    tall: all("article :is(img, svg)")
      .filter((e) => e.getBoundingClientRect().height > window.innerHeight).map(name),
    hidden_code: all("article div.cell_input pre, article details.hide pre")
      .filter((e) => !shown(e) && !e.closest(".solution")).map(name),
    code: all("article div.cell_input pre, article details.hide pre")
      .filter(shown).length,
    open: all("article details[open]:not(.hide)").map(name),
    answer: all("article div.solution > section").filter(shown).length,
    titles: all("h1").filter(shown).map((e) => e.textContent.trim()),
    addresses: all("article a[href]")
      .filter((e) => /http/.test(getComputedStyle(e, "::after").content)).map(name),
    ink: all("article p, article pre span, article h2")
      .filter(shown).map((e) => getComputedStyle(e).color),
  };
}
"""


@pytest.fixture(params=["light", "dark"])
def page(home: str, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A window as wide as the paper, on a reader's light or dark screen."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=request.param
    )
    yield context.new_page()
    context.close()


def on_paper(page: Page, address: str) -> dict[str, Any]:
    """What stands on the paper."""
    page.goto(address, wait_until="networkidle")
    page.evaluate("window.MathJax?.startup?.promise")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    return dict(page.evaluate(REPORT))


def brightness(color: str) -> float:
    """0 for black, 1 for white."""
    red, green, blue = (int(v) for v in re.findall(r"\d+", color)[:3])
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


@pytest.mark.parametrize("name", PAGES)
def test_on_paper(home: str, page: Page, name: str) -> None:
    """Nothing is cut or scrolls, code is shown, and folds stay folded.

    The ink is dark, and the controls are gone.
    """
    seen = on_paper(page, f"{home}{name}.html")
    assert seen["width"] <= WIDTH
    assert seen["controls"] == []
    assert seen["cut"] == []
    assert seen["scrolling"] == []
    assert seen["tall"] == []
    assert seen["hidden_code"] == []
    assert seen["code"] > 0 or name == "problem-2"
    assert seen["open"] == []
    assert seen["answer"] == 0
    assert len(seen["titles"]) == 1
    assert seen["addresses"] == []
    assert max(brightness(color) for color in seen["ink"]) < 0.65


def test_the_screen_comes_back(home: str, browser: Browser) -> None:
    """After printing, the page is dark again and its code folded again.

    What the reader had open stays open.
    """
    context = browser.new_context(color_scheme="dark")
    try:
        page = context.new_page()
        page.goto(home + "which-map.html", wait_until="networkidle")
        state = (
            "[document.documentElement.dataset.theme,"
            " document.querySelectorAll('details.hide[open]').length]"
        )
        page.evaluate("document.querySelector('details.hide').open = true")
        assert page.evaluate(state) == ["dark", 1]
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        theme, opened = page.evaluate(state)
        assert theme == "light"
        assert opened > 1
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(state) == ["dark", 1]
    finally:
        context.close()


def test_a_dark_diagram_prints_dark_on_light(home: str, browser: Browser) -> None:
    """The printer does not wait for a diagram to be redrawn: it stays, with ink."""
    context = browser.new_context(color_scheme="dark")
    try:
        page = context.new_page()
        page.goto(home + "gradients.html", wait_until="networkidle")
        page.wait_for_selector("pre.mermaid svg .node rect")
        page.emulate_media(media="print")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.wait_for_timeout(
            200
        )  # a drawing that had begun would show its source by now
        look = "(s) => getComputedStyle(document.querySelector('pre.mermaid svg ' + s))"
        assert brightness(page.evaluate(f"({look})('.node rect').fill")) > 0.8
        assert brightness(page.evaluate(f"({look})('.nodeLabel p').color")) < 0.2
    finally:
        context.close()


def test_the_pdf(home: str, browser: Browser) -> None:
    """Chromium makes a PDF of several pages; the pictures are in it."""
    page = browser.new_page()
    try:
        page.goto(home + "gradients.html", wait_until="networkidle")
        margins = dict.fromkeys(("top", "bottom", "left", "right"), "15mm")
        content = page.pdf(format="A4", margin=margins)
    finally:
        page.close()
    assert 8 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 30
    assert len(re.findall(rb"/Subtype\s*/Image\b", content)) >= 7
