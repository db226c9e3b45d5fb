"""What the tests of the interactive figures share: one browser, and the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import nets
import pytest
import torch
from chromium import launched
from explorers import small_model
from PIL import Image

from chapter4.inputs.models import TextModel, load_bert, load_vit
from chapter4.shapes.drawing import make_shape

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; nothing is downloaded.

    It ends with its file: while Playwright runs, nothing else may use asyncio.
    """
    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def bert() -> TextModel:
    """The embedded MiniLM."""
    return load_bert()


@pytest.fixture(scope="session")
def vit() -> torch.nn.Module:
    """The embedded tiny Vision Transformer."""
    return load_vit()


@pytest.fixture(scope="session")
def star() -> Image.Image:
    """The picture of the book's page."""
    return Image.fromarray(make_shape(3, seed=7).image)


@pytest.fixture(scope="session")
def model() -> Any:
    """A small network whose classes have names."""
    return small_model()


@pytest.fixture(scope="session")
def x() -> torch.Tensor:
    """One small picture, (1, 3, 8, 6)."""
    return nets.image()
