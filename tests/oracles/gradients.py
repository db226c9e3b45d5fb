"""Section 4.1 by value: vanilla gradients, Gradient x Input and SmoothGrad.

The right values come from nets that can be computed by hand, closed forms, finite
differences and Captum.
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
    Oracle,
    close,
    differences,
    logit,
    probability,
    saliency,
    within,
)
from nets import (
    ConvNet,
    InPlaceAfter,
    Power,
    ReluOfDot,
    Watched,
    built,
    image,
)
from torch import nn


def gradient_of_powers(vanilla: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2, 3):
            net, x = built(Power, power, dtype=dtype), image(2, dtype=dtype)
            result, want = (
                vanilla(x, net, [3, 1]),
                torch.stack([net.gradient(x[0], 3), net.gradient(x[1], 1)]),
            )
            close(f"vanilla: powers, {dtype}", result.attributions, want, allowed)
            close(f"vanilla: powers, map, {dtype}", result.map, saliency(want), allowed)


def gradient_against_differences(vanilla: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    close(
        "vanilla: finite differences",
        vanilla(x, net, 2).attributions,
        differences(logit(net, 2), x)[0],
        DIFFERENCES,
    )


def gradient_of_the_probability(vanilla: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    got = vanilla(x, net, 2, score="probability")
    want = differences(probability(net, 2), x)[0]
    close(
        "vanilla: finite differences of the softmax",
        got.attributions,
        want,
        DIFFERENCES,
    )
    close("score is the softmax", got.score, probability(net, 2)(x)[0], EXACT)


def gradient_of_a_sure_model(vanilla: Impl) -> None:
    """The logit of a sure model has its whole gradient.

    At p = 1 in floating point, the softmax has no gradient left.
    """
    net, x = built(Power, 1), image()
    with torch.no_grad():
        net.bias[2] += 1000
    close(
        "vanilla: a model that is sure",
        vanilla(x, net).attributions,
        net.weight[2],
        EXACT,
    )


def saliency_against_captum(vanilla: Impl) -> None:
    from captum.attr import Saliency

    for make in (ConvNet, InPlaceAfter):
        for dtype, allowed in PRECISIONS:
            net, x = built(make, dtype=dtype), image(dtype=dtype)
            want = (
                Saliency(net)
                .attribute(x.clone().requires_grad_(), 2, abs=True)
                .amax(dim=1)[0]
            )
            close(
                f"vanilla: Captum's Saliency, {dtype}",
                vanilla(x, net, 2).map,
                want,
                allowed,
            )


VANILLA: list[Oracle] = [
    gradient_of_powers,
    gradient_against_differences,
    gradient_of_the_probability,
    gradient_of_a_sure_model,
    saliency_against_captum,
]


def product_of_powers(gradient_input: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2):
            net, x = built(Power, power, dtype=dtype), image(dtype=dtype)
            result, want = gradient_input(x, net, 2), x[0] * net.gradient(x[0], 2)
            close(
                f"Gradient x Input: powers, {dtype}", result.attributions, want, allowed
            )
            close(
                f"Gradient x Input: powers, map, {dtype}",
                result.map,
                saliency(want),
                allowed,
            )


def products_sum_to_a_homogeneous_score(gradient_input: Impl) -> None:
    net, x = built(ConvNet, bias=False), image()
    total = gradient_input(x, net, 2).attributions.sum()
    close(
        "Gradient x Input: sums to F of a bias-free ReLU net",
        total,
        net(x)[0, 2],
        EXACT,
    )


def product_against_captum(gradient_input: Impl) -> None:
    from captum.attr import InputXGradient

    for make in (ConvNet, InPlaceAfter):
        net, x = built(make), image()
        want = InputXGradient(net).attribute(x.clone().requires_grad_(), 2)[0]
        close(
            "Gradient x Input: Captum",
            gradient_input(x, net, 2).attributions,
            want,
            EXACT,
        )


GRADIENT_INPUT: list[Oracle] = [
    product_of_powers,
    products_sum_to_a_homogeneous_score,
    product_against_captum,
]


def noise_has_the_right_size(smooth: Impl) -> None:
    """The mean noise has the variance ``sigma^2 / n``.

    For ``F = sum a x^2`` the mean gradient is ``2a (x + mean noise)``, so it shows the
    noise.
    """
    net, x = built(Power, 2), image()
    x = x * 3 + 2
    sigma = 0.2 * (x.max() - x.min()).item()
    for n in (1, 2, 4):
        means = []
        for seed in range(8):
            signed = torch.from_numpy(smooth(x, net, 1, n, 0.2, seed=seed).attributions)
            means.append(signed / (2 * net.weight[1].detach()) - x[0])
        noise = torch.stack(means)
        variance, count = sigma**2 / n, noise.numel()
        error = variance * (2 / count) ** 0.5
        within(
            "SmoothGrad: variance of the mean noise",
            noise.square().mean().item(),
            variance,
            error,
        )
        within(
            "SmoothGrad: mean of the noise",
            noise.mean().item(),
            0.0,
            (variance / count) ** 0.5,
        )


def sigma_is_each_images_own(smooth: Impl) -> None:
    net, x = built(Power, 2), image(2)
    x[1] *= 0.01
    for i, signed in enumerate(
        torch.from_numpy(smooth(x, net, [1, 1], 4, 0.2).attributions)
    ):
        noise = signed / (2 * net.weight[1].detach()) - x[i]
        variance = (0.2 * (x[i].max() - x[i].min()).item()) ** 2 / 4
        name = "SmoothGrad: variance in a batch"
        within(
            name,
            noise.square().mean().item(),
            variance,
            variance * (2 / noise.numel()) ** 0.5,
        )


def noise_is_independent_everywhere(smooth: Impl) -> None:
    """No two channels, pixels or samples share their noise.

    So the products of different values average to 0.
    """
    net, x = built(Power, 2), image()
    sigma = 0.2 * (x.max() - x.min()).item()
    means = [
        torch.from_numpy(smooth(x, net, 1, 2, 0.2, seed=s).attributions)
        for s in range(8)
    ]
    noise = torch.stack(means) / (2 * net.weight[1].detach()) - x[0]
    for axis, name in ((1, "channels"), (2, "rows"), (3, "columns")):
        product = noise * noise.roll(1, dims=axis)
        standard_error = sigma**2 / 2 / product.numel() ** 0.5
        within(
            f"SmoothGrad: covariance of neighbouring {name}",
            product.mean().item(),
            0.0,
            standard_error,
        )


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
        active = 0.5 * (
            1 + math.erf((w * x).sum().item() / (sigma * w.norm().item()) / 2**0.5)
        )
        result = smooth(x, net, target, n, 0.1, chunk_size=500)
        signed = torch.from_numpy(result.attributions)
        share = ((signed * w).sum() / w.square().sum()).item()
        within(
            "SmoothGrad: ReLU under Gaussian noise",
            share,
            active,
            (active * (1 - active) / n) ** 0.5,
        )
        close("SmoothGrad: ReLU under noise, direction", signed, share * w, EXACT)
        close(
            "SmoothGrad: ReLU under noise, map", result.map, saliency(share * w), EXACT
        )


def mean_first_then_absolute(smooth: Impl) -> None:
    """Gradients of both signs cancel, so ``|mean|`` and ``mean ||`` are far apart."""
    net, x = built(Power, 2), image() * 0.05
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.0, -2.0
    result = smooth(x, net, 1, 64, 0.2)
    signed = torch.from_numpy(result.attributions)
    close("SmoothGrad: map of the signed mean", result.map, saliency(signed), EXACT)
    noise = signed / (2 * net.weight[1].detach()) - x[0]
    within(
        "SmoothGrad: signed mean",
        noise.mean().item(),
        0.0,
        0.2 * 4 / (64 * noise.numel()) ** 0.5,
    )


def no_noise_is_the_plain_gradient(smooth: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(dtype=dtype).requires_grad_()
        want = torch.autograd.grad(net(x)[0, 2], x)[0][0]
        result = smooth(x.detach(), net, 2, 3, 0.0)
        close(f"SmoothGrad: no noise, {dtype}", result.attributions, want, allowed)
        close(
            f"SmoothGrad: no noise, map, {dtype}", result.map, saliency(want), allowed
        )


def n_different_samples_are_taken(smooth: Impl) -> None:
    x = image()
    for n in (1, 5):
        net = Watched(built(Power, 2))
        smooth(x, net, 1, n, 0.2)
        points = net.gradient_points
        assert len(points) == n, f"{len(points)} gradients for {n} samples"
        assert len({tuple(p.flatten().tolist()) for p in points}) == n, (
            "a sample was used twice"
        )
        assert not (points == x).all(dim=(1, 2, 3)).any(), (
            "the clean image was used as a sample"
        )


def the_class_is_chosen_on_the_clean_image(smooth: Impl) -> None:
    net, x = built(Power, 1), image()
    with torch.no_grad():
        # Nearly a tie, so that the noisy copies would choose differently.
        logits = net(x)[0]
        net.bias += logits.max() - logits
        net.bias[3] += 1e-3
    result = smooth(x, net, None, 8, 0.3)
    assert result.target == 3, (
        f"class {result.target} explained, the image is of class 3"
    )
    close(
        "SmoothGrad: class of the clean image",
        result.attributions,
        net.weight[3],
        EXACT,
    )


def chunks_change_nothing(smooth: Impl) -> None:
    net, x = built(ConvNet), image(2)
    want = smooth(x, net, [1, 2], 7, 0.2, seed=5)
    for chunk_size in (1, 2, 3, 100):
        watched = Watched(net)
        got = smooth(x, watched, [1, 2], 7, 0.2, seed=5, chunk_size=chunk_size)
        close(
            "SmoothGrad: whatever the chunk size",
            got.attributions,
            want.attributions,
            EXACT,
        )
        largest = max(len(b) for b in watched.batches)
        assert largest <= max(chunk_size, len(x)), (
            f"{largest} images at once, with chunks of {chunk_size}"
        )


def memory_does_not_grow_with_samples(smooth: Impl) -> None:
    largest = []
    for n in (40, 80):
        net = Watched(built(ConvNet))
        smooth(image(), net, 1, n)
        largest.append(max(len(b) for b in net.batches))
    assert largest[0] == largest[1] < 40, (
        f"batches of {largest} images for 40 and 80 samples"
    )


def the_seed_decides(smooth: Impl) -> None:
    net, x = built(Power, 2), image()
    first = smooth(x, net, 1, 3, seed=1)
    torch.randn(5)
    close("SmoothGrad: the same seed", smooth(x, net, 1, 3, seed=1).map, first.map, 0)
    assert not np.array_equal(smooth(x, net, 1, 3, seed=2).map, first.map), (
        "another seed gives the same map"
    )


def smooth_probability(smooth: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    got = smooth(x, net, 2, 2, 0.0, score="probability")
    want = differences(probability(net, 2), x)[0]
    close(
        "SmoothGrad: finite differences of the softmax",
        got.attributions,
        want,
        DIFFERENCES,
    )
    close("score is the softmax", got.score, probability(net, 2)(x)[0], EXACT)


SMOOTH_GRAD: list[Oracle] = [
    noise_has_the_right_size,
    sigma_is_each_images_own,
    noise_is_independent_everywhere,
    relu_under_noise,
    mean_first_then_absolute,
    no_noise_is_the_plain_gradient,
    n_different_samples_are_taken,
    the_class_is_chosen_on_the_clean_image,
    chunks_change_nothing,
    memory_does_not_grow_with_samples,
    the_seed_decides,
    smooth_probability,
]
