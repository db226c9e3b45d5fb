"""Section 4.4: BertViz's views as pages, in a real browser that has no network."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from attention_figures import Pieces
from chromium import launched, watched
from matplotlib import colormaps
from PIL import Image

from chapter4.attention.weights import attention_weights
from chapter4.inputs.models import TextModel, load_bert
from chapter4.plots.bertviz import MAX_LINES, InteractiveView, head_view, model_view

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TIRED = "The cat sat on the mat because it was tired"
TOKENS = ["[CLS]", *TIRED.lower().split(), "[SEP]"]
HOSTILE = (
    '</script><script>document.title = "broken"</script> <!-- <script> {x} & "a"'
    " \\u003c PYTHON_PARAMS"
)
# Whole attacks in one token, which BERT's own vocabulary would have split.
ATTACKS = [
    HOSTILE,
    "</SCRIPT >",
    "<!--<script>",
    "'; alert(1) //",
    "// HACK: x",
    "a\\",
    "\u2028 end",
]


@pytest.fixture(scope="module")
def bert() -> TextModel:
    """The embedded MiniLM."""
    return load_bert()


@pytest.fixture(scope="module")
def weights(bert: TextModel) -> np.ndarray:
    """What the views of the sentence have to show."""
    return attention_weights(TIRED, bert).weights


@pytest.fixture(scope="module")
def head(bert: TextModel) -> InteractiveView:
    return head_view(TIRED, bert=bert)


@pytest.fixture(scope="module")
def model(bert: TextModel) -> InteractiveView:
    return model_view(TIRED, bert=bert)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; nothing is downloaded."""
    with launched() as running:
        yield running


LARGE = {"viewport": {"width": 1100, "height": 900}, "color_scheme": "dark"}


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def strengths(page: Any, selector: str = "#attention line") -> list[float]:
    """The stroke opacity of every line, by layer, by head and then by row."""
    return page.locator(selector).evaluate_all(
        "all => all.map(l => +l.getAttribute('stroke-opacity'))"
    )


def near(weights: np.ndarray, allowed: float = 1e-5) -> Any:
    return pytest.approx(weights.ravel().tolist(), abs=allowed)


def test_head_view_draws_the_weights(
    head: InteractiveView, weights: np.ndarray, browser: Browser, tmp_path: Path
) -> None:
    """Every line's strength is a weight from the left token to the right, by head."""
    with watched(browser, head.save(tmp_path / "head.html"), **LARGE) as page:
        assert texts(page, "#left text") == texts(page, "#right text") == TOKENS
        assert strengths(page) == near(weights[0] / 12)
        # The lines of a row start at that token's height and end at each token's.
        row = page.locator("#attention .tokenAttention").nth(3).locator("line")
        heights = row.evaluate_all(
            "all => all.map(l => [+l.getAttribute('y1'), +l.getAttribute('y2')])"
        )
        assert heights == [[30 + 3.5 * 22.5, 30 + (k + 0.5) * 22.5] for k in range(12)]
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"


@pytest.mark.parametrize("view", ["head", "model"])
def test_without_scripts_there_is_a_picture_of_the_weights(
    view: str,
    weights: np.ndarray,
    browser: Browser,
    request: pytest.FixtureRequest,
) -> None:
    page_of: InteractiveView = request.getfixturevalue(view)
    with watched(browser, page_of.html, java_script_enabled=False) as page:
        picture = page.locator("img")
        assert picture.is_visible()
        assert "each row is a token that looks" in str(picture.get_attribute("alt"))
        source = str(picture.get_attribute("src"))
    file = io.BytesIO(base64.b64decode(source.partition(",")[2]))
    pixels = np.asarray(Image.open(file))
    layers = 1 if view == "head" else 6
    cell, side = 4, 4 * 12 + 4  # 2 pixels of white around each square
    assert pixels.shape == (layers * side, 12 * side, 3)
    for layer, which, row, column in [(0, 0, 1, 0), (-1, 5, 2, 7), (0, 11, 11, 11)]:
        layer %= layers
        found = pixels[
            layer * side + 2 + row * cell + 1, which * side + 2 + column * cell + 1
        ]
        colour = colormaps["viridis"](weights[layer, which, row, column], bytes=True)
        assert found.tolist() == list(colour[:3])


def test_choosing_a_layer(
    head: InteractiveView, weights: np.ndarray, browser: Browser
) -> None:
    with watched(browser, head.html, **LARGE) as page:
        layer = page.get_by_label("Layer")
        assert texts(page, "#layer option") == ["0", "1", "2", "3", "4", "5"]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "layer"
        page.keyboard.press("ArrowDown")
        assert layer.input_value() == "1"
        assert strengths(page) == near(weights[1] / 12)
        layer.select_option("5")
        assert strengths(page) == near(weights[5] / 12)
        assert texts(page, "#left text") == TOKENS


def test_turning_heads_on_and_off(
    head: InteractiveView, weights: np.ndarray, browser: Browser
) -> None:
    with watched(browser, head.html, **LARGE) as page:
        squares = page.get_by_role("button")
        assert squares.count() == 12
        squares.nth(3).click()
        without = weights[0] / 11
        without[3] = 0
        assert strengths(page) == near(without)
        squares.nth(3).click()
        assert strengths(page) == near(weights[0] / 12)
        squares.nth(7).dblclick()
        alone = 0 * weights[0]
        alone[7] = weights[0, 7]
        assert strengths(page) == near(alone, 1e-4)


def test_heads_by_keyboard(head: InteractiveView, browser: Browser) -> None:
    with watched(browser, head.html, **LARGE) as page:
        page.get_by_label("Layer").select_option("2")  # the squares are drawn anew
        page.get_by_label("Layer").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        name = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(name) == "Head 1"
        page.keyboard.press("Enter")
        found = strengths(page)
        assert not any(found[144:288])
        assert all(found[:144])
        page.keyboard.press("Space")
        assert all(strengths(page)[144:288])


def test_model_view(
    model: InteractiveView, weights: np.ndarray, browser: Browser
) -> None:
    with watched(browser, model.html, **LARGE) as page:
        assert strengths(page, "#vis svg line") == near(weights, 6e-5)
        assert texts(page, "#vis svg .detail") == []
        pictures = page.get_by_role("button")
        assert pictures.count() == 72
        assert pictures.nth(30).get_attribute("aria-label") == "Layer 2, head 6"
        pictures.nth(30).click(position={"x": 10, "y": 10})
        assert "Layer 2, Head 6" in texts(page, "#vis svg .detail")
        assert texts(page, "#vis svg text.token") == TOKENS * 2
        assert strengths(page, "#vis svg .detail line") == near(weights[2, 6], 6e-5)
        pictures.nth(30).click(position={"x": 10, "y": 10})
        assert texts(page, "#vis svg .detail") == []
        pictures.nth(0).focus()
        page.keyboard.press("Enter")
        assert "Layer 0, Head 0" in texts(page, "#vis svg .detail")


@pytest.mark.parametrize("view", ["head", "model"])
def test_inside_a_page(
    browser: Browser, view: str, request: pytest.FixtureRequest
) -> None:
    """In a notebook or the book: a described frame of its own, with the whole view."""
    shown: InteractiveView = request.getfixturevalue(view)
    top = "<!DOCTYPE html><meta charset='utf-8'><title>page</title>"
    with watched(browser, top + shown._repr_html_(), **LARGE) as page:
        frame = page.frame_locator("iframe")
        frame.locator("#vis svg").wait_for()
        assert page.locator("iframe").get_attribute("title") == shown.title
        assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
        # Nothing of it hides below the frame's lower edge.
        bottom = frame.locator("#vis svg").evaluate(
            "svg => svg.getBoundingClientRect().bottom - innerHeight"
        )
        assert -120 < bottom <= 0


def test_hostile_text_stays_text(bert: TextModel, browser: Browser) -> None:
    view = head_view(HOSTILE, bert=bert)
    with watched(browser, view.html, **LARGE) as page:
        assert texts(page, "#left text") == attention_weights(HOSTILE, bert).tokens
        assert page.title() == view.title


@pytest.mark.parametrize("view", [head_view, model_view])
def test_hostile_pieces_stay_text(bert: TextModel, browser: Browser, view: Any) -> None:
    shown = view("x", bert=TextModel(bert.model, Pieces(ATTACKS)))
    with watched(browser, shown.html, **LARGE) as page:
        assert page.title() == shown.title
        if view is head_view:
            assert texts(page, "#left text") == ATTACKS
        else:
            page.get_by_role("button").first.click(position={"x": 5, "y": 5})
            assert texts(page, "#vis svg text.token") == ATTACKS * 2
    scripts = re.findall(r"<script\b.*?</script>", shown.html, flags=re.DOTALL)
    data = json.loads(re.findall(r"const params = (\{.*\});", scripts[-2])[0])
    assert data["attention"][0]["left_text"] == ATTACKS


def test_page_stands_alone(head: InteractiveView, tmp_path: Path) -> None:
    loads = r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)=(?!"data:)'
    assert re.findall(loads, head.html) == []
    assert "cdnjs" not in head.html
    assert head.html.startswith('<!DOCTYPE html>\n<html lang="en">')
    saved = head.save(str(tmp_path / "view.html"))
    assert saved.read_text(encoding="utf-8") == head.html
    frame = r'<iframe srcdoc="([^"]*)" title="([^"]*)"[^>]*></iframe>'
    inside = re.fullmatch(frame, head._repr_html_())
    assert inside is not None
    assert html.unescape(inside[1]) == head.html
    assert len(repr(head)) < 200


@pytest.mark.parametrize(("view", "heads"), [(head_view, 12), (model_view, 72)])
def test_too_long_to_draw(bert: TextModel, view: Any, heads: int) -> None:
    longest = int((MAX_LINES / heads) ** 0.5)
    assert TIRED.count(" ") + 3 <= longest
    view("a " * (longest - 2), bert=bert)
    message = f"has {longest + 1} tokens; with {heads} heads .* at most {longest} can"
    with pytest.raises(ValueError, match=message):
        view("a " * (longest - 1), bert=bert)


def test_scripts_that_are_not_installed(
    bert: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chapter4.plots.bertviz.SCRIPTS", (("no-such-package", "d3.js"),)
    )
    message = r"d3\.js comes with the package no-such-package, which is not installed"
    with pytest.raises(FileNotFoundError, match=message):
        head_view(TIRED, bert=bert)
