"""Problem 2: the known mistakes, made in the sample answer, whose code is another."""

from __future__ import annotations

IMPORTS = """import numpy as np
import torch
"""

RIGHT = {
    "smooth-grad": """
def smooth_grad(image, model, target_class, n_samples, noise_level, seed):
    x = image.detach().reshape(1, *image.shape[-3:])
    spread = x.max() - x.min()
    sigma = noise_level * spread
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    total = torch.zeros_like(x)
    for k in range(n_samples):
        noise = torch.randn(x.shape, generator=generator)
        noisy = (x + sigma * noise).requires_grad_()
        score = model(noisy)[0, target_class]
        gradient = torch.autograd.grad(score, noisy)[0]
        total += gradient
    model.train(was_training)
    mean = total[0] / n_samples
    drawn = mean.abs().amax(dim=0)
    return drawn
""",
    "error-curve": """
def error_curve(image, model, target_class, counts, seeds):
    def draw(n_samples, seed):
        drawn = smooth_grad(image, model, target_class, n_samples, 0.15, seed)
        return np.asarray(drawn, dtype=float)

    own = max(seeds) + 1
    reference = draw(16 * max(counts), own)
    norm = np.linalg.norm(reference)
    errors = []
    for n in counts:
        each = []
        for s in seeds:
            m = draw(n, s)
            each.append(np.linalg.norm(m - reference) / norm)
        errors.append(float(np.mean(each)))
    return errors
""",
    "samples-needed": """
def samples_needed(errors, counts, tolerance):
    each = np.asarray(errors) * np.sqrt(counts)
    c = np.mean(each)
    n = (c / tolerance) ** 2
    return max(1, int(np.ceil(round(n, 9))))
""",
}

_SUM = "        total += gradient\n"
_DRAWN = "    drawn = mean.abs().amax(dim=0)\n"
_NOISE = "        noise = torch.randn(x.shape, generator=generator)\n"
_SIGMA = "    sigma = noise_level * spread\n"
_SCORE = "model(noisy)[0, target_class]"
_EACH = "each.append(np.linalg.norm(m - reference) / norm)"
_REFERENCE = "reference = draw(16 * max(counts), own)"
_MEAN = "np.mean(each)"
_ROUND = "return max(1, int(np.ceil(round(n, 9))))"
_N = "n = (c / tolerance) ** 2"

MISTAKES = {
    "smooth-grad": {
        "absolute values inside the mean": [
            (_SUM, "        total += gradient.abs()\n")
        ],
        "squares inside the mean": [(_SUM, "        total += gradient**2\n")],
        "maximum before the mean": [
            (_SUM, "        total += gradient.abs().amax(dim=1, keepdim=True)\n")
        ],
        "sigma absolute": [(_SIGMA, "    sigma = noise_level\n")],
        "sigma divided by the range": [(_SIGMA, "    sigma = noise_level / spread\n")],
        "sigma from the maximum": [("spread = x.max() - x.min()", "spread = x.max()")],
        "sigma from the standard deviation": [
            ("spread = x.max() - x.min()", "spread = x.std()")
        ],
        "sigma is a variance": [
            (_SIGMA, "    sigma = (noise_level * spread) ** 0.5\n")
        ],
        "range of each channel": [
            (
                "spread = x.max() - x.min()",
                "flat = x.flatten(2)\n"
                "    spread = (flat.amax(2) - flat.amin(2))[..., None, None]",
            )
        ],
        "range of the noisy batch": [
            (
                _SIGMA,
                _SIGMA + "    g = torch.Generator().manual_seed(seed)\n"
                "    many = torch.randn((n_samples, *x.shape[1:]), generator=g)\n"
                "    sigma = noise_level * torch.aminmax(x + sigma * many).max - (\n"
                "        noise_level * torch.aminmax(x + sigma * many).min\n"
                "    )\n",
            )
        ],
        "noise added to the noisy image": [
            (
                "noisy = (x + sigma * noise).requires_grad_()",
                "x = x + sigma * noise\n        noisy = x.clone().requires_grad_()",
            )
        ],
        "noise drawn once": [
            (_NOISE, ""),
            (
                _SIGMA,
                _SIGMA + "    g = torch.Generator().manual_seed(seed)\n"
                "    noise = torch.randn(x.shape, generator=g)\n",
            ),
        ],
        "one sample of less noise": [
            (_SIGMA, "    sigma = noise_level * spread / n_samples**0.5\n"),
            ("range(n_samples)", "range(1)"),
            ("total[0] / n_samples", "total[0]"),
        ],
        "noise divided by the root of n": [
            (_SIGMA, "    sigma = noise_level * spread / np.sqrt(n_samples)\n")
        ],
        "always fifty samples": [
            ("range(n_samples)", "range(50)"),
            ("total[0] / n_samples", "total[0] / 50"),
        ],
        "noise in pairs": [
            (
                _NOISE,
                "        if k % 2 == 0:\n"
                "            noise = torch.randn(x.shape, generator=generator)\n"
                "        else:\n"
                "            noise = -noise\n",
            )
        ],
        "uniform noise": [
            (
                _NOISE,
                "        noise = 2 * torch.rand(x.shape, generator=generator) - 1\n",
            )
        ],
        "noise never negative": [
            (
                _NOISE,
                "        noise = torch.randn(x.shape, generator=generator).abs()\n",
            )
        ],
        "one noise for all channels": [
            (
                _NOISE,
                "        noise = torch.randn(x.shape[-2:], generator=generator)\n",
            )
        ],
        "gradient at the clean image": [
            ("(x + sigma * noise).requires_grad_()", "x.clone().requires_grad_()")
        ],
        ".grad accumulates": [
            (
                "    total = torch.zeros_like(x)\n",
                "    total, leaf = torch.zeros_like(x), x.clone().requires_grad_()\n",
            ),
            (
                "noisy = (x + sigma * noise).requires_grad_()",
                "leaf.data = x + sigma * noise",
            ),
            ("score = model(noisy)", "score = model(leaf)"),
            (
                "gradient = torch.autograd.grad(score, noisy)[0]",
                "score.backward()\n        gradient = leaf.grad",
            ),
        ],
        "n - 1 samples": [
            ("range(n_samples)", "range(max(n_samples - 1, 1))"),
            ("total[0] / n_samples", "total[0] / max(n_samples - 1, 1)"),
        ],
        "n - 1 samples, divided by n": [("range(n_samples)", "range(1, n_samples)")],
        "chunks of four, rest dropped": [
            (
                "    total = torch.zeros_like(x)\n",
                "    total = torch.zeros_like(x)\n"
                "    n_samples = n_samples // 4 * 4 or n_samples\n",
            )
        ],
        "divided by n - 1": [
            ("total[0] / n_samples", "total[0] / (n_samples - 1 or 1)")
        ],
        "summed, not averaged": [("total[0] / n_samples", "total[0]")],
        "clean image among the samples": [
            (_NOISE, _NOISE + "        noise *= k > 0\n")
        ],
        "softmax instead of logit": [
            (_SCORE, "model(noisy).softmax(dim=-1)[0, target_class]")
        ],
        "log-softmax instead of logit": [
            (_SCORE, "torch.log_softmax(model(noisy), 1)[0, target_class]")
        ],
        "sum over all classes": [(_SCORE, "model(noisy).sum()")],
        "the next class": [
            (_SCORE, "model(noisy)[0].roll(-1)[target_class]"),
        ],
        "the predicted class": [(_SCORE, "model(noisy)[0, model(x)[0].argmax()]")],
        "times the input": [("total[0] / n_samples", "x[0] * total[0] / n_samples")],
        "signed maximum": [(_DRAWN, "    drawn = mean.max(dim=0).values\n")],
        "signed sum": [(_DRAWN, "    drawn = mean.sum(0)\n")],
        "sum of absolute values": [(_DRAWN, "    drawn = mean.abs().sum(0)\n")],
        "mean of absolute values": [(_DRAWN, "    drawn = mean.abs().mean(0)\n")],
        "absolute value after the sum": [(_DRAWN, "    drawn = mean.sum(0).abs()\n")],
        "first channel only": [(_DRAWN, "    drawn = mean.abs()[0]\n")],
        "scaled to 1": [(_DRAWN, _DRAWN + "    drawn = drawn / drawn.amax()\n")],
        "rounded": [(_DRAWN, _DRAWN + "    drawn = torch.round(drawn, decimals=2)\n")],
        "minimum subtracted": [(_DRAWN, _DRAWN + "    drawn -= drawn.min()\n")],
        "no channel taken": [(_DRAWN, "    drawn = mean.abs()\n")],
        "rows and columns swapped": [(_DRAWN, _DRAWN + "    drawn = drawn.mT\n")],
        "a batch axis kept": [("total[0] / n", "total / n"), ("dim=0)\n", "dim=1)\n")],
        "one seed": [("manual_seed(seed)", "manual_seed(42)")],
        "no seed": [(", generator=generator)", ")")],
        "sample k drawn with seed + k": [
            (_NOISE, "        generator.manual_seed(seed + k)\n" + _NOISE)
        ],
        "training mode while explaining": [("    model.eval()\n", "")],
        "image changed in place": [
            ("    return drawn\n", "    image += 1\n    return drawn\n")
        ],
        "model left in eval mode": [("    model.train(was_training)\n", "")],
        "requires_grad left off": [
            (
                "    model.eval()\n",
                "    model.eval()\n"
                "    for p in model.parameters():\n"
                "        p.requires_grad = False\n",
            )
        ],
        "hook left in the model": [
            (
                "    model.eval()\n",
                "    model.eval()\n"
                "    next(model.children()).register_forward_hook(lambda *a: None)\n",
            )
        ],
    },
    "error-curve": {
        "clean gradient as the reference": [
            (
                _REFERENCE,
                "a = image, model, target_class, 1, 0.0, 0\n"
                "    reference = np.asarray(smooth_grad(*a), dtype=float)",
            )
        ],
        "largest count as the reference": [
            (_REFERENCE, "reference = draw(max(counts), seeds[-1])")
        ],
        "as many samples as the largest count": [
            (_REFERENCE, "reference = draw(max(counts), own)")
        ],
        "16 times the last count": [
            (_REFERENCE, "reference = draw(16 * counts[-1], own)")
        ],
        "16 times the first count": [
            (_REFERENCE, "reference = draw(16 * counts[0], own)")
        ],
        "reference with one of the seeds": [("own = max(seeds) + 1", "own = seeds[0]")],
        "a new reference for each seed": [
            (
                "            m = draw(n, s)\n",
                "            m = draw(n, s)\n"
                "            reference = draw(16 * max(counts), s + 1)\n"
                "            norm = np.linalg.norm(reference)\n",
            )
        ],
        "a new reference for each count": [
            (
                "        each = []\n",
                "        each = []\n"
                "        reference = draw(16 * n, own)\n"
                "        norm = np.linalg.norm(reference)\n",
            )
        ],
        "another noise level": [("0.15", "0.1")],
        "counts sorted": [("for n in counts:", "for n in sorted(counts):")],
        "each map scaled to 1": [
            (
                _EACH,
                "a, b = m / m.max(), reference / reference.max()\n"
                "            each.append(np.linalg.norm(a - b) / np.linalg.norm(b))",
            )
        ],
        "absolute, not relative": [(" / norm)", ")")],
        "relative to the map": [(" / norm)", " / np.linalg.norm(m))")],
        "divided by the number of pixels": [(" / norm)", " / m.size)")],
        "mean absolute difference": [
            (_EACH, "each.append(np.abs(m - reference).mean())")
        ],
        "squared error": [
            (_EACH, "each.append(((m - reference) ** 2).sum() / norm**2)")
        ],
        "maps averaged before the error": [
            (_EACH, "each.append(m)"),
            (_MEAN, "np.linalg.norm(np.mean(each, 0) - reference) / norm"),
        ],
        "summed over seeds": [(_MEAN, "sum(each)")],
        "median over seeds": [(_MEAN, "np.median(each)")],
        "largest over seeds": [(_MEAN, "max(each)")],
        "first seed only": [("for s in seeds:", "for s in seeds[:1]:")],
    },
    "samples-needed": {
        "error falls as 1/n": [
            ("np.sqrt(counts)", "np.asarray(counts)"),
            (_N, "n = c / tolerance"),
        ],
        "square root forgotten": [(_N, "n = c / tolerance")],
        "rounded down": [(_ROUND, "return int(n)")],
        "a fraction of a sample": [(_ROUND, "return n")],
        "a count of the list": [
            (
                _N,
                "fits = [k for k, e in zip(counts, errors) if e <= tolerance]\n"
                "    n = min(fits) if fits else max(counts)",
            )
        ],
        "straight line": [
            (
                _N,
                "line = np.polyfit(counts, errors, 1)\n"
                "    n = max((tolerance - line[1]) / line[0], 1)",
            )
        ],
        "rounded down, plus 1": [(_ROUND, "return int(n // 1) + 1")],
        "rounded to the nearest": [(_ROUND, "return int(np.round(n))")],
        "last error only": [("c = np.mean(each)", "c = each[-1]")],
        "first error only": [("c = np.mean(each)", "c = each[0]")],
        "largest c": [("c = np.mean(each)", "c = max(each)")],
        "median of c": [("c = np.mean(each)", "c = np.percentile(each, 50)")],
        "fitted exponent": [
            (
                _N,
                "b, a = np.polyfit(np.log(counts), np.log(errors), 1)\n"
                "    n = (tolerance / np.exp(a)) ** (1 / b)",
            )
        ],
        "tolerance turned upside down": [(_N, "n = (tolerance / c) ** 2")],
    },
}
