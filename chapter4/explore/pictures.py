"""Pictures for explorers: maps in a few shades, photos, and panels with a scale.

The maps use uniform colour maps. ``explorer`` makes a figure that shows one state for
each setting.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from chapter4.explore.view import Choice, Explorer, Slider, file_text
from chapter4.inputs.images import brightness, image_tensor, picture_url

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

# Shades of a map: as many as the eye distinguishes in a fine grain. A picture has half
# the size of one with 64 shades.
SHADES = 16
CSS = "pictures.css"

# The attributes that change in one part of the figure; "src" and "ground" hold a
# picture.
Change = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """What the figure shows at one setting.

    Attributes:
        said: The sentence.
        parts: The attributes of each part of the figure that changes.
    """

    said: str
    parts: Mapping[str, Change]


@dataclass(frozen=True)
class Panel:
    """One picture with a heading and, for a map, its colour scale.

    Attributes:
        name: The name of the part that holds the picture. The end of its scale is the
            part ``NAME-high``.
        heading: The words above the picture.
        cmap: The scale's colours, by matplotlib's name, or None for a photo.
        unit: The quantity that the scale shows.
        cells: Whether to enlarge without smoothing, for the few cells of a grid.
    """

    name: str
    heading: str
    cmap: str | None = None
    unit: str = ""
    cells: bool = False

    def html(self, change: Change, high: str = "") -> str:
        """The panel at the first setting."""
        src, alt = html.escape(change["src"]), html.escape(change["alt"])
        ground = style = ""
        if "ground" in change:
            ground = f"background-image: url('{change['ground']}')"
        if "opacity" in change:
            style = f"opacity: {change['opacity']};"
        if self.cells:
            style += " image-rendering: pixelated;"
        return (
            '<div class="explorer-panel"><p'
            f' class="explorer-name">{html.escape(self.heading)}</p><span'
            f' class="explorer-frame" style="{ground}"><img data-part="{self.name}"'
            f' src="{src}" alt="{alt}" style="{style}"></span>{self._scale(high)}</div>'
        )

    def _scale(self, high: str) -> str:
        if self.cmap is None:
            return ""
        # As many steps as the picture has shades, with hard edges between them.
        colours = [f"rgb({r} {g} {b})" for r, g, b in palette(self.cmap)]
        steps = ", ".join(
            f"{c} {100 * i / SHADES:.4g}% {100 * (i + 1) / SHADES:.4g}%"
            for i, c in enumerate(colours)
        )
        return (
            '<p class="explorer-scale"><span>0</span><span class="explorer-bar" '
            f'style="background: linear-gradient(to right, {steps})"></span>'
            f'<span data-part="{self.name}-high">{html.escape(high)}</span></p>'
            f'<p class="explorer-scale">{html.escape(self.unit)}</p>'
        )


def one_image(image: ImageInput, model: nn.Module) -> Tensor:
    """The image that a figure shows, normalised, (1, 3, H, W).

    Raises:
        ValueError: If there are several.
    """
    x = image_tensor(image, model)
    if len(x) != 1:
        raise ValueError(f"the figure shows one image, not {len(x)}")
    return x


def settings(controls: Sequence[Slider | Choice]) -> Iterator[tuple[int, ...]]:
    """Every setting of the controls, the last one fastest: the order of the states."""
    return product(*(range(len(control.values)) for control in controls))


def explorer(
    title: str,
    controls: Sequence[Slider | Choice],
    panels: Sequence[Panel],
    states: Sequence[State],
    caption: str,
    *,
    below: str = "",
) -> Explorer:
    """A figure with one state for each setting, in the order of ``settings``.

    Args:
        title: What the figure is.
        controls: The controls in their order.
        panels: The pictures that are side by side.
        states: One state for each setting.
        caption: The caption as plain text.
        below: HTML under the panels, such as a plot. The states change its parts too.

    Returns:
        The figure.
    """
    shown = dict(zip(settings(controls), states, strict=True))
    first = shown[tuple(control.start for control in controls)]
    stage = "\n".join(
        panel.html(
            first.parts[panel.name],
            first.parts.get(f"{panel.name}-high", {}).get("words", ""),
        )
        for panel in panels
    )
    # Several states may share a picture, which is held once: its data URL -> its index.
    pictures: dict[str, int] = {}

    def held(key: str, value: Any) -> Any:
        is_picture = key in ("src", "ground")
        return pictures.setdefault(value, len(pictures)) if is_picture else value

    coded = [
        {
            "said": state.said,
            "parts": {
                name: {key: held(key, value) for key, value in change.items()}
                for name, change in state.parts.items()
            },
        }
        for state in states
    ]
    return Explorer(
        title=title,
        controls=controls,
        stage=(
            f"<style>\n{file_text(CSS)}</style>\n<div"
            f' class="explorer-panels">\n{stage}\n</div>\n{below}'
        ),
        said=first.said,
        caption=caption,
        data={
            "controls": [[control.name, len(control.values)] for control in controls],
            "pictures": list(pictures),
            "states": coded,
        },
        script="pictures.js",
    )


def map_picture(
    values: np.ndarray, limit: float, cmap: str, shades: int = SHADES
) -> str:
    """A non-negative map (H, W) as a data address, in a few shades from 0 to ``limit``.

    The picture is lossless: colour k of the palette represents values around
    ``k / (shades - 1) * limit``. Values above the limit get the last colour.
    """
    share = np.clip(values / limit, 0, 1) if limit > 0 else np.zeros_like(values)
    level = np.rint(share * (shades - 1)).astype(int)
    return picture_url(palette(cmap, shades)[level], "webp", lossless=True)


def photo_picture(pixels: np.ndarray, quality: int = 80) -> str:
    """A picture (H, W, 3) in [0, 1] as a data address; close to it, not equal."""
    return picture_url(np.rint(pixels * 255).astype(np.uint8), "webp", quality=quality)


def palette(cmap: str, shades: int = SHADES) -> np.ndarray:
    """The shades of a colour map, (shades, 3), from 0 to 255."""
    from matplotlib import colormaps

    colours = colormaps[cmap](np.linspace(0, 1, shades))[:, :3]
    return np.rint(colours * 255).astype(np.uint8)


def grey(pixels: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) without its colour, so that colour means the map."""
    return np.repeat(brightness(pixels)[..., None], 3, axis=2)


def halved(values: np.ndarray) -> np.ndarray:
    """The mean of each block of 2 x 2 pixels: (H, W) to (H // 2, W // 2)."""
    height, width = (side // 2 * 2 for side in values.shape)
    blocks = values[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return blocks.mean(axis=(1, 3))
