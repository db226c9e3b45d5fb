"""Section 4.4 to touch: what the figures hold is the package's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from attention_figures import CAT, QUOTED, odd_model, rounded, three
from explorers import data_of
from PIL import Image

from chapter4.attention.vit import cls_attention, vit_attention_weights
from chapter4.attention.weights import attention_weights, average_attention
from chapter4.explore.attention_data import MAX_WEIGHTS, colours, readable, stack_of
from chapter4.explore.attention_matrix import MAX_TOKENS, explore_attention
from chapter4.explore.attention_patches import (
    explore_vit_attention,
    in_grey,
    overlay,
    patch_names,
)
from chapter4.inputs.models import TextModel

if TYPE_CHECKING:
    from chapter4.explore import Explorer

# Half of a 65535th, and what float32 adds to it.
ROUNDING = 0.5 / 65535 + 1e-7


def weights_of(explorer: Explorer) -> np.ndarray:
    """The embedded weights (layers, heads, T, T), means included."""
    data = data_of(explorer)
    raw = np.frombuffer(base64.b64decode(data["weights"]), "<u2")
    shape = (len(data["layers"]), len(data["heads"]), *2 * [len(data["names"])])
    return raw.reshape(shape) / 65535


def test_text_weights_are_the_packages(bert: TextModel) -> None:
    attention = attention_weights(CAT, bert)
    held = weights_of(explore_attention(CAT, bert))
    assert held.shape == (7, 13, 8, 8)
    assert np.abs(held[:6, :12] - attention.weights).max() <= ROUNDING
    for layer in (*range(6), None):
        for head in (*range(12), None):
            mean = average_attention(attention, layer, head)
            at = (6 if layer is None else layer, 12 if head is None else head)
            assert np.abs(held[at] - mean).max() <= ROUNDING
    assert np.abs(held.sum(axis=-1) - 1).max() <= 8 * ROUNDING


def test_vit_weights_are_the_packages(vit: torch.nn.Module, star: Image.Image) -> None:
    attention = vit_attention_weights(star, vit)
    explorer = explore_vit_attention(star, vit)
    held = weights_of(explorer)
    assert held.shape == (7, 5, 65, 65)
    assert np.abs(held[:6, :4] - attention.weights).max() <= ROUNDING
    for layer in range(6):
        for head in (0, 3, None):
            row = held[layer, 4 if head is None else head, 0, 1:].reshape(8, 8)
            drawn = cls_attention(attention, layer, head)
            assert np.abs(row - drawn).max() <= ROUNDING
    assert np.abs(held.sum(axis=-1) - 1).max() <= 65 * ROUNDING
    data = data_of(explorer)
    grey = np.frombuffer(base64.b64decode(data["grey"]), np.uint8).reshape(64, 64)
    wanted = attention.crop @ [0.299, 0.587, 0.114]
    assert np.abs(grey / 255 - wanted).max() <= 0.5 / 255 + 1e-6


def test_chosen_layers_only(vit: torch.nn.Module, star: Image.Image) -> None:
    attention = vit_attention_weights(star, vit)
    one = explore_vit_attention(star, vit, layers=-1)
    assert data_of(one)["layers"] == ["layer 5"]
    assert np.abs(weights_of(one)[0, :4] - attention.weights[5]).max() <= ROUNDING
    two = explore_vit_attention(star, vit, layers=[1, 3], layer=3)
    assert data_of(two)["layers"] == ["layer 1", "layer 3", "mean of these 2 layers"]
    mean = attention.weights[[1, 3]].mean(axis=(0, 1))
    assert np.abs(weights_of(two)[2, 4] - mean).max() <= ROUNDING
    assert two.said.startswith("Layer 3, mean of all 4 heads. ")
    with pytest.raises(ValueError, match=r"layer 5 is not among .* holds: 1, 3$"):
        explore_vit_attention(star, vit, layers=[1, 3])


def test_the_first_sentences(
    bert: TextModel, vit: torch.nn.Module, star: Image.Image
) -> None:
    matrix = rounded(attention_weights(CAT, bert).weights[4, 3])
    explorer = explore_attention(CAT, bert, layer=-2, head=3, token="cat")
    assert (
        explorer.said
        == f"Layer 4, head 3. Token “cat” looks most at {three(matrix[2], QUOTED, 2)}. "
        f"It is looked at most by {three(matrix[:, 2], QUOTED, 2)}. "
        "Spread evenly, each weight would be 0.125."
    )
    attention = vit_attention_weights(star, vit)
    patches = patch_names(attention)
    # In the second one [CLS] gets more than most patches; it is told apart from them.
    for layer, head, where in (
        (5, None, "Layer 5, mean of all 4 heads"),
        (2, 0, "Layer 2, head 0"),
    ):
        row = rounded(average_attention(attention.weights, layer, head))[0]
        explorer = explore_vit_attention(star, vit, layer=layer, head=head)
        assert (
            explorer.said == f"{where}. [CLS] looks most at the patches in"
            f" {three(row[1:], patches[1:], -1)}. [CLS] gets {row[0]:.3f}. Spread"
            " evenly, each weight would be 0.015."
        )
    assert sorted(row)[-3] <= row[0]


def test_other_tokens_before_the_patches_and_a_grid_that_is_not_square() -> None:
    """Pixels beyond the last whole patch stay grey."""
    model = odd_model()
    picture = torch.zeros(3, 45, 70)
    attention = vit_attention_weights(picture, model)
    explorer = explore_vit_attention(picture, model)
    data = data_of(explorer)
    assert data["names"][:6] == [
        "[CLS]",
        *[f"prefix token {i}" for i in range(1, 5)],
        "row 0 column 0",
    ]
    assert data["names"][-1] == "row 2 column 4"
    laid = overlay(attention, np.arange(20, dtype=np.uint16))
    assert laid.shape == (45, 70, 3)
    grey = in_grey(attention.crop)
    assert np.array_equal(laid[42:], grey[42:, :, None].repeat(3, axis=2))
    top = np.floor(0.4 * grey[41, 69] + 0.6 * np.array([253, 231, 37]) + 0.5)
    assert np.array_equal(laid[41, 69], top)


def test_names() -> None:
    assert readable(["a", "b", "a"]) == ["a #0", "b", "a #2"]
    assert readable(["\u202eabc", "\x00", "\u2028", "", "\ud800"]) == [
        "U+202Eabc",
        "U+0000",
        "U+2028",
        "(empty)",
        "U+D800",
    ]
    assert readable(["\u05d0", "caf\u00e9"]) == [
        "\u2068\u05d0\u2069",
        "\u2068caf\u00e9\u2069",
    ]


def test_colours_leave_every_number_legible() -> None:
    """At least 4.5 to 1 between a cell and its number, for all 256 colours."""
    table, black_from = colours()
    for at, name in enumerate(table):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (int(name[i : i + 2], 16) / 255 for i in (1, 3, 5))
        ]
        light = float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05
        assert (light / 0.05 if at >= black_from else 1.05 / light) >= 4.5
    assert (table[0], table[-1]) == ("#440154", "#fde725")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ({"layer": 6}, ValueError, "layer 6 is out of range"),
        ({"head": -13}, ValueError, "head -13 is out of range"),
        ({"token": 8}, ValueError, "token 8 is out of range"),
        ({"token": "cta"}, ValueError, "no token 'cta'; did you mean 'cat'"),
        ({"token": "the"}, ValueError, "'the' stands at 1 and 5; give the position"),
        ({"token": 1.5}, TypeError, "token is an integer"),
    ],
)
def test_a_bad_choice_is_refused(
    bert: TextModel, call: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        explore_attention(CAT, bert, **call)


def test_too_much_for_a_page(bert: TextModel) -> None:
    explore_attention("a " * (MAX_TOKENS - 2), bert)
    with pytest.raises(ValueError, match=f"has {MAX_TOKENS + 1} tokens; a table of"):
        explore_attention("a " * (MAX_TOKENS - 1), bert)
    # The size of ViT-B/16 on 224 pixels.
    large = np.broadcast_to(np.float32(1 / 197), (12, 12, 197, 197))
    with pytest.raises(
        ValueError, match=rf"6,558,721 weights; .*{MAX_WEIGHTS:,}.*layers=-1"
    ):
        stack_of(large)
    assert stack_of(large, [11]).values.shape == (1, 13, 197, 197)
