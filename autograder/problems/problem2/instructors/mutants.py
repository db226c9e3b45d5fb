"""Problem 2's functions, right and wrong, as a student would write them.

They use nothing but torch, numpy and math. This file also runs as the code of a
submission, so it imports nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def smooth_grad_with(mistake: str) -> Callable[..., Any]:
    """`smooth_grad` with one mistake; "" makes none."""

    def smooth_grad(image, model, target_class, n_samples, noise_level, seed):
        x = image.detach().clone().reshape(1, *image.shape[-3:])
        was_training = model.training
        if mistake != "training mode while explaining":
            model.eval()
        generator = torch.Generator().manual_seed(0 if mistake == "one seed" else seed)
        parameters = [*model.parameters()]
        if mistake == "no seed":
            generator.seed()
        spread = x.max() - x.min()
        sigma = {
            "sigma absolute": torch.tensor(noise_level),
            "sigma divided by the range": noise_level / spread,
            "sigma from the maximum": noise_level * x.max(),
            "sigma from the standard deviation": noise_level * x.std(),
            "sigma is a variance": (noise_level * spread).sqrt(),
            "range of each channel": (
                noise_level
                * (x.amax(dim=(2, 3), keepdim=True) - x.amin(dim=(2, 3), keepdim=True))
            ),
        }.get(mistake, noise_level * spread)
        if mistake in ("one sample of less noise", "noise divided by the root of n"):
            sigma = sigma / n_samples**0.5
        if mistake == "range of the noisy batch":
            batch = x + sigma * torch.randn(
                (n_samples, *x.shape[1:]), generator=generator
            )
            sigma = noise_level * (batch.max() - batch.min())
        target = target_class
        if mistake == "the next class":
            target = target_class + 1
        elif mistake == "the predicted class":
            with torch.no_grad():
                target = int(model(x).argmax())
        count = n_samples - 1 if mistake == "n - 1 samples" else n_samples
        if mistake == "chunks of four, rest dropped" and n_samples > 4:
            count = n_samples - n_samples % 4
        count = {"one sample of less noise": 1, "always fifty samples": 50}.get(
            mistake, count
        )
        signed, points = [], []
        noise = _noise(x, generator, mistake)
        leaf = x.clone().requires_grad_()
        for i in range(max(count, 1)):
            if mistake == "sample k drawn with seed + k":
                generator.manual_seed(seed + i)
            draw = noise if mistake == "noise drawn once" else None
            if draw is None:
                draw = _noise(x, generator, mistake)
            if mistake == "noise in pairs" and i % 2:
                draw = -previous  # noqa: F821  # set in the pass before
            previous = draw  # noqa: F841  # read in the next pass
            if mistake == "clean image among the samples" and i == 0:
                draw = torch.zeros_like(x)
            point = x + sigma * draw
            if mistake == "noise added to the noisy image":
                x = point
            if mistake == "gradient at the clean image":
                point = x + 0 * draw
            if mistake == ".grad accumulates":
                leaf.data = point
                _score(model(leaf), target, mistake).backward()
                signed.append(leaf.grad.clone())
                continue
            points.append(point.detach())
        if points:
            many = torch.cat(points).requires_grad_()
            signed += torch.autograd.grad(_score(model(many), target, mistake), many)
        each = torch.cat(signed)
        mean = each.mean(dim=0)
        if mistake == "divided by n - 1":
            mean = each.sum(dim=0) / max(n_samples - 1, 1)
        elif mistake == "n - 1 samples, divided by n":
            mean = each[1:].sum(dim=0) / n_samples
        elif mistake == "summed, not averaged":
            mean = each.sum(dim=0)
        elif mistake == "absolute values inside the mean":
            mean = each.abs().mean(dim=0)
        elif mistake == "squares inside the mean":
            mean = each.square().mean(dim=0)
        elif mistake == "times the input":
            mean = mean * x[0]
        drawn = {
            "maximum before the mean": lambda: each.abs().amax(dim=1).mean(dim=0),
            "signed maximum": lambda: mean.amax(dim=0),
            "signed sum": lambda: mean.sum(dim=0),
            "sum of absolute values": lambda: mean.abs().sum(dim=0),
            "mean of absolute values": lambda: mean.abs().mean(dim=0),
            "absolute value after the sum": lambda: mean.sum(dim=0).abs(),
            "first channel only": lambda: mean[0].abs(),
            "no channel taken": lambda: mean.abs(),
        }.get(mistake, lambda: mean.abs().amax(dim=0))()
        if mistake == "scaled to 1":
            drawn = drawn / drawn.max()
        elif mistake == "rounded":
            drawn = (drawn * 100).round() / 100
        elif mistake == "minimum subtracted":
            drawn = drawn - drawn.min()
        elif mistake == "rows and columns swapped":
            drawn = drawn.T
        elif mistake == "a batch axis kept":
            drawn = drawn[None]
        if mistake == "image changed in place":
            image += 0.01
        elif mistake == "requires_grad left off":
            for parameter in parameters:
                parameter.requires_grad_(False)
        elif mistake == "hook left in the model":
            model.register_forward_hook(lambda *_: None)
        if mistake != "model left in eval mode":
            model.train(was_training)
        return drawn.numpy()

    return smooth_grad


def _score(logits, target, mistake):
    if mistake == "softmax instead of logit":
        logits = logits.softmax(dim=1)
    elif mistake == "log-softmax instead of logit":
        logits = logits.log_softmax(dim=1)
    elif mistake == "sum over all classes":
        return logits.sum()
    return logits[:, target % logits.shape[1]].sum()


def _noise(x, generator, mistake):
    noise = torch.randn(x.shape, generator=generator)
    if mistake == "uniform noise":
        return 2 * torch.rand(x.shape, generator=generator) - 1
    if mistake == "noise never negative":
        return noise.abs()
    if mistake == "one noise for all channels":
        return noise[:, :1].expand_as(noise)
    return noise


def error_curve_with(mistake: str) -> Callable[..., Any]:
    """`error_curve` with one mistake, on a right `smooth_grad`."""
    smooth_grad = smooth_grad_with("")

    def error_curve(image, model, target_class, counts, seeds):
        own = max(seeds) + 1

        def reference_for(i, k):
            if mistake == "clean gradient as the reference":
                return smooth_grad(image, model, target_class, 1, 0.0, 0)
            most = 16 * max(counts)
            seed = own
            if mistake == "largest count as the reference":
                most, seed = max(counts), seeds[0]
            elif mistake == "as many samples as the largest count":
                most = max(counts)
            elif mistake == "16 times the last count":
                most = 16 * counts[-1]
            elif mistake == "16 times the first count":
                most = 16 * counts[0]
            elif mistake == "reference with one of the seeds":
                seed = seeds[0]
            elif mistake == "a new reference for each seed":
                seed = own + k
            elif mistake == "a new reference for each count":
                seed, most = own + i, 16 * counts[i]
            return smooth_grad(image, model, target_class, most, level, seed)

        level = 0.2 if mistake == "another noise level" else 0.15
        errors = []
        for i, count in enumerate(
            sorted(counts) if mistake == "counts sorted" else counts
        ):
            each, maps = [], []
            for k, seed in enumerate(seeds):
                right = reference = reference_for(i, k)
                drawn = smooth_grad(image, model, target_class, count, level, seed)
                maps.append(drawn)
                if mistake == "each map scaled to 1":
                    drawn, right = drawn / drawn.max(), reference / reference.max()
                difference = np.linalg.norm(drawn - right)
                norm = np.linalg.norm(right)
                if mistake == "absolute, not relative":
                    norm = 1.0
                elif mistake == "relative to the map":
                    norm = np.linalg.norm(drawn)
                elif mistake == "divided by the number of pixels":
                    norm = drawn.size
                elif mistake == "mean absolute difference":
                    difference, norm = np.abs(drawn - right).mean(), 1.0
                each.append(difference / norm)
                if mistake == "squared error":
                    each[-1] **= 2
            if mistake == "maps averaged before the error":
                mean = np.mean(maps, axis=0)
                each = [np.linalg.norm(mean - reference) / np.linalg.norm(reference)]
            combined = {
                "summed over seeds": np.sum,
                "median over seeds": np.median,
                "largest over seeds": np.max,
                "first seed only": lambda e: e[0],
            }.get(mistake, np.mean)
            errors.append(float(combined(each)))
        return errors

    return error_curve


def samples_needed_with(mistake: str) -> Callable[..., Any]:
    """`samples_needed` with one mistake."""

    def samples_needed(errors, counts, tolerance):
        errors, counts = np.asarray(errors), np.asarray(counts)
        each = errors * np.sqrt(counts)
        c = {
            "last error only": each[-1],
            "first error only": each[0],
            "largest c": each.max(),
            "median of c": np.median(each),
        }.get(mistake, np.mean(each))
        n = (c / tolerance) ** 2
        if mistake == "error falls as 1/n":
            n = float(np.mean(errors * counts)) / tolerance
        elif mistake == "square root forgotten":
            n = c / tolerance
        elif mistake == "fitted exponent":
            slope, start = np.polyfit(np.log(counts), np.log(errors), 1)
            n = np.exp((np.log(tolerance) - start) / slope)
        elif mistake == "rounded down":
            return math.floor(n)
        elif mistake == "rounded down, plus 1":
            return math.floor(n) + 1
        elif mistake == "rounded to the nearest":
            return round(n)
        elif mistake == "a fraction of a sample":
            return n
        elif mistake == "a count of the list":
            enough = counts[errors <= tolerance]
            return int(enough.min() if len(enough) else counts.max())
        elif mistake == "straight line":
            slope, start = np.polyfit(counts, errors, 1)
            n = max((tolerance - start) / slope, 1)
        elif mistake == "tolerance turned upside down":
            n = (tolerance / c) ** 2
        # A law that is met exactly must not cost one sample more because of rounding.
        return max(math.ceil(n - 1e-9 * n), 1)

    return samples_needed
