"""The two small networks that are trained on the shapes: a ResNet and a ViT.

Both take pictures of 64 px, NORMALISED to ``(pixel - 0.5) / 0.5``, and give logits for
the ten classes of ``shapes.drawing.CLASSES``. Whoever uses them normalises the
pictures, as with any ImageNet model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chapter4.shapes.drawing import CLASSES, SIZE

if TYPE_CHECKING:
    from transformers import ViTForImageClassification

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)


class _Block(nn.Module):
    """The basic residual block of He et al. 2015 (arXiv:1512.03385).

    Each ReLU is a module of its own and none works in place, so that hooks and
    DeepLift-like rules can tell them apart.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.skip(x))


class TinyResNet(nn.Module):
    """A ResNet of four blocks with global average pooling and a linear head.

    Each of ``layer1`` to ``layer4`` holds one block, so that torchvision's names,
    ``layer4`` and ``layer4[-1]``, work here too. The output of ``layer4`` (after the
    ReLU) is (N, 96, 8, 8). On such a head Grad-CAM is the class activation map divided
    by 64, which makes the model an exact test bed.

    Args:
        n_classes: The number of classes.
    """

    def __init__(self, n_classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(_Block(24, 24, 1))
        self.layer2 = nn.Sequential(_Block(24, 48, 2))
        self.layer3 = nn.Sequential(_Block(48, 96, 2))
        self.layer4 = nn.Sequential(_Block(96, 96, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """The output of ``layer4``, (N, 96, 8, 8), for normalised (N, 3, 64, 64)."""
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 24, 32, 32)
        x = self.layer2(self.layer1(x))  # (N, 48, 16, 16)
        return self.layer4(self.layer3(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.features(x)).flatten(1))


class ConvStem(nn.Module):
    """Four small convolutions in place of a ViT's patch embedding.

    A small ViT learns from few pictures only with such a stem. The stride is 8, so
    there is one token for each 8 x 8 patch. A token sees the 22 x 22 pixels about its
    patch's centre, not the patch alone.

    Args:
        hidden_size: The length of a token.

    References:
        Xiao et al. 2021, arXiv:2106.14881.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        # These three and `projection` are what Hugging Face's ViT reads from its patch
        # embedding.
        self.image_size = (SIZE, SIZE)
        self.patch_size = (8, 8)
        self.num_patches = (SIZE // 8) ** 2
        # The kernels are even where the stride is 2, so that a token's view is centred
        # on its patch.
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 4, 2, 1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.projection = nn.Conv2d(32, hidden_size, 2, 2, 0)

    def forward(self, pixel_values: Tensor) -> Tensor:
        # (N, 64, hidden)
        return self.projection(self.stem(pixel_values)).flatten(2).transpose(1, 2)


def tiny_resnet(seed: int = 0) -> TinyResNet:
    """The tiny ResNet with random weights, in eval mode.

    Args:
        seed: The seed of the initial weights. torch's global random state is left as it
            was.

    Returns:
        A network from (N, 3, 64, 64), normalised, to logits (N, 10).

    References:
        He et al. 2015, arXiv:1512.03385.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyResNet().eval()


def tiny_vit(seed: int = 0) -> ViTForImageClassification:
    """The tiny Vision Transformer with random weights, in eval mode.

    It has six layers of four heads over one [CLS] token and 8 x 8 = 64 patches, with
    eager attention. It is made of Hugging Face's own classes, so that whatever works on
    it works on ViT-B/16 too.

    Args:
        seed: The seed of the initial weights. torch's global random state is left as it
            was.

    Returns:
        A model from (N, 3, 64, 64), normalised, to an output with ``.logits`` (N, 10).
        With ``output_attentions=True`` it also has ``.attentions``, six tensors
        (N, 4, 65, 65).

    References:
        Dosovitskiy et al. 2020, arXiv:2010.11929.
    """
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=256,
        image_size=SIZE,
        patch_size=8,
        # The usual 0.02 suits widths of 768; at 64 it leaves attention near uniform for
        # hundreds of steps.
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: i for i, name in enumerate(CLASSES)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViTForImageClassification(config)
        stem = ConvStem(config.hidden_size)
        model.vit.embeddings.add_module("patch_embeddings", stem)
    # Under transformers' default, scaled-dot-product attention, the attention weights
    # are never formed.
    model.set_attn_implementation("eager")
    return model.eval()
