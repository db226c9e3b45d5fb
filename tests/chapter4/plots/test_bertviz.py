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


@pytest.fixture(scope="module")
def bert() -> TextModel:
    """The embedded MiniLM."""
    return load_bert()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; nothing is downloaded."""
    with launched() as running:
        yield running


LARGE = {"viewport": {"width": 1100, "height": 900}, "color_scheme": "dark"}


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def strengths(page: Any) -> list[float]:
    """The stroke opacity of every line of the head view, by head and then by row."""
    return page.locator("#attention line").evaluate_all(
        "all => all.map(l => +l.getAttribute('stroke-opacity'))"
    )


def test_head_view_draws_the_weights(
    bert: TextModel, browser: Browser, tmp_path: Path
) -> None:
    """Every line's strength is a weight from the left token to the right, by head."""
    weights = attention_weights(TIRED, bert).weights
    file = head_view(TIRED, bert=bert).save(tmp_path / "head.html")
    with watched(browser, file, **LARGE) as page:
        page = page
        assert texts(page, "#left text") == TOKENS
        assert texts(page, "#right text") == TOKENS
        assert strengths(page) == pytest.approx(
            (weights[0] / 12).ravel().tolist(), abs=1e-5
        )
        # The lines of a row start at that token's height and end at each token's.
        heights = (
            page.locator("#attention .tokenAttention")
            .nth(3)
            .locator("line")
            .evaluate_all(
                "all => all.map(l => [+l.getAttribute('y1'), +l.getAttribute('y2')])"
            )
        )
        assert heights == [[30 + 3.5 * 22.5, 30 + (k + 0.5) * 22.5] for k in range(12)]
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            == "rgb(255, 255, 255)"
        )


@pytest.mark.parametrize("view", [head_view, model_view])
def test_without_scripts_there_is_a_picture_of_the_weights(
    view: Any, bert: TextModel, browser: Browser, tmp_path: Path
) -> None:
    weights = attention_weights(TIRED, bert).weights[: 1 if view is head_view else None]
    file = view(TIRED, bert=bert).save(tmp_path / "still.html")
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    picture = page.locator("img")
    assert picture.is_visible()
    assert "each row is a token that looks" in str(picture.get_attribute("alt"))
    source = str(picture.get_attribute("src"))
    context.close()
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    )
    layers, heads, count, _ = weights.shape
    cell, side = 4, 4 * count + 4  # 2 pixels of white around each square
    assert pixels.shape == (layers * side, heads * side, 3)
    for layer, head, row, column in [(0, 0, 1, 0), (-1, 5, 2, 7), (0, 11, 11, 11)]:
        layer %= layers
        found = pixels[
            layer * side + 2 + row * cell + 1, head * side + 2 + column * cell + 1
        ]
        colour = colormaps["viridis"](weights[layer, head, row, column], bytes=True)
        assert found.tolist() == list(colour[:3])


def test_choosing_a_layer(bert: TextModel, browser: Browser, tmp_path: Path) -> None:
    weights = attention_weights(TIRED, bert).weights
    file = head_view(TIRED, bert=bert).save(tmp_path / "head.html")
    with watched(browser, file, **LARGE) as page:
        page = page
        layer = page.get_by_label("Layer")
        assert texts(page, "#layer option") == ["0", "1", "2", "3", "4", "5"]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "layer"
        page.keyboard.press("ArrowDown")
        assert layer.input_value() == "1"
        assert strengths(page) == pytest.approx(
            (weights[1] / 12).ravel().tolist(), abs=1e-5
        )
        layer.select_option("5")
        assert strengths(page) == pytest.approx(
            (weights[5] / 12).ravel().tolist(), abs=1e-5
        )
        assert texts(page, "#left text") == TOKENS


def test_turning_heads_on_and_off(
    bert: TextModel, browser: Browser, tmp_path: Path
) -> None:
    weights = attention_weights(TIRED, bert).weights
    file = head_view(TIRED, bert=bert).save(tmp_path / "head.html")
    with watched(browser, file, **LARGE) as page:
        page = page
        squares = page.get_by_role("button")
        assert squares.count() == 12
        squares.nth(3).click()
        expected = weights[0] / 11
        expected[3] = 0
        assert strengths(page) == pytest.approx(expected.ravel().tolist(), abs=1e-5)
        squares.nth(3).click()
        assert strengths(page) == pytest.approx(
            (weights[0] / 12).ravel().tolist(), abs=1e-5
        )
        squares.nth(7).dblclick()
        alone = 0 * weights[0]
        alone[7] = weights[0, 7]
        assert strengths(page) == pytest.approx(alone.ravel().tolist(), abs=1e-4)


def test_heads_by_keyboard(bert: TextModel, browser: Browser, tmp_path: Path) -> None:
    file = head_view(TIRED, bert=bert).save(tmp_path / "head.html")
    with watched(browser, file, **LARGE) as page:
        page = page
        page.get_by_label("Layer").select_option("2")  # the squares are drawn anew
        page.get_by_label("Layer").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert (
            page.evaluate("document.activeElement.getAttribute('aria-label')")
            == "Head 1"
        )
        page.keyboard.press("Enter")
        found = strengths(page)
        assert not any(found[144:288])
        assert all(found[:144])
        page.keyboard.press("Space")
        assert all(strengths(page)[144:288])


def test_model_view(bert: TextModel, browser: Browser, tmp_path: Path) -> None:
    weights = attention_weights(TIRED, bert).weights
    file = model_view(TIRED, bert=bert).save(tmp_path / "model.html")
    with watched(browser, file, **LARGE) as page:
        page = page
        drawn = page.locator("#vis svg line").evaluate_all(
            "all => all.map(l => +l.getAttribute('stroke-opacity'))"
        )
        assert drawn == pytest.approx(weights.ravel().tolist(), abs=6e-5)
        assert texts(page, "#vis svg .detail") == []
        pictures = page.get_by_role("button")
        assert pictures.count() == 72
        assert pictures.nth(30).get_attribute("aria-label") == "Layer 2, head 6"
        pictures.nth(30).click(position={"x": 10, "y": 10})
        assert "Layer 2, Head 6" in texts(page, "#vis svg .detail")
        assert texts(page, "#vis svg text.token") == TOKENS * 2
        big = page.locator("#vis svg .detail line").evaluate_all(
            "all => all.map(l => +l.getAttribute('stroke-opacity'))"
        )
        assert big == pytest.approx(weights[2, 6].ravel().tolist(), abs=6e-5)
        pictures.nth(30).click(position={"x": 10, "y": 10})
        assert texts(page, "#vis svg .detail") == []
        pictures.nth(0).focus()
        page.keyboard.press("Enter")
        assert "Layer 0, Head 0" in texts(page, "#vis svg .detail")


@pytest.mark.parametrize("view", [head_view, model_view])
def test_inside_a_page(
    bert: TextModel, browser: Browser, tmp_path: Path, view: Any
) -> None:
    """In a notebook or the book: a described frame of its own, with the whole view."""
    shown = view(TIRED, bert=bert)
    file = tmp_path / "page.html"
    file.write_text(
        "<!DOCTYPE html><meta"
        f" charset='utf-8'><title>page</title>{shown._repr_html_()}",
        encoding="utf-8",
    )
    with watched(browser, file, **LARGE) as page:
        frame = page.frame_locator("iframe")
        frame.locator("#vis svg").wait_for()
        assert page.locator("iframe").get_attribute("title") == shown.title
        assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
        # Nothing of it hides below the frame's lower edge.
        bottom = frame.locator("#vis svg").evaluate(
            "svg => svg.getBoundingClientRect().bottom - innerHeight"
        )
        assert -120 < bottom <= 0


def test_hostile_text_stays_text(
    bert: TextModel, browser: Browser, tmp_path: Path
) -> None:
    view = head_view(HOSTILE, bert=bert)
    with watched(browser, view.save(tmp_path / "hostile.html"), **LARGE) as page:
        assert texts(page, "#left text") == attention_weights(HOSTILE, bert).tokens
        assert page.title() == view.title


class OnePiece:
    """A tokenizer that makes one piece of the whole text.

    One with a vocabulary of its own could do so.
    """

    model_max_length = 512
    cls_token_id = sep_token_id = pad_token_id = bos_token_id = eos_token_id = None

    def __call__(self, text: str, verbose: bool) -> Any:
        class Encoded(dict[str, Any]):
            is_fast = True

            def word_ids(self) -> list[int]:
                return [0, 1]

        self.text = text
        return Encoded(input_ids=[5, 6])

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.text, "\u2028 end"]

    def convert_tokens_to_string(self, pieces: list[str]) -> str:
        return "".join(pieces)


@pytest.mark.parametrize("view", [head_view, model_view])
@pytest.mark.parametrize(
    "text",
    [HOSTILE, "</SCRIPT >", "<!--<script>", "'; alert(1) //", "// HACK: x", "a\\"],
)
def test_hostile_piece_stays_text(
    bert: TextModel, browser: Browser, tmp_path: Path, view: Any, text: str
) -> None:
    """A whole attack in one token, which BERT's own vocabulary would have split."""
    shown = view(text, bert=TextModel(bert.model, OnePiece()))
    with watched(browser, shown.save(tmp_path / "hostile.html"), **LARGE) as page:
        assert page.title() == shown.title
        if view is head_view:
            assert texts(page, "#left text") == [text, "\u2028 end"]
        else:
            page.get_by_role("button").first.click(position={"x": 5, "y": 5})
            assert texts(page, "#vis svg text.token")[:2] == [
                text,
                "\u2028 end",
            ]
    scripts = re.findall(r"<script\b.*?</script>", shown.html, flags=re.DOTALL)
    data = json.loads(re.findall(r"const params = (\{.*\});", scripts[-2])[0])
    assert data["attention"][0]["left_text"] == [text, "\u2028 end"]


def test_page_stands_alone(bert: TextModel, tmp_path: Path) -> None:
    view = head_view(TIRED, bert=bert)
    assert (
        re.findall(
            r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)=(?!"data:)', view.html
        )
        == []
    )
    assert "cdnjs" not in view.html
    assert view.html.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in view.html
    saved = view.save(str(tmp_path / "view.html"))
    assert saved.read_text(encoding="utf-8") == view.html
    inside = re.fullmatch(
        r'<iframe srcdoc="([^"]*)" title="([^"]*)"[^>]*></iframe>', view._repr_html_()
    )
    assert inside is not None
    assert html.unescape(inside[1]) == view.html
    assert isinstance(view, InteractiveView)
    assert len(repr(view)) < 200


@pytest.mark.parametrize(("view", "heads"), [(head_view, 12), (model_view, 72)])
def test_too_long_to_draw(bert: TextModel, view: Any, heads: int) -> None:
    longest = int((MAX_LINES / heads) ** 0.5)
    assert TIRED.count(" ") + 3 <= longest
    view("a " * (longest - 2), bert=bert)
    with pytest.raises(
        ValueError,
        match=(
            f"has {longest + 1} tokens; with {heads} heads .* at most {longest} can be"
            " drawn"
        ),
    ):
        view("a " * (longest - 1), bert=bert)


def test_scripts_that_are_not_installed(
    bert: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chapter4.plots.bertviz.SCRIPTS", (("no-such-package", "d3.js"),)
    )
    with pytest.raises(
        FileNotFoundError,
        match=r"d3\.js comes with the package no-such-package, which is not installed",
    ):
        head_view(TIRED, bert=bert)
