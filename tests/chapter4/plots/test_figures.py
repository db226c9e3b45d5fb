"""Figures, read back: what was drawn, on which picture and scale, and how often."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from nets import ConvNet, built, image
from PIL import Image
from torch import nn

from chapter4.attention.words import WordAttention
from chapter4.core.attribution import Attribution
from chapter4.evidence.map_evidence import MapEvidence, evidence_of
from chapter4.inputs.images import Preprocessing
from chapter4.methods.gradcam import GradCAM
from chapter4.methods.gradients import gradient_input, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.plots import figures as plots
from chapter4.plots.attention import visualize_word_attention

HOSTILE = ("$x^2$ _", "\\frac", "$\\frac$", "a_{b", "%s {0}", "naïve ☕", "<b>&amp;")
LONG = (
    "Rhodesian ridgeback",
    "American Staffordshire terrier",
    "soft-coated wheaten terrier, wheaten",
)


def attribution(values: np.ndarray, method: str = "vanilla_gradients") -> Attribution:
    return Attribution(map=values, target=0, score=0.0, method=method)


def ramp(height: int = 8, width: int = 6) -> np.ndarray:
    """0 to 1, every value another."""
    return np.linspace(0, 1, height * width).reshape(height, width)


def grey_picture(height: int = 8, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), 0.5)


def panels(figure: Any) -> list[Any]:
    """The axes with pictures; colour bars have none."""
    return [axes for axes in figure.axes if axes.images]


def one_map(values: np.ndarray, method: str = "vanilla_gradients") -> Any:
    """The panel of one map beside a grey picture."""
    crop = grey_picture(*values.shape)
    return panels(plots.compare_maps(crop, [attribution(values, method)]))[1]


def scale(axes: Any) -> tuple[float, float]:
    """Where the colours of a map begin and end."""
    return axes.images[-1].get_clim()


def drawn(axes: Any) -> np.ndarray:
    """The map: the last picture on the axes."""
    values = axes.images[-1].get_array()
    assert not np.ma.is_masked(values)
    return np.asarray(values)


# --- the overlay belongs on the crop --------------------------------------------------


class Bright(nn.Module):
    """F_0 = sum of the squared pixels, F_1 = 0.

    Its attributions peak at the brightest pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(32, (32, 32), (0.0,) * 3, (1.0,) * 3)
        self.features = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        brightness = self.features(x).square().sum(dim=(1, 2, 3))
        return torch.stack([brightness, 0 * brightness], dim=1)


def marker_of(picture: np.ndarray) -> tuple[float, float]:
    """Row and column of the bright part's centre, as shares of height and width."""
    rows, columns = np.nonzero(picture > 0.9 * picture.max())
    return (rows.mean() + 0.5) / picture.shape[0], (columns.mean() + 0.5) / len(
        picture[0]
    )


def test_the_overlay_sits_on_the_crop_that_the_model_saw() -> None:
    # 96 x 32, dark, with a bright square of 6 pixels off the centre but in the crop.
    pixels = np.full((32, 96, 3), 20, dtype=np.uint8)
    pixels[4:10, 36:42] = 250
    net, photo = Bright(), Image.fromarray(pixels)
    cam = GradCAM(net, "features").generate_cam(photo)
    ig = integrated_gradients(photo, net, n_steps=4)
    crop = np.asarray(photo.crop((32, 0, 64, 32))) / 255
    np.testing.assert_allclose(plots.crop_of(photo, net), crop, atol=1e-6)
    seen, over = panels(plots.compare_maps(plots.crop_of(photo, net), [cam]))
    np.testing.assert_allclose(seen.images[0].get_array(), crop, atol=1e-6)
    figure = plots.visualize_attributions(photo, ig, net)
    for axes, result in ((over, cam), (panels(figure)[2], ig)):
        ground, above = axes.images
        grey = crop @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(ground.get_array(), grey, atol=1e-6)
        np.testing.assert_array_equal(above.get_array(), result.map)
        assert ground.get_extent() == above.get_extent()
        # What is bright in the picture and what is high in the map are drawn in one
        # place.
        places = [marker_of(np.asarray(each.get_array())) for each in axes.images]
        np.testing.assert_allclose(*places, atol=0.1)


def test_a_figure_of_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="one image, not 2"):
        plots.crop_of(image(2), built(ConvNet))


# --- scales, bars, titles -------------------------------------------------------------


def test_saliency_is_drawn_up_to_its_percentile_and_the_bar_says_so() -> None:
    values = 0.2 + ramp(40, 30)  # its smallest value is not 0, where the scale begins
    axes = one_map(values)
    np.testing.assert_array_equal(drawn(axes), values)
    high = np.sort(values.ravel())[int(0.995 * values.size)]
    assert scale(axes) == (0, pytest.approx(high, abs=1 / values.size))
    assert axes.images[-1].colorbar.extend == "max"


def test_a_map_whose_percentile_is_its_maximum_has_no_arrow() -> None:
    values = np.zeros((8, 6))
    values[2:5] = 0.25
    axes = one_map(values)
    assert scale(axes) == (0, 0.25)
    assert axes.images[-1].colorbar.extend == "neither"


def test_a_sparse_map_is_seen() -> None:
    # One pixel in 1200: the percentile is 0, and a scale up to 1 would not show 0.003.
    values = np.zeros((40, 30))
    values[3, 4] = 0.003
    axes = one_map(values)
    assert scale(axes) == (0, 0.003)
    assert axes.images[-1].colorbar.extend == "neither"
    assert "blank" not in axes.get_title()


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_a_class_activation_map_is_drawn_from_zero_to_one(method: str) -> None:
    values = 0.2 + 0.8 * ramp()  # its smallest value is not 0, and must not become 0
    axes = one_map(values, method)
    np.testing.assert_array_equal(drawn(axes), values)
    assert scale(axes) == (0, 1)
    assert axes.images[-1].colorbar.extend == "neither"


def test_every_method_has_a_title_in_words_and_a_unit() -> None:
    results = [attribution(ramp(), method) for method in plots.TITLES]
    _, *shown = panels(plots.compare_maps(grey_picture(), results))
    assert [axes.get_title() for axes in shown] == list(plots.TITLES.values())
    assert not any("_" in axes.get_title() for axes in shown)
    units = [axes.images[-1].colorbar.ax.get_ylabel() for axes in shown]
    assert units == [plots.UNITS[method] for method in plots.TITLES]


def test_a_blank_map_says_so() -> None:
    results = [attribution(np.zeros((8, 6)), method) for method in plots.TITLES]
    figure = plots.compare_maps(grey_picture(), results)
    for axes in panels(figure)[1:]:
        assert "blank" in axes.get_title()
        assert not drawn(axes).any()
        assert scale(axes) == (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    words = [text.get_text() for each in figure.axes for text in each.get_yticklabels()]
    assert "nan" not in " ".join(words).lower()
    net, x = built(ConvNet), image()
    figure = plots.attribution_figure(x, results[0], net)
    assert "blank" in panels(figure)[1].get_title()


def test_two_maps_by_one_method_are_both_drawn() -> None:
    maps = ramp(), ramp()[::-1]
    figure = plots.compare_maps(grey_picture(), [attribution(each) for each in maps])
    _, *shown = panels(figure)
    for axes, values in zip(shown, maps, strict=True):
        np.testing.assert_array_equal(drawn(axes), values)


def test_panels_in_rows_in_their_order_and_under_their_own_titles() -> None:
    maps = {f"map {i}": attribution(ramp() + i) for i in range(4)}
    figure = plots.compare_maps(grey_picture(), maps, columns=2, title="crop")
    assert [axes.get_title() for axes in panels(figure)] == ["crop", *maps]
    for axes, result in zip(panels(figure)[1:], maps.values(), strict=True):
        np.testing.assert_array_equal(drawn(axes), result.map)
    own = [axes for axes in figure.axes if not hasattr(axes, "_colorbar")]
    (empty,) = (axes for axes in own if not axes.images)
    assert not empty.axison


def test_three_panels_of_one_attribution() -> None:
    net, x = built(ConvNet, dtype=torch.float32), image(dtype=torch.float32)
    net.class_names = ("ant", "bee", "cat", "dog")
    result = gradient_input(x, net, 2)
    seen, alone, both = panels(plots.attribution_figure(x, result, net))
    np.testing.assert_allclose(seen.images[0].get_array(), plots.crop_of(x, net))
    assert alone.get_title() == "Gradient × Input: cat"
    np.testing.assert_array_equal(drawn(alone), result.map)
    np.testing.assert_array_equal(drawn(both), result.map)
    assert scale(alone) == scale(both) == (0, plots.upper_limit(result.map))
    for name, title in ((1, "bee"), ("tabby", "tabby")):
        alone = panels(plots.attribution_figure(x, result, net, name))[1]
        assert alone.get_title() == f"Gradient × Input: {title}"


def test_the_top_classes_as_bars() -> None:
    _, ((axes,),) = plots.new_figure(1, 1, (4, 4))
    names, shares = ["ant", "bee", "cat"], [0.6, 0.3, 0.1]
    plots.show_probabilities(axes, names, shares, [False, True, False])
    assert [bar.get_width() for bar in axes.patches] == shares
    heights = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)  # the largest on top
    words = [text.get_text() for text in axes.get_yticklabels()]
    labels = dict(zip(axes.get_yticks(), words, strict=True))
    assert [labels[height] for height in heights] == ["ant", "bee ✓", "cat"]
    assert [bar.get_hatch() for bar in axes.patches] == [None, "//", None]
    assert [text.get_text() for text in axes.texts] == ["60.0%", "30.0%", "10.0%"]
    plt.close("all")


def test_any_class_name_can_be_drawn() -> None:
    figure, ((axes,),) = plots.new_figure(1, 1, (4, 4))
    some, every = [0.1] * len(HOSTILE), " ".join(HOSTILE)
    plots.show_probabilities(axes, HOSTILE, some, [True] * len(HOSTILE))
    net, x = built(ConvNet), image()
    maps = {name: attribution(ramp()) for name in HOSTILE}
    for each in (
        plots.finish(figure),
        plots.compare_maps(grey_picture(), maps, title=every),
        plots.text_figure(HOSTILE, some, every, f"share in the {every} logit"),
        plots.attribution_figure(x, vanilla_gradients(x, net, 0), net, every),
    ):
        each.draw_without_rendering()


def test_long_names_are_not_cut_off_and_do_not_collide() -> None:
    top = "\n".join(f"{i}. {name} 96.4%" for i, name in enumerate(LONG, 1))
    maps = {
        f"{title}\n{LONG[i % 3]}": attribution(ramp(64, 64), method)
        for i, (method, title) in enumerate(plots.TITLES.items())
    }
    first = dict(list(maps.items())[:3])
    net, x = built(ConvNet), image()
    ig = integrated_gradients(x, net, 0, n_steps=2)
    for figure in (
        plots.compare_maps(grey_picture(64, 64), first, title=top),
        plots.compare_maps(grey_picture(64, 64), maps, columns=3, title=top),
        plots.attribution_figure(x, ig, net, LONG[2]),
    ):
        figure.draw_without_rendering()
        boxes = [axes.title.get_window_extent() for axes in panels(figure)]
        for i, box in enumerate(boxes):
            assert box.x0 >= -1
            assert box.x1 <= figure.bbox.x1 + 1
            assert box.y1 <= figure.bbox.y1 + 1
            assert not any(box.overlaps(other) for other in boxes[:i])
        # The picture stays the larger part of its panel.
        for axes, box in zip(panels(figure), boxes, strict=True):
            assert axes.get_window_extent().height > 1.5 * box.height


# --- words on coloured grounds --------------------------------------------------------


def words_of(figure: Any) -> list[Any]:
    return [text for text in figure.axes[0].texts if text.get_bbox_patch() is not None]


def test_words_stand_on_the_colour_of_their_score() -> None:
    words, scores = ["good", "so-so", "bad", "awful"], [0.5, 0.0, -0.25, -1.0]
    figure = plots.text_figure(words, scores, "a title", "share in the POSITIVE logit")
    assert [text.get_text() for text in words_of(figure)] == words
    colours = [
        np.array(text.get_bbox_patch().get_facecolor()[:3]) for text in words_of(figure)
    ]
    wanted = [plots.diverging()(0.5 + 0.5 * score)[:3] for score in scores]
    np.testing.assert_allclose(colours, wanted, atol=0.02)
    assert colours[0][0] > colours[0][2]
    assert colours[3][2] > colours[3][0]
    # 0 has no colour, although the scores are not centred.
    assert np.ptp(colours[1]) < 0.05
    texts = figure.axes[0].texts
    rest = [text.get_text() for text in texts if text.get_bbox_patch() is None]
    assert rest == ["a title", "+0.50", "+0.00", "-0.25", "-1.00"]
    assert figure.axes[1].get_xlabel() == "share in the POSITIVE logit"
    assert figure.axes[1].get_xlim() == (-1, 1)


def test_long_texts_go_on_in_new_rows_inside_the_figure() -> None:
    words = [f"word{'s' * (i % 9)}" for i in range(60)] + ["x" * 200]
    scores = [(-1) ** i * i / 60 for i in range(61)]
    figure = plots.text_figure(words, scores, "title", "label")
    figure.draw_without_rendering()
    placed = [text.get_window_extent() for text in words_of(figure)]
    assert len(placed) == 61
    rows = sorted({round(box.y0) for box in placed}, reverse=True)
    assert len(rows) > 3
    order = sorted(range(61), key=lambda i: (-round(placed[i].y0), placed[i].x0))
    assert order == list(range(61))
    for i, box in enumerate(placed):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in placed[:i])
    assert words_of(figure)[-1].get_text().endswith("x…")


def test_a_text_without_any_score_is_drawn() -> None:
    figure = plots.text_figure(["nothing"], [0.0], "title", "label")
    figure.draw_without_rendering()
    assert figure.axes[1].get_xlim() == (-1, 1)


# --- figures are closed, and a notebook shows each once -------------------------------


def figures() -> list[Callable[[], Any]]:
    net, x = built(ConvNet), image()
    result, none = vanilla_gradients(x, net, 0), np.zeros(2)
    words = WordAttention(
        ["a", "b"], np.eye(2), none == 1, [1, 1], none, False, 4, "by hand"
    )
    return [
        lambda: plots.compare_maps(grey_picture(), [attribution(ramp())]),
        lambda: plots.attribution_figure(x, result, net),
        lambda: plots.text_figure(["a"], [1.0], "title", "label"),
        lambda: visualize_word_attention(words),
    ]


@pytest.mark.parametrize("interactive", [False, True])
def test_no_figure_stays_open(interactive: bool) -> None:
    """Nor in an interactive session that has no window."""
    assert plt.get_fignums() == []
    with plt.ion() if interactive else plt.ioff(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in figures():
            make()
            assert plt.get_fignums() == []


def test_an_interactive_session_shows_the_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import matplotlib

    shown: list[Any] = []
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "TkAgg")
    monkeypatch.setattr(
        "matplotlib.figure.Figure.show", lambda self: shown.append(self)
    )
    with plt.ion():
        figure = figures()[0]()
    assert shown == [figure]
    assert plt.get_fignums() == [figure.number]
    plt.close("all")
    figure = figures()[0]()  # the same backend in a script
    assert len(shown) == 1
    assert plt.get_fignums() == []


def test_a_program_that_a_notebook_starts_only_closes_its_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import matplotlib

    # The kernel hands its backend down to the programs that it starts; there is no cell
    # to show a figure in.
    monkeypatch.setattr(
        matplotlib, "get_backend", lambda: "module://matplotlib_inline.backend_inline"
    )
    assert all(make().axes for make in figures())
    assert plt.get_fignums() == []


SETUP = """
import matplotlib.pyplot as plt
import numpy as np
from chapter4.plots import figures as plots
from chapter4.core.attribution import Attribution
values = np.linspace(0, 1, 48).reshape(8, 6)
result = Attribution(map=values, target=0, score=0.0, method="vanilla_gradients")
def maps(): return plots.compare_maps(np.full((8, 6, 3), 0.5), [result])
def text(): return plots.text_figure(["a", "b"], [1.0, -1.0], "title", "label")
"""
# Source of a cell -> figures that it shows. The cells run in this order, in one kernel.
CELLS = [
    ("fig = maps()", 1),
    ("maps()", 1),
    ("maps();", 1),
    ("fig", 1),
    ("fig", 1),
    ("new = maps()\nfig", 2),
    ("for _ in range(3): maps()", 3),
    ("words = text()", 1),
    ("text()", 1),
    ("text();", 1),
    ("words", 1),
    ("display(words)", 1),
    ("1 + 1", 0),
    ("assert plt.get_fignums() == []", 0),
    ("%matplotlib agg", 0),
    ("maps()", 1),
    ("fig = maps()", 0),
    ("fig", 1),
    ("assert plt.get_fignums() == []", 0),
]


def test_a_notebook_draws_each_figure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("MPLBACKEND")  # the kernel chooses the inline one
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    sources = [SETUP, *(source for source, _ in CELLS)]
    book = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own
        NotebookClient(book, timeout=900, kernel_name="python3").execute()
    for cell, (source, wanted) in zip(book.cells[1:], CELLS, strict=True):
        bundles = [output.data for output in cell.outputs if "data" in output]
        pictures = ["image/png" in data for data in bundles]
        assert sum(pictures) == wanted, f"figures after {source!r}"
        for data, picture in zip(bundles, pictures, strict=True):
            assert picture or "Figure" not in data.get("text/plain", ""), source
        assert all(output.get("name") != "stderr" for output in cell.outputs), source


@pytest.mark.parametrize(("delta", "mark"), [(0.02, ""), (0.3, "INCOMPLETE: ")])
def test_a_text_figure_has_its_evidence_in_small_print(delta: float, mark: str) -> None:
    known = MapEvidence(blank=False, delta=delta, stage="head", rank_correlation=0.25)
    figure = plots.text_figure(["a", "b"], [1.0, -1.0], "title", "label", known)
    (line,) = figure.texts
    error = f"{mark}completeness error {delta:.1%}"
    assert line.get_text() == f"{error}; rank correlation with random head: 0.25"
    assert (line.get_color() == plots.INCOMPLETE_COLOUR) is bool(mark)
    figure.draw_without_rendering()
    bar = figure.axes[1]
    assert line.get_window_extent().y1 <= bar.xaxis.label.get_window_extent().y0
    assert line.get_window_extent().y0 >= 0
    assert not plots.text_figure(["a"], [1.0], "title", "label").texts


def test_a_map_has_the_evidence_of_its_result_below_it() -> None:
    net, x = built(ConvNet), image()
    result = integrated_gradients(x, net, 1, n_steps=1)
    for figure in (
        plots.compare_maps(plots.crop_of(x, net), [result]),
        plots.attribution_figure(x, result, net),
    ):
        (words,) = panels(figure)[1].texts
        assert words.get_text() == "\n".join(evidence_of(result).lines())
