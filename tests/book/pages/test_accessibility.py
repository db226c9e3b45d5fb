"""axe-core on every built page, in light and dark, with every folded part open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

HTML = Path(__file__).resolve().parents[3] / "book" / "_build" / "html"
PAGES = sorted(p.name for p in HTML.glob("*.html"))

# A frame shows BertViz's own page, except for title, language and names of controls.
FRAME_RULES = ("document-title", "html-has-lang", "select-name", "button-name", "label")
CONTRAST = ("color-contrast",)
QUICK = ("intro.html", "problem-3.html")


def slow_but_for_a_few(name: str) -> Any:
    """A page as a parameter: axe reads a long page for a quarter of a minute."""
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


def violations(page: Page | Frame, rules: tuple[str, ...] = ()) -> list[str]:
    """One line per element that breaks a rule and is not allowed to."""
    options = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    page.evaluate(Axe().axe_script)
    found = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:120]} {node.get('failureSummary', '')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [slow_but_for_a_few(name) for name in PAGES or QUICK])
def test_page(visit: Callable[..., Page], name: str, scheme: str) -> None:
    """No violation of any rule that axe knows, best practices included."""
    # axe asks for files that there need not be.
    page = visit(name, watched=False, color_scheme=scheme)
    # A part that is still fading in has pale text.
    page.add_style_tag(
        content="* { animation: none !important; transition: none !important; }"
    )
    page.evaluate(
        "document.querySelectorAll('article details').forEach((d) => { d.open ="
        " true; })"
    )
    # The colour scheme changes colours and nothing else.
    found = violations(page, CONTRAST if scheme == "dark" else ())
    for frame in page.frames[1:]:
        found += violations(frame, FRAME_RULES)
    assert found == []


def test_the_check_sees_a_violation(visit: Callable[..., Page]) -> None:
    """A picture without alt text and grey text on grey are found."""
    page = visit("intro.html", watched=False)
    page.evaluate(
        "document.querySelector('article').insertAdjacentHTML('beforeend', '<img"
        ' src="_static/favicon.svg"><p style="color: #aaa; background:'
        " #bbb\">grey</p>')"
    )
    found = " ".join(violations(page))
    assert "image-alt" in found
    assert "color-contrast" in found
