"""Section 4.4 to touch: the table of tokens in a real browser that has no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from attention_figures import (
    CAT,
    HOSTILE,
    NAMES,
    QUOTED,
    Pieces,
    cell,
    chosen,
    opened,
    rounded,
    said,
    three,
)

from chapter4.attention.weights import attention_weights, average_attention
from chapter4.explore.attention_data import colours, readable
from chapter4.explore.attention_matrix import explore_attention
from chapter4.inputs.models import TextModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def cells(page: Page) -> list[list[str]]:
    """Text, class, ground and ink of every cell, row by row; colours as six digits."""
    found = page.locator("tbody td").evaluate_all(
        "all => all.map(c => [c.textContent, c.className, c.style.background,"
        " c.style.color])"
    )
    return [[*c[:2], *map(six_digits, c[2:])] for c in found]


def six_digits(colour: str) -> str:
    return "#{:02x}{:02x}{:02x}".format(*map(int, re.findall(r"\d+", colour)))


def digits(matrix: np.ndarray) -> list[str]:
    """The weights as the cells show them."""
    return [f"{w:.2f}".removeprefix("0") for w in matrix.ravel()]


def test_the_table_before_and_after_the_script(
    bert: TextModel, browser: Browser
) -> None:
    """Without scripts the same table, sentences and caption, and no dead control."""
    explorer = explore_attention(CAT, bert, token="cat")
    matrix = rounded(average_attention(attention_weights(CAT, bert)))
    shown = []
    for scripts in (False, True):
        with opened(browser, explorer, java_script_enabled=scripts) as page:
            shown.append(cells(page))
            assert said(page) == explorer.said
            assert page.locator("tbody th").all_inner_texts() == NAMES
            assert page.locator("select, button").count() == (20 if scripts else 4)
            assert page.locator("select").first.is_visible() == scripts
            assert page.locator("table").is_visible()
    assert shown[0] == shown[1]
    assert [c[0] for c in shown[0]] == digits(matrix)


def test_every_layer_and_head(bert: TextModel, browser: Browser) -> None:
    attention = attention_weights(CAT, bert)
    weights = rounded(attention.weights)
    with opened(browser, explore_attention(CAT, bert, token="cat")) as page:
        layer, head = chosen(page, "Layer"), chosen(page, "Head")
        table, _ = colours()
        for at, which in ((0, 0), (5, 11), (2, 7)):
            layer.select_option(str(at))
            head.select_option(str(which))
            matrix = weights[at, which]
            shown = cells(page)
            assert [c[0] for c in shown] == digits(matrix)
            assert [c[2] for c in shown] == [
                table[round(w * 255)] for w in matrix.ravel()
            ]
            assert (
                said(page) == f"Layer {at}, head {which}. Token “cat” looks most at"
                f" {three(matrix[2], QUOTED, 2)}. It is looked at most by"
                f" {three(matrix[:, 2], QUOTED, 2)}. Spread evenly, each weight"
                " would be 0.125."
            )
        layer.select_option("mean of all 6 layers")
        mean = rounded(average_attention(attention, heads=7))
        assert said(page).startswith(
            "Mean of all 6 layers, head 7. Token “cat” looks most at"
            f" {three(mean[2], QUOTED, 2)}. "
        )


def test_keys_walk_through_the_table(bert: TextModel, browser: Browser) -> None:
    weights = rounded(attention_weights(CAT, bert).weights)[3, 1]
    explorer = explore_attention(CAT, bert, layer=3, head=1, token="cat")

    def told(q: int, k: int) -> str:
        return f"From {QUOTED[q]} to {QUOTED[k]}: {weights[q, k]:.3f}."

    with opened(browser, explorer) as page:
        assert page.locator('[data-part="cell"]').get_attribute("aria-live") == "polite"
        chosen(page, "Colours end at").focus()
        page.keyboard.press("Tab")  # one stop for the whole table: the chosen token
        active = "document.activeElement.textContent"
        assert page.evaluate(active) == "cat"
        page.keyboard.press("ArrowRight")
        assert said(page, "cell") == told(2, 0)
        for key, q, k in (
            ("ArrowRight", 2, 1),
            ("ArrowDown", 3, 1),
            ("End", 3, 7),
            ("ArrowRight", 3, 7),
            ("ArrowUp", 2, 7),
            ("Control+End", 7, 7),
            ("ArrowDown", 7, 7),
            ("ArrowLeft", 7, 6),
        ):
            page.keyboard.press(key)
            assert said(page, "cell") == told(q, k), key
            assert cell(page, q, k).evaluate("c => c === document.activeElement")
        assert page.locator('table [tabindex="0"]').count() == 1
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")  # back where it was
        assert said(page, "cell") == told(7, 6)
        chosen(page, "Head").select_option("2")
        other = rounded(attention_weights(CAT, bert).weights)[3, 2]
        assert said(page, "cell") == f"From “[SEP]” to “mat”: {other[7, 6]:.3f}."
        # Home leads to the name of the row, and Enter chooses it.
        cell(page, 7, 6).focus()
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        assert "Token “[SEP]” looks most at" in said(page)
        assert chosen(page, "Token").input_value() == "7"


def test_pointing_at_a_cell(bert: TextModel, browser: Browser) -> None:
    weights = rounded(attention_weights(CAT, bert).weights)[0, 0]
    with opened(browser, explore_attention(CAT, bert, layer=0, head=0)) as page:
        before = "Point at a cell, or move to it with the arrow keys."
        assert said(page, "cell") == before
        cell(page, 1, 4).hover()
        assert said(page, "cell") == f"From “the #1” to “on”: {weights[1, 4]:.3f}."
        page.mouse.move(0, 0)
        assert said(page, "cell") == before
        cell(page, 6, 3).click()
        page.keyboard.press("ArrowDown")  # leaves the mouse behind
        kept = f"From “[SEP]” to “sat”: {weights[7, 3]:.3f}."
        assert said(page, "cell") == kept
        page.mouse.move(0, 0)
        assert said(page, "cell") == kept


def test_choosing_a_token_marks_its_row_and_column(
    bert: TextModel, browser: Browser
) -> None:
    with opened(browser, explore_attention(CAT, bert, token="cat")) as page:

        def marked() -> list[list[str]]:
            return page.locator("tbody tr").evaluate_all(
                "all => all.map(r => [...r.cells].slice(1).map(c => c.className))"
            )

        def wanted(token: int) -> list[list[str]]:
            table = [["on-column" if k == token else "" for k in range(8)]] * 8
            own = ["on-row on-column" if k == token else "on-row" for k in range(8)]
            return [*table[:token], own, *table[token + 1 :]]

        assert marked() == wanted(2)
        for button, token in (
            (page.locator("tbody button").nth(6), 6),
            (page.locator("thead button").nth(3), 3),
        ):
            button.click()
            assert marked() == wanted(token)
            pressed = page.locator('[aria-pressed="true"]')
            assert pressed.all_inner_texts() == [NAMES[token]] * 2
            assert f"Token {QUOTED[token]} looks most at" in said(page)
            assert chosen(page, "Token").input_value() == str(token)
        chosen(page, "Token").select_option("0")
        assert marked() == wanted(0)
        for q, k, outline in ((0, 5, "solid"), (5, 0, "solid"), (5, 5, "none")):
            style = cell(page, q, k).evaluate("c => getComputedStyle(c).outlineStyle")
            assert style == outline


def test_where_the_colours_end(bert: TextModel, browser: Browser) -> None:
    """One scale for all layers and heads; what exceeds its end has the last colour."""
    matrix = rounded(average_attention(attention_weights(CAT, bert)))
    table, _ = colours()
    with opened(browser, explore_attention(CAT, bert)) as page:
        for end, label in ((1, "1"), (0.2, "0.2 or more"), (1, "1")):
            chosen(page, "Colours end at").select_option(str(end))
            assert said(page, "top") == label
            wanted = [table[min(round(w / end * 255), 255)] for w in matrix.ravel()]
            assert [c[2] for c in cells(page)] == wanted
        assert len(set(wanted)) > 10


def test_hostile_tokens_stay_text(bert: TextModel, browser: Browser) -> None:
    explorer = explore_attention("x", TextModel(bert.model, Pieces()))
    names = readable(HOSTILE)
    with opened(browser, explorer, viewport={"width": 360, "height": 800}) as page:
        edges = page.locator("tbody button")
        assert edges.all_text_contents() == names
        for i, name in enumerate(names):
            edges.nth(i).click()
            words = page.locator('[data-part="said"]').text_content() or ""
            assert f"Token “{name}” looks most at " in words
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.locator("img").count() == 0
    with opened(browser, explorer, java_script_enabled=False) as page:
        assert page.locator("tbody th").all_text_contents() == names
        assert page.locator("script").count() == 2
    assert explorer._repr_html_().count("<script") == 2
    assert "console." not in explorer._repr_html_()
