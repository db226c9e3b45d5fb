"""Section 4.1: vanilla gradients, Gradient x Input and SmoothGrad."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from measures import Oracle, record, relative_l2
from nets import ConvNet, Power, built, cat, cat_in_float64, image
from oracles import as_method
from oracles.gradients import GRADIENT_INPUT, SMOOTH_GRAD, VANILLA
from torch import Tensor, nn

import chapter4

EACH = [
    ("vanilla_gradients", VANILLA),
    ("gradient_input", GRADIENT_INPUT),
    ("smooth_grad", SMOOTH_GRAD),
]


@pytest.mark.parametrize(
    ("method", "oracle"),
    [(method, oracle) for method, oracles in EACH for oracle in oracles],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_values(method: str, oracle: Oracle) -> None:
    oracle(getattr(chapter4, method))


def test_results_say_how_they_were_made_and_can_not_be_changed() -> None:
    result = chapter4.smooth_grad(image(), built(ConvNet), 1, 2, 0.1, seed=4)
    assert result.method == "smooth_grad"
    assert result.settings == {
        "score": "logit",
        "n_samples": 2,
        "noise_level": 0.1,
        "seed": 4,
    }
    other = chapter4.vanilla_gradients(image(), built(ConvNet))
    assert other.method == "vanilla_gradients"
    with pytest.raises(AttributeError):
        result.map = None


@pytest.mark.parametrize(
    "call", [chapter4.vanilla_gradients, chapter4.gradient_input, chapter4.smooth_grad]
)
def test_the_score_is_one_of_two(call: Any) -> None:
    with pytest.raises(ValueError, match="'logit' or 'probability', not 'logits'"):
        call(image(), built(ConvNet), 1, score="logits")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples is at least 1, not 0"),
        ({"n_samples": 2.0}, TypeError, r"n_samples is an integer, not 2\.0"),
        ({"n_samples": True}, TypeError, "n_samples is an integer, not True"),
        ({"noise_level": -0.1}, ValueError, r"0 or more, not -0\.1"),
        ({"noise_level": math.nan}, ValueError, "0 or more, not nan"),
        ({"noise_level": math.inf}, ValueError, "0 or more, not inf"),
        ({"noise_level": "0.1"}, TypeError, r"noise_level is a number, not '0\.1'"),
        ({"chunk_size": 0}, ValueError, "chunk_size is at least 1, not 0"),
        ({"chunk_size": 1.5}, TypeError, r"chunk_size is an integer, not 1\.5"),
        ({"seed": 1.5}, TypeError, r"seed is an integer, not 1\.5"),
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
    found = chapter4.smooth_grad(image(), built(ConvNet), np.int64(1), **numpy).map
    assert np.allclose(found, want, rtol=1e-12)


def zeros(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64)


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (zeros(3, 8, 6).byte(), TypeError, r"normalised floats, not torch\.uint8"),
        (zeros(8, 6), ValueError, r"or \(N, 3, H, W\), not \(8, 6\)"),
        (zeros(1, 8, 6), ValueError, r"not \(1, 8, 6\)"),
        (zeros(2, 4, 8, 6), ValueError, r"not \(2, 4, 8, 6\)"),
        (zeros(1, 1, 3, 8, 6), ValueError, r"not \(1, 1, 3, 8, 6\)"),
        (zeros(0, 3, 8, 6), ValueError, "is empty"),
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
        as_method("GradCAM", chapter4.GradCAM),
    ):
        with pytest.raises(kind, match=message):
            call(bad, net, 1)


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
        (lambda x: (0 * x).square().sum((2, 3)).sqrt(), "of the score holds NaN"),
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
    net, x = built(Power, 2), image()
    model = Gives(lambda x: SimpleNamespace(logits=net(x))).eval()
    got = chapter4.vanilla_gradients(x, model, 2)
    assert np.allclose(got.attributions, net.gradient(x[0], 2), rtol=1e-12)


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
    peer = Saliency(model).attribute(x.clone().requires_grad_(), 282)[0].amax(dim=0)
    exact = chapter4.vanilla_gradients(*reversed(cat_in_float64()), 282).map
    for name, other in (("Captum", peer), ("float32 against float64", exact)):
        deviation = relative_l2(own.map, other)
        assert deviation <= 1e-2, name
        record(f"cat, vanilla: {name}, relative L2", deviation, 1e-2)
    product = chapter4.gradient_input(x, model, 282)
    assert relative_l2(product.attributions, own.attributions * x[0].numpy()) <= 1e-6
