"""Problem 2: the checks that only a grading runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.stats import kurtosis, norm

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import CLASSES, image, model, new_seed
from autograder.problems.problem2.instructors.noise_checks import (
    ask_curve_without_formula,
    ask_without_formula,
)
from autograder.problems.problem2.questions import (
    LEVEL,
    STANDARD_ERRORS,
    as_map,
    curve,
    mean_and_spread,
    needed,
    smooth,
)
from autograder.sandbox.inside import tiny_models
from chapter4.methods.gradients import vanilla_gradients

SIZE = (48, 40)
SMALL = (20, 16)
PIXELS = SIZE[0] * SIZE[1]


@check(
    "smooth-grad/noise", 1, "The noise is Gaussian and of the right size", public=False
)
def test_noise(student: Any, transcript: Transcript, rng: Generator) -> None:
    # With one sample the map is |x + noise|, so the noise can be read off it.
    asked = []
    for low, high, grey in ((12.0, 15.4, False), (3.0, 3.4, False), (5.0, 7.0, True)):
        x = rng.uniform(low, high, (3, *SIZE))
        x[1] = rng.uniform(low, (low + high) / 2, SIZE)  # a channel of smaller range
        net = model("signs", rng, SIZE, channels=[1], grey=grey)
        clean = x.sum(axis=0) if grey else x[1]
        arguments = (image(x), net, 3, 1, LEVEL, new_seed(rng))
        drawn = smooth(student, transcript, arguments, partial(_shape_of, clean=clean))
        sigma = LEVEL * float(x.max() - x.min()) * (3**0.5 if grey else 1)
        asked.append((*_shape_of(drawn, clean), sigma, grey))
    for mean, spread, tails, sigma, grey in asked:
        require(
            abs(mean) <= STANDARD_ERRORS * sigma / PIXELS**0.5,
            f"the noise must have mean 0; yours has {mean:.3f} at a standard deviation"
            f" of {spread:.3f}.",
        )
        what = "noise_level x (max - min) of the image"
        if grey:
            what = "the same in every channel, drawn anew for each"
        require(
            abs(spread / sigma - 1) <= STANDARD_ERRORS / (2 * PIXELS) ** 0.5,
            f"the noise's standard deviation must be {what}: {sigma:.3f} here; yours is"
            f" {spread:.3f}.",
        )
        require(
            abs(tails) <= STANDARD_ERRORS * (24 / PIXELS) ** 0.5,
            "the noise is not Gaussian: draw it from a normal distribution.",
        )
    ask_without_formula(student, rng, SIZE, 1, LEVEL, channels=(2,), rising=True)


def _shape_of(drawn: np.ndarray, clean: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and excess kurtosis of the noise in a map."""
    noise = drawn - clean
    return (*mean_and_spread(noise), float(kurtosis(noise.ravel())))


@check(
    "smooth-grad/samples",
    3,
    "n_samples independent noisy copies, and only those",
    public=False,
)
def test_samples(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for n_samples in (3, 11):
        net = model("signs", rng, SIZE, channels=[2])
        x = rng.uniform(5, 7, (3, *SIZE))
        arguments = (image(x), net, 0, n_samples, LEVEL, new_seed(rng))
        drawn = smooth(student, transcript, arguments, partial(_shape_of, clean=x[2]))
        sigma = LEVEL * float(x.max() - x.min())
        asked.append((n_samples, *mean_and_spread(drawn - x[2]), sigma))
    for n_samples, mean, spread, sigma in asked:
        right = sigma / n_samples**0.5
        require(
            abs(mean) <= STANDARD_ERRORS * right / PIXELS**0.5,
            f"the mean over {n_samples} samples is off by a constant: add all gradients"
            " and divide by n_samples.",
        )
        copies = (sigma / spread) ** 2 if spread > 0 else np.inf
        require(
            abs(spread / right - 1) <= STANDARD_ERRORS / (2 * PIXELS) ** 0.5,
            f"the noise left in the map must be that of {n_samples} independent copies;"
            f" yours is that of {copies:.1f}.",
        )
    for n_samples in (4, 24):
        ask_without_formula(
            student, rng, SMALL, n_samples, 2 * LEVEL, channels=(2,), rising=True
        )


@check(
    "smooth-grad/mean-first",
    3,
    "The mean comes first, then absolute value and maximum",
    public=False,
)
def test_mean_first(student: Any, transcript: Transcript, rng: Generator) -> None:
    n_samples, asked = 64, []
    for near_zero in (True, False):
        net = model("signs", rng, SIZE, channels=[0] if near_zero else [0, 1, 2])
        plane = rng.uniform(-1, 1, SIZE) if near_zero else rng.uniform(5, 7, SIZE)
        x = image(np.broadcast_to(plane, (3, *SIZE)))
        arguments = (x, net, 1, n_samples, LEVEL, new_seed(rng))
        drawn = smooth(student, transcript, arguments, lambda drawn: [drawn.mean()])
        left = LEVEL * float(x.max() - x.min()) / n_samples**0.5
        if near_zero:  # mean and variance of |normal|
            mean = left * np.sqrt(2 / np.pi) * np.exp(-((plane / left) ** 2) / 2)
            mean += plane * (1 - 2 * norm.cdf(-plane / left))
            variance = plane**2 + left**2 - mean**2
        else:  # of the largest of three normals
            mean = plane + 0.8462843753 * left
            variance = np.full(SIZE, 0.5594672038 * left**2)
        asked.append((drawn.mean(), mean.mean(), np.sqrt(variance.sum()) / PIXELS))
    for found, right, error in asked:
        require(
            abs(found - right) <= STANDARD_ERRORS * error,
            "where the gradient changes from sample to sample the map's mean must be"
            f" {right:.3f}, yours is {found:.3f}: average the SIGNED gradients, then"
            " take absolute value and maximum over channels.",
        )
    ask_without_formula(
        student, rng, SMALL, 24, 2 * LEVEL, channels=(0, 1, 2), rising=False
    )


@check("smooth-grad/eval-mode", 1, "Explained in evaluation mode", public=False)
def test_eval_mode(student: Any, rng: Generator) -> None:
    size = (7, 6)
    net = model("stateful", rng, size, training=True)
    target = int(rng.integers(CLASSES))
    x = image(rng.normal(size=(3, *size)))
    right = vanilla_gradients(x, tiny_models.build(net).eval(), target).map
    arguments = (x, net, target, 3, 0.0, new_seed(rng))
    drawn = as_map(student.call("smooth_grad", *arguments), size)
    require(
        np.abs(drawn - right).max() <= 1e-4 * right.max(),
        "the model came in training mode and was explained in it: call model.eval()"
        " first.",
    )


@check(
    "error-curve/reference",
    2,
    "The error is measured against the map's limit",
    public=False,
)
def test_reference(student: Any, transcript: Transcript, rng: Generator) -> None:
    # The gradient is x^2, and the noise adds sigma^2 to its mean. So the limit is not
    # the clean gradient.
    size, counts = (40, 40), [2, 32]
    net = model("signs", rng, size, power=3, channels=[0])
    x = image(rng.uniform(-1, 1, (3, *size)))
    seeds = [new_seed(rng) for _ in range(3)]
    found = curve(student, transcript, (x, net, 3, counts, seeds))
    pixels = x[0].numpy().astype(np.float64)
    variance = (LEVEL * float(x.max() - x.min())) ** 2
    noise = 4 * pixels**2 * variance + 2 * variance**2
    scale = ((pixels**2 + variance) ** 2).sum()
    for n, value in zip(counts, found, strict=True):
        right = np.sqrt(noise.sum() * (1 / n + 1 / (16 * max(counts))) / scale)
        # Var |d|^2 for n means of (2 x e + e^2) is 2 noise^2 plus the fourth cumulant,
        # which is at most 12 / n of noise^2.
        error = np.sqrt((noise**2).sum() * (2 + 12 / n) / len(seeds)) / (
            2 * noise.sum()
        )
        require(
            abs(value / right - 1) <= STANDARD_ERRORS * error + (1 + 1 / 16) ** 0.5 - 1,
            f"at n = {n} the error against the map's limit is {right:.3f}; yours is"
            f" {value:.3f}: the reference must be a map of many more samples and own"
            " seed, neither the clean gradient nor one of the maps compared.",
        )
    ask_curve_without_formula(student, rng, SMALL, 8, len(seeds))


@check(
    "error-curve/relative", 1, "The error is relative to the reference", public=False
)
def test_relative(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, counts = (40, 40), [8]
    net = model("signs", rng, size, channels=[0])
    x = image(rng.uniform(20, 30, (3, *size)))
    seeds = [new_seed(rng) for _ in range(2)]
    found = float(curve(student, transcript, (x, net, 0, counts, seeds))[0])
    sigma = LEVEL * float(x.max() - x.min())
    pixels = x[0].numpy().astype(np.float64)
    right = sigma * (1 / 8 + 1 / 128) ** 0.5 / np.sqrt((pixels**2).mean())
    error = (2 * pixels.size * len(seeds)) ** -0.5
    require(
        abs(found / right - 1) <= STANDARD_ERRORS * error + (1 + 1 / 16) ** 0.5 - 1,
        f"the error is |map - reference| / |reference| (L2 norms), {right:.4f} here;"
        f" yours is {found:.4g}.",
    )
    ask_curve_without_formula(student, rng, SMALL, 2, len(seeds))


@check("samples-needed/noisy", 1, "A law fitted to errors that scatter", public=False)
def test_needed_noisy(student: Any, transcript: Transcript, rng: Generator) -> None:
    counts = [10, 20, 40, 80, 160]
    c, tolerance = float(rng.uniform(1, 2)), 0.05
    errors = [c / n**0.5 * (1 + rng.uniform(-0.05, 0.05)) for n in counts]
    each = [(e * n**0.5 / tolerance) ** 2 for e, n in zip(errors, counts, strict=True)]
    found = needed(student, transcript, errors, counts, tolerance)
    require(
        min(each) - 1 <= found <= max(each) + 1,
        f"every single count says between {min(each):.0f} and {max(each):.0f} samples;"
        f" yours is {found:.6g}.",
    )


@check(
    "samples-needed/enough", 1, "A whole number of samples, and enough", public=False
)
def test_enough(student: Any, transcript: Transcript, rng: Generator) -> None:
    counts = [4, 16, 64]
    for right in (40.3, 7.7, 0.2):
        c = float(rng.uniform(0.5, 2))
        errors = [c / n**0.5 for n in counts]
        found = needed(student, transcript, errors, counts, c / right**0.5)
        require(
            found == int(found),
            f"{found:.6g} is not a whole number of samples: round up.",
        )
        require(
            found == np.ceil(right),
            f"{np.ceil(right):.0f} samples are enough and one less is not; yours is"
            f" {found:.0f}.",
        )
