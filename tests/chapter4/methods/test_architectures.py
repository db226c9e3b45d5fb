"""Every method on every online architecture, checked by value.

The models are built from their configurations with random weights. Captum is the peer
where it is right; in float64, so that nothing but a real difference shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from measures import EXACT, FLOAT32, close
from oracles.gradcam import summed
from torch import Tensor, nn

import chapter4
from chapter4.core.attribution import logits_of
from chapter4.methods.gradcam import default_target_layer

# Their SmoothGrad and IG are sums of the gradients that are checked first.
STEPS = 4


def vgg11() -> nn.Module:
    from torchvision.models import vgg11

    # The three large layers of its head hold 95 % of its weights and nothing to test.
    with torch.device("meta"):
        model = vgg11()
    model.features.to_empty(device="cpu")
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.normal_(module.bias, std=0.1)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(
        nn.Linear(512, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10)
    )
    return model


def hugging_face_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        num_labels=10,
        initializer_range=0.3,
    )
    return ViTForImageClassification(config)


def torchvision_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None, num_classes=10, **options)

    return make


# Architecture -> how to build it, its default Grad-CAM layer, and a layer with an
# in-place operation behind it.
# The slow ones repeat what the others show, in more time.
PATCHES = "vit.embeddings.patch_embeddings.projection"
MOBILENET = torchvision_model("mobilenet_v3_small")
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], str, str | None]] = {
    "resnet18": (torchvision_model("resnet18"), "layer4", "layer4.1.bn2"),
    "vgg11": (vgg11, "features", "features.18"),
    "densenet121": (torchvision_model("densenet121"), "features", "features.norm5"),
    "mobilenet_v3_small": (MOBILENET, "features", "features.12.1"),
    "convnext_tiny": (torchvision_model("convnext_tiny"), "features", None),
    "vit_b_32": (torchvision_model("vit_b_32", image_size=64), "conv_proj", None),
    "ViTForImageClassification": (hugging_face_vit, PATCHES, None),
}
QUICK = ("resnet18", "mobilenet_v3_small", "ViTForImageClassification")


def marked(name: str, *more: str) -> Any:
    marks = () if name in QUICK else (pytest.mark.slow,)
    return pytest.param(name, *more, marks=marks, id="-".join((name, *more)))


EACH = pytest.mark.parametrize("name", [marked(name) for name in ARCHITECTURES])
LAYERS = [
    marked(name, layer)
    for name, (_, *layers) in ARCHITECTURES.items()
    for layer in layers
    if layer
]


@cache
def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ARCHITECTURES[name][0]().double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                # As after training; fresh ones hand everything on unchanged.
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
            if hasattr(module, "layer_scale"):
                # ConvNeXt's 1e-6 would switch its blocks off.
                nn.init.constant_(module.layer_scale, 0.5)
        head = getattr(model, "heads", None)
        if head is not None:
            # Torchvision's ViT starts with zeros.
            nn.init.normal_(head[-1].weight, std=0.1)
    # As in the middle of training: each method must switch to eval mode itself.
    return model.train()


@cache
def image(n: int = 1) -> Tensor:
    return torch.randn(
        n, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


@contextmanager
def in_eval(name: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """The same model for Captum, which takes it as it is."""
    model = built(name).eval()
    yield lambda x: logits_of(model, x)
    model.train()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Any:
    yield
    model = built(request.node.callspec.params["name"])
    assert all(module.training for module in model.modules())
    assert all(
        parameter.requires_grad and parameter.grad is None
        for parameter in model.parameters()
    )
    assert not any(
        module._forward_hooks or module._backward_hooks for module in model.modules()
    )


@EACH
def test_gradients(name: str) -> None:
    from captum.attr import InputXGradient, Saliency

    model, x, targets = built(name), image(2), torch.tensor([3, 5])
    own = chapter4.vanilla_gradients(x, model, [3, 5])
    product = chapter4.gradient_input(x, model, [3, 5])
    smooth = chapter4.smooth_grad(x, model, [3, 5], 2, 0.1, seed=2)
    generator = torch.Generator().manual_seed(2)
    low, high = (
        end.reshape(2, 1, 1, 1) for end in (x.flatten(1).amin(1), x.flatten(1).amax(1))
    )
    noise = torch.randn((2, *x.shape[1:]), generator=generator, dtype=x.dtype)
    with in_eval(name) as logits:

        def captum(method: Any, at: Tensor, **options: Any) -> Tensor:
            at = at.clone().requires_grad_()
            return method(logits).attribute(at, targets, **options)

        peer = captum(Saliency, x, abs=False)
        noisy = [x + 0.1 * (high - low) * each for each in noise]
        mean = sum(captum(Saliency, each, abs=False) for each in noisy) / 2
        score = logits(x).detach()[[0, 1], targets]
        close("architectures: vanilla, Captum", own.attributions, peer, EXACT)
        close("architectures: vanilla, map", own.map, peer.abs().amax(dim=1), EXACT)
        peer = captum(InputXGradient, x)
        close("architectures: Gradient x Input", product.attributions, peer, EXACT)
        close("architectures: SmoothGrad", smooth.attributions, mean, EXACT)
        close("architectures: score", own.score, score, EXACT)


@EACH
def test_integrated_gradients(name: str) -> None:
    from captum.attr import IntegratedGradients

    model, x = built(name), image()
    own = chapter4.integrated_gradients(x, model, 3, "blur", STEPS)
    other = chapter4.integrated_gradients(
        x, model, 3, "blur", STEPS, backend="captum", chunk_size=3
    )
    start = chapter4.make_baseline("blur", x, model)
    with in_eval(name) as logits:
        peer = IntegratedGradients(logits).attribute(x, start, 3, n_steps=STEPS)[0]
        change = (logits(x) - logits(start))[0, 3].item()
    # Captum's weights are float32.
    close("architectures: IG, Captum", own.attributions, peer, FLOAT32)
    close("architectures: IG, backend captum", other.attributions, peer, FLOAT32)
    error = abs(own.attributions.sum() - change)
    assert own.delta == pytest.approx(error / abs(change), rel=1e-6)


@EACH
def test_the_default_layer(name: str) -> None:
    assert default_target_layer(built(name), image()) == ARCHITECTURES[name][1]


def grid_and_slope(
    model: nn.Module, layer: str, x: Tensor, target: int
) -> tuple[Tensor, Tensor]:
    """A and dS/dA, (K, h, w): the gradient for a 0 added to the layer's output."""
    grids: list[Tensor] = []
    zeros: list[Tensor] = []

    def add_zero(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        grids.append(output.detach().clone())
        zeros.append(torch.zeros_like(output, requires_grad=True))
        return output + zeros[0]

    handle = model.get_submodule(layer).register_forward_hook(add_zero)
    try:
        score = logits_of(model, x)[0, target]
    finally:
        handle.remove()
    return grids[0][0], torch.autograd.grad(score, zeros[0])[0][0]


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_class_activation_maps(name: str, layer: str) -> None:
    from captum.attr import LayerGradCam

    model, x, shown = built(name), image(), 0
    for target in range(10):
        own = chapter4.GradCAM(model, layer).generate_cam(x, target)
        plus = chapter4.GradCAMPlusPlus(model, layer).generate_cam(x, target)
        with in_eval(name) as logits:
            captum = LayerGradCam(logits, model.get_submodule(layer))
            peer = captum.attribute(x, target, relu_attributions=True).detach()[0, 0]
            grid, slope = grid_and_slope(model, layer, x, target)
        close("architectures: Grad-CAM, Captum", own.raw, peer, EXACT)
        below = 2 + grid.sum(dim=(1, 2), keepdim=True) * slope
        alpha = torch.where((slope != 0) & (below.abs() > 1e-3), 1 / below, 0)
        want = summed((alpha * slope.relu()).sum(dim=(1, 2)), grid)
        close("architectures: Grad-CAM++, closed form", plus.raw, want, EXACT)
        for result in (own, plus):
            assert result.map.shape == (64, 64)
            assert result.map.max() == (0 if result.blank else 1)
        shown += not own.blank
        if shown == 2:
            return
    raise AssertionError("blank maps for nearly all classes prove nothing")


@EACH
def test_a_batch_is_its_images_here_too(name: str) -> None:
    """Batch norm, layer norm and attention: no image sees its neighbour."""
    model, x, layer = built(name), image(2), ARCHITECTURES[name][1]
    cam = chapter4.GradCAM(model, layer)
    together = cam.generate_cam(x, [1, 2])
    alone = [cam.generate_cam(x[i], i + 1).raw for i in range(2)]
    close("architectures: batch equals singles", together.raw, np.stack(alone), EXACT)
