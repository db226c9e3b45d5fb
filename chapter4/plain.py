"""Every method of the chapter in its plainest form: one image, one class, plain torch.

Read this file first. The rest of the package computes the same maps for batches, in
less time, and leaves every model as it was. The tests hold the two to each other.

Everywhere here ``image`` is a tensor (C, H, W) as the model takes it: normalised.
``model`` is in evaluation mode (``model.eval()``) and turns images (N, C, H, W) into
one score for each class, (N, K). ``target_class`` is the number of the class that is
explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def vanilla_gradients(image: Tensor, model: nn.Module, target_class: int) -> Tensor:
    """How fast the score changes with each pixel: a saliency map (H, W).

    References:
        Simonyan et al. 2013, arXiv:1312.6034.
    """
    x = image.clone().requires_grad_()
    scores = model(x[None])[0]  # (K,)
    score = scores[target_class]
    (gradient,) = torch.autograd.grad(score, x)  # (C, H, W)
    saliency = gradient.abs().amax(dim=0)  # the strongest channel, whatever its sign
    return saliency


def gradient_input(image: Tensor, model: nn.Module, target_class: int) -> Tensor:
    """The gradient times the image: the share of each input number, (C, H, W).

    References:
        Shrikumar et al. 2016, arXiv:1605.01713.
    """
    x = image.clone().requires_grad_()
    scores = model(x[None])[0]  # (K,)
    score = scores[target_class]
    (gradient,) = torch.autograd.grad(score, x)
    shares = image * gradient  # signed
    return shares


def smooth_grad(
    image: Tensor,
    model: nn.Module,
    target_class: int,
    n_samples: int = 50,
    noise_level: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """The mean gradient over noisy copies of the image: a saliency map (H, W).

    ``noise_level`` is the standard deviation of the noise over the image's range.

    References:
        Smilkov et al. 2017, arXiv:1706.03825.
    """
    generator = torch.Generator().manual_seed(seed)
    sigma = noise_level * (image.max() - image.min())
    total = torch.zeros_like(image)
    for _ in range(n_samples):
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype)
        x = (image + sigma * noise).requires_grad_()
        score = model(x[None])[0, target_class]
        total += torch.autograd.grad(score, x)[0]
    # The mean comes first. Taking the absolute value before it would add up the noise.
    return (total / n_samples).abs().amax(dim=0)


def grad_cam(
    image: Tensor, model: nn.Module, target_class: int, layer: nn.Module
) -> Tensor:
    """Where the layer's channels speak for the class: a map (h, w) on its own grid.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391.
    """
    kept = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # a later in-place ReLU changes the clone

    handle = layer.register_forward_hook(keep)
    score = model(image[None].requires_grad_())[0, target_class]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])  # (1, channels, h, w)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # one for each channel
    return (weights * kept[0]).sum(dim=1).relu()[0].detach()


def grad_cam_plus_plus(
    image: Tensor, model: nn.Module, target_class: int, layer: nn.Module
) -> Tensor:
    """Grad-CAM that counts positive gradients only: a map (h, w) on the layer's grid.

    The layer must end in a ReLU, so that ``alpha`` never divides by zero.

    References:
        Chattopadhay et al. 2018, arXiv:1710.11063.
    """
    kept = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = layer.register_forward_hook(keep)
    score = model(image[None].requires_grad_())[0, target_class]
    handle.remove()
    positive = torch.autograd.grad(score, kept[0])[0].relu()  # (1, channels, h, w)
    alpha = 1 / (2 + kept[0].sum(dim=(2, 3), keepdim=True) * positive)
    weights = (alpha * positive).sum(dim=(2, 3), keepdim=True)
    return (weights * kept[0]).sum(dim=1).relu()[0].detach()


def integrated_gradients(
    image: Tensor,
    model: nn.Module,
    target_class: int,
    baseline: Tensor,
    n_steps: int = 50,
) -> Tensor:
    """The share of each input number in F(image) - F(baseline): signed, (C, H, W).

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """
    total = torch.zeros_like(image)
    for k in range(n_steps):
        alpha = (k + 0.5) / n_steps  # the middle of step k on the way to the image
        x = (baseline + alpha * (image - baseline)).requires_grad_()
        score = model(x[None])[0, target_class]
        total += torch.autograd.grad(score, x)[0]
    return (image - baseline) * total / n_steps


def attention_rollout(attentions: Sequence[Tensor]) -> Tensor:
    """How much of each input token reaches each token of the last layer, (T, T).

    ``attentions`` has one tensor (heads, T, T) for each layer, the first layer first.
    Its row q says where token q looks, and sums to 1.

    References:
        Abnar and Zuidema 2020, arXiv:2005.00928.
    """
    rollout = identity = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for weights in attentions:
        mixed = weights.mean(dim=0) + identity  # a residual connection passes by
        mixed = mixed / mixed.sum(dim=-1, keepdim=True)
        rollout = mixed @ rollout  # the later layer stands on the left
    return rollout
