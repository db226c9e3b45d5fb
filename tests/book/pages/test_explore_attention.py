"""The attention figures on their page of the built book, beside all else there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from attention_figures import QUOTED, pixels, rounded, three

import chapter4
from chapter4.explore.attention_data import stack_of
from chapter4.explore.attention_patches import overlay, patch_names

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


TOKENS = "Attention between the tokens of a text"
PATCHES = "Attention between the patches of a picture"


def figure(page: Page, title: str) -> Locator:
    """One of the two figures."""
    return page.get_by_role("group", name=title)


def said(shown: Locator) -> str:
    return shown.locator('[data-part="said"]').inner_text()


def chosen(shown: Locator, label: str) -> Any:
    return shown.get_by_role("combobox", name=label, exact=True)


def test_tokens(visit: Callable[..., Page]) -> None:
    """Keys change the layer, the head, the token and the cell.

    The words follow the package's numbers.
    """
    page = visit("attention.html")
    weights = rounded(chapter4.attention_weights("The cat sat on the mat").weights)
    shown = figure(page, TOKENS)
    assert "Token “cat” looks most at" in said(shown)
    for label, key in (("Layer", "Home"), ("Head", "Home"), ("Token", "ArrowDown")):
        chosen(shown, label).focus()
        page.keyboard.press(key)
    matrix = weights[0, 0]
    assert (
        said(shown)
        == f"Layer 0, head 0. Token “sat” looks most at {three(matrix[3], QUOTED, 3)}. "
        f"It is looked at most by {three(matrix[:, 3], QUOTED, 3)}. "
        "Spread evenly, each weight would be 0.125."
    )
    cells = shown.locator("tbody td").all_inner_texts()
    assert cells == [f"{w:.2f}".removeprefix("0") for w in matrix.ravel()]
    shown.locator("tbody button").nth(3).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    told = shown.locator('[data-part="cell"]').inner_text()
    assert told == f"From “on” to “[CLS]”: {matrix[4, 0]:.3f}."


def test_patches(visit: Callable[..., Page]) -> None:
    """A click and the arrow keys change the overlay, its description and the words."""
    from PIL import Image

    from chapter4.shapes.drawing import make_shape

    attention = chapter4.vit_attention_weights(
        Image.fromarray(make_shape(3, seed=7).image)
    )
    held, names = stack_of(attention.weights).values, patch_names(attention)
    page = visit("attention.html")
    shown = figure(page, PATCHES)
    canvas = shown.locator("canvas")
    before = canvas.get_attribute("aria-label")
    assert (pixels(page) == overlay(attention, held[5, 4, 0])).all()
    shown.locator("[role=gridcell]").nth(35).click()
    page.keyboard.press("ArrowDown")
    best = three(held[5, 4, 44, 1:] / 65535, names[1:], 43)
    assert said(shown).startswith(
        "Layer 5, mean of all 4 heads. The patch in row 5 column 3 looks most at the"
        f" patches in {best}. "
    )
    assert (pixels(page) == overlay(attention, held[5, 4, 44])).all()
    after = canvas.get_attribute("aria-label")
    assert after != before
    assert (
        after
        == f"A star among scribbles, in grey, coloured by attention. {said(shown)}"
    )


def test_without_scripts(visit: Callable[..., Page]) -> None:
    """The first setting's table and picture are there, and no dead control."""
    page = visit("attention.html", java_script_enabled=False)
    tokens, patches = figure(page, TOKENS), figure(page, PATCHES)
    assert tokens.locator("tbody td").count() == 64
    assert tokens.locator("tbody td").first.inner_text().startswith(".")
    still = patches.locator('img[data-part="still"]')
    assert still.is_visible()
    assert (still.get_attribute("alt") or "").endswith(said(patches))
    for shown in (tokens, patches):
        assert "looks most at" in said(shown)
        assert not shown.locator("select").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(visit: Callable[..., Page], scheme: str) -> None:
    """The wide table scrolls inside its figure; patches are large enough to touch."""
    size = {"width": 360, "height": 780}
    phone = {"viewport": size, "has_touch": True, "is_mobile": True}
    page = visit("attention.html", color_scheme=scheme, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    tokens, patches = figure(page, TOKENS), figure(page, PATCHES)
    patch = patches.locator("[role=gridcell]").nth(27)
    box = patch.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 24
    patch.tap()
    assert "row 3 column 3 looks most" in said(patches)
    tokens.locator("tbody button").nth(6).tap()
    assert "Token “mat” looks" in said(tokens)
