"""Section 4.4 to touch: patches of a picture, and all figures, in a browser."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from attention_figures import (
    CAT,
    HOSTILE,
    cell,
    chosen,
    odd_model,
    opened,
    pixels,
    rounded,
    said,
    said_of,
    three,
)
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from chapter4.attention.vit import vit_attention_weights
from chapter4.attention.weights import average_attention
from chapter4.explore.attention_data import stack_of
from chapter4.explore.attention_matrix import explore_attention
from chapter4.explore.attention_patches import (
    explore_vit_attention,
    overlay,
    patch_names,
)
from chapter4.inputs.models import TextModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def still(page: Page) -> np.ndarray:
    """What the still picture shows, (H, W, 3)."""
    source = page.locator('img[data-part="still"]').get_attribute("src") or ""
    return np.array(Image.open(BytesIO(base64.b64decode(source.split(",")[1]))))


def test_patches(vit: torch.nn.Module, star: Image.Image, browser: Browser) -> None:
    """The overlay is the weights of the patch that was clicked, pixel by pixel."""
    attention = vit_attention_weights(star, vit)
    names = patch_names(attention)
    held = stack_of(attention.weights).values
    explorer = explore_vit_attention(star, vit, shows="A star")
    star_in_grey = "A star, in grey, coloured by attention."
    with opened(browser, explorer, java_script_enabled=False) as page:
        image = page.locator('img[data-part="still"]')
        assert image.is_visible()
        assert np.array_equal(still(page), overlay(attention, held[5, 4, 0]))
        assert image.get_attribute("alt") == f"{star_in_grey} {explorer.said}"
        assert said(page) == explorer.said

    with opened(browser, explorer) as page:
        assert page.locator('img[data-part="still"]').count() == 0
        assert np.array_equal(pixels(page), overlay(attention, held[5, 4, 0]))
        assert said(page) == explorer.said
        seen = page.locator("canvas")
        cells = page.locator(".explorer-attention-patches [role=gridcell]")
        assert page.locator('[aria-selected="true"]').count() == 0  # [CLS] is no patch

        def check(layer: int, head: int | None, patch: int) -> None:
            row = rounded(average_attention(attention.weights, layer, head))[1 + patch]
            best = three(row[1:], names[1:], patch)
            which = "mean of all 4 heads" if head is None else f"head {head}"
            words = (
                f"Layer {layer}, {which}. The patch in {names[1 + patch]} looks most at"
                f" the patches in {best}. [CLS] gets {row[0]:.3f}. Spread evenly, each"
                " weight would be 0.015."
            )
            assert said(page) == words
            assert seen.get_attribute("aria-label") == f"{star_in_grey} {words}"
            units = held[layer, 4 if head is None else head, 1 + patch]
            assert np.array_equal(pixels(page), overlay(attention, units))
            selected = cells.evaluate_all(
                "all => all.map(c => c.getAttribute('aria-selected')).indexOf('true')"
            )
            assert selected == patch
            label = f"{names[1 + patch]}, weight {row[1 + patch]:.3f}"
            assert cells.nth(patch).get_attribute("aria-label") == label
            order = sorted(range(64), key=lambda i: (-row[1 + i], i))[:3]
            for rank, at in enumerate(order, 1):
                assert cells.nth(at).inner_text() == str(rank)
            assert page.locator(".explorer-attention-patches b").count() == 3
            assert said(page, "top") == f"{row[1 + order[0]]:.3f}"

        cells.nth(36).click()
        check(5, None, 36)
        for key, patch in (
            ("ArrowRight", 37),
            ("ArrowUp", 29),
            ("Home", 24),
            ("ArrowLeft", 24),
            ("Control+End", 63),
        ):
            page.keyboard.press(key)
            check(5, None, patch)
        chosen(page, "Layer").select_option("1")
        chosen(page, "Head").select_option("2")
        check(1, 2, 63)
        chosen(page, "Head").select_option("0")
        cells.nth(5).click()
        check(1, 0, 5)  # which gives most to [CLS]
        chosen(page, "Head").select_option("2")
        chosen(page, "Token that looks").select_option("[CLS]")
        assert np.array_equal(pixels(page), overlay(attention, held[1, 2, 0]))
        assert page.locator('.explorer-attention-patches [tabindex="0"]').count() == 1


@pytest.mark.parametrize("width", [1280, 360])
def test_a_click_hits_the_patch_under_it(
    vit: torch.nn.Module, star: Image.Image, browser: Browser, width: int
) -> None:
    """The cells lie on their patches, even with pixels left over below the last row."""
    size = {"width": width, "height": 900}
    ramp = torch.linspace(-1, 1, 3 * 45 * 70).reshape(3, 45, 70)
    for explorer, x, y, patch in (
        (explore_vit_attention(star, vit), 2.95 / 8, 6.05 / 8, (6, 2)),
        (explore_vit_attention(ramp, odd_model()), 4.05 / 5, 41 / 45, (2, 4)),
        (explore_vit_attention(ramp, odd_model()), 3.95 / 5, 29 / 45, (2, 3)),
    ):
        with opened(browser, explorer, viewport=size) as page:
            box = page.locator("canvas").bounding_box()
            assert box is not None
            page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
            assert "The patch in row {} column {} looks".format(*patch) in said(page)


def test_a_click_without_focus(
    vit: torch.nn.Module, star: Image.Image, browser: Browser
) -> None:
    """Some browsers send a click alone."""
    with opened(browser, explore_vit_attention(star, vit)) as page:
        cells = page.locator(".explorer-attention-patches [role=gridcell]")
        cells.nth(9).dispatch_event("click")
        assert "The patch in row 1 column 1 looks" in said(page)


def test_other_tokens_before_the_patches(browser: Browser) -> None:
    """The script draws and says what Python does, for a grid and prefix of any size."""
    ramp = torch.linspace(-1, 1, 3 * 45 * 70).reshape(3, 45, 70)
    model = odd_model()
    attention = vit_attention_weights(ramp, model)
    held = stack_of(attention.weights).values
    explorer = explore_vit_attention(ramp, model, head=1)
    with opened(browser, explorer) as page:
        assert said(page) == explorer.said
        assert "prefix token 4 gets " in said(page)
        chosen(page, "Token that looks").select_option("prefix token 2")
        assert np.array_equal(pixels(page), overlay(attention, held[1, 1, 2]))
        chosen(page, "Token that looks").select_option("row 2 column 1")
        assert np.array_equal(pixels(page), overlay(attention, held[1, 1, 16]))


def test_hostile_words_for_a_picture(
    vit: torch.nn.Module, star: Image.Image, browser: Browser
) -> None:
    words = HOSTILE[0] + HOSTILE[1]
    with opened(browser, explore_vit_attention(star, vit, shows=words)) as page:
        assert page.locator("canvas").get_attribute("aria-label").startswith(words)
        assert page.locator("img").get_attribute("alt") == words


def test_touch(
    bert: TextModel, vit: torch.nn.Module, star: Image.Image, browser: Browser
) -> None:
    """A finger cannot hover: a tap shows a cell, and chooses a token or a patch."""
    explorers = explore_attention(CAT, bert), explore_vit_attention(star, vit)
    size = {"width": 360, "height": 780}
    with opened(
        browser, *explorers, viewport=size, has_touch=True, is_mobile=True
    ) as page:
        cell(page, 2, 3).first.tap()
        assert said_of(page, 0, "cell").startswith("From “cat” to “sat”: ")
        page.locator("tbody button").nth(3).tap()
        assert "Token “sat” looks most" in said_of(page, 0, "said")
        page.locator(".explorer-attention-patches [role=gridcell]").nth(27).tap()
        assert "The patch in row 3 column 3 looks" in said_of(page, 1, "said")
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_two_of_each_on_one_page(
    bert: TextModel, vit: torch.nn.Module, star: Image.Image, browser: Browser
) -> None:
    explorers = [
        explore_attention(CAT, bert, token="cat"),
        explore_attention("A dog barked", bert),
        explore_vit_attention(star, vit),
        explore_vit_attention(star, vit, head=1),
    ]
    with opened(browser, *explorers) as page:
        first = [said_of(page, i, "said") for i in range(4)]
        assert first == [e.said for e in explorers]
        chosen(page, "Token").nth(1).select_option("barked")
        page.locator("figure.explorer").nth(3).locator("[role=gridcell]").nth(9).click()
        after = [said_of(page, i, "said") for i in range(4)]
        changed = [a != b for a, b in zip(first, after, strict=True)]
        assert changed == [False, True, False, True]
        names = "Object.keys(window).filter(k => /explor|attent/i.test(k))"
        assert page.evaluate(names) == []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "dark"),
        pytest.param(360, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(1280, "light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(
    bert: TextModel,
    vit: torch.nn.Module,
    star: Image.Image,
    browser: Browser,
    width: int,
    scheme: str,
) -> None:
    explorers = explore_attention(CAT, bert), explore_vit_attention(star, vit)
    size = {"width": width, "height": 900}
    with opened(browser, *explorers, color_scheme=scheme, viewport=size) as page:
        page.add_style_tag(content=":root { color-scheme: light dark; }")
        chosen(page, "Layer").first.select_option("3")
        chosen(page, "Head").first.select_option("3")
        cell(page, 3, 2).first.click()
        page.locator(".explorer-attention-patches [role=gridcell]").nth(20).click()
        page.evaluate(Axe().axe_script)
        found = page.evaluate("axe.run()")["violations"]
        assert [(v["id"], n["html"][:120]) for v in found for n in v["nodes"]] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
