"""Pages on A4 paper with margins of 15 mm, printed by Chromium, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Long listings and formulas, frames and explorers, folded code and tables, folded hints
# and a sample answer, controls.
PAGES = ("gradients", "attention", "which-map", "problem-2", "playground")
WIDTH = 680  # CSS pixels in 180 mm
HEIGHT = 1009  # and in 267 mm
BEFORE = "window.dispatchEvent(new Event('beforeprint'))"

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


def brightness(color: str) -> float:
    """0 for black, 1 for white."""
    red, green, blue = (int(v) for v in re.findall(r"\d+", color)[:3])
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_on_paper(visit: Callable[..., Page], name: str, scheme: str) -> None:
    """Nothing is cut or scrolls, code is shown, and folds stay folded.

    The ink is dark, and the controls are gone. The window is as wide as the paper.
    """
    paper = {"width": WIDTH, "height": HEIGHT}
    page = visit(f"{name}.html", viewport=paper, color_scheme=scheme)
    page.emulate_media(media="print")
    page.evaluate(BEFORE)
    seen = page.evaluate(REPORT)
    assert seen.pop("width") <= WIDTH
    assert seen.pop("code") > 0 or name == "problem-2"
    assert len(seen.pop("titles")) == 1
    assert max(brightness(color) for color in seen.pop("ink")) < 0.65
    assert seen.pop("answer") == 0
    empty = "controls cut scrolling tall hidden_code open addresses"
    assert seen == {key: [] for key in empty.split()}


def test_the_screen_comes_back(visit: Callable[..., Page]) -> None:
    """After printing, the page is dark again and its code folded again.

    What the reader had open stays open.
    """
    page = visit("which-map.html", color_scheme="dark")
    state = (
        "[document.documentElement.dataset.theme,"
        " document.querySelectorAll('details.hide[open]').length]"
    )
    page.evaluate("document.querySelector('details.hide').open = true")
    assert page.evaluate(state) == ["dark", 1]
    page.evaluate(BEFORE)
    theme, opened = page.evaluate(state)
    assert theme == "light"
    assert opened > 1
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(state) == ["dark", 1]


def test_a_dark_diagram_prints_dark_on_light(visit: Callable[..., Page]) -> None:
    """The printer does not wait for a diagram to be redrawn: it stays, with ink."""
    page = visit("gradients.html", color_scheme="dark")
    page.wait_for_selector("pre.mermaid svg .node rect")
    page.emulate_media(media="print")
    page.evaluate(BEFORE)
    # A drawing that had begun would show its source by now.
    page.wait_for_timeout(200)
    look = "(s) => getComputedStyle(document.querySelector('pre.mermaid svg ' + s))"
    assert brightness(page.evaluate(f"({look})('.node rect').fill")) > 0.8
    assert brightness(page.evaluate(f"({look})('.nodeLabel p').color")) < 0.2


def test_the_pdf(visit: Callable[..., Page]) -> None:
    """Chromium makes a PDF of several pages; the pictures are in it."""
    margins = dict.fromkeys(("top", "bottom", "left", "right"), "15mm")
    content = visit("gradients.html").pdf(format="A4", margin=margins)
    assert 8 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 30
    assert len(re.findall(rb"/Subtype\s*/Image\b", content)) >= 7
