"""Section 4.1: what the score would do if a pixel moved. Vanilla gradients, Gradient x
Input, SmoothGrad.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    GradientAttribution,
    Score,
    check_count,
    check_score,
    choose_targets,
    frozen_eval,
    gradient_sum,
    input_gradient,
    is_single,
    logits_of,
    seeded,
    select,
    unbatch,
)
from chapter4.inputs.images import image_tensor

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


def vanilla_gradients(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    score: Score = "logit",
) -> GradientAttribution:
    """Saliency: how fast the score changes with each pixel, max over channels of
    |dF/dx|.

    S(h, w) = max over c of |dF_target(x) / dx(c, h, w)|, in score units per unit of
    normalised input.

    image: a path, a PIL image, or a normalised float tensor (3, H, W) or (N, 3, H, W).
    model: a classifier that gives logits (N, K); a plain nn.Module gets ImageNet's
    preprocessing for a path or PIL image.
    target_class: class index, one per image for a batch, or None for the predicted
    class.
    score: "logit", or "probability" for the softmax, whose gradient vanishes as it
    nears 1.
    Returns a result that unpacks to (map, target): map (H, W) or (N, H, W);
    `.attributions` is the signed gradient.
    Raises ValueError, TypeError or FileNotFoundError for bad input.
    Source: Simonyan et al. 2013, arXiv:1312.6034.
    """
    x = image_tensor(image, model)
    with frozen_eval(model):
        gradient, values, targets = input_gradient(
            model, x, target_class, check_score(score)
        )
    return _result(image, gradient, values, targets, "vanilla_gradients", score=score)


def gradient_input(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    score: Score = "logit",
) -> GradientAttribution:
    """Gradient x Input: the first-order share of each normalised input number in the
    score.

    `.attributions` = x * dF_target/dx, signed; `.map` is its absolute value's max over
    channels. x is the NORMALISED input, so a pixel of the mean colour scores 0. Sums to
    F only where F is homogeneous of degree 1 in x.

    Arguments, result and errors as in `vanilla_gradients`. Source: Shrikumar et al.
    2016, arXiv:1605.01713.
    """
    x = image_tensor(image, model)
    with frozen_eval(model):
        gradient, values, targets = input_gradient(
            model, x, target_class, check_score(score)
        )
    return _result(image, x * gradient, values, targets, "gradient_input", score=score)


def smooth_grad(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    n_samples: int = 50,
    noise_level: float = 0.15,
    *,
    seed: int = 0,
    chunk_size: int | None = None,
    score: Score = "logit",
    logits: Tensor | None = None,
) -> GradientAttribution:
    """SmoothGrad: the mean gradient over noisy copies of the image, then max over
    channels of its absolute value.

    M(h, w) = max over c of |1/n sum_i dF_target/dx (x + e_i)|, e_i ~ N(0, sigma^2),
    sigma = noise_level * (max(x) - min(x)) of each image's own normalised tensor.

    n_samples: noisy copies; the clean image is not one of them. noise_level: a fraction
    of the range, 0 or more.
    seed: the same seed gives the same map whatever the chunk size; the images of a
    batch share the noise, so that each gets the map that it would get alone.
    chunk_size: noisy copies per pass; memory grows with it, never with n_samples.
    logits: the model's logits for the image, (N, K), where they are known already: saves
    a forward pass. Other arguments, result and errors as in `vanilla_gradients`.
    Source: Smilkov et al. 2017, arXiv:1706.03825.
    """
    n_samples = check_count("n_samples", n_samples)
    if isinstance(noise_level, bool) or not isinstance(noise_level, numbers.Real):
        raise TypeError(f"noise_level is a number, not {noise_level!r}")
    if not (math.isfinite(noise_level) and noise_level >= 0):
        raise ValueError(
            "noise_level is a fraction of the image's range, 0 or more, not "
            f"{noise_level}"
        )
    x = image_tensor(image, model)
    spread = x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True)
    with frozen_eval(model):
        if logits is None:
            with torch.no_grad():
                logits = logits_of(model, x.clone())
        targets = choose_targets(logits, target_class)
        points = noisy_copies(x, noise_level * spread, n_samples, seed)
        mean = gradient_sum(
            model, points, x, targets, score=check_score(score), chunk_size=chunk_size
        )
    settings = {
        "score": score,
        "n_samples": n_samples,
        "noise_level": noise_level,
        "seed": seed,
    }
    return _result(
        image, mean, select(logits, targets, score), targets, "smooth_grad", **settings
    )


def noisy_copies(
    x: Tensor, sigma: Tensor, n_samples: int, seed: int
) -> Iterator[tuple[Tensor, int, float]]:
    """x + sigma * e for images x (N, 3, H, W) and sigma (N,...), e normal and the same
    for all images of a sample: each copy (3, H, W), its image's number and its weight
    1 / n.
    """
    # One draw a sample, on the CPU: the sequence depends neither on the chunk size nor
    # on the device.
    generator = seeded(seed)
    for _ in range(n_samples):
        noise = torch.randn(x.shape[1:], generator=generator, dtype=x.dtype).to(
            x.device
        )
        for i in range(len(x)):
            yield x[i] + sigma[i] * noise, i, 1 / n_samples


def _result(
    image: ImageInput,
    signed: Tensor,
    values: Tensor,
    targets: list[int],
    method: str,
    **settings: Any,
) -> GradientAttribution:
    single = is_single(image)
    return GradientAttribution(
        map=unbatch(signed.abs().amax(dim=1), image),
        target=targets[0] if single else targets,
        score=values[0].item() if single else values.tolist(),
        method=method,
        settings=settings,
        attributions=unbatch(signed, image),
    )
