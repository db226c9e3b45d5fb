"""Section 4.1: vanilla gradients, Gradient x Input and SmoothGrad."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from measures import Oracle, record, relative_l2
from nets import ConvNet, NoParameters, Power, built, cat, cat_in_float64, image
from oracles.gradients import GRADIENT_INPUT, SMOOTH_GRAD, VANILLA
from torch import Tensor, nn

import chapter4


def names(oracle: Oracle) -> str:
    return oracle.__name__


@pytest.mark.parametrize("oracle", VANILLA, ids=names)
def test_vanilla_gradients(oracle: Oracle) -> None:
    oracle(chapter4.vanilla_gradients)


@pytest.mark.parametrize("oracle", GRADIENT_INPUT, ids=names)
def test_gradient_input(oracle: Oracle) -> None:
    oracle(chapter4.gradient_input)


@pytest.mark.parametrize("oracle", SMOOTH_GRAD, ids=names)
def test_smooth_grad(oracle: Oracle) -> None:
    oracle(chapter4.smooth_grad)


def test_results_say_how_they_were_made_and_can_not_be_changed() -> None:
    result = chapter4.smooth_grad(image(), built(ConvNet), 1, 2, 0.1, seed=4)
    assert result.method == "smooth_grad"
    assert result.settings == {
        "score": "logit",
        "n_samples": 2,
        "noise_level": 0.1,
        "seed": 4,
    }
    assert (
        chapter4.vanilla_gradients(image(), built(ConvNet)).method
        == "vanilla_gradients"
    )
    with pytest.raises(AttributeError):
        result.map = None


@pytest.mark.parametrize(
    "call", [chapter4.vanilla_gradients, chapter4.gradient_input, chapter4.smooth_grad]
)
def test_the_score_is_one_of_two(call: Any) -> None:
    with pytest.raises(
        ValueError, match="score is 'logit' or 'probability', not 'logits'"
    ):
        call(image(), built(ConvNet), 1, score="logits")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples is at least 1, not 0"),
        ({"n_samples": -3}, ValueError, "n_samples is at least 1, not -3"),
        ({"n_samples": 2.0}, TypeError, r"n_samples is an integer, not 2\.0"),
        ({"n_samples": True}, TypeError, "n_samples is an integer, not True"),
        ({"noise_level": -0.1}, ValueError, r"0 or more, not -0\.1"),
        ({"noise_level": math.nan}, ValueError, "0 or more, not nan"),
        ({"noise_level": math.inf}, ValueError, "0 or more, not inf"),
        ({"noise_level": "0.1"}, TypeError, r"noise_level is a number, not '0\.1'"),
        ({"noise_level": None}, TypeError, "noise_level is a number, not None"),
        ({"chunk_size": 0}, ValueError, "chunk_size is at least 1, not 0"),
        ({"chunk_size": 1.5}, TypeError, r"chunk_size is an integer, not 1\.5"),
        ({"seed": 1.5}, TypeError, r"seed is an integer, not 1\.5"),
        ({"seed": "a"}, TypeError, "seed is an integer, not 'a'"),
        ({"seed": 2**70}, ValueError, "at most 64 bits"),
    ],
)
def test_smooth_grad_refuses(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        chapter4.smooth_grad(image(), built(ConvNet), 1, **{"n_samples": 2} | options)


def test_numpy_numbers_are_numbers() -> None:
    want = chapter4.smooth_grad(image(), built(ConvNet), 1, 2, 0.25, seed=3).map
    numpy = {
        "n_samples": np.int64(2),
        "noise_level": np.float32(0.25),
        "seed": np.int64(3),
        "chunk_size": np.int8(1),
    }
    assert np.allclose(
        chapter4.smooth_grad(image(), built(ConvNet), np.int64(1), **numpy).map,
        want,
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (
            torch.zeros(3, 8, 6, dtype=torch.uint8),
            TypeError,
            r"normalised floats, not torch\.uint8",
        ),
        (
            torch.zeros(8, 6).double(),
            ValueError,
            r"\(3, H, W\) or \(N, 3, H, W\), not \(8, 6\)",
        ),
        (torch.zeros(1, 8, 6).double(), ValueError, r"not \(1, 8, 6\)"),
        (torch.zeros(2, 4, 8, 6).double(), ValueError, r"not \(2, 4, 8, 6\)"),
        (torch.zeros(1, 1, 3, 8, 6).double(), ValueError, r"not \(1, 1, 3, 8, 6\)"),
        (torch.zeros(0, 3, 8, 6).double(), ValueError, "is empty"),
        (np.zeros((3, 8, 6)), TypeError, "not ndarray"),
        (None, TypeError, "not NoneType"),
        ("no such photo.jpg", FileNotFoundError, "there is no file no such photo.jpg"),
    ],
)
def test_bad_images(bad: Any, kind: type[Exception], message: str) -> None:
    net = built(ConvNet)
    for call in (
        chapter4.vanilla_gradients,
        chapter4.smooth_grad,
        chapter4.integrated_gradients,
    ):
        with pytest.raises(kind, match=message):
            call(bad, net, 1)
    with pytest.raises(kind, match=message):
        chapter4.GradCAM(net, "features").generate_cam(bad, 1)


class Gives(nn.Module):
    """Gives what the test says instead of logits."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(x) if callable(self.output) else self.output


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x, r"gives logits \(N, classes\) for 1 images, not \(1, 3, 8, 6\)"),
        (lambda x: [x], "not list"),
        (lambda x: x.mean(dim=(1, 2, 3)), r"not \(1,\)"),
        (torch.zeros(2, 4), r"not \(2, 4\)"),
        (torch.zeros(1, 4), "does not depend on the image"),
        (lambda x: x.detach().mean(dim=(2, 3)), "does not depend on the image"),
        (
            lambda x: (0 * x).square().sum(dim=(2, 3)).sqrt(),
            "gradient of the score holds NaN",
        ),
    ],
)
def test_models_that_can_not_be_explained(output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chapter4.vanilla_gradients(image(), Gives(output), 1)


def test_a_model_made_in_inference_mode_is_refused_with_the_reason() -> None:
    with torch.inference_mode():
        net = ConvNet().double().eval()
    with pytest.raises(ValueError, match="inference_mode"):
        chapter4.vanilla_gradients(image(), net, 1)


def test_an_output_object_with_logits_will_do() -> None:
    from types import SimpleNamespace

    net, x = built(Power, 2), image()
    got = chapter4.vanilla_gradients(
        x, Gives(lambda x: SimpleNamespace(logits=net(x))).eval(), 2
    )
    assert np.allclose(got.attributions, net.gradient(x[0], 2), rtol=1e-12)


def test_a_model_without_parameters_by_value() -> None:
    x = image()
    signed = chapter4.vanilla_gradients(x, NoParameters(), 2).attributions
    assert np.allclose(signed[2], 2 * x[0, 2], rtol=1e-12)
    assert not signed[:2].any()


def test_the_printed_line_runs_on_a_real_photo() -> None:
    model, x = cat()
    saliency, pred = chapter4.vanilla_gradients(chapter4.sample_photo("cat"), model)
    assert saliency.shape == (224, 224)
    assert saliency.dtype == np.float32
    with torch.no_grad():
        assert pred == int(model(x).argmax())
    assert np.array_equal(saliency, chapter4.vanilla_gradients(x, model).map)


def test_a_real_network_against_captum() -> None:
    """EfficientNet-Lite0 and the cat, and beside it what float32 itself costs."""
    from captum.attr import Saliency

    model, x = cat()
    own = chapter4.vanilla_gradients(x, model, 282)
    peer = (
        Saliency(model)
        .attribute(x.clone().requires_grad_(), 282, abs=True)
        .amax(dim=1)[0]
    )
    exact = chapter4.vanilla_gradients(cat_in_float64()[1], cat_in_float64()[0], 282)
    for name, other in (("Captum", peer), ("float32 against float64", exact.map)):
        assert relative_l2(own.map, other) <= 1e-2
        record(
            f"EfficientNet-Lite0, cat, vanilla: {name}, relative L2",
            relative_l2(own.map, other),
            1e-2,
        )
    product = chapter4.gradient_input(x, model, 282)
    assert relative_l2(product.attributions, own.attributions * x[0].numpy()) <= 1e-6


def test_noise_is_averaged_on_a_real_network_as_it_would_be_by_hand() -> None:
    """The mean of plain gradients over the same noisy copies, made here."""
    model, x = cat()
    sigma = 0.15 * (x.max() - x.min())
    generator = torch.Generator().manual_seed(7)
    copies = [
        x + sigma * torch.randn(x.shape[1:], generator=generator) for _ in range(3)
    ]
    want = np.mean(
        [chapter4.vanilla_gradients(copy, model, 282).attributions for copy in copies],
        axis=0,
    )
    got = chapter4.smooth_grad(x, model, 282, 3, 0.15, seed=7, chunk_size=2)
    assert relative_l2(got.attributions, want) <= 1e-2
    record(
        "EfficientNet-Lite0, cat, SmoothGrad: mean by hand, relative L2",
        relative_l2(got.attributions, want),
        1e-2,
    )
