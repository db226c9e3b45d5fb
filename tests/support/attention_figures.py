"""What the tests of the attention figures share.

They share a page in a real browser, and the words that it should show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chromium import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from chapter4.explore import Explorer

CAT = "The cat sat on the mat"
NAMES = ["[CLS]", "the #1", "cat", "sat", "on", "the #5", "mat", "[SEP]"]
QUOTED = [f"“{name}”" for name in NAMES]
HOSTILE = [
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title = 'broken'\">",
    "<!--<script>",
    "\u202etfel ot thgir",
    "\u2067\u05e9\u05dc\u05d5\u05dd",
    "\u05e9\u05dc\u05d5\u05dd",
    "a" * 300,
    "'\"&amp;{x}`${x}",
    "\x00\n\u2028",
    "",
]


@contextmanager
def opened(browser: Browser, *explorers: Explorer, **options: Any) -> Iterator[Page]:
    """The figures on one page, without a network."""
    shown = "\n".join(e._repr_html_() for e in explorers)
    head = "<meta name='viewport' content='width=device-width'><title>figures</title>"
    html = (
        "<!DOCTYPE html><html"
        f" lang='en'>{head}<main><h1>Figures</h1>{shown}</main></html>"
    )
    options = {"viewport": {"width": 1280, "height": 900}} | options
    with watched(browser, html, **options) as page:
        yield page
        assert page.title() == "figures"


def odd_model() -> torch.nn.Module:
    """DINOv2 with registers: five tokens before the patches, any grid."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=14,
        image_size=56,
        num_register_tokens=4,
    )
    return Dinov2WithRegistersModel(config).eval()


def cell(page: Page, row: int, column: int) -> Any:
    """A cell of the token table; the cells with names are not counted."""
    return page.locator(f"tbody tr:nth-child({row + 1}) td:nth-child({column + 2})")


def chosen(page: Page, label: str) -> Any:
    """The list of that name."""
    return page.get_by_role("combobox", name=label, exact=True)


def said(page: Page, part: str = "said") -> str:
    """The words of one part of the only figure."""
    return page.locator(f'[data-part="{part}"]').inner_text()


def said_of(page: Page, figure: int, part: str) -> str:
    """The words of one part of one of several figures."""
    shown = page.locator("figure.explorer").nth(figure)
    return shown.locator(f'[data-part="{part}"]').inner_text()


def rounded(weights: np.ndarray) -> np.ndarray:
    """Weights as the figures hold them: multiples of 1/65535."""
    return np.round(weights.astype(np.float64) * 65535) / 65535


def three(units: np.ndarray, names: list[str], own: int) -> str:
    """The strongest three as the sentences list them, worked out from plain weights."""
    order = sorted(range(len(units)), key=lambda i: (-units[i], i))[:3]
    a, b, c = (f"{'itself' if i == own else names[i]} ({units[i]:.3f})" for i in order)
    return f"{a}, {b} and {c}"


def pixels(page: Page) -> np.ndarray:
    """What the canvas shows, (H, W, 3)."""
    found = page.evaluate("""() => {
          const canvas = document.querySelector("canvas");
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          return [height, width, [...data]];
        }""")
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[..., :3]


class Pieces:
    """A tokenizer whose tokens are hostile, as one with its own vocabulary could be."""

    model_max_length = 512
    cls_token_id = sep_token_id = pad_token_id = bos_token_id = eos_token_id = None

    def __init__(self, tokens: list[str] = HOSTILE) -> None:
        self.tokens = tokens

    def __call__(self, text: str, verbose: bool) -> Any:
        words = list(range(len(self.tokens)))

        class Encoded(dict[str, Any]):
            is_fast = True

            def word_ids(self) -> list[int]:
                return words

        return Encoded(input_ids=[5 + i for i in words])

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return self.tokens

    def convert_tokens_to_string(self, pieces: list[str]) -> str:
        return "".join(pieces)
