"""Problem 3: the known mistakes, written anew by somebody who had not seen the first
version."""

from __future__ import annotations

IMPORTS = """import numpy as np
import torch
from scipy import ndimage
"""

# Task -> a right answer.
RIGHT = {
    "baselines": """
def make_baselines(image, mean, std, blur_sigma, seed):
    m = torch.tensor(mean, dtype=image.dtype).view(3, 1, 1)
    s = torch.tensor(std, dtype=image.dtype).view(3, 1, 1)

    def to_model(pixels):
        return (pixels - m) / s

    shape = image.shape
    picture = image.detach().clone()
    pixels = picture * s + m
    dice = torch.Generator().manual_seed(seed)
    noise = torch.rand(shape, generator=dice, dtype=image.dtype)
    widths = [0.0] * (pixels.dim() - 2) + [blur_sigma, blur_sigma]
    soft = ndimage.gaussian_filter(pixels.numpy(), sigma=widths, mode="nearest")
    soft = torch.from_numpy(soft)
    black = to_model(torch.zeros(shape, dtype=image.dtype))
    white = to_model(torch.ones(shape, dtype=image.dtype))
    blur = to_model(soft)
    random = to_model(noise)
    return {"black": black, "white": white, "blur": blur, "random": random}
""",
    "integrated-gradients": """
def integrated_gradients(image, model, target_class, baseline, n_steps):
    x = image.detach().clone().reshape(1, *image.shape[-3:])
    start = baseline.detach().clone().reshape(1, *baseline.shape[-3:])
    difference = x - start
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    alphas = (np.arange(n_steps) + 0.5) / n_steps
    weights = np.ones(len(alphas)) / n_steps
    total = torch.zeros_like(x)
    for alpha, weight in zip(alphas, weights):
        point = start + float(alpha) * difference
        point.requires_grad_(True)
        logits = model(point)
        score = logits[0, target_class]
        (gradient,) = torch.autograd.grad(score, point)
        total = total + float(weight) * gradient
    for module, mode in modes:
        module.training = mode
    result = difference * total
    return result[0].detach()
""",
    "completeness": """
def completeness_error(attributions, image, baseline, model, target_class):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad():
        logits_image = model(image.reshape(1, *image.shape[-3:]))[0]
        logits_start = model(baseline.reshape(1, *baseline.shape[-3:]))[0]
    for module, mode in modes.items():
        module.training = mode
    f_image = float(logits_image[target_class])
    f_start = float(logits_start[target_class])
    a = torch.as_tensor(attributions).detach().double()
    total = float(a.sum())
    change = f_image - f_start
    if change == 0:
        return float("nan")
    return abs(total - change) / abs(change)
""",
    "correlation": """
def saliency(attributions):
    a = np.array(torch.as_tensor(attributions).detach(), dtype=float)
    return np.abs(a).sum(axis=0)


def coarse(picture, cell):
    rows, columns = picture.shape[0] // cell, picture.shape[1] // cell
    blocks = picture.reshape(rows, cell, columns, cell)
    return blocks.mean(axis=(1, 3))


def map_correlation(first, second, cell):
    u = coarse(saliency(first), cell).ravel()
    v = coarse(saliency(second), cell).ravel()
    du = u - u.mean()
    dv = v - v.mean()
    covariance = (du * dv).mean()
    r = covariance / np.sqrt((du**2).mean() * (dv**2).mean())
    return float(r)
""",
    "blind-shares": """
def blind_shares(attributions, image, mean, std):
    a = torch.as_tensor(attributions).detach().double()
    strength = a.abs().sum(dim=0)
    m = torch.tensor(mean, dtype=torch.float64)[:, None, None]
    s = torch.tensor(std, dtype=torch.float64)[:, None, None]
    pixels = image.detach().double() * s + m
    light = pixels.mean(dim=0)
    low = torch.tensor(np.quantile(light.numpy(), 0.1))
    high = torch.tensor(np.quantile(light.numpy(), 0.9))
    dark = light <= low
    bright = light >= high
    everywhere = strength.mean()
    share_dark = strength[dark].mean() / everywhere
    share_bright = strength[bright].mean() / everywhere
    return {"darkest": float(share_dark), "brightest": float(share_bright)}
""",
    "explanation": '''
def explanation():
    return {
        "black": """The attribution carries the factor image - baseline, so a pixel
        that is black already gets exactly 0, whatever the model does with it. On the
        panda the darkest tenth gets 0.10 of the map's mean and the brightest tenth
        2.06. I take black where dark really means that nothing is there, as in a
        scan.""",
        "white": """The same factor, turned round: white pixels are blind, with a
        share of 0.05, and the dark ones count 2.17 times the mean. Its map and that
        of black correlate with -0.21 in pixels and -0.43 in cells of 16, though its
        sum is right to 5.7%. I take it for dark things on paper, such as a drawing.""",
        "blur": """A blurred copy keeps the colours, so what counts is where a pixel
        differs from its surroundings: edges and texture. The tenth that differs least
        gets 0.12 of the mean, so smooth areas are what it can't see. I take it for
        photos, where no colour stands for nothing; the darkest tenth still gets 1.79
        here.""",
        "random": """No area as a whole equals noise, so nothing is blind: the shares
        are 1.37 and 1.24. But the draw is in the map: two seeds correlate with only
        0.20 in pixels, and with 0.81 in cells of 16. I would average several draws,
        and look at areas instead of pixels.""",
        "guidelines": """Take black: not by itself, because the black parts of the
        panda get 0.10 there. Use domain knowledge: yes, it says which colour means
        absence, and the share of 0.05 for white shows what a wrong choice hides.
        Compare several: yes, black and blur correlate with only 0.19. Verify
        consistency: the sums are right to between 0.2% and 9.7% for all, so the maps
        differ because each answers another question, and a small error does not make
        one of them the true one.""",
    }
''',
}

# The path in batches, as a student short of time would do it: whole batches alone.
CHUNKS = """
def integrated_gradients(image, model, target_class, baseline, n_steps):
    x = image.detach().clone().reshape(1, *image.shape[-3:])
    start = baseline.detach().clone().reshape(1, *baseline.shape[-3:])
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    alphas = (torch.arange(n_steps) + 0.5) / n_steps
    total = torch.zeros_like(x)
    for batch in range(n_steps // SIZE):
        chosen = alphas[batch * SIZE : (batch + 1) * SIZE].view(-1, 1, 1, 1)
        points = (start + chosen * (x - start)).requires_grad_(True)
        scores = model(points)[:, target_class]
        (gradients,) = torch.autograd.grad(scores.sum(), points)
        total += gradients.sum(dim=0, keepdim=True)
    for module, mode in modes:
        module.training = mode
    return ((x - start) * total / n_steps)[0]
"""

_BOX = "ndimage.gaussian_filter(pixels.numpy(), sigma=widths, mode="
_RETURN = '{"black": black, "white": white, "blur": blur, "random": random}'
_NOISE = "torch.rand(shape, generator=dice, dtype=image.dtype)"
_ZEROS = "to_model(torch.zeros(shape, dtype=image.dtype))"
_ONES = "to_model(torch.ones(shape, dtype=image.dtype))"
_M = "torch.tensor(mean, dtype=image.dtype)"
_S = "torch.tensor(std, dtype=image.dtype)"
_ALPHAS = "(np.arange(n_steps) + 0.5) / n_steps"
_WEIGHTS = "np.ones(len(alphas)) / n_steps"
_SCORE = "score = logits[0, target_class]"
_RESULT = "result = difference * total"
_POINT = "point = start + float(alpha) * difference"
_ADD = "total = total + float(weight) * gradient"
_ERROR = "abs(total - change) / abs(change)"
_ABS_SUM = "np.abs(a).sum(axis=0)"
_MEAN_CELL = "blocks.mean(axis=(1, 3))"
_R_END = "return float(r)"

# Task -> mistake -> what changes in the right answer, as (old, new) pairs; or a whole
# answer.
MISTAKES = {
    "baselines": {
        "zeros called black": [(_ZEROS, "torch.zeros_like(image)")],
        "ones called white": [(_ONES, "torch.ones_like(image)")],
        "zeros and ones": [
            (_ZEROS, "torch.zeros_like(image)"),
            (_ONES, "torch.ones_like(image)"),
        ],
        "ImageNet's constants for every model": [
            (_M, "torch.tensor([0.485, 0.456, 0.406])"),
            (_S, "torch.tensor([0.229, 0.224, 0.225])"),
        ],
        "mean and std of 0.5 for every model": [
            (_M, "torch.tensor([0.5, 0.5, 0.5])"),
            (_S, "torch.tensor([0.5, 0.5, 0.5])"),
        ],
        # reading: swapped everywhere, as by a call in the wrong order
        "mean and std swapped": [
            (_M, "torch.tensor(std, dtype=image.dtype)"),
            ("s = torch.tensor(std,", "s = torch.tensor(mean,"),
        ],
        "255 is white": [
            ("torch.ones(shape, dtype=image.dtype)", "torch.full(shape, 255.0)")
        ],
        # reading: of all channels together, in pixel values
        "the image's own extremes": [
            ("torch.zeros(shape,", "torch.full(shape, float(pixels.min()),"),
            ("torch.ones(shape,", "torch.full(shape, float(pixels.max()),"),
        ],
        "black and white swapped": [
            ('"black": black, "white": white', '"black": white, "white": black')
        ],
        "not divided by std": [("(pixels - m) / s", "pixels - m")],
        "mean not subtracted": [("(pixels - m) / s", "pixels / s")],
        "multiplied by std": [("(pixels - m) / s", "(pixels - m) * s")],
        "denormalised instead of normalised": [("(pixels - m) / s", "pixels * s + m")],
        "normalised twice": [("(pixels - m) / s", "((pixels - m) / s - m) / s")],
        "uniform noise in normalised space": [
            ("random = to_model(noise)", "random = noise")
        ],
        "Gaussian noise in normalised space": [
            ("torch.rand(", "torch.randn("),
            ("random = to_model(noise)", "random = noise"),
        ],
        "Gaussian noise in pixel space": [("torch.rand(", "torch.randn(")],
        # reading: uniform in pixel values, then normalised, then clipped
        "noise clipped to [0, 1]": [
            ("random = to_model(noise)", "random = to_model(noise).clamp(0, 1)")
        ],
        # reading: in pixel values
        "noise added to the image": [("to_model(noise)", "to_model(pixels + noise)")],
        "one noise for all channels": [
            (
                _NOISE,
                "torch.rand(shape[-2:], generator=dice).expand(shape).clone()",
            )
        ],
        # reading: one number for each of the three channels
        "one random colour": [
            (_NOISE, "torch.rand(3, 1, 1, generator=dice).expand(shape).clone()")
        ],
        "one seed": [("manual_seed(seed)", "manual_seed(42)")],
        "no seed": [("torch.rand(shape, generator=dice, ", "torch.rand(shape, ")],
        "blur in normalised space, zeros at the border": [
            (_BOX + '"nearest")', _BOX.replace("pixels", "picture") + '"constant")'),
            ("blur = to_model(soft)", "blur = soft"),
        ],
        "black frame around the blur": [('"nearest"', '"constant", cval=0.0')],
        "blur left as pixel values": [("blur = to_model(soft)", "blur = soft")],
        "normalised image blurred and normalised": [
            ("(pixels.numpy()", "(picture.numpy()")
        ],
        "blur not blurred": [("blur = to_model(soft)", "blur = picture")],
        "blur_sigma ignored": [("[blur_sigma, blur_sigma]", "[5.0, 5.0]")],
        "blur twice as wide": [
            ("[blur_sigma, blur_sigma]", "[2 * blur_sigma, 2 * blur_sigma]")
        ],
        "blur_sigma is a variance": [
            ("[blur_sigma, blur_sigma]", "[blur_sigma**0.5, blur_sigma**0.5]")
        ],
        # reading: as wide as the Gaussian's kernel to three standard deviations
        "box instead of a Gaussian": [
            ("gaussian_filter(", "uniform_filter("),
            ("sigma=widths", "size=widths"),
            ("[0.0] *", "[1] *"),
            ("[blur_sigma, blur_sigma]", "2 * [2 * int(3 * blur_sigma) + 1]"),
        ],
        "grey blur": [
            (
                "torch.from_numpy(soft)",
                "torch.from_numpy(soft).mean(dim=-3, keepdim=True).expand(shape)",
            )
        ],
        "blur over the channels, too": [("sigma=widths", "sigma=blur_sigma")],
        "one baseline missing": [(', "random": random}', "}")],
        "a list instead of a dictionary": [(_RETURN, "[black, white, blur, random]")],
        "a batch axis kept": [
            (
                "return " + _RETURN,
                "found = " + _RETURN + "\n"
                "    return {name: value[None] for name, value in found.items()}",
            )
        ],
        # reading: black and white as (3, 1, 1), which broadcasts
        "one number per channel": [
            (_ZEROS, "to_model(torch.zeros(3, 1, 1))"),
            (_ONES, "to_model(torch.ones(3, 1, 1))"),
        ],
        "image changed in place": [("picture * s + m", "image.mul_(s).add_(m)")],
    },
    "integrated-gradients": {
        "(x - x') missing": [(_RESULT, "result = total")],
        "x instead of (x - x')": [(_RESULT, "result = x * total")],
        # reading: in the factor alone, the path is right
        "(x' - x)": [(_RESULT, "result = (start - x) * total")],
        "(x - x') made positive": [(_RESULT, "result = difference.abs() * total")],
        "absolute gradients summed": [(_ADD, _ADD + ".abs()")],
        "squared gradients": [(_ADD, _ADD + "**2")],
        "absolute attributions": [(_RESULT, "result = (difference * total).abs()")],
        "negative attributions cut off": [
            (_RESULT, "result = torch.relu(difference * total)")
        ],
        "scaled to 1": [
            (_RESULT, _RESULT + "\n    result = result / result.abs().max()")
        ],
        "scaled to sum 1": [
            (_RESULT, _RESULT + "\n    result = result / result.sum()")
        ],
        "mean subtracted": [
            (_RESULT, _RESULT + "\n    result = result - result.mean()")
        ],
        # reading: each to a largest absolute value of 1
        "each gradient scaled to 1": [
            (_ADD, "gradient = gradient / gradient.abs().max()\n        " + _ADD)
        ],
        "gradient at the image only": [(_ALPHAS, "np.ones(n_steps)")],
        "gradient at the baseline only": [(_ALPHAS, "np.zeros(n_steps)")],
        "gradient at the middle only": [(_ALPHAS, "np.full(n_steps, 0.5)")],
        # reading: overwritten instead of added up, and still divided by n_steps
        "last step only": [(_ADD, "total = float(weight) * gradient")],
        # reading: the factor is right
        "path from zero": [(_POINT, "point = float(alpha) * x")],
        # reading: in the path and in the factor
        "baseline ignored": [
            (
                "start = baseline.detach().clone().reshape(1, *baseline.shape[-3:])",
                "start = torch.zeros_like(x)",
            )
        ],
        "baseline + alpha x": [(_POINT, "point = start + float(alpha) * x")],
        "gradient with respect to the image": [
            ("    difference = x - start", "    x.requires_grad_(True)"),
            (_POINT, "point = start + float(alpha) * (x - start)"),
            ("        point.requires_grad_(True)\n", ""),
            ("grad(score, point)", "grad(score, x)"),
            (_RESULT, "result = (x - start) * total"),
        ],
        "both ends, divided by n": [(_ALPHAS, "np.arange(n_steps + 1) / n_steps")],
        # reading: the average of the points 1/n, ..., (n + 1)/n
        "one step too far": [
            (_ALPHAS, "np.arange(1, n_steps + 2) / n_steps"),
            (_WEIGHTS, "np.ones(len(alphas)) / len(alphas)"),
        ],
        "divided by n + 1": [(_WEIGHTS, "np.ones(len(alphas)) / (n_steps + 1)")],
        "divided by n - 1": [(_WEIGHTS, "np.ones(len(alphas)) / (n_steps - 1)")],
        "last point left out": [(_ALPHAS, "(np.arange(n_steps - 1) + 0.5) / n_steps")],
        "divided by n_steps twice": [(_WEIGHTS, _WEIGHTS + " / n_steps")],
        "summed, not averaged": [(_WEIGHTS, "np.ones(len(alphas))")],
        "trapezoid weights sum to (n - 1) / n": [
            (_ALPHAS, "np.linspace(0, 1, n_steps)"),
            (_WEIGHTS, _WEIGHTS + "\n    weights[0] /= 2\n    weights[-1] /= 2"),
        ],
        "Gauss weights of [-1, 1]": [
            (
                "alphas = " + _ALPHAS,
                "nodes, w = np.polynomial.legendre.leggauss(n_steps)",
            ),
            ("weights = " + _WEIGHTS, "alphas, weights = (nodes + 1) / 2, w"),
        ],
        # reading: the points alone, the weights are halved as they should be
        "Gauss points of [-1, 1]": [
            (
                "alphas = " + _ALPHAS,
                "nodes, w = np.polynomial.legendre.leggauss(n_steps)",
            ),
            ("weights = " + _WEIGHTS, "alphas, weights = nodes, w / 2"),
        ],
        # reading (of the four): still divided by n_steps
        "chunks of 8, rest dropped": CHUNKS.replace("SIZE", "8"),
        "chunks of 10, rest dropped": CHUNKS.replace("SIZE", "10"),
        "chunks of 16, rest dropped": CHUNKS.replace("SIZE", "16"),
        "chunks of 32, rest dropped": CHUNKS.replace("SIZE", "32"),
        ".grad accumulates": [
            (
                "    total = torch.zeros_like(x)\n",
                (
                    "    total = torch.zeros_like(x)\n"
                    "    point = start.clone().requires_grad_(True)\n"
                ),
            ),
            (_POINT, "point.data = start + float(alpha) * difference"),
            ("        point.requires_grad_(True)\n", ""),
            (
                "(gradient,) = torch.autograd.grad(score, point)",
                "score.backward(inputs=[point])",
            ),
            (_ADD, "total = total + float(weight) * point.grad"),
        ],
        "softmax instead of logit": [
            (_SCORE, "score = logits.softmax(dim=1)[0, target_class]")
        ],
        "log-softmax instead of logit": [
            (_SCORE, "score = logits.log_softmax(dim=1)[0, target_class]")
        ],
        "sum over all classes": [(_SCORE, "score = logits.sum()")],
        # reading: after the last class comes the first
        "the next class": [
            (_SCORE, "score = logits[0, (target_class + 1) % logits.shape[1]]")
        ],
        "the class predicted at the image": [
            (
                "    model.eval()\n",
                "    model.eval()\n    best = int(model(x).argmax())\n",
            ),
            (_SCORE, "score = logits[0, best]"),
        ],
        "the class predicted at the baseline": [
            (
                "    model.eval()\n",
                "    model.eval()\n    best = int(model(start).argmax())\n",
            ),
            (_SCORE, "score = logits[0, best]"),
        ],
        "class predicted anew at every point": [(_SCORE, "score = logits[0].max()")],
        "channels added up": [("result[0].detach()", "result[0].detach().sum(dim=0)")],
        "map of absolute values": [
            ("result[0].detach()", "result[0].detach().abs().sum(dim=0)")
        ],
        # reading: one map of attributions for each step, (n_steps, 3, H, W)
        "steps not added up": [
            ("total = torch.zeros_like(x)", "parts = []"),
            (_ADD, "parts.append(float(weight) * gradient)"),
            (_RESULT, "result = difference * torch.cat(parts)"),
            ("result[0].detach()", "result.detach()"),
        ],
        "a batch axis kept": [("result[0].detach()", "result.detach()")],
        "the sum alone": [("result[0].detach()", "float(result.sum())")],
        "random points": [(_ALPHAS, "np.random.rand(n_steps)")],
        # reading: by a good rule for two points
        "two points, whatever n_steps": [
            (_ALPHAS, "np.array([0.25, 0.75])"),
            (_WEIGHTS, "np.array([0.5, 0.5])"),
        ],
        # reading: the mode in which the model comes
        "training mode while explaining": [("    model.eval()\n", "")],
        "image changed in place": [
            ("image.detach().clone()", "image.detach()"),
            ("difference = x - start", "difference = x.sub_(start)"),
        ],
        "model left in eval mode": [
            ("    for module, mode in modes:\n        module.training = mode\n", "")
        ],
    },
    "completeness": {
        # reading: scaled to a largest absolute value of 1
        "after scaling the map": [
            ("float(a.sum())", "float((a / a.abs().max()).sum())")
        ],
        "sum of absolute values": [("a.sum()", "a.abs().sum()")],
        "mean instead of sum": [("a.sum()", "a.mean()")],
        "first channel only": [("a.sum()", "a[0].sum()")],
        "F(x') left out": [("change = f_image - f_start", "change = f_image")],
        "F(x') - F(x)": [("f_image - f_start", "f_start - f_image")],
        # reading: the sum and the change
        "both made positive first": [
            ("abs(total - change)", "abs(abs(total) - abs(change))")
        ],
        "sign kept": [(_ERROR, "(total - change) / abs(change)")],
        "sign of the change kept": [(_ERROR, "abs(total - change) / change")],
        "absolute, not relative": [(_ERROR, "abs(total - change)")],
        "relative to F(x)": [(_ERROR, "abs(total - change) / abs(f_image)")],
        "relative to the sum": [(_ERROR, "abs(total - change) / abs(total)")],
        # reading: to the sizes of the sum and of the change, added
        "relative to both": [
            (_ERROR, "abs(total - change) / (abs(total) + abs(change))")
        ],
        "in percent": [(_ERROR, "100 * " + _ERROR)],
        # reading: the square of the relative error
        "squared": [(_ERROR, "((total - change) / change) ** 2")],
        "share instead of error": [(_ERROR, "total / change")],
        "softmax instead of logit": [
            (
                "float(logits_image[target_class])",
                "float(logits_image.softmax(0)[target_class])",
            ),
            (
                "float(logits_start[target_class])",
                "float(logits_start.softmax(0)[target_class])",
            ),
        ],
        "log-softmax instead of logit": [
            (
                "float(logits_image[target_class])",
                "float(logits_image.log_softmax(0)[target_class])",
            ),
            (
                "float(logits_start[target_class])",
                "float(logits_start.log_softmax(0)[target_class])",
            ),
        ],
        "sum over all classes": [
            ("logits_image[target_class]", "logits_image.sum()"),
            ("logits_start[target_class]", "logits_start.sum()"),
        ],
        # reading: after the last class comes the first
        "the next class": [
            (
                "    f_image = ",
                (
                    "    target_class = (target_class + 1) % len(logits_image)\n"
                    "    f_image = "
                ),
            )
        ],
        "the class predicted at the image": [
            (
                "    f_image = ",
                "    target_class = int(logits_image.argmax())\n    f_image = ",
            )
        ],
        "best class at each end": [
            ("logits_image[target_class]", "logits_image.max()"),
            ("logits_start[target_class]", "logits_start.max()"),
        ],
        "zero without a change": [('float("nan")', "0.0")],
        "tiny number added": [
            ('    if change == 0:\n        return float("nan")\n', ""),
            (_ERROR, "abs(total - change) / (abs(change) + 1e-8)"),
        ],
    },
    "correlation": {
        "signed sum": [(_ABS_SUM, "a.sum(axis=0)")],
        "absolute value after the sum": [(_ABS_SUM, "np.abs(a.sum(axis=0))")],
        "maximum over channels": [(_ABS_SUM, "np.abs(a).max(axis=0)")],
        "signed maximum": [(_ABS_SUM, "a.max(axis=0)")],
        "negative attributions cut off": [
            (_ABS_SUM, "np.clip(a, 0, None).sum(axis=0)")
        ],
        "squares": [(_ABS_SUM, "(a**2).sum(axis=0)")],
        # reading: its absolute value
        "first channel only": [(_ABS_SUM, "np.abs(a[0])")],
        # reading: signed, each channel averaged over cells
        "no map, single attributions": [
            (_ABS_SUM, "a"),
            (
                "u = coarse(saliency(first), cell).ravel()",
                "u = np.array([coarse(c, cell) for c in saliency(first)]).ravel()",
            ),
            (
                "v = coarse(saliency(second), cell).ravel()",
                "v = np.array([coarse(c, cell) for c in saliency(second)]).ravel()",
            ),
        ],
        "cell ignored": [(_MEAN_CELL, "picture")],
        "every cell-th pixel": [(_MEAN_CELL, "picture[::cell, ::cell]")],
        # reading: over the rows and columns of cells, not those within a cell
        "cells of the wrong axis": [("axis=(1, 3)", "axis=(0, 2)")],
        "cell is the number of cells": [
            ("reshape(rows, cell, columns, cell)", "reshape(cell, rows, cell, columns)")
        ],
        "overlapping cells": [
            (
                "blocks = picture.reshape(rows, cell, columns, cell)",
                "blocks = torch.tensor(picture)[None, None]",
            ),
            (
                _MEAN_CELL,
                "torch.nn.functional.avg_pool2d(blocks, cell, stride=1).numpy()",
            ),
        ],
        "largest pixel of a cell": [(_MEAN_CELL, "blocks.max(axis=(1, 3))")],
        "ranks": [
            (
                "    du = ",
                "    u, v = u.argsort().argsort(), v.argsort().argsort()\n    du = ",
            )
        ],
        "cosine, not centred": [("u - u.mean()", "u"), ("v - v.mean()", "v")],
        "covariance": [(_R_END, "return float(covariance)")],
        "squared correlation": [(_R_END, "return float(r**2)")],
        "absolute correlation": [(_R_END, "return abs(float(r))")],
        # reading: 1 - r; else the length of the difference of the maps
        "distance": [(_R_END, "return float(1 - r)")],
        # reading: in sums of absolute values, relative to the first
        "relative difference": [
            (_R_END, "return float(np.abs(u - v).sum() / np.abs(u).sum())")
        ],
    },
    "blind-shares": {
        "signed sum": [("a.abs().sum(dim=0)", "a.sum(dim=0)")],
        "absolute value after the sum": [("a.abs().sum(dim=0)", "a.sum(dim=0).abs()")],
        "maximum over channels": [("a.abs().sum(dim=0)", "a.abs().amax(dim=0)")],
        "lightness of normalised values": [("double() * s + m", "double()")],
        "normalised a second time": [
            ("image.detach().double() * s + m", "(image.detach().double() - m) / s")
        ],
        "lightness by ImageNet's constants": [
            ("torch.tensor(mean, ", "torch.tensor([0.485, 0.456, 0.406], "),
            ("torch.tensor(std, ", "torch.tensor([0.229, 0.224, 0.225], "),
        ],
        "luma weights": [
            (
                "light = pixels.mean(dim=0)",
                "light = 0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2]",
            )
        ],
        "brightest channel": [("pixels.mean(dim=0)", "pixels.amax(dim=0)")],
        # reading: the lightness, not the map
        "first channel only": [("pixels.mean(dim=0)", "pixels[0]")],
        "a tenth of the range": [
            (
                "torch.tensor(np.quantile(light.numpy(), 0.1))",
                "light.min() + 0.1 * (light.max() - light.min())",
            ),
            (
                "torch.tensor(np.quantile(light.numpy(), 0.9))",
                "light.min() + 0.9 * (light.max() - light.min())",
            ),
        ],
        # reading: of the lightness; no such pixels give nan
        "pixel values below 0.1 and above 0.9": [
            ("light <= low", "light < 0.1"),
            ("light >= high", "light > 0.9"),
        ],
        "a hundredth": [("0.1)", "0.01)"), ("0.9)", "0.99)")],
        "a fifth": [("0.1)", "0.2)"), ("0.9)", "0.8)")],
        "dark and bright swapped": [
            ('"darkest": float(share_dark)', '"darkest": float(share_bright)'),
            ('"brightest": float(share_bright)', '"brightest": float(share_dark)'),
        ],
        "all but the tenth": [
            ("light <= low", "light > low"),
            ("light >= high", "light < high"),
        ],
        "not relative": [("everywhere = strength.mean()", "everywhere = 1.0")],
        "relative to the maximum": [
            ("everywhere = strength.mean()", "everywhere = strength.max()")
        ],
        "relative to the rest": [
            ("[dark].mean() / everywhere", "[dark].mean() / strength[~dark].mean()"),
            (
                "[bright].mean() / everywhere",
                "[bright].mean() / strength[~bright].mean()",
            ),
        ],
        "share of the sum": [
            ("everywhere = strength.mean()", "everywhere = strength.sum()"),
            ("[dark].mean()", "[dark].sum()"),
            ("[bright].mean()", "[bright].sum()"),
        ],
        # reading: in the tenths and in the whole map
        "median instead of mean": [
            ("everywhere = strength.mean()", "everywhere = strength.median()"),
            ("[dark].mean()", "[dark].median()"),
            ("[bright].mean()", "[bright].median()"),
        ],
        # reading: whole map over tenth
        "upside down": [
            (
                "strength[dark].mean() / everywhere",
                "everywhere / strength[dark].mean()",
            ),
            (
                "strength[bright].mean() / everywhere",
                "everywhere / strength[bright].mean()",
            ),
        ],
        "in percent": [
            ("float(share_dark)", "100 * float(share_dark)"),
            ("float(share_bright)", "100 * float(share_bright)"),
        ],
    },
    "explanation": {
        # reading: the text of one of the four baselines is not there
        "one baseline left out": """
def explanation():
    return {
        "black": "A pixel that is black already gets 0, here 0.10 of the mean. "
        "I take it where black means that nothing is there.",
        "white": "White pixels are blind, with a share of 0.05, and dark ones 2.17. "
        "I take it for drawings on paper.",
        "blur": "Smooth areas equal their blurred copy, and get 0.12 of the mean. "
        "I take it for photos.",
        "guidelines": "Black alone hides the dark parts, with 0.10. Domain knowledge "
        "says which colour is absence, as white with 0.05 shows. Compare several, as "
        "black and white correlate with -0.21. All the sums are right to 9.7%.",
    }
""",
        "a few words": """
def explanation():
    return {
        "black": "dark pixels 0.10",
        "white": "bright pixels 0.05",
        "blur": "smooth pixels 0.12",
        "random": "none, 0.20",
        "guidelines": "compare several, -0.21",
    }
""",
        "no number": """
def explanation():
    return {
        "black": "A pixel that is black already gets nothing, whatever the model does "
        "with it. I take it where black means that nothing is there.",
        "white": "White pixels get nothing, and dark ones get much. I take it for "
        "drawings on paper.",
        "blur": "Smooth areas equal their blurred copy, and get next to nothing. I "
        "take it for photos.",
        "random": "No area as a whole equals noise, so nothing is blind. But another "
        "seed makes another map, so I would average several.",
        "guidelines": "Black alone hides the dark parts. Domain knowledge says which "
        "colour means absence. Comparing several is worth it, as the maps differ much. "
        "The sums are consistent for all of them, so they prove none.",
    }
""",
        # reading: a string instead of the dictionary
        "one text": """
def explanation():
    return (
        "A pixel equal to its baseline gets 0, whatever the model does with it. Black "
        "gives the darkest tenth 0.10 of the mean, white the brightest 0.05. The blur "
        "can't see smooth areas, with 0.12, and two draws of noise correlate with "
        "0.20. So I compare several and don't trust black alone."
    )
""",
    },
}
