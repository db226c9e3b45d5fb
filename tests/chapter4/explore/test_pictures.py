"""Sections 4.1 to 4.3 to touch: figures show what the package's methods give."""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from io import BytesIO
from typing import Any

import nets
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from explorers import expected, shades, small_model, states
from oracles.contract import same_state, snapshot
from PIL import Image
from torch import nn

import chapter4
from chapter4.core.attribution import frozen_eval
from chapter4.explore import (
    explore_gradcam,
    explore_integrated_gradients,
    explore_smoothgrad,
)
from chapter4.explore.baselines import follow, stops
from chapter4.explore.layers import grid_stages
from chapter4.explore.noise import running_means
from chapter4.explore.pictures import SHADES, halved, map_picture
from chapter4.explore.sentences import described, half_share, number, place, score
from chapter4.methods.gradcam import resize_map
from chapter4.methods.integrated_gradients import quadrature
from chapter4.plots.figures import upper_limit


def same_shades(
    address: str, cmap: str, values: np.ndarray, limit: float, count: int = SHADES
) -> None:
    """Assert that a picture shows these values, from 0 to the limit."""
    read, wanted = shades(address, cmap, count), expected(values, limit, count)
    np.testing.assert_array_equal(read, wanted)


# 4.1


def test_smoothgrad_shows_what_smooth_grad_gives(model: Any, x: torch.Tensor) -> None:
    samples, levels = (1, 2, 5), (0.1, 0.4)
    figure = explore_smoothgrad(x, model, 2, samples=samples, levels=levels, seed=3)
    found = states(figure)
    assert list(found) == [(i, j) for i in range(2) for j in range(3)]
    for (i, j), state in found.items():
        direct = [
            chapter4.smooth_grad(x, model, 2, n, levels[i], seed=3).map
            for n in (samples[j], samples[-1])
        ]
        values, limit = direct[0], upper_limit(direct[0])
        same_shades(state["parts"]["map"]["src"], "inferno", values, limit)
        assert state["parts"]["map-high"]["words"] == f"{limit:.3g}"
        words = "1 sample" if j == 0 else f"{samples[j]} samples"
        assert state["said"].startswith(f"{words} at noise level {levels[i]:g}: ")
        apart = chapter4.relative_difference(*direct)
        assert (f"distance from 5 samples {apart:.2f}," in state["said"]) == (j < 2)
        assert f"roughness {chapter4.total_variation(values):.2f}." in state["said"]
        assert described(values) in state["parts"]["map"]["alt"]
        assert "of dog from" in state["parts"]["map"]["alt"]


def test_running_means_do_not_depend_on_the_chunks(model: Any, x: torch.Tensor) -> None:
    with frozen_eval(model):
        for chunk in (1, 2, 100):
            found = running_means(model, x, 0, (1, 3, 7), 0.2, seed=5, chunk_size=chunk)
            for n, mean in zip((1, 3, 7), found, strict=True):
                direct = chapter4.smooth_grad(x, model, 0, n, 0.2, seed=5)
                assert mean[0].numpy() == pytest.approx(direct.attributions, rel=1e-12)


def test_the_noisy_copy_has_the_level_s_noise(model: Any, x: torch.Tensor) -> None:
    """Without noise the copy is the picture; with more noise it is further from it."""
    figure = explore_smoothgrad(x, model, samples=(1,), levels=(0.0, 0.05, 0.5))
    clean, away = chapter4.crop_of(x, model) * 255, []
    for state in states(figure).values():
        file = base64.b64decode(state["parts"]["copy"]["src"].split(",")[1])
        copy = np.asarray(Image.open(BytesIO(file)), float)
        away.append(np.abs(copy - clean).mean())
    assert away[0] < away[1] < away[2]


def test_a_model_that_does_not_move(x: torch.Tensor) -> None:
    """A gradient of zero is no error of division: the figure says so."""
    flat = nets.built(nets.Power, 1)
    with torch.no_grad():
        flat.weight.zero_()
    smooth = states(explore_smoothgrad(x, flat, 0, samples=(1, 2), levels=(0.1,)))
    first = smooth[0, 0]
    assert first["said"] == "1 sample at noise level 0.1: the map is zero everywhere."
    assert "blank, zero everywhere" in first["parts"]["map"]["alt"]
    path = states(
        explore_integrated_gradients(x, flat, 0, baselines=["black"], n_steps=3)
    )
    assert "there is nothing to share out" in path[0, 0]["said"]


# 4.2


@pytest.mark.parametrize("bias", [0, 5])
def test_gradcam_shows_what_generate_cam_gives(x: torch.Tensor, bias: float) -> None:
    """Even if the predicted class, by its bias, lacks the layer's largest cell."""
    model = small_model()
    with torch.no_grad():
        model.head.bias[int(model(x).argmin())] += bias
    figure = explore_gradcam(x, model, layers=["features.0", "features"])
    with torch.no_grad():
        order = model(x)[0].argsort(descending=True).tolist()
    chances = model(x)[0].softmax(dim=0).tolist()
    found = states(figure)
    for at, layer in enumerate(("features.0", "features")):
        direct = [chapter4.GradCAM(model, layer).generate_cam(x, c) for c in order]
        peaks = [float(each.raw.max()) for each in direct]
        limit = max(peaks)
        assert (peaks[0] < limit) == (bias > 0)
        for k, each in enumerate(direct):
            state = found[at, k]
            parts = state["parts"]
            same_shades(parts["cells"]["src"], "viridis", each.raw, limit)
            large = resize_map(torch.from_numpy(each.raw)[None], x.shape[-2:])[0]
            same_shades(parts["map"]["src"], "viridis", large.numpy(), limit, 64)
            assert parts["cells-high"]["words"] == number(limit)
            chance = chances[order[k]]
            shown = f"{chance:.0%}" if chance >= 0.01 else "below 1%"
            name = model.class_names[order[k]]
            zero = int((each.raw == 0).sum())
            assert state["said"].startswith(
                f"{layer}, 4 × 3 cells, {name} (probability {shown}): largest cell"
                f" {each.raw.max():.3g}; {zero} of 12 cells are zero; "
            )
    assert figure.said == found[1, 0]["said"]


def test_gradcam_of_a_class_that_is_not_there(x: torch.Tensor) -> None:
    """Its map is blank, and the figure says so."""
    net = nets.ByHand(torch.stack([torch.ones(3, 8, 6), -torch.ones(3, 8, 6)]).double())
    net.class_names = ["day", "night"]
    figure = explore_gradcam(1 + x.abs(), net, layers=["features"], absent="night")
    day, night = states(figure).values()
    assert night["said"].endswith("blank, no cell speaks for the class.")
    assert "night" in night["parts"]["map"]["alt"]
    assert day["said"].startswith("features, 8 × 6 cells, day (probability ")


def test_stages_of_a_network(x: torch.Tensor) -> None:
    """From first to last, up to the default layer, and no single convolution."""
    conv, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    parts = {"stem": conv, "norm": norm, "block": block, "late": nn.Conv2d(3, 3, 1)}
    end = {"last": nn.BatchNorm2d(3), "flat": nn.Flatten(), "head": nn.Linear(144, 2)}
    net = nn.Sequential(OrderedDict(parts | end)).double().eval()
    assert grid_stages(net, x) == ["norm", "block", "last"]


# 4.3


def test_the_path_ends_in_integrated_gradients(model: Any, x: torch.Tensor) -> None:
    for name in ("black", "white", "blur", "random", "mean"):
        direct = chapter4.integrated_gradients(x, model, 1, name, 7, seed=2)
        for chunk in (None, 3):
            path = follow(
                model, x, 1, name, n_steps=7, stops=[1, 7], seed=2, chunk_size=chunk
            )
            last = path.moments[-1]
            assert last.sofar == pytest.approx(direct.attributions, rel=1e-9, abs=1e-14)
            assert path.delta == pytest.approx(direct.delta, rel=1e-6)
            assert path.ends == pytest.approx((direct.baseline_score, direct.score))


def test_on_the_way_the_sum_is_that_of_the_steps_so_far(x: torch.Tensor) -> None:
    """F(x) = a x^2 + b: gradients, sums and path scores have closed forms."""
    square = nets.built(nets.Power, 2)
    alphas, weights = quadrature("gausslegendre", 6)
    path = follow(square, x, 3, "white", n_steps=6, stops=[2, 5, 6])
    start = chapter4.make_baseline("white", x, square)
    assert [m.steps for m in path.moments] == [2, 5, 6]
    for moment in path.moments:
        points = [start + a * (x - start) for a in alphas[: moment.steps]]
        pairs = zip(weights, points, strict=False)
        total = sum(w * square.gradient(p[0], 3) for w, p in pairs)
        assert moment.sofar == pytest.approx(((x - start)[0] * total).numpy())
        assert moment.alpha == alphas[moment.steps - 1]
        here = points[-1]
        slope = square.gradient(here[0], 3).abs().amax(dim=0).numpy()
        assert moment.gradient == pytest.approx(slope)
        assert moment.score == pytest.approx(square(here)[0, 3].item())


def test_integrated_gradients_shows_the_path(model: Any, x: torch.Tensor) -> None:
    baselines, n = ["random", "white"], 9
    figure = explore_integrated_gradients(
        x, model, 0, baselines=baselines, n_steps=n, positions=4, seed=4
    )
    found = states(figure)
    steps = stops(n, 4)
    assert len(found) == 2 * len(steps)
    alphas, _ = quadrature("gausslegendre", n)
    for i, name in enumerate(baselines):
        direct = chapter4.integrated_gradients(x, model, 0, name, n, seed=4)
        path = follow(model, x, 0, name, n_steps=n, stops=steps, seed=4)
        end = upper_limit(halved(direct.map))
        for k, moment in enumerate(path.moments):
            state = found[i, k]
            parts = state["parts"]
            slope = halved(moment.gradient)
            sofar = halved(np.abs(moment.sofar).sum(axis=0))
            for part, values, limit in (
                ("gradient", slope, upper_limit(slope)),
                ("sum", sofar, end),
            ):
                same_shades(parts[part]["src"], "inferno", values, limit)
                assert parts[f"{part}-high"]["words"] == number(limit)
            assert parts["mixture"]["opacity"] == round(alphas[steps[k] - 1], 4)
            change = direct.score - direct.baseline_score
            way = (moment.score - direct.baseline_score) / change
            assert state["said"].startswith(
                f"Baseline {name}, α = {moment.alpha:.3f}, step {steps[k]} of 9: F ="
                f" {score(moment.score)}, {way:.0%} of the way from"
                f" {score(direct.baseline_score)} at the baseline to"
                f" {score(direct.score)}"
            )
            share = moment.sofar.sum() / change
            assert f"add up to {share:.0%} of that way" in state["said"]
            assert state["said"].endswith(f"completeness error is {direct.delta:.1%}.")
        # The last sum is the method's own map.
        last = found[i, len(steps) - 1]["parts"]["sum"]["src"]
        same_shades(last, "inferno", halved(direct.map), end)


def test_the_plot_is_the_score_along_the_path(model: Any, x: torch.Tensor) -> None:
    """The curve's points, read back from the SVG, are the scores.

    The mark lies on the curve.
    """
    figure = explore_integrated_gradients(
        x, model, 0, baselines=["black", "mean"], n_steps=5, positions=5
    )
    path = follow(model, x, 0, "mean", n_steps=5, stops=[5])
    page = BeautifulSoup(figure._repr_html_(), "html.parser")
    scale = [
        float(re.search(rf"{w}: (-?[\d.]+)", page.get_text())[1])
        for w in ("bottom", "top")
    ]
    found = states(figure)
    alphas = [0, *path.alphas, 1]
    values = [path.ends[0], *path.values, path.ends[1]]
    for k, step in enumerate(stops(5, 5)):
        parts = found[1, k]["parts"]
        points = parts["curve"]["d"][1:].split("L")
        curve = np.array([[float(n) for n in point.split()] for point in points])
        assert curve[:, 0] == pytest.approx(100 * np.array(alphas), abs=0.01)
        # Two heights fix the scale, and all others must follow it.
        heights = curve[:, 1]
        slope, offset = np.polyfit(values, heights, 1)
        assert slope < 0
        assert heights == pytest.approx(slope * np.array(values) + offset, abs=0.02)
        dot = [float(n) for n in re.findall(r"-?[\d.]+", parts["dot"]["d"])[:2]]
        assert dot == pytest.approx(curve[step], abs=0.01)
        assert (100 - offset) / slope == pytest.approx(scale[0], abs=0.06)
        assert -offset / slope == pytest.approx(scale[1], abs=0.06)


def test_stops() -> None:
    assert stops(50, 12) == [1, 2, 5, 8, 12, 16, 21, 26, 31, 37, 43, 50]
    assert stops(3, 12) == [1, 2, 3]
    assert stops(7, 1) == [7]
    assert stops(1, 5) == [1]


# What all of them share


def test_words_of_a_map() -> None:
    spot = np.zeros((9, 9))
    spot[7, 1] = 2.0
    assert place(spot) == "the lower left"
    assert place(spot.T) == "the upper right"
    spot[4, 4] = 3.0
    assert place(spot) == "the centre"
    assert half_share(spot) == pytest.approx(1 / 81)
    assert half_share(np.ones((4, 5))) == pytest.approx(0.5)
    assert place(np.array([[0.0, 1.0]])) == "the upper right"
    assert described(np.zeros((3, 3))) == "blank, zero everywhere"
    assert described(np.ones((3, 3))) == "the same everywhere"
    assert score(-0.004) == "0.00"
    assert score(-0.006) == "-0.01"


def test_halved_is_the_mean_of_blocks() -> None:
    values = np.arange(20.0).reshape(4, 5)
    assert halved(values).tolist() == [[3.0, 5.0], [13.0, 15.0]]


def test_a_map_picture_is_lossless_and_ends_at_its_limit() -> None:
    values = np.linspace(0, 2, 32).reshape(4, 8)
    read = shades(map_picture(values, 1.0, "viridis"), "viridis")
    assert (read == expected(values, 1.0)).all()
    assert read.max() == SHADES - 1 == read.ravel()[16]
    assert (shades(map_picture(0 * values, 0.0, "viridis"), "viridis") == 0).all()


@pytest.mark.parametrize(
    ("explore", "options", "message"),
    [
        (explore_smoothgrad, {"samples": (5, 5)}, "numbers of samples that rise"),
        (explore_smoothgrad, {"levels": ()}, "one level or more"),
        (explore_smoothgrad, {"samples": (0, 5)}, "samples is at least 1"),
        (explore_gradcam, {"layers": []}, "no layer was named"),
        (explore_gradcam, {"layers": ["featurs"]}, "did you mean 'features'"),
        (explore_gradcam, {"absent": "dgo"}, "did you mean 'dog'"),
        (explore_integrated_gradients, {"baselines": []}, "a list of one name or more"),
        (explore_integrated_gradients, {"baselines": "black"}, "a list of one name"),
        (explore_integrated_gradients, {"baselines": ["blck"]}, "did you mean 'black'"),
    ],
)
def test_bad_input(
    model: Any, x: torch.Tensor, explore: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explore(x, model, **options)


@pytest.mark.parametrize(
    "explore", [explore_smoothgrad, explore_gradcam, explore_integrated_gradients]
)
def test_a_figure_of_a_batch_is_refused(model: Any, explore: Any) -> None:
    with pytest.raises(ValueError, match="shows one image, not 2"):
        explore(nets.image(2), model)


def test_the_model_comes_back_as_it_was(x: torch.Tensor) -> None:
    net = nets.stateful()
    before = snapshot(net)
    explore_smoothgrad(x, net, samples=(1,), levels=(0.1,))
    explore_gradcam(x, net, layers=["features"])
    explore_integrated_gradients(x, net, n_steps=2)
    same_state(before, snapshot(net))


def test_the_still_is_the_first_setting(model: Any, x: torch.Tensor) -> None:
    """Before a script runs, every part has what the script would give it."""
    figures = [
        explore_smoothgrad(x, model, samples=(1, 2), levels=(0.1, 0.3), start=(1, 0.3)),
        explore_gradcam(x, model, layers=["features.0", "features"]),
        explore_integrated_gradients(x, model, n_steps=3),
    ]
    for figure in figures:
        page = BeautifulSoup(figure._repr_html_(), "html.parser")
        state = states(figure)[tuple(control.start for control in figure.controls)]
        assert figure.said == state["said"]
        for name, change in state["parts"].items():
            part = page.find(attrs={"data-part": name})
            for key, value in change.items():
                if key == "words":
                    assert part.get_text() == value
                elif key == "ground":
                    assert f"url('{value}')" in part.parent["style"]
                elif key == "opacity":
                    assert f"opacity: {value};" in part["style"]
                else:
                    assert part[key] == value
