"""Section 4.1 by value: vanilla gradients, Gradient x Input and SmoothGrad.

The right values come from nets that can be computed by hand, closed forms and finite
differences.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from measures import (
    DIFFERENCES,
    EXACT,
    PRECISIONS,
    Impl,
    Method,
    Oracle,
    close,
    differences,
    probability,
    saliency,
    within,
)
from nets import ConvNet, Power, ReluOfDot, Watched, built, image
from torch import Tensor, nn

from oracles.contract import the_same_in_chunks


def check_probability(name: str, call: Method) -> None:
    """The gradient of the softmax by finite differences, and its value."""
    net, x = built(ConvNet, activation=nn.Tanh), image()
    got, score = call(x, net, 2, score="probability"), probability(net, 2)
    want = differences(score, x)[0]
    close(f"{name}: differences of the softmax", got.attributions, want, DIFFERENCES)
    close("score is the softmax", got.score, score(x)[0], EXACT)


def gradient_of_powers(vanilla: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2, 3):
            net, x = built(Power, power, dtype=dtype), image(2, dtype=dtype)
            result = vanilla(x, net, [3, 1])
            want = torch.stack([net.gradient(x[0], 3), net.gradient(x[1], 1)])
            close(f"vanilla: powers, {dtype}", result.attributions, want, allowed)
            close(f"vanilla: powers, map, {dtype}", result.map, saliency(want), allowed)


def gradient_of_the_probability(vanilla: Impl) -> None:
    check_probability("vanilla", vanilla)


VANILLA: list[Oracle] = [gradient_of_powers, gradient_of_the_probability]


def product_of_powers(gradient_input: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2):
            net, x = built(Power, power, dtype=dtype), image(dtype=dtype)
            result, want = gradient_input(x, net, 2), x[0] * net.gradient(x[0], 2)
            name = f"Gradient x Input: powers, {dtype}"
            close(name, result.attributions, want, allowed)
            close(f"{name}, map", result.map, saliency(want), allowed)


GRADIENT_INPUT: list[Oracle] = [product_of_powers]


def mean_noise(smooth: Impl, x: Tensor, n: int) -> Tensor:
    """The mean noise under eight seeds, (8, 3, H, W), read from the map.

    For ``F = sum a x^2`` the mean gradient is ``2a (x + mean noise)``.
    """
    net = built(Power, 2)
    maps = [smooth(x, net, 1, n, 0.2, seed=seed).attributions for seed in range(8)]
    return torch.from_numpy(np.stack(maps)) / (2 * net.weight[1].detach()) - x[0]


def check_variance(name: str, noise: Tensor, variance: float) -> None:
    error = variance * (2 / noise.numel()) ** 0.5
    within(f"SmoothGrad: {name}", noise.square().mean().item(), variance, error)


def noise_has_the_right_size(smooth: Impl) -> None:
    """The mean noise has the variance ``sigma^2 / n``."""
    x = image() * 3 + 2
    sigma = 0.2 * (x.max() - x.min()).item()
    for n in (1, 2, 4):
        noise = mean_noise(smooth, x, n)
        check_variance("variance of the mean noise", noise, sigma**2 / n)
        error = sigma / (n * noise.numel()) ** 0.5
        within("SmoothGrad: mean of the noise", noise.mean().item(), 0.0, error)


def noise_is_independent_everywhere(smooth: Impl) -> None:
    """No two channels, pixels or samples share their noise.

    So the products of different values average to 0.
    """
    x = image()
    sigma, noise = 0.2 * (x.max() - x.min()).item(), mean_noise(smooth, x, 2)
    for axis, name in ((1, "channels"), (2, "rows"), (3, "columns")):
        product = noise * noise.roll(1, dims=axis)
        error = sigma**2 / 2 / product.numel() ** 0.5
        name = f"SmoothGrad: covariance of neighbouring {name}"
        within(name, product.mean().item(), 0.0, error)


def relu_under_noise(smooth: Impl) -> None:
    """The mean gradient of a ReLU is ``w Phi(w.x / (sigma |w|))``.

    The number of samples on the active side is binomial.
    """
    net = built(ReluOfDot)
    for seed, target in ((0, 0), (1, 1), (2, 2)):
        x, w, n = image(seed=seed), net.weight[target].detach(), 4000
        # Move x close to the kink, where the noise decides.
        x = x - (w * x).sum() / w.square().sum() * w + (0.1 + 0.3 * seed) * w / w.norm()
        sigma = 0.1 * (x.max() - x.min()).item()
        distance = (w * x).sum().item() / (sigma * w.norm().item())
        active = 0.5 * (1 + math.erf(distance / 2**0.5))
        result = smooth(x, net, target, n, 0.1, chunk_size=500)
        signed = torch.from_numpy(result.attributions)
        share = ((signed * w).sum() / w.square().sum()).item()
        error = (active * (1 - active) / n) ** 0.5
        within("SmoothGrad: ReLU under Gaussian noise", share, active, error)
        close("SmoothGrad: ReLU under noise, direction", signed, share * w, EXACT)
        want = saliency(share * w)
        close("SmoothGrad: ReLU under noise, map", result.map, want, EXACT)


def mean_first_then_absolute(smooth: Impl) -> None:
    """Gradients of both signs cancel, so ``|mean|`` and ``mean ||`` are far apart."""
    net, x = built(Power, 2), image() * 0.05
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.0, -2.0
    result = smooth(x, net, 1, 64, 0.2)
    signed = torch.from_numpy(result.attributions)
    close("SmoothGrad: map of the signed mean", result.map, saliency(signed), EXACT)
    noise = signed / (2 * net.weight[1].detach()) - x[0]
    check_variance("gradients of both signs", noise, (0.2 * 4) ** 2 / 64)


def no_noise_is_the_plain_gradient(smooth: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(dtype=dtype).requires_grad_()
        want = torch.autograd.grad(net(x)[0, 2], x)[0][0]
        result = smooth(x.detach(), net, 2, 3, 0.0)
        name = f"SmoothGrad: no noise, {dtype}"
        close(name, result.attributions, want, allowed)
        close(f"{name}, map", result.map, saliency(want), allowed)


def n_different_samples_are_taken(smooth: Impl) -> None:
    x = image()
    for n in (1, 5):
        net = Watched(built(Power, 2))
        smooth(x, net, 1, n, 0.2)
        points = net.gradient_points
        assert len(points) == n, f"{len(points)} gradients for {n} samples"
        assert len(points.unique(dim=0)) == n, "a sample was used twice"
        clean = (points == x).all(dim=(1, 2, 3))
        assert not clean.any(), "the clean image was used as a sample"


def the_class_is_chosen_on_the_clean_image(smooth: Impl) -> None:
    net, x = built(Power, 1), image()
    with torch.no_grad():
        # Nearly a tie, so that the noisy copies would choose differently.
        logits = net(x)[0]
        net.bias += logits.max() - logits
        net.bias[3] += 1e-3
    result = smooth(x, net, None, 8, 0.3)
    assert result.target == 3, f"class {result.target} explained, not the image's 3"
    want = net.weight[3]
    close("SmoothGrad: class of the clean image", result.attributions, want, EXACT)


def smooth_grad_in_chunks(smooth: Impl) -> None:
    the_same_in_chunks(
        lambda x, net, target, n, **options: smooth(x, net, target, n, 0.2, **options)
    )


def the_seed_decides(smooth: Impl) -> None:
    net, x = built(Power, 2), image()
    first = smooth(x, net, 1, 3, seed=1)
    torch.randn(5)
    close("SmoothGrad: the same seed", smooth(x, net, 1, 3, seed=1).map, first.map, 0)
    other = smooth(x, net, 1, 3, seed=2).map
    assert not np.array_equal(other, first.map), "another seed gives the same map"


def smooth_probability(smooth: Impl) -> None:
    check_probability(
        "SmoothGrad",
        lambda x, net, target, **options: smooth(x, net, target, 2, 0.0, **options),
    )


SMOOTH_GRAD: list[Oracle] = [
    noise_has_the_right_size,
    noise_is_independent_everywhere,
    relu_under_noise,
    mean_first_then_absolute,
    no_noise_is_the_plain_gradient,
    n_different_samples_are_taken,
    the_class_is_chosen_on_the_clean_image,
    smooth_grad_in_chunks,
    the_seed_decides,
    smooth_probability,
]
