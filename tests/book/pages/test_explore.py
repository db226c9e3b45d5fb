"""The figures to touch of sections 4.1 to 4.3 on their pages of the built book."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from explorers import seen

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("gradients", "gradcam", "integrated-gradients")
# Characters of the figure's own HTML that a page may carry.
LARGEST = 1_000_000


@contextmanager
def opened(
    browser: Browser, address: str, *, scripts: bool = True, **options: Any
) -> Iterator[Page]:
    """A page that must not complain, and must ask nothing of another machine."""
    context = browser.new_context(java_script_enabled=scripts, **options)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda e: trouble.append(str(e)))
    if scripts:  # without them the browser breaks off what it began to load for them
        page.on("requestfailed", lambda r: trouble.append(r.url))
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    try:
        page.goto(address, wait_until="networkidle")
        yield page
    finally:
        context.close()
    assert trouble == []


def told(found: dict[str, Any]) -> list[str]:
    """What changes: the sentence, the pictures and their alternative texts."""
    return [found["said"], *(text for p in found["pictures"] for text in p[1:3])]


@pytest.mark.parametrize("name", PAGES)
def test_keys_change_picture_alt_and_sentence(
    home: str, browser: Browser, name: str
) -> None:
    """Each control by keys alone, and back; the page's own scripts take no key away."""
    with opened(browser, f"{home}{name}.html") as page:
        assert page.locator("figure.explorer").count() == 1
        first = seen(page)
        assert (first["controls"], first["off"]) == (True, False)
        assert all(drawn for *_, drawn in first["pictures"])
        controls = page.locator("figure.explorer [data-control]")
        assert controls.count() == 2
        for i in range(2):
            control = controls.nth(i)
            start = control.input_value()
            away, back = (
                ("ArrowDown", "ArrowUp")
                if control.evaluate("c => c.tagName") == "SELECT"
                else ("ArrowLeft", "ArrowRight")
            )
            control.focus()
            page.keyboard.press(away)
            assert control.input_value() != start
            now = seen(page)
            assert now["said"] != first["said"]
            before = [p[:3] for p in first["pictures"]]
            after = [p[:3] for p in now["pictures"]]
            changed = [a != b for a, b in zip(after, before, strict=True)]
            assert any(changed)
            for new, old in zip(after, before, strict=True):
                # No picture changes under the same words.
                assert new[1] == old[1] or new[2] != old[2]
            page.keyboard.press(back)
            assert control.input_value() == start
            assert told(seen(page)) == told(first)


@pytest.mark.parametrize("name", PAGES)
def test_the_still_is_shown_without_scripts(
    home: str, browser: Browser, name: str
) -> None:
    with opened(browser, f"{home}{name}.html") as page:
        first = seen(page)
    with opened(browser, f"{home}{name}.html", scripts=False) as page:
        figure = page.locator("figure.explorer")
        assert figure.locator("[data-part=said]").text_content() == first["said"]
        for part, source, alt, _ in first["pictures"]:
            picture = figure.locator(f"[data-part={part}]")
            assert picture.is_visible()
            assert picture.get_attribute("src") == source
            assert picture.get_attribute("alt") == alt
        assert not figure.locator("[data-control]").first.is_visible()
        assert figure.locator("[data-part=off]").is_visible()


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone(home: str, browser: Browser, name: str) -> None:
    """No part of the figure is wider than the screen.

    Words and controls are large enough.
    """
    size = {"width": 360, "height": 740}
    with opened(browser, f"{home}{name}.html", viewport=size) as page:
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


@pytest.mark.parametrize("name", PAGES)
def test_weight(home: str, browser: Browser, name: str) -> None:
    with opened(browser, f"{home}{name}.html") as page:
        size = page.locator("figure.explorer").evaluate("f => f.outerHTML.length")
    assert size <= LARGEST


def test_the_path_s_figure_agrees_with_its_page(home: str, browser: Browser) -> None:
    """The black baseline's scores and error, as the page prints for 50 steps."""
    with opened(browser, f"{home}integrated-gradients.html") as page:
        said = seen(page)["said"]
        printed = page.locator("article").inner_text()
    for label in ("F(x)  ", "F(black)  "):
        line = next(x for x in printed.splitlines() if x.startswith(label))
        assert f"{float(line.split()[-1]):.2f}" in said
    error = next(x for x in printed.splitlines() if x.startswith("completeness error"))
    assert said.endswith(f"completeness error is {error.split()[-1]}.")


def test_the_panda_has_no_map(home: str, browser: Browser) -> None:
    with opened(browser, f"{home}gradcam.html") as page:
        names = page.locator("figure.explorer option").all_text_contents()
        assert len(names) == 6
        panda = next(n for n in names if n.startswith("giant panda"))
        page.get_by_role("combobox", name="Class").select_option(panda)
        found = seen(page)
        assert found["said"].endswith("blank, no cell speaks for the class.")
        assert all("blank" in alt for _, _, alt, _ in found["pictures"])
