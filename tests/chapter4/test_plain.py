"""The plainest form of each method: by hand, against Captum, and the package by it."""

from __future__ import annotations

import ast
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
from nets import ByHand, ConvNet, InPlaceAfter, Power, ReluOfDot, built, image
from oracles.gradcam import CHANNELS, SLOPES
from torch import Tensor, nn

import chapter4
from chapter4 import plain

TARGET = 2
EXACT = 1e-10  # of the largest value, in float64


def near(found: Tensor, right: Tensor | np.ndarray, most: float = EXACT) -> None:
    """Equal but for rounding, and not all zeros."""
    wanted = torch.as_tensor(right)
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0
    assert (found - wanted).abs().max() <= most * wanted.abs().max()


@pytest.fixture(params=["conv net", "cubic"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    made: nn.Module = built(ConvNet) if request.param == "conv net" else built(Power, 3)
    return made


@pytest.fixture
def x() -> Tensor:
    return image()[0]


# --- the package gives the same -------------------------------------------------------


def test_gradients_of_the_package(net: nn.Module, x: Tensor) -> None:
    saliency = chapter4.vanilla_gradients(x, net, TARGET)
    near(plain.vanilla_gradients(x, net, TARGET), saliency.map)
    shares = chapter4.gradient_input(x, net, TARGET)
    near(plain.gradient_input(x, net, TARGET), shares.attributions)


def test_smooth_grad_of_the_package(net: nn.Module, x: Tensor) -> None:
    settings = {"n_samples": 7, "noise_level": 0.3, "seed": 5}
    smooth = chapter4.smooth_grad(x, net, TARGET, **settings)
    near(plain.smooth_grad(x, net, TARGET, **settings), smooth.map)


@pytest.mark.parametrize("baseline", ["zeros", "other"])
def test_integrated_gradients_of_the_package(
    net: nn.Module, x: Tensor, baseline: str
) -> None:
    start = torch.zeros_like(x) if baseline == "zeros" else image(seed=1)[0]
    result = chapter4.integrated_gradients(
        x, net, TARGET, start, n_steps=9, rule="riemann_middle"
    )
    found = plain.integrated_gradients(x, net, TARGET, start, n_steps=9)
    near(found, result.attributions)


@pytest.mark.parametrize("make", [ConvNet, InPlaceAfter])
def test_cams_of_the_package(make: type[nn.Module], x: Tensor) -> None:
    net = built(make)
    grad_cam = chapter4.GradCAM(net, "features").generate_cam(x, TARGET)
    near(plain.grad_cam(x, net, TARGET, net.features), grad_cam.raw)
    plus = chapter4.GradCAMPlusPlus(net, "features").generate_cam(x, TARGET)
    near(plain.grad_cam_plus_plus(x, net, TARGET, net.features), plus.raw)


def test_rollout_of_the_package() -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(4, 2, 5, 5, generator=generator, dtype=torch.float64)
    layers = scores.softmax(dim=-1)
    near(plain.attention_rollout(list(layers)), chapter4.attention_rollout(layers))


def test_the_cat(classifier: nn.Module, cat: str) -> None:
    """On a real network, too, the package is this and no other method."""
    photo = chapter4.image_tensor(cat, classifier)[0]
    saliency, target = chapter4.vanilla_gradients(photo, classifier)
    near(plain.vanilla_gradients(photo, classifier, target), saliency, most=1e-2)
    layer = classifier.get_submodule(classifier.target_layer)
    grad_cam = chapter4.GradCAM(classifier, layer).generate_cam(photo, target)
    near(plain.grad_cam(photo, classifier, target, layer), grad_cam.raw, most=1e-4)


# --- Captum gives the same ------------------------------------------------------------


def test_captums_saliency_and_product(net: nn.Module, x: Tensor) -> None:
    leaf = x[None].clone().requires_grad_()
    saliency = captum.attr.Saliency(net).attribute(leaf, target=TARGET)
    near(plain.vanilla_gradients(x, net, TARGET), saliency[0].amax(dim=0))
    product = captum.attr.InputXGradient(net).attribute(leaf, target=TARGET)
    near(plain.gradient_input(x, net, TARGET), product[0].detach())


def test_captums_integrated_gradients(net: nn.Module, x: Tensor) -> None:
    start = image(seed=1)[0]
    right = captum.attr.IntegratedGradients(net).attribute(
        x[None], start[None], target=TARGET, n_steps=9, method="riemann_middle"
    )
    # Captum keeps its steps in float32.
    found = plain.integrated_gradients(x, net, TARGET, start, n_steps=9)
    near(found, right[0], most=1e-6)


def test_captums_grad_cam(x: Tensor) -> None:
    net = built(ConvNet)
    right = captum.attr.LayerGradCam(net, net.features).attribute(x[None], TARGET)
    found = plain.grad_cam(x, net, TARGET, net.features)
    near(found, right[0, 0].detach().relu())


# --- closed forms ---------------------------------------------------------------------


def test_a_power_has_a_known_gradient(x: Tensor) -> None:
    net = built(Power, 3)
    gradient = 3 * net.weight[TARGET].detach() * x**2
    near(plain.vanilla_gradients(x, net, TARGET), gradient.abs().amax(dim=0))
    near(plain.gradient_input(x, net, TARGET), x * gradient)


def test_smooth_grad_of_a_relu_is_its_weight_times_a_probability(x: Tensor) -> None:
    net = built(ReluOfDot)
    weight, n = net.weight[TARGET].detach(), 2000
    sigma = 0.2 * (x.max() - x.min())
    margin = (weight * x).sum() / (sigma * weight.norm())
    share = torch.distributions.Normal(0.0, 1.0).cdf(margin.float()).double()
    found = plain.smooth_grad(x, net, TARGET, n, 0.2) / weight.abs().amax(dim=0)
    assert found.max() - found.min() < 1e-9
    assert abs(found.mean() - share) < 4 * (share * (1 - share) / n) ** 0.5


def test_integrated_gradients_add_up(x: Tensor) -> None:
    """The midpoint rule is exact where the gradient is linear on the path."""
    net, start = built(Power, 2), image(seed=1)[0]
    shares = plain.integrated_gradients(x, net, TARGET, start, n_steps=3)
    ends = net(torch.stack([start, x]))[:, TARGET]
    near(shares.sum(), (ends[1] - ends[0]).detach())
    near(shares, net.weight[TARGET].detach() * (x**2 - start**2))


def test_cams_by_hand() -> None:
    """Three channels of 2 x 2 cells, and their gradients, from oracles/gradcam.py."""
    net = ByHand(SLOPES)
    found = plain.grad_cam(CHANNELS, net, 0, net.features)
    near(found, torch.tensor([[2.5, 0], [1.5, 1]], dtype=CHANNELS.dtype))
    found = plain.grad_cam_plus_plus(CHANNELS, net, 0, net.features)
    right = [[1 / 6 + 0.8, 1 / 3], [0.5, 2 / 3]]
    near(found, torch.tensor(right, dtype=CHANNELS.dtype))


def test_rollout_by_hand() -> None:
    first = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    second = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    # With the identity and rows of sum 1 the first layer is [[3, 1], [1, 3]] / 4.
    near(plain.attention_rollout([first]), torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    last = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    rolled = plain.attention_rollout([first, second, last])
    near(rolled, torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    rolled = plain.attention_rollout([first, last])
    near(rolled, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))


# --- it stays plain -------------------------------------------------------------------


def test_each_method_is_six_to_twelve_lines_of_torch() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            module = getattr(node, "module", None) or node.names[0].name
            own = ("__future__", "collections.abc", "torch", "typing")
            assert module in own, f"{module}: no helper of ours"
    methods = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(methods) == 7
    for method in methods:
        first, last = method.body[1].lineno, method.end_lineno
        lines = [line.strip() for line in text.splitlines()[first - 1 : last]]
        code = [line for line in lines if line and not line.startswith("#")]
        assert 6 <= len(code) <= 12, method.name
