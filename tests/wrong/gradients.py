"""Known mistakes in vanilla gradients, Gradient x Input and SmoothGrad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from chapter4.inputs.images import image_tensor, preprocessing_of
from wrong.parts import (
    GUARD,
    Result,
    gradient_at,
    guarded,
    result_of,
    score_of,
    targets_of,
)


def gradients(wrong: str = "", *, times_input: bool = False) -> Callable[..., Result]:
    """``vanilla_gradients`` or ``gradient_input``."""

    def method(
        image: Any, model: nn.Module, target_class: Any = None, *, score: str = "logit"
    ) -> Result:
        x = image_tensor(image, model)
        with guarded(model, wrong):
            logits = model(x.clone()).detach()
            targets = targets_of(logits, target_class, wrong)
            if wrong == ".grad accumulates on the caller's tensor":
                owner = (
                    image
                    if isinstance(image, Tensor)
                    and image.is_leaf
                    and not image.is_inference()
                    else x.clone()
                )
                owner.requires_grad_()
                score_of(
                    model(owner.reshape(x.shape).clone()), targets, score, wrong
                ).sum().backward()
                gradient = owner.grad.reshape(x.shape).clone()
            else:
                gradient = gradient_at(model, x, targets, score, wrong)
        if wrong == "gradient of the absolute score":
            gradient = (
                gradient
                * score_of(logits, targets, score, "").sign()[:, None, None, None]
            )
        if times_input:
            if wrong == "times the pixel, not the normalised input":
                gradient = gradient * preprocessing_of(model).denormalize(x)
            elif wrong == "absolute values multiplied":
                gradient = (x * gradient).abs()
            elif wrong != "the input forgotten":
                gradient = x * gradient
        drawn = gradient.abs().amax(dim=1)
        if wrong == "sum over channels, signed":
            drawn = gradient.sum(dim=1)
        elif wrong == "maximum without the absolute value":
            drawn = gradient.amax(dim=1)
        elif wrong == "mean over channels":
            drawn = gradient.abs().mean(dim=1)
        elif wrong == "map scaled to 1":
            drawn = drawn / drawn.amax(dim=(1, 2), keepdim=True)
        elif wrong == "rows and columns swapped":
            drawn = drawn.mT.reshape(drawn.shape)
        return result_of(
            image, gradient, drawn, targets, score_of(logits, targets, score, "")
        )

    return method


VANILLA = GUARD | {
    ".grad accumulates on the caller's tensor": "the_callers_tensor_is_untouched",
    "the caller's grad mode kept": "the_callers_grad_mode_does_not_matter",
    "softmax instead of logit": "gradient_of_a_sure_model",
    "log-softmax instead of logit": "gradient_of_powers",
    "logit, though the probability was asked for": "gradient_of_the_probability",
    "gradient of the wrong class": "gradient_of_powers",
    "gradient of the absolute score": "gradient_of_powers",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "class of the first image for all": "a_batch_equals_its_images",
    "sum over channels, signed": "gradient_of_powers",
    "maximum without the absolute value": "gradient_of_powers",
    "mean over channels": "gradient_of_powers",
    "map scaled to 1": "gradient_of_powers",
    "rows and columns swapped": "gradient_of_powers",
}
GRADIENT_INPUT = GUARD | {
    "times the pixel, not the normalised input": "product_of_powers",
    "absolute values multiplied": "product_of_powers",
    "the input forgotten": "products_sum_to_a_homogeneous_score",
    "sum over channels, signed": "product_of_powers",
    "softmax instead of logit": "product_against_captum",
    "gradient of the wrong class": "product_of_powers",
}


def smooth_grad(wrong: str = "") -> Callable[..., Result]:
    """``smooth_grad``, one image after the other."""

    def method(
        image: Any,
        model: nn.Module,
        target_class: Any = None,
        n_samples: int = 50,
        noise_level: float = 0.15,
        *,
        seed: int = 0,
        chunk_size: int = 8,
        score: str = "logit",
    ) -> Result:
        x = image_tensor(image, model)
        if wrong == "global seed set":
            torch.manual_seed(seed)
        chunk = 10**6 if wrong == "all samples in one batch" else chunk_size
        with guarded(model, wrong):
            logits = model(x.clone()).detach()
            targets = targets_of(logits, target_class, wrong)
            means, drawn = [], []
            for i, target in enumerate(targets):
                points = _noisy(x, i, n_samples, noise_level, seed, chunk_size, wrong)
                signed = []
                for start in range(0, len(points), chunk):
                    some = points[start : start + chunk]
                    chosen = [target] * len(some)
                    if (
                        wrong == "class chosen anew for every sample"
                        and target_class is None
                    ):
                        chosen = model(some.clone()).argmax(dim=1).tolist()
                    signed.append(gradient_at(model, some, chosen, score, wrong))
                each = torch.cat(signed)
                if wrong == ".grad accumulates from sample to sample":
                    each = each.cumsum(dim=0)
                mean = each.mean(dim=0)
                if wrong == "divided by n - 1":
                    mean = each.sum(dim=0) / max(n_samples - 1, 1)
                if wrong == "absolute values inside the mean":
                    mean = each.abs().mean(dim=0)
                elif wrong == "squares inside the mean":
                    mean = each.square().mean(dim=0)
                means.append(mean)
                before = wrong == "maximum over channels before the mean"
                drawn.append(
                    each.abs().amax(dim=1).mean(dim=0)
                    if before
                    else mean.abs().amax(dim=0)
                )
        if (
            wrong == "input changed in place"
            and isinstance(image, Tensor)
            and not image.is_inference()
        ):
            image.detach().add_(torch.randn_like(image) * 1e-3)
        return result_of(
            image,
            torch.stack(means),
            torch.stack(drawn),
            targets,
            score_of(logits, targets, score, ""),
        )

    return method


def _noisy(
    x: Tensor, i: int, n: int, level: float, seed: int, chunk_size: int, wrong: str
) -> Tensor:
    """The noisy copies of image i, (n, 3, H, W)."""
    sigma = level * (x[i].max() - x[i].min())
    if wrong == "sigma absolute":
        sigma = torch.tensor(level, dtype=x.dtype)
    elif wrong == "sigma divided by the range":
        sigma = level / (x[i].max() - x[i].min())
    elif wrong == "range over the batch":
        sigma = level * (x.max() - x.min())
    elif wrong == "sigma from the standard deviation":
        sigma = level * x[i].std()
    elif wrong == "sigma is a variance":
        sigma = sigma.sqrt()
    generator = torch.Generator().manual_seed(seed)
    if wrong == "the seed forgotten":
        generator.seed()
    count = (
        max(n - 1, 1)
        if wrong in ("n - 1 samples", "clean image counted as a sample")
        else n
    )
    noise = torch.stack(
        [
            torch.randn(x.shape[1:], generator=generator, dtype=x.dtype)
            for _ in range(count)
        ]
    )
    if wrong == "noise depends on the chunk size":
        noise = noise.roll(chunk_size, dims=-1) if chunk_size != 8 else noise
    elif wrong == "noise drawn once and reused":
        noise = noise[:1].expand_as(noise)
    elif wrong == "uniform noise":
        noise = 2 * torch.rand(noise.shape, generator=generator, dtype=x.dtype) - 1
    elif wrong == "noise that is never negative":
        noise = noise.abs()
    elif wrong == "the same noise for all channels":
        noise = noise[:, :1].expand_as(noise)
    points = x[i] + sigma * noise
    if wrong == "clean image counted as a sample":
        points = torch.cat([x[i : i + 1], points])
    return points


SMOOTH_GRAD = GUARD | {
    "absolute values inside the mean": "no_noise_is_the_plain_gradient",
    "squares inside the mean": "no_noise_is_the_plain_gradient",
    "maximum over channels before the mean": "mean_first_then_absolute",
    "sigma absolute": "noise_has_the_right_size",
    "sigma divided by the range": "noise_has_the_right_size",
    "sigma from the standard deviation": "noise_has_the_right_size",
    "sigma is a variance": "noise_has_the_right_size",
    "range over the batch": "sigma_is_each_images_own",
    "noise drawn once and reused": "noise_has_the_right_size",
    "noise that is never negative": "noise_has_the_right_size",
    "uniform noise": "noise_has_the_right_size",
    "the same noise for all channels": "noise_is_independent_everywhere",
    ".grad accumulates from sample to sample": "no_noise_is_the_plain_gradient",
    "n - 1 samples": "n_different_samples_are_taken",
    "divided by n - 1": "no_noise_is_the_plain_gradient",
    "clean image counted as a sample": "noise_has_the_right_size",
    "input changed in place": "the_callers_tensor_is_untouched",
    "softmax instead of logit": "no_noise_is_the_plain_gradient",
    "logit, though the probability was asked for": "smooth_probability",
    "gradient of the wrong class": "relu_under_noise",
    "class chosen anew for every sample": "the_class_is_chosen_on_the_clean_image",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "noise depends on the chunk size": "chunks_change_nothing",
    "all samples in one batch": "memory_does_not_grow_with_samples",
    "the seed forgotten": "the_seed_decides",
    "global seed set": "random_state_comes_back",
}
