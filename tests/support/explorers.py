"""Reading an interactive figure.

Its states come from its HTML, its maps from their pictures, and the rest is what a
browser shows.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import nets
import numpy as np
from bs4 import BeautifulSoup
from PIL import Image

from chapter4.explore import Explorer
from chapter4.explore.pictures import SHADES, palette, settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = (
    '</title></script><script>document.title = "broken"</script><!-- <img src=x'
    " onerror=x()> & \"q\" 's' \u2028"
)


def small_model() -> Any:
    """A small network in float64 whose classes have names, one of them hostile."""
    found = nets.built(nets.ConvNet)
    found.class_names = ["cat", HOSTILE, "dog", "hen"]
    return found


def data_of(figure: Explorer) -> dict[str, Any]:
    """What the figure's own HTML holds for its script."""
    page = BeautifulSoup(figure._repr_html_(), "html.parser")
    return json.loads(page.find(attrs={"data-part": "data"}).string)


def states(figure: Explorer) -> dict[tuple[int, ...], Any]:
    """The states in the figure's own HTML, by setting."""
    data = data_of(figure)
    for state in data["states"]:
        for change in state["parts"].values():
            for key in {"src", "ground"} & set(change):
                change[key] = data["pictures"][change[key]]
    return dict(zip(settings(figure.controls), data["states"], strict=True))


def shades(address: str, cmap: str, count: int = SHADES) -> np.ndarray:
    """The map's shades, 0 to count - 1, read back from the picture."""
    file = BytesIO(base64.b64decode(address.split(",")[1]))
    pixels = np.asarray(Image.open(file).convert("RGB"))
    colours = {tuple(c): i for i, c in enumerate(palette(cmap, count).tolist())}
    return np.array([[colours[tuple(p)] for p in row] for row in pixels.tolist()])


def expected(values: np.ndarray, limit: float, count: int = SHADES) -> np.ndarray:
    """The shades that the map must have."""
    return np.rint(np.clip(values / limit, 0, 1) * (count - 1))


SEEN = """(figure) => {
  const part = (name) => figure.querySelector(`[data-part="${name}"]`);
  return {
    pictures: [...figure.querySelectorAll("img")].map(
      (i) => [i.dataset.part, i.src, i.alt, i.naturalWidth > 0]
    ),
    said: part("said").textContent,
    controls: !part("controls").hidden,
    off: !part("off").hidden,
    words: [...figure.querySelectorAll("output")].map((o) => o.textContent),
    spoken: [...figure.querySelectorAll("input")].map(
      (i) => i.getAttribute("aria-valuetext")
    ),
  };
}"""


def seen(page: Page, which: int = 0) -> dict[str, Any]:
    """What a figure of the page shows now."""
    figure = page.locator("figure.explorer").nth(which)
    page.wait_for_function("[...document.images].every((i) => i.complete)")
    return figure.evaluate(SEEN)


def shows(found: dict[str, Any], state: Any) -> None:
    """Assert that the page shows this state: pictures, their texts, and sentence."""
    assert found["said"] == state["said"]
    for name, source, alt, drawn in found["pictures"]:
        assert source == state["parts"][name]["src"]
        assert alt == state["parts"][name]["alt"]
        assert drawn
