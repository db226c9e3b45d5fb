"""Known mistakes in Integrated Gradients and its baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chapter4.inputs.images import Preprocessing, image_tensor, preprocessing_of
from wrong.parts import (
    GUARD,
    Result,
    gradient_at,
    guarded,
    result_of,
    score_of,
    targets_of,
)


def integrated_gradients(wrong: str = "") -> Callable[..., Result]:
    """``integrated_gradients``, one image after the other."""

    def method(
        image: Any,
        model: nn.Module,
        target_class: Any = None,
        baseline: Any = "black",
        n_steps: int = 50,
        *,
        seed: int = 0,
        chunk_size: int = 8,
        score: str = "logit",
        rule: str = "gausslegendre",
    ) -> Result:
        x = image_tensor(image, model)
        start = (
            baseline.reshape(x.shape)
            if isinstance(baseline, Tensor)
            else named(baseline, x, model, seed, wrong)
        )
        alphas, weights = steps(rule, n_steps, wrong)
        chunk = 10**6 if wrong == "all steps in one batch" else chunk_size
        with guarded(model, wrong):
            logits, start_logits = (
                model(x.clone()).detach(),
                model(start.clone()).detach(),
            )
            at = start_logits if wrong == "class chosen at the baseline" else logits
            targets = targets_of(at, target_class, wrong)
            means = []
            for i, target in enumerate(targets):
                points = torch.stack(
                    [start[i] + alpha * (x[i] - start[i]) for alpha in alphas]
                )
                total = torch.zeros_like(x[i])
                for at_step in range(0, n_steps, chunk):
                    some = points[at_step : at_step + chunk]
                    chosen = [target] * len(some)
                    if (
                        wrong == "class chosen anew at every step"
                        and target_class is None
                    ):
                        chosen = model(some.clone()).argmax(dim=1).tolist()
                    each = gradient_at(model, some, chosen, score, wrong)
                    if wrong == "absolute gradients summed":
                        each = each.abs()
                    share = torch.tensor(
                        weights[at_step : at_step + chunk], dtype=x.dtype
                    )[:, None, None, None]
                    if (
                        wrong == "last chunk left out"
                        and at_step + chunk >= n_steps > chunk
                    ):
                        continue
                    total += (share * each).sum(dim=0)
                means.append(total)
        factor = x - start
        if wrong == "(x - x') missing":
            factor = torch.ones_like(x)
        elif wrong == "x instead of (x - x')":
            factor = x
        signed = factor * torch.stack(means)
        values, start_values = (
            score_of(each, targets, score, "") for each in (logits, start_logits)
        )
        return result_of(
            image,
            signed,
            draw_ig(signed, wrong),
            targets,
            values,
            baseline_score=start_values.tolist(),
            delta=delta(signed, logits, start_logits, targets, score, wrong),
        )

    return method


def steps(rule: str, n: int, wrong: str) -> tuple[list[float], list[float]]:
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        scale = 1 if wrong == "weights of [-1, 1]" else 2
        return ((nodes + 1) / 2).tolist(), (weights / scale).tolist()
    if rule == "riemann_trapezoid":
        ends = np.ones(n)
        ends[[0, -1]] = 0.5
        parts = n if wrong == "trapezoid weights sum to (n - 1) / n" else n - 1
        return np.linspace(0, 1, n).tolist(), (ends / parts).tolist()
    first = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    if wrong == "left and right swapped" and rule != "riemann_middle":
        first = 1 - first
    if wrong == "both ends, divided by n":
        return np.linspace(0, 1, n).tolist(), [1 / n] * n
    if wrong == "one step too far":
        return ((np.arange(n) + first + 1) / n).tolist(), [1 / n] * n
    if wrong == "divided by n + 1":
        return ((np.arange(n) + first) / n).tolist(), [1 / (n + 1)] * n
    return ((np.arange(n) + first) / n).tolist(), [1 / n] * n


def delta(
    signed: Tensor,
    logits: Tensor,
    start: Tensor,
    targets: list[int],
    score: str,
    wrong: str,
) -> list[float]:
    if wrong == "delta after scaling the map":
        signed = signed / signed.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(
            min=1e-12
        )
    if wrong == "delta of another output than the one differentiated":
        score = "logit" if score == "probability" else "probability"
    if wrong == "delta of another class":
        targets = [(target + 1) % logits.shape[1] for target in targets]
    change = score_of(logits, targets, score, "") - score_of(start, targets, score, "")
    if wrong == "delta without the baseline's score":
        change = score_of(logits, targets, score, "")
    error = (signed.sum(dim=(1, 2, 3)) - change).abs()
    if wrong == "delta of the absolute values":
        error = (signed.abs().sum(dim=(1, 2, 3)) - change).abs()
    if wrong == "delta absolute":
        return error.tolist()
    if wrong == "delta infinite where nothing changes":
        return (error / change.abs().clamp(min=1e-12)).tolist()
    return torch.where(change == 0, torch.nan, error / change.abs()).tolist()


def draw_ig(signed: Tensor, wrong: str) -> Tensor:
    if wrong == "maximum over channels in the map":
        return signed.abs().amax(dim=1)
    if wrong == "signs cancel in the map":
        return signed.sum(dim=1).abs()
    return signed.abs().sum(dim=1)


def named(
    name: str,
    x: Tensor,
    model: nn.Module,
    seed: int,
    wrong: str,
    sigma: float | None = None,
) -> Tensor:
    """A named baseline for x (N, 3, H, W), normalised."""
    space = preprocessing_of(model)
    if wrong == "ImageNet's mean and std for every model":
        space = Preprocessing()
    elif wrong == "mean and std of 0.5 for every model":
        space = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    if wrong == "zeros called black" and name == "black":
        return torch.zeros_like(x)
    if wrong == "ones called white" and name == "white":
        return torch.ones_like(x)
    if wrong == "-1 called black" and name == "black":
        return torch.full_like(x, -1)
    if wrong == "black called mean" and name == "mean":
        name = "black"
    if name == "mean":
        return torch.zeros_like(x)
    if name in ("black", "white"):
        return space.normalize(torch.full_like(x, float(name == "white")))
    if name == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(x.shape[1:], generator=generator, dtype=x.dtype)
        if wrong == "Gaussian noise in normalised space":
            return torch.randn(x.shape, generator=generator, dtype=x.dtype)
        if wrong == "uniform noise in normalised space":
            return noise.expand_as(x).clone()
        if wrong == "one grey for all channels":
            noise = noise[:1].expand_as(noise)
        if wrong == "the seed forgotten":
            noise = torch.rand(
                x.shape[1:],
                generator=torch.Generator().manual_seed(len(x)),
                dtype=x.dtype,
            )
        if wrong == "another noise for each image of a batch":
            noise = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        return space.normalize(noise.expand_as(x))
    return _blur(x, space, sigma, wrong)


def _blur(x: Tensor, space: Preprocessing, sigma: float | None, wrong: str) -> Tensor:
    short = min(x.shape[-2:])
    sigma = (
        0.09 * short if sigma is None or wrong == "sigma of the blur ignored" else sigma
    )
    radius = min(round(3 * sigma), short - 1)
    at = torch.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = torch.exp(
        -(at**2)
        / (sigma if wrong == "sigma of the blur is its variance" else 2 * sigma**2)
    )
    if wrong == "box instead of a Gaussian":
        kernel = torch.ones_like(kernel)
    kernel = kernel / kernel.sum()
    # In normalised space a blur differs only where something else than the image
    # enters: the zeros at the border.
    inside = wrong == "blurred in normalised space, zeros at the border"
    values = x if inside else space.denormalize(x)
    mode = "constant" if inside or wrong == "black border under the blur" else "reflect"
    values = F.pad(values, [radius] * 4, mode=mode)
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        values = F.conv2d(
            values,
            kernel.reshape(shape).expand(3, 1, *kernel.reshape(shape).shape[2:]),
            groups=3,
        )
    if wrong == "blur clipped to [0, 1]":
        values = values.clamp(0, 1)
    return values if inside else space.normalize(values)


def make_baseline(wrong: str = "") -> Callable[..., Tensor]:
    """``make_baseline`` with one mistake."""

    def method(
        name: str,
        image: Any,
        model: Any = None,
        *,
        seed: int = 0,
        blur_sigma: float | None = None,
    ) -> Tensor:
        carrier = nn.Identity() if model is None else model
        x = image_tensor(image, carrier)
        made = named(name, x, carrier, seed, wrong, blur_sigma)
        if wrong == "always float32":
            made = made.float()
        return made if wrong == "always a batch" else made.reshape(image.shape)

    return method


BASELINES = {
    "zeros called black": "baselines_under_imagenet",
    "ones called white": "baselines_under_imagenet",
    "-1 called black": "baselines_under_imagenet",
    "black called mean": "baselines_under_imagenet",
    "ImageNet's mean and std for every model": "baselines_in_pixel_space",
    "mean and std of 0.5 for every model": "baselines_under_imagenet",
    "Gaussian noise in normalised space": "baselines_in_pixel_space",
    "uniform noise in normalised space": "baselines_in_pixel_space",
    "one grey for all channels": "baselines_in_pixel_space",
    "the seed forgotten": "baselines_keep_shape_and_seed",
    "sigma of the blur ignored": "blur_by_any_sigma",
    "sigma of the blur is its variance": "blur_by_any_sigma",
    "box instead of a Gaussian": "blur_by_any_sigma",
    "blurred in normalised space, zeros at the border": "baselines_in_pixel_space",
    "black border under the blur": "baselines_in_pixel_space",
    "blur clipped to [0, 1]": "baselines_in_pixel_space",
    "always float32": "baselines_keep_shape_and_seed",
    "always a batch": "baselines_keep_shape_and_seed",
}
INTEGRATED_GRADIENTS = GUARD | {
    "zeros called black": "baselines_inside_ig",
    "ones called white": "baselines_inside_ig",
    "ImageNet's mean and std for every model": "baselines_inside_ig",
    "mean and std of 0.5 for every model": "baselines_inside_ig",
    "Gaussian noise in normalised space": "baselines_inside_ig",
    "uniform noise in normalised space": "baselines_inside_ig",
    "blurred in normalised space, zeros at the border": "baselines_inside_ig",
    "another noise for each image of a batch": "baselines_inside_ig",
    "(x - x') missing": "sums_of_every_rule",
    "x instead of (x - x')": "sums_of_every_rule",
    "absolute gradients summed": "sums_of_every_rule",
    "left and right swapped": "sums_of_every_rule",
    "both ends, divided by n": "sums_of_every_rule",
    "one step too far": "sums_of_every_rule",
    "divided by n + 1": "sums_of_every_rule",
    "trapezoid weights sum to (n - 1) / n": "sums_of_every_rule",
    "weights of [-1, 1]": "completeness",
    "delta after scaling the map": "delta_is_relative_and_true",
    "delta of another output than the one differentiated": "delta_is_relative_and_true",
    "delta of another class": "delta_is_relative_and_true",
    "delta without the baseline's score": "delta_is_relative_and_true",
    "delta of the absolute values": "delta_is_relative_and_true",
    "delta absolute": "delta_is_relative_and_true",
    "delta infinite where nothing changes": "no_change_has_no_delta",
    "maximum over channels in the map": "sums_of_every_rule",
    "signs cancel in the map": "sums_of_every_rule",
    "softmax instead of logit": "completeness",
    "logit, though the probability was asked for": "completeness",
    "gradient of the wrong class": "completeness",
    "class chosen at the baseline": "the_class_is_chosen_at_the_image",
    "class chosen anew at every step": "the_class_is_chosen_at_the_image",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "all steps in one batch": "memory_does_not_grow_with_steps",
    "last chunk left out": "ig_in_chunks",
}
