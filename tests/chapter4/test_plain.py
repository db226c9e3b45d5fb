"""The plainest form of each method gives what the package gives."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import ConvNet, InPlaceAfter, Power, built, image
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


# --- the package, whose values other tests know, gives the same -----------------------


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
