"""Problem 1's functions, right and wrong, as a student would write them.

They use nothing but torch and numpy. This file also runs as the code of a submission,
so it imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


def native_resolution_with(mistake: str) -> Callable[..., Any]:
    """`native_resolution` with one mistake; "" makes none."""

    def native_resolution(method, image, model, layer):
        seen = []
        modules = dict(model.named_modules())
        if mistake == "always the last layer" and "features" in modules:
            layer = "features"
        module = modules[layer]
        handle = module.register_forward_hook(lambda m, i, o: seen.append(o.shape))
        with torch.no_grad():
            model(image[None])
        if mistake != "hook left in the model":
            handle.remove()
        if mistake == "image changed in place":
            image -= image.mean()
        pixels, cells = tuple(image.shape[-2:]), tuple(seen[0][-2:])
        if mistake == "Grad-CAM in pixels":
            cells = pixels
        elif mistake == "vanilla in cells":
            pixels = cells
        elif mistake == "methods swapped":
            pixels, cells = cells, pixels
        elif mistake == "always 7 by 7":
            cells = 7, 7
        elif mistake == "always 224 by 224":
            pixels = 224, 224
        elif mistake == "one part in 32":
            cells = pixels[0] // 32, pixels[1] // 32
        elif mistake == "half, rounded down":
            cells = pixels[0] // 2, pixels[1] // 2
        elif mistake == "half, rounded up":
            cells = (pixels[0] + 1) // 2, (pixels[1] + 1) // 2
        elif mistake == "width first":
            pixels, cells = pixels[::-1], cells[::-1]
        elif mistake == "channels counted as height":
            pixels, cells = tuple(image.shape[:2]), tuple(seen[0][1:3])
        if mistake == "channels too":
            pixels, cells = tuple(image.shape), tuple(seen[0][1:])
        elif mistake == "the map itself":
            return torch.ones(pixels if method == "vanilla" else cells)
        elif mistake == "nothing returned":
            return None
        return pixels if method == "vanilla" else cells

    return native_resolution


def total_variation_with(mistake: str) -> Callable[..., Any]:
    """`total_variation` with one mistake."""

    def total_variation(values):
        values = np.asarray(values, dtype=float)
        mean = values.mean()
        if mistake == "scaled to 0..1 first":
            low, high = values.min(), values.max()
            values = (values - low) / (high - low if high > low else 1)
            mean = values.mean() or 1.0
        down, across = np.diff(values, axis=0), np.diff(values, axis=1)
        if mistake == "wraps around":
            down = values - np.roll(values, 1, axis=0)
            across = values - np.roll(values, 1, axis=1)
        elif mistake == "np.gradient":
            down, across = np.gradient(values)
        elif mistake == "two pixels apart":
            down, across = values[2:] - values[:-2], values[:, 2:] - values[:, :-2]
        steps = np.concatenate([down.ravel(), across.ravel()])
        if mistake == "horizontal only":
            steps = across.ravel()
        elif mistake == "vertical only":
            steps = down.ravel()
        if mistake == "diagonals too":
            one = values[1:, 1:] - values[:-1, :-1]
            other = values[1:, :-1] - values[:-1, 1:]
            steps = np.concatenate([steps, one.ravel(), other.ravel()])
        size = np.abs(steps)
        mistakes = {
            "squared differences": lambda: (steps**2).mean() / mean,
            "root of the mean square": lambda: np.sqrt((steps**2).mean()) / mean,
            "signs kept": lambda: steps.mean() / mean,
            "not divided by the mean": size.mean,
            "divided by the maximum": lambda: size.mean() / values.max(),
            "divided by the standard deviation": lambda: (
                size.mean() / (values.std() or 1.0)
            ),
            "summed, not averaged": lambda: size.sum() / mean,
            "sum over sum": lambda: size.sum() / values.sum(),
            "two means added": lambda: (
                (np.abs(down).mean() + np.abs(across).mean()) / mean
            ),
            "mean of two means": lambda: (
                (np.abs(down).mean() + np.abs(across).mean()) / 2 / mean
            ),
            "length of the gradient": lambda: (
                np.hypot(down[:, :-1], across[:-1]).mean() / mean
            ),
            "standard deviation over mean": lambda: values.std() / mean,
        }
        found = mistakes.get(mistake, lambda: size.mean() / mean)()
        return size / mean if mistake == "not one number" else float(found)

    return total_variation


def through_grid_with(mistake: str) -> Callable[..., Any]:
    """`through_grid` with one mistake."""

    def through_grid(values, grid):
        x = torch.as_tensor(np.asarray(values, dtype=float))[None, None]
        size = x.shape[-2:]
        side = size[0] // grid[0], size[1] // grid[1]
        cells = F.avg_pool2d(x, side)
        if mistake == "maximum, not mean":
            cells = F.max_pool2d(x, side)
        elif mistake == "sum, not mean":
            cells = cells * side[0] * side[1]
        elif mistake == "one pixel of each square":
            cells = x[..., :: side[0], :: side[1]]
        elif mistake == "middle of each square":
            cells = F.interpolate(x, size=tuple(grid), mode="bilinear")
        elif mistake == "not averaged":
            cells = x
        if mistake == "not enlarged":
            return cells[0, 0].numpy()
        if mistake == "enlarged by repeating":
            large = F.interpolate(cells, size=size, mode="nearest")
        elif mistake == "corners aligned":
            large = F.interpolate(cells, size=size, mode="bilinear", align_corners=True)
        elif mistake == "bicubic":
            large = F.interpolate(cells, size=size, mode="bicubic")
        else:
            large = F.interpolate(cells, size=size, mode="bilinear")
        if mistake == "scaled to 1":
            large = large / large.max()
        large = large[0, 0]
        return (large.T if mistake == "rows and columns swapped" else large).numpy()

    return through_grid


def change_under_with(mistake: str) -> Callable[..., Any]:
    """`change_under` with one mistake."""

    def mirror_gradient(module, inputs, output):
        if mistake == "values mirrored, not the gradient":
            return output.flip(-1)

        def turned(gradient):
            if mistake == "gradient's sign turned":
                return -gradient
            if mistake == "gradient cut off":
                return 0 * gradient
            return gradient.flip(-2 if mistake == "mirrored top to bottom" else -1)

        if output.requires_grad:
            output.register_hook(turned)
        return None

    def add_constant(module, inputs, output):
        if mistake == "constant multiplied":
            return output * 0.5
        if mistake == "another constant":
            return output + 1.0
        if mistake == "constant dropped by the hook":
            output + 0.5
            return None
        return output + 0.5

    def change_under(intervention, place, method, image, model, target_class, layer):
        if mistake == "the predicted class":
            with torch.no_grad():
                target_class = int(model(image[None]).argmax())
        if mistake == "the next class":
            target_class += 1
        if mistake == "methods swapped":
            method = "gradcam" if method == "vanilla" else "vanilla"
        elif mistake == "vanilla for both":
            method = "vanilla"
        elif mistake == "Grad-CAM for both":
            method = "gradcam"
        mirrors = intervention == "mirror gradient"
        if mistake == "interventions swapped":
            mirrors = not mirrors
        change = mirror_gradient if mirrors else add_constant
        modules = dict(model.named_modules())
        if mistake == "always at Grad-CAM's layer":
            place = layer
        if mistake == "Grad-CAM always at the last layer":
            layer = "features"

        def drawn():
            if method == "vanilla":
                return _vanilla(image, model, target_class, mistake)
            return _grad_cam(image, model, target_class, modules[layer], mistake)

        before = drawn()
        if mistake == "constant added to the image" and not mirrors:
            image = image + 0.5
            after = drawn()
        else:
            handle = modules[place].register_forward_hook(change)
            if mistake == "hook gone before the second map":
                handle.remove()
            after = drawn()
            if mistake == "hook there for both maps":
                before = drawn()
            if mistake != "hook left in the model":
                handle.remove()
        if mistake == "image changed in place":
            image -= image.mean()
        if mistake == "model left in training mode":
            model.train()
        if mistake == "parameters left frozen":
            model.requires_grad_(False)
        if mistake == "gradients left in the parameters":
            model(image[None])[0, target_class].backward()
        if mistake == "each map scaled to 1":
            before, after = before / before.max(), after / after.max()
        size, distance = np.linalg.norm(before), np.linalg.norm(after - before)
        if size == 0:  # a mistake may blank a map
            return float("nan")
        return float(
            {
                "absolute, not relative": lambda: distance,
                "relative to the second map": lambda: distance / np.linalg.norm(after),
                "squared": lambda: (distance / size) ** 2,
                "sums of absolute values": lambda: (
                    np.abs(after - before).sum() / np.abs(before).sum()
                ),
                "largest difference": lambda: (
                    np.abs(after - before).max() / np.abs(before).max()
                ),
                "lengths compared": lambda: abs(np.linalg.norm(after) - size) / size,
                "one minus the correlation": lambda: (
                    1 - np.corrcoef(after.ravel(), before.ravel())[0, 1]
                ),
            }.get(mistake, lambda: distance / size)()
        )

    return change_under


def _score(logits, target, mistake):
    if mistake == "softmax instead of logit":
        logits = logits.softmax(dim=1)
    if mistake == "log-softmax instead of logit":
        logits = logits.log_softmax(dim=1)
    return logits[0, target % logits.shape[1]]


def _vanilla(image, model, target, mistake):
    x = image[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(_score(model(x), target, mistake), x)
    if mistake == "gradient with its signs":
        return gradient[0].sum(dim=0).numpy()
    if mistake == "channels kept apart":
        return gradient[0].numpy()
    if mistake == "gradient times input":
        gradient = gradient * image
    return gradient[0].abs().amax(dim=0).numpy()


def _grad_cam(image, model, target, layer, mistake):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = layer.register_forward_hook(keep)
    try:
        score = _score(model(image[None]), target, mistake)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    activations = kept[0].detach()
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    summed = (weights * activations).sum(dim=1)
    cells = {
        "gradient alone in Grad-CAM": lambda: gradient.abs().sum(dim=1),
        "activations alone in Grad-CAM": lambda: activations.sum(dim=1),
        "absolute value in Grad-CAM": summed.abs,
        "ReLU forgotten in Grad-CAM": lambda: summed,
        "ReLU before the sum in Grad-CAM": lambda: (
            (weights * activations).relu().sum(dim=1)
        ),
    }.get(mistake, summed.relu)()
    if mistake == "minimum subtracted in Grad-CAM":
        cells = cells - cells.min()
    elif mistake in ("Grad-CAM enlarged", "Grad-CAM enlarged and scaled"):
        size = tuple(image.shape[-2:])
        cells = F.interpolate(cells[None], size=size, mode="bilinear")[0]
    if mistake == "Grad-CAM enlarged and scaled":
        cells = cells / cells.max()
    return cells[0].numpy()


def statements_with(mistake: str) -> Callable[..., Any]:
    """`statements` with one mistake."""
    labels = {
        "S1": "Grad-CAM",
        "S2": "Grad-CAM",
        "S3": "vanilla",
        "S4": "vanilla",
        "S5": "Grad-CAM",
        "S6": "both",
        "S7": "both",
        "S8": "Grad-CAM",
        "S9": "vanilla",
        "S10": "neither",
    }
    other = {"vanilla": "Grad-CAM", "Grad-CAM": "vanilla"}

    def statements():
        changes = {
            "Grad-CAM has pixel resolution": {"S4": "both"},
            "vanilla gradients need a convolution": {"S1": "both"},
            "both take the absolute value": {"S9": "both"},
            "a map shows the cause": {"S10": "both"},
            "only Grad-CAM explains a class": {"S6": "Grad-CAM"},
            "Grad-CAM needs no backward pass": {"S7": "vanilla"},
            "both are interpolated": {"S5": "both"},
            "both may be blank": {"S8": "both"},
            "both read activations": {"S2": "both"},
            "Grad-CAM goes down to the pixels": {"S3": "both"},
            "columns swapped": {k: other[v] for k, v in labels.items() if v in other},
            "one label for all": dict.fromkeys(labels, "Grad-CAM"),
            "a label of one's own": {"S6": "both of them"},
        }
        said = labels | changes.get(mistake, {})
        if mistake == "one statement forgotten":
            del said["S7"]
        return list(said) if mistake == "a list" else said

    return statements


def in_own_words():
    return {
        "information": "Vanilla gradients read only the gradient at the input, Grad-CAM"
        " reads the activations of a layer and the gradient there. A constant added to"
        " the layer changed the vanilla map by 0.000.",
        "resolution": "Vanilla gradients have one value for each pixel, 224 by 224 of"
        " them. Grad-CAM has one for each of 49 cells, and what is drawn between them"
        " is interpolation.",
        "noise": "The roughness of vanilla gradients was about 0.7 and that of Grad-CAM"
        " 0.04. Through the same 7 by 7 grid the vanilla map is as smooth, so it is a"
        " matter of the grid.",
    }


def in_own_words_with(mistake: str) -> Callable[..., Any]:
    """`in_own_words` with one mistake."""
    said = in_own_words()
    changes = {
        "a text missing": {"noise": None},
        "a text too short": {"noise": "0.7 against 0.04."},
        "a text too long": {"noise": 10 * said["noise"]},
        "no number in a text": {"noise": re.sub(r"\d", "", said["noise"])},
    }
    said |= changes.get(mistake, {})
    return lambda: said
