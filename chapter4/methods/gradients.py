"""Section 4.1: how the score changes with each pixel.

Three methods: vanilla gradients, Gradient x Input and SmoothGrad.
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
    logits_of,
    one_or_all,
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
    """Saliency: how fast the score changes with each pixel.

    The map is the largest absolute derivative over the channels, in score units per
    unit of normalised input::

        S(h, w) = max over c of |dF_target(x) / dx(c, h, w)|

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, one per image for a batch, or
            None for the predicted class.
        score: F, the score to explain: "logit", or "probability" for the softmax, whose
            gradient vanishes as it nears 1.

    Returns:
        A result that unpacks to (map, target). The map is (H, W) or (N, H, W);
        ``.attributions`` is the signed gradient, (3, H, W) or (N, 3, H, W).

    Raises:
        ValueError: If an argument is out of range, if the image can't be used, or if
            the model gives no finite logits (N, K) or no finite gradient.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Simonyan et al. 2013, arXiv:1312.6034.
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
    """Gradient x Input: the first-order share of each input number in the score.

    ``.attributions`` is ``x * dF_target/dx``, signed. ``.map`` is the maximum of its
    absolute value over the channels.

    x is the NORMALISED input, so a pixel of the mean colour scores 0. The attributions
    sum to F only where F is homogeneous of degree 1 in x.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, one per image for a batch, or
            None for the predicted class.
        score: F, the score to explain: "logit", or "probability" for the softmax, whose
            gradient vanishes as it nears 1.

    Returns:
        A result that unpacks to (map, target). The map is (H, W) or (N, H, W);
        ``.attributions`` is (3, H, W) or (N, 3, H, W).

    Raises:
        ValueError: If an argument is out of range, if the image can't be used, or if
            the model gives no finite logits (N, K) or no finite gradient.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Shrikumar et al. 2016, arXiv:1605.01713.
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
    """SmoothGrad: the mean gradient over noisy copies of the image.

    The map is the maximum over the channels of the absolute value of that mean::

        M(h, w) = max over c of |1/n sum_i dF_target/dx (x + e_i)(c, h, w)|
        e_i ~ N(0, sigma^2)
        sigma = noise_level * (max(x) - min(x))

    The range, max(x) - min(x), is that of each image's own normalised tensor.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, one per image for a batch, or
            None for the class predicted for the clean image.
        n_samples: The number of noisy copies. The clean image is not one of them.
        noise_level: The standard deviation of the noise as a fraction of the range, 0
            or more.
        seed: The seed of the noise. The same seed gives the same map, whatever the
            chunk size. The images of a batch share the noise, so that each image gets
            the map that it would get alone.
        chunk_size: Noisy copies in one pass through the model; None chooses a number
            that suits the device. Memory grows with it, never with ``n_samples``.
        score: F, the score to explain: "logit", or "probability" for the softmax, whose
            gradient vanishes as it nears 1.
        logits: The model's logits (N, K) for the image, where they are known already.
            This saves a forward pass.

    Returns:
        A result that unpacks to (map, target). The map is (H, W) or (N, H, W);
        ``.attributions`` is the signed mean gradient, (3, H, W) or (N, 3, H, W).

    Raises:
        ValueError: If an argument is out of range, if the image can't be used, or if
            the model gives no finite logits (N, K) or no finite gradient.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Smilkov et al. 2017, arXiv:1706.03825.
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
    with frozen_eval(model):
        if logits is None:
            with torch.no_grad():
                logits = logits_of(model, x.clone())
        targets = choose_targets(logits, target_class)
        points = noisy_copies(x, noise_level * ranges(x), n_samples, seed)
        mean = gradient_sum(
            model, points, x, targets, score=check_score(score), chunk_size=chunk_size
        )
    return _result(
        image,
        mean,
        select(logits, targets, score),
        targets,
        "smooth_grad",
        score=score,
        n_samples=n_samples,
        noise_level=noise_level,
        seed=seed,
    )


def ranges(x: Tensor) -> Tensor:
    """The range, max - min, of each image (N, 3, H, W), as (N, 1, 1, 1)."""
    return x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True)


def noisy_copies(
    x: Tensor, sigma: Tensor, n_samples: int, seed: int
) -> Iterator[tuple[Tensor, int, float]]:
    """Noisy copies ``x + sigma * e`` of images, one sample after the other.

    The noise e is normal, and the same for all images of a sample.

    Args:
        x: Images (N, 3, H, W).
        sigma: The standard deviation of the noise for each image, (N, ...).
        n_samples: Copies of each image.
        seed: The seed of the noise.

    Yields:
        A copy (3, H, W), the index of its image and its weight, 1 / n_samples.
    """
    # One draw for each sample, on the CPU, so that the sequence depends neither on the
    # chunk size nor on the device.
    generator = seeded(seed)
    for _ in range(n_samples):
        noise = torch.randn(x.shape[1:], generator=generator, dtype=x.dtype)
        noise = noise.to(x.device)
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
    return GradientAttribution(
        map=unbatch(signed.abs().amax(dim=1), image),
        target=one_or_all(targets, image),
        score=one_or_all(values.tolist(), image),
        method=method,
        settings=settings,
        attributions=unbatch(signed, image),
    )
