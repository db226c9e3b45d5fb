"""Section 4.3: Integrated Gradients, its quadrature rules and its baselines."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from measures import EXACT, Oracle, close, record, relative_l2
from nets import ConvNet, Power, built, cat, cat_in_float64, image
from oracles.integrated_gradients import BASELINES, INTEGRATED_GRADIENTS, captum_within
from torch import nn

import chapter4
from chapter4.inputs.images import Preprocessing
from chapter4.methods.integrated_gradients import BASELINES as NAMES
from chapter4.methods.integrated_gradients import RULES, quadrature

START = torch.zeros(3, 8, 6)


@pytest.mark.parametrize(
    "oracle", [*INTEGRATED_GRADIENTS, captum_within], ids=lambda oracle: oracle.__name__
)
def test_integrated_gradients(oracle: Oracle) -> None:
    oracle(chapter4.integrated_gradients)


@pytest.mark.parametrize("oracle", BASELINES, ids=lambda oracle: oracle.__name__)
def test_make_baseline(oracle: Oracle) -> None:
    oracle(chapter4.make_baseline)


@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one_and_points_lie_on_the_path(rule: str) -> None:
    for n in (2, 3, 50):
        alphas, weights = quadrature(rule, n)
        assert len(alphas) == len(weights) == n
        assert sum(weights) == pytest.approx(1, rel=1e-12)
        assert min(alphas) >= 0
        assert max(alphas) <= 1
        assert alphas == sorted(set(alphas))


@pytest.mark.parametrize("rule", RULES)
def test_rules_have_their_textbook_degree(rule: str) -> None:
    """The degree up to which each rule of n points is exact.

    Gauss-Legendre: 2n - 1. Midpoint and trapezoid: 1. Left and right: 0.
    """
    n = 4
    alphas, weights = (np.array(each) for each in quadrature(rule, n))
    degrees = {"gausslegendre": 2 * n - 1, "riemann_middle": 1, "riemann_trapezoid": 1}
    powers = range(degrees.get(rule, 0) + 2)
    errors = [abs(weights @ alphas**power - 1 / (power + 1)) for power in powers]
    assert max(errors[:-1]) < 1e-14
    assert errors[-1] > 1e-6


def test_captums_trapezoid_is_wrong_and_refused() -> None:
    """On a linear model every rule is exact; Captum's trapezoid gives (n - 1) / n."""
    from captum.attr import IntegratedGradients

    net, x, start = built(Power, 1), image(), image(seed=1)
    want = ((x - start) * net.weight[2])[0].detach()
    rule = "riemann_trapezoid"
    peer = IntegratedGradients(net).attribute(x, start, 2, n_steps=4, method=rule)[0]
    close("Captum's trapezoid is short of a part", peer, want * 3 / 4, 1e-6)
    own = chapter4.integrated_gradients(x, net, 2, start, 4, rule=rule)
    close("IG: trapezoid on a linear model", own.attributions, want, EXACT)
    for refused, n_steps, message in (
        (rule, 4, r"sum to \(n-1\)/n"),
        ("riemann_left", 1, "riemann_left needs n_steps of at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            chapter4.integrated_gradients(
                x, net, 2, start, n_steps, rule=refused, backend="captum"
            )


@pytest.mark.parametrize("backend", ["chapter4", "captum"])
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"n_steps": 0}, ValueError, "n_steps is at least 1, not 0"),
        ({"n_steps": 2.5}, TypeError, r"n_steps is an integer, not 2\.5"),
        ({"chunk_size": 0}, ValueError, "chunk_size is at least 1, not 0"),
        ({"baseline": "blakc"}, ValueError, "'blakc'; did you mean 'black'"),
        ({"baseline": "zeros"}, ValueError, "are black, white, random, blur, mean"),
        ({"baseline": None}, TypeError, "a tensor of the image's shape, not NoneType"),
        ({"baseline": START.numpy()}, TypeError, "not ndarray"),
        ({"baseline": START.byte()}, TypeError, r"floats, not torch\.uint8"),
        ({"baseline": START.mT}, ValueError, r"\(3, 6, 8\) has not the image's shape"),
        ({"baseline": image(2)}, ValueError, r"\(2, 3, 8, 6\) has not the image's"),
        ({"baseline": START * math.nan}, ValueError, "baseline holds NaN"),
        ({"baseline": "random", "seed": 0.5}, TypeError, r"is an integer, not 0\.5"),
        ({"rule": "gauss_legendre"}, ValueError, "did you mean 'gausslegendre'"),
        ({"rule": "riemann_trapezoid", "n_steps": 1}, ValueError, "at least 2"),
        ({"score": "probabilty"}, ValueError, "score is 'logit' or 'probability'"),
        ({"backend": "Captum"}, ValueError, "'chapter4' or 'captum', not 'Captum'"),
    ],
)
def test_bad_arguments(
    backend: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    given = {"n_steps": 2, "backend": backend} | options
    with pytest.raises(kind, match=message):
        chapter4.integrated_gradients(image(), built(ConvNet), 1, **given)


@pytest.mark.parametrize("sigma", [0, -1.0, math.nan, math.inf])
def test_a_blur_that_is_none(sigma: float) -> None:
    with pytest.raises(ValueError, match="blur_sigma is a positive number of pixels"):
        chapter4.make_baseline("blur", image(), blur_sigma=sigma)


def test_an_unknown_baseline() -> None:
    with pytest.raises(ValueError, match="no baseline 'withe'; did you mean 'white'"):
        chapter4.make_baseline("withe", image())


def test_a_baseline_without_a_batch_axis_fits_a_single_image() -> None:
    net, x, start = built(ConvNet), image(), image(seed=1)
    want = chapter4.integrated_gradients(x, net, 1, start, 3)
    for one, other in ((x, start[0]), (x[0], start), (x[0], start[0].requires_grad_())):
        got = chapter4.integrated_gradients(one, net, 1, other, 3)
        close("IG: shapes", got.attributions, want.attributions, 0)


def test_the_baseline_tensor_stays_as_it_is() -> None:
    net, x, start = built(ConvNet), image(), image(seed=1).requires_grad_()
    before = start.detach().clone()
    chapter4.integrated_gradients(x, net, 1, start, 3)
    assert torch.equal(start, before)
    assert start.grad is None


def test_baselines_of_a_photo_have_the_models_shape() -> None:
    model = nn.Identity()
    model.preprocessing = Preprocessing(64, (48, 40))
    for name in NAMES:
        made = chapter4.make_baseline(name, chapter4.sample_photo("cat"), model)
        assert made.shape == (1, 3, 48, 40)


def test_black_on_the_embedded_model_is_minus_one() -> None:
    """Its mean and std are 0.5: zeros are mid-grey, and ones happen to be white."""
    model, x = cat()
    for name, value in (("black", -1.0), ("white", 1.0), ("mean", 0.0)):
        got = chapter4.make_baseline(name, x, model)
        close("EfficientNet-Lite0's baselines", got, torch.full_like(x, value), 1e-6)


def test_settings_say_what_was_done() -> None:
    result = chapter4.integrated_gradients(
        image(), built(ConvNet), 1, image(seed=1), 3, rule="riemann_right", seed=2
    )
    assert result.method == "integrated_gradients"
    assert result.settings == {
        "score": "logit",
        "baseline": "tensor",
        "n_steps": 3,
        "rule": "riemann_right",
        "backend": "chapter4",
        "seed": 2,
    }


def test_a_real_network_against_captum() -> None:
    from captum.attr import IntegratedGradients

    model, x = cat()
    black = chapter4.make_baseline("black", x, model)
    own = chapter4.integrated_gradients(x, model, 282, "black", 2)
    peer = IntegratedGradients(model).attribute(x, black, 282, n_steps=2)[0]
    exact = chapter4.integrated_gradients(*reversed(cat_in_float64()), 282, "black", 2)
    for name, other in (("Captum", peer), ("float64", exact.attributions)):
        deviation = relative_l2(own.attributions, other)
        assert deviation <= 1e-2, name
        record(f"cat, IG: {name}, relative L2", deviation, 1e-2)
    with torch.no_grad():
        change = (model(x) - model(black))[0, 282].item()
    error = abs(own.attributions.sum(dtype=np.float64) - change)
    assert own.delta == pytest.approx(error / abs(change), abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_the_points_of_a_rule_take_memory_for_n_numbers(rule: str) -> None:
    quadrature(rule, 8)  # what is imported on first use is not the rule's memory
    tracemalloc.start()
    try:
        quadrature(rule, 2000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2000 * 2000 * 8 / 10  # a tenth of an n x n matrix
