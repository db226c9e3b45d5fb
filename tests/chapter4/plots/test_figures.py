"""Figures, read back: what was drawn, on which picture and scale, and how often."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from nets import SIZE, ByHand, ConvNet, built, image
from PIL import Image
from torch import nn

from chapter4.core.attribution import Attribution
from chapter4.evidence.map_evidence import MapEvidence, evidence_of
from chapter4.inputs.images import Preprocessing
from chapter4.methods.gradcam import GradCAM
from chapter4.methods.gradients import gradient_input, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.plots import figures as plots
from chapter4.plots.figures import visualize_attributions

HOSTILE = ("$x^2$ _", "\\frac", "$\\frac$", "a_{b", "%s {0}", "naïve ☕", "<b>&amp;")
LONG = (
    "Rhodesian ridgeback",
    "American Staffordshire terrier",
    "soft-coated wheaten terrier, wheaten",
)


def attribution(
    values: Any, method: str = "vanilla_gradients", target: int = 0
) -> Attribution:
    return Attribution(
        map=np.asarray(values, dtype=float), target=target, score=0.0, method=method
    )


def ramp(height: int = 8, width: int = 6) -> np.ndarray:
    """0 to 1, every value another."""
    return np.linspace(0, 1, height * width).reshape(height, width)


def grey_picture(height: int = 8, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), 0.5)


def panels(figure: Any) -> list[Any]:
    """The axes with pictures; colour bars have none."""
    return [axes for axes in figure.axes if axes.images]


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
        self.preprocessing = Preprocessing(
            32, (32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        )
        self.features = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        brightness = self.features(x).square().sum(dim=(1, 2, 3))
        return torch.stack([brightness, 0 * brightness], dim=1)


def photo_with_marker() -> Image.Image:
    """96 x 32, dark, with a bright square off the centre but in the centre crop.

    The square is 6 px high and wide.
    """
    pixels = np.full((32, 96, 3), 20, dtype=np.uint8)
    pixels[4:10, 36:42] = 250
    return Image.fromarray(pixels)


def marker_of(picture: np.ndarray) -> tuple[float, float]:
    """Row and column of the bright part's centre, as shares of height and width."""
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture
    rows, columns = np.nonzero(grey > 0.9 * grey.max())
    return (rows.mean() + 0.5) / grey.shape[0], (columns.mean() + 0.5) / grey.shape[1]


def check_overlay(axes: Any, crop: np.ndarray, wanted: np.ndarray) -> None:
    ground, over = axes.images
    np.testing.assert_allclose(
        ground.get_array(), crop @ [0.299, 0.587, 0.114], atol=1e-6
    )
    np.testing.assert_array_equal(over.get_array(), wanted)
    assert ground.get_extent() == over.get_extent()
    # What is bright in the picture and what is high in the map are drawn in one place.
    places = [marker_of(np.asarray(each.get_array())) for each in (ground, over)]
    np.testing.assert_allclose(*places, atol=0.1)


def results_on_marker() -> tuple[nn.Module, Image.Image, dict[str, Attribution]]:
    net, photo = Bright(), photo_with_marker()
    cam = GradCAM(net, "features").generate_cam(photo)
    return (
        net,
        photo,
        {"gradcam": cam, "ig": integrated_gradients(photo, net, n_steps=4)},
    )


def test_the_overlay_sits_on_the_crop_that_the_model_saw() -> None:
    net, photo, results = results_on_marker()
    crop = np.asarray(photo.crop((32, 0, 64, 32))) / 255
    np.testing.assert_allclose(plots.crop_of(photo, net), crop, atol=1e-6)
    seen, cam = panels(
        plots.compare_maps(plots.crop_of(photo, net), [results["gradcam"]])
    )
    np.testing.assert_allclose(seen.images[0].get_array(), crop, atol=1e-6)
    check_overlay(cam, crop, results["gradcam"].map)
    overlay = panels(visualize_attributions(photo, results["ig"], net))[2]
    check_overlay(overlay, crop, results["ig"].map)


@pytest.mark.parametrize("size", [(96, 32), (32, 32)])
def test_the_uncropped_photo_is_rejected(size: tuple[int, int]) -> None:
    _, photo, results = results_on_marker()
    crop = np.asarray(photo.crop((32, 0, 64, 32))) / 255
    wrong = np.asarray(photo.resize(size)) / 255
    axes = panels(plots.compare_maps(wrong, [results["gradcam"]]))[1]
    with pytest.raises(AssertionError):
        check_overlay(axes, crop, results["gradcam"].map)
    with pytest.raises(AssertionError):  # the marker alone tells
        check_overlay(axes, wrong, results["gradcam"].map)


def test_a_figure_of_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="one image, not 2"):
        plots.crop_of(image(2), built(ConvNet))


# --- scales, bars, titles -------------------------------------------------------------


def test_saliency_is_drawn_up_to_its_percentile_and_the_bar_says_so() -> None:
    values = 0.2 + ramp(40, 30)  # its smallest value is not 0, where the scale begins
    axes = panels(plots.compare_maps(grey_picture(40, 30), [attribution(values)]))[1]
    np.testing.assert_array_equal(drawn(axes), values)
    norm, bar = axes.images[-1].norm, axes.images[-1].colorbar
    assert norm.vmin == 0
    assert norm.vmax == pytest.approx(
        np.sort(values.ravel())[int(0.995 * values.size)], abs=1 / values.size
    )
    assert bar.extend == "max"
    assert bar.ax.get_ylabel() == "max over channels of |gradient|"


def test_a_map_whose_percentile_is_its_maximum_has_no_arrow() -> None:
    values = np.zeros((8, 6))
    values[2:5] = 0.25
    axes = panels(plots.compare_maps(grey_picture(), [attribution(values)]))[1]
    assert axes.images[-1].norm.vmax == 0.25
    assert axes.images[-1].colorbar.extend == "neither"


def test_a_sparse_map_is_seen() -> None:
    # One pixel in 1200: the percentile is 0, and a scale up to 1 would not show 0.003.
    values = np.zeros((40, 30))
    values[3, 4] = 0.003
    axes = panels(plots.compare_maps(grey_picture(40, 30), [attribution(values)]))[1]
    assert (axes.images[-1].norm.vmin, axes.images[-1].norm.vmax) == (0, 0.003)
    assert axes.images[-1].colorbar.extend == "neither"
    assert "blank" not in axes.get_title()


def test_a_class_activation_map_is_drawn_from_zero_to_one() -> None:
    values = 0.2 + 0.8 * ramp()  # its smallest value is not 0, and must not become 0
    for method in ("gradcam", "gradcam++"):
        axes = panels(
            plots.compare_maps(grey_picture(), [attribution(values, method)])
        )[1]
        np.testing.assert_array_equal(drawn(axes), values)
        assert (axes.images[-1].norm.vmin, axes.images[-1].norm.vmax) == (0, 1)
        assert axes.images[-1].colorbar.extend == "neither"
        assert axes.images[-1].colorbar.ax.get_ylabel() == "share of the map's maximum"


@pytest.mark.parametrize("method", plots.TITLES)
def test_every_method_has_a_title_in_words_and_a_unit(method: str) -> None:
    axes = panels(plots.compare_maps(grey_picture(), [attribution(ramp(), method)]))[1]
    assert axes.get_title() == plots.TITLES[method]
    assert "_" not in axes.get_title()
    assert axes.images[-1].colorbar.ax.get_ylabel() == plots.UNITS[method]


@pytest.mark.parametrize("method", plots.TITLES)
def test_a_blank_map_says_so(method: str) -> None:
    figure = plots.compare_maps(grey_picture(), [attribution(np.zeros((8, 6)), method)])
    axes = panels(figure)[1]
    assert "blank" in axes.get_title()
    assert not drawn(axes).any()
    assert (axes.images[-1].norm.vmin, axes.images[-1].norm.vmax) == (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    words = [text.get_text() for each in figure.axes for text in each.get_yticklabels()]
    assert "nan" not in " ".join(words).lower()


def test_a_real_blank_cam_says_so() -> None:
    net = ByHand(torch.stack([-torch.ones(3, *SIZE), torch.ones(3, *SIZE)]))
    x = torch.ones(3, *SIZE)
    cam = GradCAM(net, "features").generate_cam(x, 0)
    assert cam.blank
    assert (
        "blank"
        in panels(plots.compare_maps(plots.crop_of(x, net), [cam]))[1].get_title()
    )
    assert "blank" in panels(plots.attribution_figure(x, cam, net))[1].get_title()


def test_two_maps_by_one_method_are_both_drawn() -> None:
    first, second = ramp(), ramp()[::-1]
    figure = plots.compare_maps(
        grey_picture(), [attribution(first), attribution(second)]
    )
    assert len(panels(figure)) == 3
    np.testing.assert_array_equal(drawn(panels(figure)[1]), first)
    np.testing.assert_array_equal(drawn(panels(figure)[2]), second)


def test_panels_in_rows_in_their_order_and_under_their_own_titles() -> None:
    maps = {f"map {i}": attribution(ramp() + i) for i in range(4)}
    figure = plots.compare_maps(grey_picture(), maps, columns=2, title="crop")
    assert [axes.get_title() for axes in panels(figure)] == ["crop", *maps]
    for axes, result in zip(panels(figure)[1:], maps.values(), strict=True):
        np.testing.assert_array_equal(drawn(axes), result.map)
    empty = [
        axes
        for axes in figure.axes
        if not axes.images and not hasattr(axes, "_colorbar")
    ]
    assert len(empty) == 1
    assert not empty[0].axison


def test_three_panels_of_one_attribution() -> None:
    net, x = built(ConvNet, dtype=torch.float32), image(dtype=torch.float32)
    net.class_names = ("ant", "bee", "cat", "dog")
    result = gradient_input(x, net, 2)
    seen, alone, both = panels(plots.attribution_figure(x, result, net))
    np.testing.assert_allclose(seen.images[0].get_array(), plots.crop_of(x, net))
    assert alone.get_title() == "Gradient × Input: cat"
    np.testing.assert_array_equal(drawn(alone), result.map)
    np.testing.assert_array_equal(drawn(both), result.map)
    assert (
        alone.images[0].norm.vmax
        == both.images[1].norm.vmax
        == plots.upper_limit(result.map)
    )
    assert both.images[1].norm.vmin == 0
    for name, title in ((None, "cat"), (1, "bee"), ("tabby", "tabby")):
        assert (
            panels(plots.attribution_figure(x, result, net, name))[1]
            .get_title()
            .endswith(f": {title}")
        )


def test_the_top_classes_as_bars() -> None:
    _, ((axes,),) = plots.new_figure(1, 1, (4, 4))
    plots.show_probabilities(
        axes, ["ant", "bee", "cat"], [0.6, 0.3, 0.1], [False, True, False]
    )
    assert [bar.get_width() for bar in axes.patches] == [0.6, 0.3, 0.1]
    heights = [bar.get_y() for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)  # the largest on top
    labels = dict(
        zip(
            axes.get_yticks(),
            [text.get_text() for text in axes.get_yticklabels()],
            strict=True,
        )
    )
    assert [labels[bar.get_y() + bar.get_height() / 2] for bar in axes.patches] == [
        "ant",
        "bee ✓",
        "cat",
    ]
    assert [bar.get_hatch() for bar in axes.patches] == [None, "//", None]
    assert [text.get_text() for text in axes.texts] == ["60.0%", "30.0%", "10.0%"]
    plt.close("all")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_class_name_can_be_drawn(name: str) -> None:
    figures = [
        plots.compare_maps(grey_picture(), {name: attribution(ramp())}, title=name)
    ]
    figure, ((axes,),) = plots.new_figure(1, 1, (4, 4))
    plots.show_probabilities(axes, [name, "b"], [0.6, 0.4], [True, False])
    figures += [
        plots.finish(figure),
        plots.text_figure([name, "b"], [1.0, -1.0], name, f"share in the {name} logit"),
    ]
    net, x = built(ConvNet), image()
    figures.append(plots.attribution_figure(x, vanilla_gradients(x, net, 0), net, name))
    for each in figures:
        each.draw_without_rendering()


@pytest.mark.parametrize("name", LONG)
def test_long_names_are_not_cut_off_and_do_not_collide(name: str) -> None:
    top = "\n".join(f"{i}. {name} 96.4%" for i in (1, 2, 3))
    maps = {
        f"{title}\n{name}": attribution(ramp(64, 64), method)
        for method, title in plots.TITLES.items()
    }
    net, x = built(ConvNet), image()
    for figure in (
        plots.compare_maps(
            grey_picture(64, 64), dict(list(maps.items())[:3]), title=top
        ),
        plots.compare_maps(grey_picture(64, 64), maps, columns=3, title=top),
        plots.attribution_figure(
            x, integrated_gradients(x, net, 0, n_steps=2), net, name
        ),
    ):
        figure.draw_without_rendering()
        boxes = [axes.title.get_window_extent() for axes in panels(figure)]
        for box in boxes:
            assert box.x0 >= -1
            assert box.x1 <= figure.bbox.x1 + 1
            assert box.y1 <= figure.bbox.y1 + 1
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
        # The picture stays the larger part of its panel.
        for axes in panels(figure):
            assert (
                axes.get_window_extent().height
                > 1.5 * axes.title.get_window_extent().height
            )


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
    rest = [
        text.get_text()
        for text in figure.axes[0].texts
        if text.get_bbox_patch() is None
    ]
    assert rest == ["a title", "+0.50", "+0.00", "-0.25", "-1.00"]
    assert figure.axes[1].get_xlabel() == "share in the POSITIVE logit"
    assert figure.axes[1].get_xlim() == (-1, 1)


def test_long_texts_go_on_in_new_rows_inside_the_figure() -> None:
    words = [f"word{'s' * (i % 9)}" for i in range(60)] + ["x" * 200]
    figure = plots.text_figure(
        words, [(-1) ** i * i / 60 for i in range(61)], "title", "label"
    )
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
    result = vanilla_gradients(x, net, 0)
    return [
        lambda: plots.compare_maps(grey_picture(), [attribution(ramp())]),
        lambda: plots.attribution_figure(x, result, net),
        lambda: plots.text_figure(["a"], [1.0], "title", "label"),
    ]


def test_no_figure_stays_open() -> None:
    assert plt.get_fignums() == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of 21 open figures
        for make in figures():
            for _ in range(10):
                make()
    assert plt.get_fignums() == []


def test_no_figure_stays_open_where_a_session_is_interactive_and_has_no_window() -> (
    None
):
    with plt.ion(), warnings.catch_warnings():
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
    for make in figures():
        assert make().axes
    assert plt.get_fignums() == []


SETUP = """
import matplotlib.pyplot as plt
import numpy as np
from chapter4.plots import figures as plots
from chapter4.core.attribution import Attribution
from chapter4.plots.attention import visualize_word_attention
from chapter4.attention.words import WordAttention
values = np.linspace(0, 1, 48).reshape(8, 6)
result = Attribution(map=values, target=0, score=0.0, method="vanilla_gradients")
def maps(): return plots.compare_maps(np.full((8, 6, 3), 0.5), [result])
def text(): return plots.text_figure(["a", "b"], [1.0, -1.0], "title", "label")
none = np.zeros(2)
seen = WordAttention(
    ["a", "b"], np.eye(2), none == 1, [1, 1], none, False, 4, "by hand"
)
def heat(): return visualize_word_attention(seen)
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
    ("table = heat()", 1),
    ("heat()", 1),
    ("heat();", 1),
    ("table", 1),
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
    monkeypatch.setitem(os.environ, "PYDEVD_DISABLE_FILE_VALIDATION", "1")
    cells = [
        nbformat.v4.new_code_cell(source)
        for source in (SETUP, *(source for source, _ in CELLS))
    ]
    book = nbformat.v4.new_notebook(cells=cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own
        NotebookClient(book, timeout=120, kernel_name="python3").execute()
    for cell, (source, wanted) in zip(book.cells[1:], CELLS, strict=True):
        bundles = [output.data for output in cell.outputs if "data" in output]
        assert sum("image/png" in data for data in bundles) == wanted, (
            f"figures after {source!r}"
        )
        assert not any(
            "Figure" in data.get("text/plain", "") and "image/png" not in data
            for data in bundles
        ), source
        assert not any(output.get("name") == "stderr" for output in cell.outputs), (
            source
        )


@pytest.mark.parametrize(("delta", "mark"), [(0.02, ""), (0.3, "INCOMPLETE: ")])
def test_a_text_figure_has_its_evidence_in_small_print(delta: float, mark: str) -> None:
    known = MapEvidence(blank=False, delta=delta, stage="head", rank_correlation=0.25)
    figure = plots.text_figure(["a", "b"], [1.0, -1.0], "title", "label", known)
    (line,) = figure.texts
    assert (
        line.get_text()
        == f"{mark}completeness error {delta:.1%}; rank correlation with random head:"
        " 0.25"
    )
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
