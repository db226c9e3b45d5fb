"""Problem 3's functions, right and wrong, as a student would write them.

They use nothing but torch, numpy and math. This file also runs as the code of a
submission, so it imports nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

RULES = ("middle", "right", "left", "ends", "both", "trapezoid", "gauss")

# Mistakes in the points or weights themselves, the same under every rule.
OWN_RULES = (
    "one step too far",
    "one step too far, averaged",
    "both ends, divided by n",
    "trapezoid weights sum to (n - 1) / n",
    "Gauss weights of [-1, 1]",
    "Gauss points of [-1, 1]",
    "random points",
    "gradient at the image only",
    "gradient at the baseline only",
    "gradient at the middle only",
)


def make_baselines_with(mistake: str) -> Callable[..., Any]:
    """`make_baselines` with one mistake; "" makes none."""

    def make_baselines(image, mean, std, blur_sigma, seed):
        m, s = (torch.tensor(each).reshape(3, 1, 1) for each in (mean, std))
        if mistake == "ImageNet's constants for every model":
            m = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
            s = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
        elif mistake == "mean and std of 0.5 for every model":
            m, s = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.5)
        elif mistake == "mean and std swapped":
            m, s = s, m
        pixels = image * s + m
        flat = {"black": 0 * pixels, "white": 0 * pixels + 1}
        if mistake == "255 is white":
            flat["white"] = flat["white"] * 255
        elif mistake == "the image's own extremes":
            flat = {
                "black": flat["black"] + pixels.min(),
                "white": 0 * pixels + pixels.max(),
            }
        elif mistake == "black and white swapped":
            flat = {"black": flat["white"], "white": flat["black"]}
        generator = torch.Generator().manual_seed(0 if mistake == "one seed" else seed)
        if mistake == "no seed":
            generator.seed()
        noise = torch.rand(pixels.shape, generator=generator)
        if mistake == "one noise for all channels":
            noise = noise[..., :1, :, :].expand(pixels.shape)
        elif mistake == "Gaussian noise in pixel space":
            noise = 0.5 + 0.2 * torch.randn(pixels.shape, generator=generator)
        elif mistake == "noise clipped to [0, 1]":
            noise = torch.randn(pixels.shape, generator=generator).clamp(0, 1)
        elif mistake == "noise added to the image":
            noise = 0.5 * (pixels + noise)
        elif mistake == "one random colour":
            noise = 0 * pixels + torch.rand((3, 1, 1), generator=generator)
        blurred = blur(pixels, blur_sigma, mistake)
        made = {**flat, "blur": blurred, "random": noise}
        made = {name: (each - m) / s for name, each in made.items()}
        if mistake == "zeros called black":
            made["black"] = torch.zeros_like(image)
        elif mistake == "ones called white":
            made["white"] = torch.ones_like(image)
        elif mistake == "zeros and ones":
            made["black"] = torch.zeros_like(image)
            made["white"] = torch.ones_like(image)
        elif mistake == "not divided by std":
            made["black"], made["white"] = flat["black"] - m, flat["white"] - m
        elif mistake == "mean not subtracted":
            made["black"], made["white"] = flat["black"] / s, flat["white"] / s
        elif mistake == "multiplied by std":
            made["black"] = (flat["black"] - m) * s
            made["white"] = (flat["white"] - m) * s
        elif mistake == "denormalised instead of normalised":
            made["black"], made["white"] = flat["black"] * s + m, flat["white"] * s + m
        elif mistake == "normalised twice":
            made = {name: (each - m) / s for name, each in made.items()}
        elif mistake == "uniform noise in normalised space":
            made["random"] = noise
        elif mistake == "Gaussian noise in normalised space":
            made["random"] = torch.randn(pixels.shape, generator=generator)
        elif mistake == "blur in normalised space, zeros at the border":
            made["blur"] = blur(image, blur_sigma, "black frame around the blur")
        elif mistake == "blur left as pixel values":
            made["blur"] = blurred
        elif mistake == "normalised image blurred and normalised":
            made["blur"] = (blur(image, blur_sigma, "") - m) / s
        elif mistake == "one baseline missing":
            del made["blur"]
        elif mistake == "a list instead of a dictionary":
            return list(made.values())
        elif mistake == "a batch axis kept":
            made = {name: each[None] for name, each in made.items()}
        elif mistake == "one number per channel":
            made["black"] = (0 - m) / s
        if mistake == "image changed in place":
            image.mul_(s).add_(m)
        return made

    return make_baselines


def blur(pixels, sigma, mistake):
    """A Gaussian of `sigma` pixels along height and width, reflected at the border."""
    if mistake == "blur not blurred":
        return pixels
    if mistake == "blur_sigma ignored":
        sigma = 5.0
    elif mistake == "blur_sigma is a variance":
        sigma = sigma**0.5
    elif mistake == "blur twice as wide":
        sigma = 2 * sigma
    radius = math.ceil(3 * sigma)
    at = torch.arange(-radius, radius + 1.0)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    if mistake == "box instead of a Gaussian":
        kernel = (at.abs() <= 2 * sigma).float()
    kernel = kernel / kernel.sum()
    framed = mistake == "black frame around the blur"
    x = pixels.reshape(-1, 1, *pixels.shape[-2:])
    x = F.pad(x, [radius] * 4, mode="constant" if framed else "replicate")
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        x = F.conv2d(x, kernel.reshape(shape))
    x = x.reshape(pixels.shape)
    if mistake == "grey blur":
        x = x.mean(dim=-3, keepdim=True).expand(pixels.shape)
    elif mistake == "blur over the channels, too":
        squared = torch.tensor([[0.0, 1, 4], [1, 0, 1], [4, 1, 0]])
        mixing = torch.exp(-squared / (2 * sigma**2))
        mixing = mixing / mixing.sum(dim=1, keepdim=True)
        x = torch.einsum("kc,...chw->...khw", mixing, x)
    return x


def integrated_gradients_with(mistake: str, rule: str = "middle") -> Callable[..., Any]:
    """`integrated_gradients` with one mistake, by one of RULES."""

    def integrated_gradients(image, model, target_class, baseline, n_steps):
        x = image.detach().clone().reshape(1, *image.shape[-3:])
        start = baseline.detach().clone().reshape(x.shape)
        was_training = model.training
        if mistake != "training mode while explaining":
            model.eval()
        alphas, weights = (
            torch.tensor(each, dtype=x.dtype).reshape(-1, 1, 1, 1)
            for each in points(rule, n_steps, mistake)
        )
        change = x - start
        if mistake in ("path from zero", "baseline ignored"):
            start, change = 0 * start, x
        elif mistake == "baseline + alpha x":
            change = x
        along = start + alphas * change
        if mistake == "gradient at the image only":
            along = x.expand_as(along)
        elif mistake == "gradient at the baseline only":
            along = start.expand_as(along)
        elif mistake == "gradient at the middle only":
            along = ((start + x) / 2).expand_as(along)
        along = along.detach().clone().requires_grad_()
        logits = model(along)
        targets = torch.full((len(along),), target_class)
        if mistake == "the next class":
            targets = targets + 1
        elif mistake == "the class predicted at the image":
            targets = model(x).argmax().expand_as(targets)
        elif mistake == "the class predicted at the baseline":
            targets = model(start).argmax().expand_as(targets)
        elif mistake == "class predicted anew at every point":
            targets = logits.argmax(dim=1)
        chosen = score(logits, targets, mistake).sum()
        (gradients,) = torch.autograd.grad(chosen, along)
        if mistake == "gradient with respect to the image":
            gradients = alphas * gradients
        elif mistake == "absolute gradients summed":
            gradients = gradients.abs()
        elif mistake == "squared gradients":
            gradients = gradients**2
        elif mistake == "each gradient scaled to 1":
            gradients = gradients / gradients.abs().amax(dim=(1, 2, 3), keepdim=True)
        elif mistake == ".grad accumulates":
            gradients = gradients.cumsum(dim=0)
        elif mistake == "last step only":
            gradients, weights = gradients[-1:], torch.ones(1, 1, 1, 1)
        elif mistake == "last step only, divided by n":
            gradients, weights = gradients[-1:], weights[-1:]
        kept = gradients * weights
        total = kept.sum(dim=0)
        factor = (x - baseline.reshape(x.shape))[0]
        if mistake == "(x - x') missing":
            factor = torch.ones_like(factor)
        elif mistake in ("x instead of (x - x')", "baseline ignored"):
            factor = x[0]
        elif mistake == "(x' - x)":
            factor = -factor
        elif mistake == "(x - x') made positive":
            factor = factor.abs()
        elif mistake == "divided by n_steps twice":
            factor = factor / n_steps
        signed = factor * total
        signed = {
            "absolute attributions": lambda: signed.abs(),
            "negative attributions cut off": lambda: signed.relu(),
            "scaled to 1": lambda: signed / signed.abs().max(),
            "scaled to sum 1": lambda: signed / signed.sum(),
            "mean subtracted": lambda: signed - signed.mean(),
            "channels added up": lambda: signed.sum(dim=0),
            "map of absolute values": lambda: signed.abs().sum(dim=0),
            "steps not added up": lambda: kept * factor,
            "a batch axis kept": lambda: signed[None],
            "the sum alone": lambda: signed.sum(),
        }.get(mistake, lambda: signed)()
        if mistake == "rounded":
            signed = (1000 * signed).round() / 1000
        elif mistake == "image changed in place":
            image += 0.01
        elif mistake == "baseline changed in place":
            baseline += 0.01
        elif mistake == "requires_grad left off":
            model.requires_grad_(False)
        elif mistake == "hook left in the model":
            model.register_forward_hook(lambda *_: None)
        if mistake != "model left in eval mode":
            model.train(was_training)
        return signed

    return integrated_gradients


def points(rule: str, n: int, mistake: str) -> tuple[Any, Any]:
    """Where the gradients are taken between 0 and 1, and their weights."""
    if mistake == "one step too far, averaged":
        return [(k + 1) / n for k in range(n + 1)], [1 / (n + 1)] * (n + 1)
    if mistake == "one step too far":
        return [(k + 2) / n for k in range(n)], [1 / n] * n
    if mistake == "both ends, divided by n":
        return [k / n for k in range(n + 1)], [1 / n] * (n + 1)
    if mistake == "trapezoid weights sum to (n - 1) / n":
        inner = [1 / n] * (n - 2)
        return [k / (n - 1) for k in range(n)], [0.5 / n, *inner, 0.5 / n]
    if mistake == "Gauss weights of [-1, 1]":
        nodes, twice = np.polynomial.legendre.leggauss(n)
        return [float((a + 1) / 2) for a in nodes], twice.tolist()
    if mistake == "Gauss points of [-1, 1]":
        nodes, twice = np.polynomial.legendre.leggauss(n)
        return nodes.tolist(), (twice / 2).tolist()
    if mistake == "two points, whatever n_steps":
        return [0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5], [0.5, 0.5]
    if mistake == "fifty points, whatever n_steps":
        n = 50
    if mistake == "random points":
        rng = np.random.default_rng(0)
        return rng.uniform(0, 1, n).tolist(), [1 / n] * n
    alphas: Any = {
        "middle": [(k + 0.5) / n for k in range(n)],
        "right": [(k + 1) / n for k in range(n)],
        "left": [k / n for k in range(n)],
        "ends": [k / (n - 1) for k in range(n)],
        "both": [k / n for k in range(n + 1)],
        "trapezoid": [k / n for k in range(n + 1)],
        "gauss": ((np.polynomial.legendre.leggauss(n)[0] + 1) / 2).tolist(),
    }[rule]
    weights = [1 / len(alphas)] * len(alphas)
    if rule == "trapezoid":
        weights = [0.5 / n, *[1 / n] * (n - 1), 0.5 / n]
    elif rule == "gauss":
        weights = (np.polynomial.legendre.leggauss(n)[1] / 2).tolist()
    if mistake == "summed, not averaged":
        weights = [len(weights) * each for each in weights]
    elif mistake == "divided by n + 1":
        weights = [each * n / (n + 1) for each in weights]
    elif mistake == "divided by n - 1":
        weights = [each * n / (n - 1) for each in weights]
    elif mistake == "last point left out":
        alphas, weights = alphas[:-1], weights[:-1]
    for size in (8, 10, 16, 32):
        if (
            mistake == f"chunks of {size}, rest dropped" and n > size
        ) or mistake == f"whole chunks of {size} only":
            alphas = alphas[: n - n % size]
    return alphas, weights[: len(alphas)]


def score(logits, targets, mistake):
    if mistake == "softmax instead of logit":
        logits = logits.softmax(dim=1)
    elif mistake == "log-softmax instead of logit":
        logits = logits.log_softmax(dim=1)
    elif mistake == "sum over all classes":
        return logits.sum(dim=1)
    return logits.gather(1, (targets % logits.shape[1])[:, None])[:, 0]


def completeness_error_with(mistake: str) -> Callable[..., Any]:
    """`completeness_error` with one mistake."""

    def completeness_error(attributions, image, baseline, model, target_class):
        x, start = (each.reshape(1, *each.shape[-3:]) for each in (image, baseline))
        target = torch.tensor([target_class])
        with torch.no_grad():
            if mistake == "the next class":
                target = target + 1
            elif mistake == "the class predicted at the image":
                target = model(x).argmax(dim=1)
            ends = [float(score(model(each), target, mistake)) for each in (x, start)]
            if mistake == "best class at each end":
                ends = [float(model(each).max()) for each in (x, start)]
        change = ends[0] - ends[1]
        if mistake == "F(x') left out":
            change = ends[0]
        elif mistake == "F(x') - F(x)":
            change = -change
        total = float(attributions.double().sum())
        if mistake == "after scaling the map":
            total = float((attributions / attributions.abs().max()).sum())
        elif mistake == "sum of absolute values":
            total = float(attributions.abs().sum())
        elif mistake == "mean instead of sum":
            total = float(attributions.mean())
        elif mistake == "first channel only":
            total = float(attributions[0].sum())
        error = total - change
        if mistake == "both made positive first":
            error = abs(total) - abs(change)
        if mistake != "sign kept":
            error = abs(error)
        if mistake == "nearly equal taken for equal" and abs(change) < 1e-4:
            return math.nan
        no_nan = mistake in ("zero without a change", "tiny number added")
        if change == 0 and not no_nan:
            return math.nan
        by = {
            "absolute, not relative": 1.0,
            "relative to F(x)": abs(ends[0]),
            "relative to the sum": abs(total),
            "relative to both": (abs(total) + abs(change)) / 2,
            "relative to the sum of both": abs(total) + abs(change),
            "sign of the change kept": change,
            "tiny number added": abs(change) + 1e-8,
        }.get(mistake, abs(change))
        if mistake == "zero without a change" and change == 0:
            return 0.0
        if mistake == "in percent":
            by = by / 100
        elif mistake == "squared":
            return (error / by) ** 2
        elif mistake == "share instead of error":
            return total / change
        return error / by

    return completeness_error


def map_correlation_with(mistake: str) -> Callable[..., Any]:
    """`map_correlation` with one mistake."""

    def map_correlation(first, second, cell):
        both = []
        for signed in (first, second):
            signed = np.asarray(signed, dtype=float)
            drawn = {
                "signed sum": lambda a=signed: a.sum(axis=0),
                "absolute value after the sum": lambda a=signed: np.abs(a.sum(axis=0)),
                "maximum over channels": lambda a=signed: np.abs(a).max(axis=0),
                "signed maximum": lambda a=signed: a.max(axis=0),
                "negative attributions cut off": lambda a=signed: a.clip(0).sum(axis=0),
                "squares": lambda a=signed: (a**2).sum(axis=0),
                "first channel only": lambda a=signed: np.abs(a[0]),
            }.get(mistake, lambda a=signed: np.abs(a).sum(axis=0))()
            if mistake == "no map, single attributions":
                both.append(signed.ravel())
                continue
            if mistake == "no map, cells of each channel":
                h, w = signed.shape[1:]
                cells = signed.reshape(3, h // cell, cell, w // cell, cell)
                both.append(cells.mean(axis=(2, 4)).ravel())
                continue
            h, w = drawn.shape
            if mistake == "cell ignored":
                pass
            elif mistake == "every cell-th pixel":
                drawn = drawn[::cell, ::cell]
            elif mistake == "cells of the wrong axis":
                drawn = drawn.reshape(w // cell, cell, h // cell, cell)
                drawn = drawn.mean(axis=(1, 3))
            elif mistake == "means over the wrong axes":
                drawn = drawn.reshape(h // cell, cell, w // cell, cell)
                drawn = drawn.mean(axis=(0, 2))
            elif mistake == "cell is the number of cells":
                drawn = drawn.reshape(cell, h // cell, cell, w // cell)
                drawn = drawn.mean(axis=(1, 3))
            elif mistake == "overlapping cells":
                windows = np.lib.stride_tricks.sliding_window_view(drawn, (cell, cell))
                drawn = windows.mean(axis=(2, 3))
            else:
                squares = drawn.reshape(h // cell, cell, w // cell, cell)
                by_max = mistake == "largest pixel of a cell"
                within = squares.max if by_max else squares.mean
                drawn = within(axis=(1, 3))
            both.append(drawn.ravel())
        a, b = both
        if len(a) < 2:
            return math.nan
        if mistake == "ranks":
            a, b = (each.argsort().argsort() for each in both)
        r = float(np.corrcoef(a, b)[0, 1])
        return {
            "cosine, not centred": lambda: a @ b / np.sqrt((a @ a) * (b @ b)),
            "covariance": lambda: np.cov(a, b)[0, 1],
            "covariance, divided by n": lambda: np.cov(a, b, ddof=0)[0, 1],
            "squared correlation": lambda: r**2,
            "absolute correlation": lambda: abs(r),
            "distance": lambda: 1 - r,
            "relative difference": lambda: np.linalg.norm(a - b) / np.linalg.norm(a),
            "relative difference of sums": (
                lambda: np.abs(a - b).sum() / np.abs(a).sum()
            ),
        }.get(mistake, lambda: r)()

    return map_correlation


def blind_shares_with(mistake: str) -> Callable[..., Any]:
    """`blind_shares` with one mistake."""

    def blind_shares(attributions, image, mean, std):
        signed = np.asarray(attributions, dtype=float)
        drawn = {
            "signed sum": lambda: signed.sum(axis=0),
            "absolute value after the sum": lambda: np.abs(signed.sum(axis=0)),
            "maximum over channels": lambda: np.abs(signed).max(axis=0),
        }.get(mistake, lambda: np.abs(signed).sum(axis=0))()
        m, s = (np.reshape(each, (3, 1, 1)) for each in (mean, std))
        if mistake == "lightness by ImageNet's constants":
            m = np.reshape([0.485, 0.456, 0.406], (3, 1, 1))
            s = np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
        values = np.asarray(image, dtype=float).reshape(3, *image.shape[-2:])
        pixels = values * s + m
        if mistake == "lightness of normalised values":
            pixels = values
        elif mistake == "normalised a second time":
            pixels = (values - m) / s
        light = {
            "luma weights": lambda: np.tensordot([0.299, 0.587, 0.114], pixels, 1),
            "brightest channel": lambda: pixels.max(axis=0),
            "first channel only": lambda: pixels[0],
        }.get(mistake, lambda: pixels.mean(axis=0))()
        low, high = np.quantile(light, [0.1, 0.9])
        if mistake == "a tenth of the range":
            tenth = 0.1 * np.ptp(light)
            low, high = light.min() + tenth, light.max() - tenth
        elif mistake == "pixel values below 0.1 and above 0.9":
            low, high = max(0.1, light.min()), min(0.9, light.max())
        elif mistake == "a hundredth":
            low, high = np.quantile(light, [0.01, 0.99])
        elif mistake == "a fifth":
            low, high = np.quantile(light, [0.2, 0.8])
        groups = {"darkest": light <= low, "brightest": light >= high}
        if mistake == "dark and bright swapped":
            groups = {"darkest": light >= high, "brightest": light <= low}
        elif mistake == "all but the tenth":
            groups = {"darkest": light >= low, "brightest": light <= high}
        result = {}
        for name, where in groups.items():
            share = drawn[where].mean() / drawn.mean()
            if mistake == "not relative":
                share = drawn[where].mean()
            elif mistake == "relative to the maximum":
                share = drawn[where].mean() / drawn.max()
            elif mistake == "relative to the rest":
                share = drawn[where].mean() / drawn[~where].mean()
            elif mistake == "share of the sum":
                share = drawn[where].sum() / drawn.sum()
            elif mistake == "median instead of mean":
                share = np.median(drawn[where]) / np.median(drawn)
            elif mistake == "lower median instead of mean":
                whole, part = (np.sort(v.ravel()) for v in (drawn, drawn[where]))
                share = part[(len(part) - 1) // 2] / whole[(len(whole) - 1) // 2]
            elif mistake == "upside down":
                share = 1 / share
            elif mistake == "in percent":
                share = 100 * share
            result[name] = float(share)
        return result

    return blind_shares


def explanation_with(mistake: str) -> Callable[..., Any]:
    """`explanation`, in its form; a person reads what it says."""

    def explanation():
        words = "The map changes, and that is due to the factor image minus baseline: "
        names = ("black", "white", "blur", "random", "guidelines")
        texts = dict.fromkeys(names, words + "0.1 of the mean share.")
        if mistake == "one baseline left out":
            del texts["blur"]
        elif mistake == "a few words":
            texts["white"] = "Blind to white: 0.1."
        elif mistake == "no number":
            texts["guidelines"] = 4 * "No baseline is neutral. "
        elif mistake == "one text":
            return " ".join(texts.values())
        return texts

    return explanation
