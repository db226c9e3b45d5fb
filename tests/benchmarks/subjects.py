"""The models that are timed, each with photos, targets and Grad-CAM layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import chapter4
from chapter4.inputs.images import load_image, preprocessing_of

SEED = 0
# Model -> its last convolution, before the batch norm: where the printed chapter puts
# its hooks.
PRINTED_LAYERS = {
    "resnet50": "layer4.2.conv3",
    "efficientnet-lite0": "conv_head",
    "shapes": "layer4.0.conv2",
}


@dataclass(frozen=True)
class Subject:
    """A classifier in eval mode and what is explained.

    ``images``: (16, 3, H, W), normalised photos; tasks for one photo take the first.
    ``targets``: the predicted class of each.
    ``classes``: the first photo's five most probable.
    ``layer_name``: the last block, whose output Grad-CAM reads.

    ``model.requires_grad`` is as the model's maker left it: on.
    """

    model: nn.Module
    images: Tensor
    targets: list[int]
    classes: list[int]
    layer_name: str
    printed_layer: nn.Module

    @property
    def layer(self) -> nn.Module:
        """The last block."""
        return self.model.get_submodule(self.layer_name)

    @property
    def image(self) -> Tensor:
        """The first photo: (1, 3, H, W)."""
        return self.images[:1]

    @property
    def black(self) -> Tensor:
        """A photo with the pixel value 0 everywhere, normalised: (1, 3, H, W)."""
        return preprocessing_of(self.model).normalize(torch.zeros_like(self.image))

    @property
    def sigma(self) -> float:
        """SmoothGrad's noise for the first photo: 0.15 of its normalised range."""
        return 0.15 * float(self.image.max() - self.image.min())


def load(name: str, device: str = "cpu") -> Subject:
    """Make a model ready on a device.

    Raises ModuleNotFoundError where its package is missing.
    """
    if name == "resnet50":
        model, layer = _resnet50(), "layer4"
    else:
        model = chapter4.load_classifier(name)
        layer = str(model.target_layer)
    images = _photos(model).to(device)
    model = model.to(device)
    with torch.no_grad():
        logits = model(images)
    return Subject(
        model=model,
        images=images,
        targets=logits.argmax(dim=1).tolist(),
        classes=logits[0].topk(5).indices.tolist(),
        layer_name=layer,
        printed_layer=model.get_submodule(PRINTED_LAYERS[name]),
    )


def _resnet50() -> nn.Module:
    # Seeded random weights: the time does not depend on them, and there is nothing to
    # download. The batch norms get the statistics of the photos, so that activations
    # and gradients have the size that they have in a trained network.
    from torchvision.models import resnet50

    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        model = resnet50(weights=None)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    model.train()
    for norm in norms:
        norm.momentum = None  # the plain mean over the batches that it sees: one
    with torch.no_grad():
        model(_photos(model)[:8])
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def _photos(model: nn.Module) -> Tensor:
    folder = Path(chapter4.__file__).with_name("photos")
    prepare = preprocessing_of(model)
    paths = sorted(folder.glob("*.jpg"))[:16]
    return torch.stack([prepare(load_image(path)) for path in paths])
