"""Section 4.3 by value: Integrated Gradients and its baselines.

The oracles know exact sums of every rule, completeness, and the named baselines in
pixel space and in normalised space.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from measures import (
    EXACT,
    FLOAT32,
    PRECISIONS,
    Impl,
    Oracle,
    close,
    logit,
    probability,
    within,
)
from nets import SIZE, ConvNet, InPlaceAfter, Power, Watched, built, image
from torch import Tensor, nn

from oracles.contract import the_same_in_chunks

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
BOTH_SPACES = ((IMAGENET_MEAN, IMAGENET_STD), (HALF, HALF))
CAPTUMS_RULES = ("gausslegendre", "riemann_middle", "riemann_right", "riemann_left")


def carrier(mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    from chapter4.inputs.images import Preprocessing

    return Preprocessing(8, SIZE, mean=mean, std=std)


def pixels(values: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Pixel values (3, H, W) of normalised ones."""
    m, s = (
        torch.tensor(each, dtype=values.dtype).reshape(3, 1, 1) for each in (mean, std)
    )
    return values * s + m


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur along the rows and along the columns.

    The border is reflected, and the kernel is cut at three sigmas.
    """
    radius = min(round(3 * sigma), min(values.shape[-2:]) - 1)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(values, pad, mode="reflect")
        values = np.apply_along_axis(np.convolve, axis, wide, kernel, mode="valid")
    return values


def check_baseline(
    name: str, start: Tensor, x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """A named baseline of x, (3, H, W), in pixel space."""
    got, label = pixels(start, mean, std), f"baseline {name}"
    if name == "random":
        assert got.min() >= 0, "random: darker than black"
        assert got.max() <= 1, "random: brighter than white"
        assert len(got.unique()) == got.numel(), "random: two values are the same"
        n = got.numel()
        within(f"{label}, mean", got.mean().item(), 0.5, (1 / 12 / n) ** 0.5)
        within(f"{label}, variance", got.var().item(), 1 / 12, (1 / 180 / n) ** 0.5)
        return
    sigma = 0.09 * min(x.shape[-2:])
    want = {
        "black": torch.zeros_like(got),
        "white": torch.ones_like(got),
        "mean": pixels(torch.zeros_like(got), mean, std),
        "blur": torch.from_numpy(blurred(pixels(x, mean, std).numpy(), sigma)),
    }
    close(label, got, want[name], 1e-6)


def noise_image(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, *size, generator=generator, dtype=torch.float64)


def baselines_in_pixel_space(make_baseline: Impl) -> None:
    for mean, std in BOTH_SPACES:
        model = nn.Identity()
        model.preprocessing = carrier(mean, std)
        for size in ((24, 18), (1, 9), (5, 5)):
            x = noise_image(*size)
            for name in ("black", "white", "random", "blur", "mean"):
                if name == "random" and size != (24, 18):
                    continue
                start = make_baseline(name, x, model, seed=3)
                check_baseline(name, start, x, mean, std)


def baselines_under_imagenet(make_baseline: Impl) -> None:
    """Without a model, or with a plain one, ImageNet's well-known numbers are used."""
    x = image()[0]
    known = {
        "black": (-2.117904, -2.035714, -1.804444),
        "white": (2.248908, 2.428571, 2.640000),
        "mean": (0.0, 0.0, 0.0),
    }
    for model in (None, nn.Identity()):
        for name, values in known.items():
            want = torch.tensor(values, dtype=x.dtype)[:, None, None].expand_as(x)
            close(f"ImageNet's {name}", make_baseline(name, x, model), want, 1e-6)


def blur_by_any_sigma(make_baseline: Impl) -> None:
    x, space = noise_image(24, 18), (IMAGENET_MEAN, IMAGENET_STD)
    for sigma in (0.5, 1.0, 2.5, 40.0):
        got = pixels(make_baseline("blur", x, None, blur_sigma=sigma), *space)
        close("blur by sigma", got, blurred(pixels(x, *space).numpy(), sigma), 1e-6)


def baselines_keep_shape_and_seed(make_baseline: Impl) -> None:
    x = image(2)
    for name in ("black", "white", "random", "blur", "mean"):
        for like in (x, x[:1], x[0], x.float()):
            got = make_baseline(name, like, None)
            assert got.shape == like.shape, f"{tuple(got.shape)}: {tuple(like.shape)}"
            assert got.dtype == like.dtype, f"{got.dtype} for an image of {like.dtype}"
            assert got.data_ptr() != like.data_ptr(), "the image itself"
    one, again, other = (make_baseline("random", x, None, seed=s) for s in (1, 1, 2))
    close("random baseline, the same seed", again, one, 0)
    assert not torch.equal(one, other), "another seed gives the same baseline"


BASELINES: list[Oracle] = [
    baselines_in_pixel_space,
    baselines_under_imagenet,
    blur_by_any_sigma,
    baselines_keep_shape_and_seed,
]


def moments(rule: str, n: int) -> tuple[float, float]:
    """``sum w alpha`` and ``sum w alpha^2`` of each rule.

    They follow from the formulas for sums of integers and of their squares.
    """
    if rule == "riemann_right":
        return (n + 1) / (2 * n), (n + 1) * (2 * n + 1) / (6 * n**2)
    if rule == "riemann_left":
        return (n - 1) / (2 * n), (n - 1) * (2 * n - 1) / (6 * n**2)
    if rule == "riemann_middle":
        return 0.5, 1 / 3 - 1 / (12 * n**2)
    if rule == "riemann_trapezoid":
        return 0.5, 1 / 3 + 1 / (6 * (n - 1) ** 2)
    return 0.5, 1 / 3  # two Gauss-Legendre points integrate a cubic exactly


def sums_of_every_rule(ig: Impl) -> None:
    """Two moments of a rule give its Integrated Gradients of ``F = sum a x^3``.

    On the path, ``dF/dx = 3a (x'^2 + 2 alpha x' d + alpha^2 d^2)``.
    """
    for dtype, allowed in PRECISIONS:
        net, x, start = (
            built(Power, 3, dtype=dtype),
            image(dtype=dtype),
            image(seed=1, dtype=dtype),
        )
        d, a = x - start, net.weight[2].detach()
        for rule in (*CAPTUMS_RULES, "riemann_trapezoid"):
            for n in (2, 5):
                m1, m2 = moments(rule, n)
                want = 3 * a * d * (start**2 + 2 * m1 * start * d + m2 * d**2)
                got, name = ig(x, net, 2, start, n, rule=rule), f"IG: {rule}, {dtype}"
                close(name, got.attributions, want[0], allowed)
                close(f"{name}, map", got.map, want[0].abs().sum(dim=0), allowed)


def completeness(ig: Impl) -> None:
    net, x, start = built(ConvNet, activation=nn.Tanh), image(2), image(2, seed=1)
    for score, at in (("logit", logit), ("probability", probability)):
        for i, target in enumerate((1, 3)):
            f = at(net, target)
            change = (f(x) - f(start))[i].item()
            got = ig(x[i], net, target, start[i], 50, score=score)
            close(f"IG: completeness, {score}", got.attributions.sum(), change, EXACT)
            close("IG: F(x)", got.score, f(x)[i], EXACT)
            close("IG: F(x')", got.baseline_score, f(start)[i], EXACT)


def delta_is_relative_and_true(ig: Impl) -> None:
    net, x, start = built(ConvNet), image(2) * 3, image(2, seed=1)
    for score, at in (("logit", logit), ("probability", probability)):
        both = ig(x, net, [1, 3], start, 2, rule="riemann_right", score=score)
        for i, target in enumerate((1, 3)):
            change = (at(net, target)(x) - at(net, target)(start))[i].item()
            want = abs(both.attributions[i].sum() - change) / abs(change)
            assert want > 1e-3, "two steps are too good here to prove anything"
            close("IG: delta", both.delta[i], want, 1e-9)


def no_change_has_no_delta(ig: Impl) -> None:
    net, x = built(ConvNet), image()
    got = ig(x, net, 1, x.clone(), 4)
    assert math.isnan(got.delta), f"delta is {got.delta} where nothing changes"
    close("IG: baseline is the image", got.attributions, np.zeros((3, *SIZE)), 0)
    # F(x) = F(-x) for a sum of squares. A rule that is not symmetric leaves a
    # remainder, but there is no change that it could be relative to.
    got = ig(x, built(Power, 2), 1, -x, 2, rule="riemann_right")
    assert abs(got.attributions.sum()) > 1
    assert math.isnan(got.delta), f"delta is {got.delta} where the score is the same"


def the_class_is_chosen_at_the_image(ig: Impl) -> None:
    net, x, start = built(Power, 1), image(), image(seed=1)
    with torch.no_grad():
        # Class 0 wins at the baseline and most of the way, class 3 only at the image.
        net.bias[:] = torch.tensor([1000.0, -1e6, -1e6, 0], dtype=x.dtype)
        net.bias[3] += net(x)[0, 0] - net(x)[0, 3] + 1e-3
        net.weight[3] += (x - start)[0]
        net.bias[3] += net(x)[0, 0] - net(x)[0, 3] + 1e-3
        assert net(start).argmax() == 0
    got = ig(x, net, None, start, 4)
    assert got.target == 3, f"class {got.target} explained, the image is of class 3"
    want = ((x - start) * net.weight[3])[0]
    close("IG: class at the image", got.attributions, want, EXACT)


def ig_in_chunks(ig: Impl) -> None:
    the_same_in_chunks(
        lambda x, net, target, n, **options: ig(
            x, net, target, image(len(x), seed=1), n, **options
        )
    )


def captum_within(ig: Impl) -> None:
    """The other backend gives the same numbers, in chunks of any size.

    The tolerance is wider because Captum rounds its weights to float32, in float64 too.
    """
    net, x, start = built(InPlaceAfter), image(2), image(2, seed=1)
    for rule in CAPTUMS_RULES:
        for score in ("logit", "probability"):
            settings = {"rule": rule, "score": score}
            want = ig(x, net, [1, 2], start, 6, **settings).attributions
            for chunk_size in (None, 2, 5):
                settings |= {"chunk_size": chunk_size, "backend": "captum"}
                got = ig(x, net, [1, 2], start, 6, **settings)
                close("IG: backend captum", got.attributions, want, FLOAT32)
    watched = Watched(net)
    ig(x, watched, [1, 2], start, 40, backend="captum", chunk_size=4)
    assert watched.largest <= 4


def baselines_inside_ig(ig: Impl) -> None:
    """With a linear F, ``x' = x - IG / w``, so every named baseline can be seen."""
    for mean, std in BOTH_SPACES:
        net, x = built(Power, 1), image()
        if mean != IMAGENET_MEAN:
            net.preprocessing = carrier(mean, std)
        for name in ("black", "white", "random", "blur", "mean"):
            got = ig(x, net, 1, name, 2, seed=3)
            start = x[0] - torch.from_numpy(got.attributions) / net.weight[1].detach()
            check_baseline(name, start, x[0], mean, std)
    net, x = built(Power, 1), image(3)
    signed = torch.from_numpy(ig(x, net, [0, 1, 2], "random", 2).attributions)
    starts = torch.stack([x[i] - signed[i] / net.weight[i].detach() for i in range(3)])
    same = starts[:1].expand_as(starts)
    close("IG: an image's random baseline in a batch", starts, same, EXACT)


INTEGRATED_GRADIENTS: list[Oracle] = [
    sums_of_every_rule,
    completeness,
    delta_is_relative_and_true,
    no_change_has_no_delta,
    the_class_is_chosen_at_the_image,
    ig_in_chunks,
    baselines_inside_ig,
]
