"""The figures to touch of sections 4.1 to 4.3 on their pages of the built book."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from explorers import seen

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Characters of the figure's own HTML that a page may carry.
LARGEST = 1_000_000


@pytest.fixture(params=["gradients", "gradcam", "integrated-gradients"])
def address(request: pytest.FixtureRequest) -> str:
    """Each page with such a figure."""
    return f"{request.param}.html"


def told(found: dict[str, Any]) -> list[str]:
    """What changes: the sentence, the pictures and their alternative texts."""
    return [found["said"], *(text for p in found["pictures"] for text in p[1:3])]


def test_keys_change_picture_alt_and_sentence(
    visit: Callable[..., Page], address: str
) -> None:
    """Each control by keys alone, and back; the page's own scripts take no key away."""
    page = visit(address)
    assert page.locator("figure.explorer").count() == 1
    first = seen(page)
    assert (first["controls"], first["off"]) == (True, False)
    assert all(drawn for *_, drawn in first["pictures"])
    controls = page.locator("figure.explorer [data-control]").all()
    assert len(controls) == 2
    for control in controls:
        start = control.input_value()
        listed = control.evaluate("c => c.tagName") == "SELECT"
        away, back = ("Down", "Up") if listed else ("Left", "Right")
        control.press(f"Arrow{away}")
        assert control.input_value() != start
        now = seen(page)
        assert now["said"] != first["said"]
        pairs = list(zip(now["pictures"], first["pictures"], strict=True))
        assert any(new[:3] != old[:3] for new, old in pairs)
        # No picture changes under the same words.
        assert all(new[1] == old[1] or new[2] != old[2] for new, old in pairs)
        control.press(f"Arrow{back}")
        assert control.input_value() == start
        assert told(seen(page)) == told(first)


def test_the_still_is_shown_without_scripts(
    visit: Callable[..., Page], address: str
) -> None:
    """The figure is as it was at first; it is not too heavy, either."""
    page = visit(address)
    first = seen(page)
    size = page.locator("figure.explorer").evaluate("f => f.outerHTML.length")
    assert size <= LARGEST
    figure = visit(address, java_script_enabled=False).locator("figure.explorer")
    assert figure.locator("[data-part=said]").text_content() == first["said"]
    for part, source, alt, _ in first["pictures"]:
        picture = figure.locator(f"[data-part={part}]")
        assert picture.is_visible()
        assert picture.get_attribute("src") == source
        assert picture.get_attribute("alt") == alt
    assert not figure.locator("[data-control]").first.is_visible()
    assert figure.locator("[data-part=off]").is_visible()


def test_on_a_phone(visit: Callable[..., Page], address: str) -> None:
    """No part of the figure is wider than the screen.

    Words and controls are large enough.
    """
    page = visit(address, viewport={"width": 360, "height": 740})
    figure = page.locator("figure.explorer")
    wide = figure.evaluate(
        "f => [f, ...f.querySelectorAll('*')].filter((e) =>"
        " e.getBoundingClientRect().right > 360).length"
    )
    assert wide == 0
    small = figure.evaluate(
        "f => [...f.querySelectorAll('p, span, output, figcaption,"
        " select')].filter((e) => e.textContent.trim() &&"
        " parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0
    heights = figure.evaluate(
        "f => [...f.querySelectorAll('[data-control]')].map((c) =>"
        " c.getBoundingClientRect().height)"
    )
    assert min(heights) >= 24


def test_the_path_s_figure_agrees_with_its_page(visit: Callable[..., Page]) -> None:
    """The black baseline's scores and error, as the page prints for 50 steps."""
    page = visit("integrated-gradients.html")
    said = seen(page)["said"]
    printed = page.locator("article").inner_text()
    for label in ("F(x)  ", "F(black)  "):
        line = next(x for x in printed.splitlines() if x.startswith(label))
        assert f"{float(line.split()[-1]):.2f}" in said
    error = next(x for x in printed.splitlines() if x.startswith("completeness error"))
    assert said.endswith(f"completeness error is {error.split()[-1]}.")


def test_the_panda_has_no_map(visit: Callable[..., Page]) -> None:
    page = visit("gradcam.html")
    names = page.locator("figure.explorer option").all_text_contents()
    assert len(names) == 6
    panda = next(n for n in names if n.startswith("giant panda"))
    page.get_by_role("combobox", name="Class").select_option(panda)
    found = seen(page)
    assert found["said"].endswith("blank, no cell speaks for the class.")
    assert all("blank" in alt for _, _, alt, _ in found["pictures"])
