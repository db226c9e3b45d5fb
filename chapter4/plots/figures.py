"""Every figure of images and texts.

Raw maps become pictures here, and they are scaled only here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from chapter4.inputs.images import brightness, image_tensor, seen_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from torch import nn

    from chapter4.core.attribution import Attribution
    from chapter4.evidence.map_evidence import MapEvidence
    from chapter4.inputs.images import ImageInput
    from chapter4.methods.integrated_gradients import IntegratedGradientsAttribution

# One perceptually uniform colour map for each kind of map. Signed maps use seaborn's
# vlag, centred at 0.
SALIENCY_CMAP = "inferno"
CAM_CMAP = "viridis"
# A saliency map has a few huge values, so the colour scale ends at this percentile. The
# arrow of the colour bar shows that there are larger values.
PERCENTILE = 99.5
OVERLAY_ALPHA = 0.55
# Inches. Three of them in a row are still legible at the width of a page's text.
PANEL = (3.4, 3.3)
# The size is in points, and the colour is dark enough on white.
EVIDENCE_SIZE, INCOMPLETE_COLOUR = 8.5, "#a40000"
# matplotlib's backends that have no window.
FILE_BACKENDS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
# How many characters fit: of a title in one inch, of a bar's name on a line, and of a
# word on its line.
TITLE_PITCH, NAME_WIDTH, WORD_WIDTH = 9, 22, 80

# The method's name in a result -> the words of a title.
TITLES = {
    "vanilla_gradients": "Vanilla gradients",
    "gradient_input": "Gradient × Input",
    "smooth_grad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "integrated_gradients": "Integrated Gradients",
}
UNITS = {
    "vanilla_gradients": "max over channels of |gradient|",
    "gradient_input": "max over channels of |x · gradient|",
    "smooth_grad": "max over channels of |mean gradient|",
    "gradcam": "share of the map's maximum",
    "gradcam++": "share of the map's maximum",
    "integrated_gradients": "sum over channels of |attribution|",
}


def new_figure(
    rows: int, columns: int, size: tuple[float, float]
) -> tuple[Figure, np.ndarray]:
    """Make a white figure whose layout lets nothing overlap.

    Args:
        rows: The number of rows of panels.
        columns: The number of columns of panels.
        size: The width and height of one panel, in inches.

    Returns:
        The figure and its axes, (rows, columns).
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * size[0], rows * size[1]),
        squeeze=False,
        layout="constrained",
        facecolor="white",
        FigureClass=_shown_once(),
    )
    return figure, axes


def finish(figure: Figure) -> Figure:
    """Return a figure, and display it in a notebook or an interactive session."""
    import matplotlib
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend().lower()
    if "inline" in backend:
        figure._ipython_display_()  # type: ignore[attr-defined]  # of ShownOnce
    elif plt.isinteractive() and backend not in FILE_BACKENDS:
        figure.show()
        return figure
    # Otherwise pyplot keeps every figure in memory, also hundreds of them. The caller's
    # figure still works after this.
    plt.close(figure)
    return figure


def crop_of(image: ImageInput, model: nn.Module) -> np.ndarray:
    """The crop of one image that the model sees.

    Every map and every overlay belongs on this crop.

    Args:
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        model: The model that sees it.

    Returns:
        The pixels, (H, W, 3) in [0, 1].

    Raises:
        ValueError: For several images, or an image that can't be read.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.
    """
    x = image_tensor(image, model)
    if len(x) != 1:
        raise ValueError(f"a figure shows one image, not {len(x)}")
    return seen_pixels(x[0], model)


def show_image(axes: Axes, pixels: np.ndarray, title: str) -> None:
    """Draw a picture (H, W, 3) in [0, 1] with its title."""
    axes.imshow(pixels)
    _title(axes, title)
    axes.set_axis_off()


def show_saliency(
    axes: Axes, values: np.ndarray, title: str, label: str, limit: float | None = None
) -> None:
    """Draw a non-negative map with its colour bar.

    Args:
        axes: The panel to draw in.
        values: The map, (H, W).
        title: The title of the panel.
        label: The label of the colour bar.
        limit: Where the colour scale ends; None for the map's 99.5th percentile.
    """
    limit = upper_limit(values) if limit is None else limit
    drawn = axes.imshow(values, cmap=SALIENCY_CMAP, vmin=0, vmax=limit or 1)
    _title(axes, title)
    axes.set_axis_off()
    _colour_bar(axes, drawn, label, extend="max" if values.max() > limit else "neither")


def show_overlay(
    axes: Axes,
    pixels: np.ndarray,
    values: np.ndarray,
    title: str,
    label: str,
    cmap: str = CAM_CMAP,
    limit: float = 1.0,
) -> None:
    """Draw a map over the crop that the model saw.

    The crop is drawn in grey, so that colour means the map.

    Args:
        axes: The panel to draw in.
        pixels: The crop, (H, W, 3) in [0, 1].
        values: The map, (H, W).
        title: The title of the panel.
        label: The label of the colour bar.
        cmap: The colour map.
        limit: Where the colour scale ends.
    """
    axes.imshow(brightness(pixels), cmap="gray", vmin=0, vmax=1)
    drawn = axes.imshow(values, cmap=cmap, vmin=0, vmax=limit or 1, alpha=OVERLAY_ALPHA)
    _title(axes, title)
    axes.set_axis_off()
    beyond = values.max() > limit * (1 + 1e-6)
    _colour_bar(axes, drawn, label, extend="max" if beyond else "neither")


def show_result(
    axes: Axes,
    pixels: np.ndarray,
    result: Attribution,
    title: str | None = None,
    evidence: MapEvidence | None = None,
) -> None:
    """Draw one attribution, with the evidence below it.

    A class activation map is drawn over the crop, anything else as a map of its own.

    Args:
        axes: The panel to draw in.
        pixels: The crop, (H, W, 3) in [0, 1].
        result: The attribution of one image.
        title: The title of the panel; None for the name of the method.
        evidence: The evidence; None for what the result carries itself.
    """
    from chapter4.evidence.map_evidence import evidence_of

    show_evidence(axes, evidence_of(result) if evidence is None else evidence)
    title = TITLES.get(result.method, result.method) if title is None else title
    label = UNITS.get(result.method, "attribution")
    is_cam = result.method in ("gradcam", "gradcam++")
    if not result.map.any():
        why = "the ReLU left nothing" if is_cam else "zero everywhere"
        title += f"\n(blank: {why})"
    if is_cam:
        show_overlay(axes, pixels, result.map, title, label)
    else:
        show_saliency(axes, result.map, title, label)


def show_evidence(axes: Axes, evidence: MapEvidence) -> None:
    """Write the evidence below a map, in red where the map is incomplete."""
    if evidence.lines():
        axes.text(
            0.5,
            -0.03,
            "\n".join(evidence.lines()),
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=EVIDENCE_SIZE,
            color=INCOMPLETE_COLOUR if evidence.incomplete else "#333333",
            parse_math=False,
        )


def upper_limit(values: np.ndarray) -> float:
    """Where the colour scale of non-negative maps ends.

    It is their 99.5th percentile, or their maximum where that percentile is 0.
    """
    return float(np.percentile(values, PERCENTILE)) or float(values.max())


def compare_maps(
    pixels: np.ndarray,
    results: Sequence[Attribution] | Mapping[str, Attribution],
    columns: int | None = None,
    title: str = "What the model sees",
    evidence: Sequence[MapEvidence] | None = None,
) -> Figure:
    """Draw the crop that the model saw, and beside it each attribution.

    Each attribution has its own colour scale.

    Args:
        pixels: The crop, (H, W, 3) in [0, 1], as :func:`chapter4.crop_of` returns it.
        results: Attributions of one image, or a mapping from panel title to
            attribution.
        columns: The number of panels in a row. None for one row of up to three panels,
            or two rows.
        title: The title of the crop.
        evidence: The evidence for each map, in the order of ``results``. None for what
            the results carry themselves.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.
    """
    titles: Sequence[str | None] = [None] * len(results)
    if isinstance(results, Mapping):
        titles, results = list(results), list(results.values())
    count = len(results) + 1
    if columns is None:
        columns = count if count <= 3 else -(-count // 2)
    figure, grid = new_figure(-(-count // columns), columns, PANEL)
    axes = list(grid.flat)
    show_image(axes[0], pixels, title)
    beside = [None] * len(results) if evidence is None else evidence
    for panel, result, name, known in zip(
        axes[1:], results, titles, beside, strict=False
    ):
        show_result(panel, pixels, result, name, known)
    for panel in axes[count:]:
        panel.set_axis_off()
    return finish(figure)


def attribution_figure(
    image: ImageInput,
    result: Attribution,
    model: nn.Module,
    name: int | str | None = None,
) -> Figure:
    """Draw three panels: the crop, the map with its colour bar, and the overlay."""
    from chapter4.evidence.map_evidence import evidence_of
    from chapter4.inputs.models import class_names_of

    words = result.target if name is None else name
    if not isinstance(words, str):
        # The target of one image is one class, not a list.
        words = class_names_of(model)(int(cast(int, words)))
    pixels = crop_of(image, model)
    figure, ((first, second, third),) = new_figure(1, 3, PANEL)
    show_image(first, pixels, "What the model sees")
    title = f"{TITLES.get(result.method, result.method)}: {words}"
    label, end = UNITS.get(result.method, "attribution"), upper_limit(result.map)
    if not result.map.any():
        title += " (blank)"
    show_saliency(second, result.map, title, label)
    show_evidence(second, evidence_of(result))
    show_overlay(third, pixels, result.map, "Overlay", label, SALIENCY_CMAP, end)
    return finish(figure)


def visualize_attributions(
    image: ImageInput,
    attributions: IntegratedGradientsAttribution,
    model: nn.Module,
    pred_class: int | str | None = None,
) -> Figure:
    """Draw three panels: the crop, the map of ``|attributions|``, and the overlay.

    Args:
        image: The photo that was explained: a path, a PIL image or a normalised tensor
            (3, H, W) or (1, 3, H, W).
        attributions: The result for this photo.
        model: The model that was explained.
        pred_class: The class to name in the title, as an index or in words; None for
            the result's own target.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.

    Raises:
        ValueError: For several images, or an image that can't be read.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.
    """
    return attribution_figure(image, attributions, model, pred_class)


def show_probabilities(
    axes: Axes,
    names: Sequence[str],
    probabilities: Sequence[float],
    marked: Sequence[bool],
) -> None:
    """Draw the top classes as bars, the largest on top.

    A marked class, which is the true one, has a hatched bar and a tick mark.

    Args:
        axes: The panel to draw in.
        names: The names of the classes, from the most to the least probable.
        probabilities: Their probabilities.
        marked: Whether each class is marked.
    """
    positions = np.arange(len(names))[::-1]
    bars = axes.barh(positions, probabilities, color="#4c72b0")
    for bar, probability, mark in zip(bars, probabilities, marked, strict=True):
        if mark:
            bar.set(hatch="//", facecolor="#dd8452")
        axes.text(
            probability + 0.01,
            bar.get_y() + bar.get_height() / 2,
            f"{probability:.1%}",
            va="center",
            fontsize=9,
        )
    ticked = [
        fill(f"{name} ✓" if mark else name, NAME_WIDTH)
        for name, mark in zip(names, marked, strict=True)
    ]
    axes.set_yticks(positions, ticked, parse_math=False)
    axes.set_xlim(0, min(1.18, max(probabilities) * 1.3 + 0.05))
    axes.set_xlabel("probability")
    axes.set_title("Top classes (✓ true)" if any(marked) else "Top classes")
    axes.spines[["top", "right"]].set_visible(False)


def text_figure(
    words: Sequence[str],
    scores: Sequence[float],
    title: str,
    label: str,
    evidence: MapEvidence | None = None,
) -> Figure:
    """Draw words in reading order on coloured backgrounds, with their scores below.

    The colour scale is diverging and centred at 0.

    Args:
        words: The words.
        scores: Their signed scores.
        title: The title of the figure.
        label: The label of the colour bar.
        evidence: The evidence, which is written in small print.

    Returns:
        The figure. It is displayed only in a notebook or an interactive session.
    """
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    words = [w if len(w) <= WORD_WIDTH else w[: WORD_WIDTH - 1] + "…" for w in words]
    limit = max(map(abs, scores), default=0.0) or 1.0
    mapping = ScalarMappable(Normalize(-limit, limit), diverging())
    width, row_height, size = 9.0, 0.62, 12.0
    # In a fixed-width font, the width of a word is known before it is drawn: 0.6 em for
    # each character.
    advance = [max(len(word), 6) * 0.6 * size / 72 + 0.2 for word in words]
    rows: list[list[int]] = [[]]
    for i, step in enumerate(advance):
        if rows[-1] and sum(advance[j] for j in rows[-1]) + step > width - 0.3:
            rows.append([])
        rows[-1].append(i)
    known = "; ".join(evidence.lines()) if evidence else ""
    foot = 0.27 if known else 0.0
    height = row_height * len(rows) + 1.15 + foot
    figure = plt.figure(
        figsize=(width, height), facecolor="white", FigureClass=_shown_once()
    )
    below = (foot + 0.62) / height
    axes = figure.add_axes((0, below, 1, 1 - below))
    axes.set(xlim=(0, width), ylim=(height - foot - 0.62, 0))
    axes.set_axis_off()
    axes.text(
        0.15, 0.28, title, fontsize=13, weight="bold", va="center", parse_math=False
    )
    style: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "parse_math": False,
        "family": "monospace",
    }
    for row, members in enumerate(rows):
        left = 0.15
        for i in members:
            colour = mapping.to_rgba(np.array(scores[i]))
            ink = "white" if brightness(np.array(colour[:3])) < 0.5 else "black"
            middle, y = left + (advance[i] - 0.2) / 2, 0.72 + row * row_height
            word = axes.text(middle, y, words[i], fontsize=size, color=ink, **style)
            word.set_bbox(
                {
                    "boxstyle": "round,pad=0.25",
                    "facecolor": colour,
                    "edgecolor": "none",
                }
            )
            number = f"{scores[i]:+.2f}"
            axes.text(middle, y + 0.27, number, fontsize=8.5, color="#333333", **style)
            left += advance[i]
    bar = figure.add_axes((0.25, (foot + 0.42) / height, 0.5, 0.1 / height))
    figure.colorbar(mapping, cax=bar, orientation="horizontal").set_label(
        label, fontsize=9, parse_math=False
    )
    bar.tick_params(labelsize=8)
    if evidence and known:
        figure.text(
            0.5,
            0.08 / height,
            known,
            ha="center",
            fontsize=EVIDENCE_SIZE,
            color=INCOMPLETE_COLOUR if evidence.incomplete else "#333333",
            parse_math=False,
        )
    return finish(figure)


def diverging() -> Colormap:
    """The map vlag of seaborn: blue below 0, white at 0, red above.

    Both ends are equally light, unlike those of a scale from red to green.
    """
    import seaborn

    return seaborn.color_palette("vlag", as_cmap=True)


def _title(axes: Axes, title: str) -> None:
    grid = axes.get_gridspec()
    # The width of the panel, in inches.
    width = axes.figure.bbox.width / axes.figure.dpi / (grid.ncols if grid else 1)
    lines: list[str] = []
    for size in (12, 9):
        fitting = int(TITLE_PITCH * width * 12 / size)
        lines = [part for line in title.splitlines() for part in wrap(line, fitting)]
        if len(lines) <= 3:
            break  # in the larger font more would take the picture's space
    # A class name is text: a dollar sign in it starts no formula.
    axes.set_title("\n".join(lines), fontsize=size, parse_math=False)


def _colour_bar(axes: Axes, drawn: Any, label: str, extend: str) -> None:
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, extend=extend)
    bar.set_label(label, fontsize=9.5)
    bar.ax.tick_params(labelsize=9)


@cache
def _shown_once() -> Any:
    from matplotlib.figure import Figure

    class ShownOnce(Figure):
        """A figure that a notebook draws only once in a cell.

        It is drawn when it is made, and not again because the call returned it.
        """

        shown_by: int | None = None

        def _ipython_display_(self) -> None:
            from io import BytesIO

            from IPython import get_ipython
            from IPython.display import display

            shell = get_ipython()
            if shell is None:
                # A program that a notebook started has the notebook's backend, but
                # nobody sees its figures.
                return
            cell = shell.execution_count
            if cell != self.shown_by:
                self.shown_by = cell
                buffer = BytesIO()
                self.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
                display({"image/png": buffer.getvalue()}, raw=True)

    return ShownOnce
