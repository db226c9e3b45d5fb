"""Problem 2: what SmoothGrad gives on a net without a formula.

The other questions of ``smooth-grad`` have answers that can be worked out on paper.
That makes their messages exact, but code that recognises their nets needs no sampling
at all. So each of them that counts is asked once more on a net where only sampling
helps. Both answers must be right. The second question has the blind spots of the first,
so that one mistake costs no more points than before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import uniform_filter
from torch import Tensor

from autograder.checking.runner import require
from autograder.problems.common import CLASSES, image, model, new_seed
from autograder.problems.problem2.questions import (
    LEVEL,
    STANDARD_ERRORS,
    as_curve,
    as_map,
)
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe

# How many right maps the grader draws. Their scatter is then known to 11 %.
MAPS = 40
SMALL = (20, 16)
SQUARE = 3
# Limits in standard deviations of the right maps' distances. Distances have a longer
# tail upwards: 30,000 right ones lay between -4.3 and 5.8. One sample of less noise
# lies at 10 and more. The clean gradient lies at -8 where one sample is asked for, and
# at 8 and more where many are.
LOWEST, HIGHEST = -5.5, 7.0
# How many gradients, at one noisy copy each, give the scatter of single samples.
SINGLES = 200


def ask_without_formula(
    student: Any,
    rng: Generator,
    size: tuple[int, int],
    n_samples: int,
    noise_level: float,
    *,
    channels: tuple[int, ...],
    rising: bool,
) -> None:
    """End the check unless the map is one that ``n_samples`` noisy copies give.

    The map's distance to the mean of right maps must be about as large as theirs. A
    larger one shows another mean or fewer copies, a smaller one more copies or no
    noise. The image is the same in all channels.

    Args:
        student: Runs the submission.
        rng: Draws the question.
        size: Height and width of the image.
        n_samples: Noisy copies that the map averages over.
        noise_level: Standard deviation of the noise, relative to the image's max - min.
        channels: Those that count; the others have gradient 0.
        rising: Whether no gradient ever changes its sign.
    """
    options = {"channels": channels, "rising": rising, "centre": 6.0}
    net = model("deep-net", rng, size, **options)
    target = int(rng.integers(CLASSES))
    x = image(np.broadcast_to(rng.uniform(5, 7, size), (3, *size)))
    maps = right_maps(net, x, target, n_samples, noise_level, new_seed(rng))
    arguments = (x, net, target, n_samples, noise_level, new_seed(rng))
    drawn = as_map(student.call("smooth_grad", *arguments), size)
    off = standing(drawn, maps)
    copies = "one noisy copy" if n_samples == 1 else f"{n_samples} noisy copies"
    require(
        LOWEST <= off <= HIGHEST,
        "right where the gradient has a formula, and wrong where it has none: on a net"
        f" of two convolutions the map is {off:+.0f} standard deviations from where the"
        f" mean over {copies} lies.",
    )


def ask_curve_without_formula(
    student: Any, rng: Generator, size: tuple[int, int], n: int, seeds: int
) -> None:
    """End the check unless the relative error of ``n`` samples is the right one.

    The scatter of single gradients gives the right error.
    """
    net = model("deep-net", rng, size, channels=[1], rising=True, centre=6.0)
    target = int(rng.integers(CLASSES))
    x = image(rng.uniform(5, 7, (3, *size)))
    # No gradient changes its sign here, so the map of n samples is the mean of n maps
    # of one sample each.
    maps = right_maps(net, x, target, 1, LEVEL, new_seed(rng), SINGLES)
    maps = maps.reshape(SINGLES, -1)
    mean = maps.mean(axis=0)
    products = (maps - mean) @ (maps - mean).T / (SINGLES - 1)
    variance = np.trace(products)  # summed over pixels
    alike = (products**2).sum() - (np.diag(products) ** 2).sum()  # tr Sigma^2
    right = np.sqrt(variance * (1 / n + 1 / (16 * n))) / np.linalg.norm(mean)
    # The relative error of a norm with so few independent pixels, from the student's
    # seeds and from the grader's maps.
    error = np.sqrt(alike / 2 / variance**2 * (1 / seeds + 1 / SINGLES))
    arguments = (x, net, target, [n], [new_seed(rng) for _ in range(seeds)])
    found = float(as_curve(student.call("error_curve", *arguments), [n])[0])
    allowed = STANDARD_ERRORS * error + (1 + 1 / 16) ** 0.5 - 1
    require(
        abs(found / right - 1) <= allowed,
        "on a net of two convolutions, whose noise has no formula, the error at n ="
        f" {n} is {right:.3f}, give or take {allowed * right:.3f}; yours is"
        f" {found:.3f}: measure it against a map of many more samples.",
    )


def right_maps(
    net: Recipe,
    x: Tensor,
    target: int,
    n_samples: int,
    noise_level: float,
    seed: int,
    count: int = MAPS,
) -> np.ndarray:
    """``count`` SmoothGrad maps of independent noise, (count, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    sigma = noise_level * (x.max() - x.min())
    built = tiny_models.build(net)
    maps = []
    for _ in range(count):
        noise = torch.randn((n_samples, *x.shape), generator=generator)
        points = (x + sigma * noise).requires_grad_()
        (gradients,) = torch.autograd.grad(built(points)[:, target].sum(), points)
        maps.append(gradients.mean(dim=0).abs().amax(dim=0).double().numpy())
    return np.stack(maps)


def standing(drawn: np.ndarray, maps: np.ndarray) -> float:
    """How unusual a map's distance from the mean of ``maps`` is.

    The unit is the standard deviation of the distances of each of ``maps`` from the
    mean of the others. The distance is measured pixel by pixel and after averaging over
    squares: neighbouring pixels move together, so made-up noise does not have the right
    size in both. The larger of the two counts, with its sign.
    """
    found = []
    for side in (1, SQUARE):
        smooth = uniform_filter(maps, (0, side, side))
        count, total = len(maps), smooth.sum(axis=0)
        own = [np.linalg.norm(one - (total - one) / (count - 1)) for one in smooth]
        distance = np.linalg.norm(uniform_filter(drawn, side) - total / count)
        found.append(float((distance - np.mean(own)) / np.std(own, ddof=1)))
    return max(found, key=abs)
