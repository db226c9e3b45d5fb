"""Problem 2: the checks that only a grading runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import (
    image,
    model,
    new_seed,
    said,
)
from autograder.problems.problem2.noise_checks import (
    SMALL,
    ask_curve_without_formula,
    ask_without_formula,
)
from autograder.problems.problem2.questions import (
    LEVEL,
    STANDARD_ERRORS,
    enough,
    needed,
    noise_in,
    smooth,
)

SIZE = (48, 40)
PIXELS = SIZE[0] * SIZE[1]


@check(
    "smooth-grad/noise",
    2.4,
    "Gaussian noise of the right size, in every channel and pixel",
    public=False,
    needs="plain",
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
        drawn = smooth(student, transcript, arguments, partial(noise_in, clean=clean))
        sigma = LEVEL * float(x.max() - x.min()) * (3**0.5 if grey else 1)
        asked.append((*noise_in(drawn, clean), sigma, grey))
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
    # The largest of three channels is that of three independent normals.
    n_samples, plane = 16, rng.uniform(5, 7, SIZE)
    flat = image(np.broadcast_to(plane, (3, *SIZE)))
    net, seed = model("signs", rng, SIZE), new_seed(rng)
    question = (flat, net, 1, n_samples, LEVEL, seed)
    drawn = smooth(student, transcript, question, lambda drawn: [drawn.mean()])
    left = LEVEL * float(flat.max() - flat.min()) / n_samples**0.5
    right = plane.mean() + 0.8462843753 * left
    error = left * (0.5594672038 / PIXELS) ** 0.5
    require(
        abs(drawn.mean() - right) <= STANDARD_ERRORS * error,
        "where all channels have one gradient, the maximum over channels finds the"
        f" largest of three noises: the map's mean must be {right:.3f}, yours is"
        f" {drawn.mean():.3f}. Draw noise for each channel, average the signed"
        " gradients, and take the maximum last.",
    )


@check(
    "error-curve/measured",
    2,
    "The errors of a net without a formula",
    public=False,
    needs="value",
)
def test_measured(student: Any, rng: Generator) -> None:
    for n in (2, 8):
        ask_curve_without_formula(student, rng, SMALL, n, 3)


@check(
    "samples-needed/any",
    1,
    "c estimated from errors that scatter",
    public=False,
    needs="law",
)
def test_needed_any(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for scatter in (0.05, 0.3, 0.3, 0.3):
        counts = [int(n) for n in rng.permutation([10, 20, 40, 80, 160])]
        c, tolerance = float(rng.uniform(1, 2)), 0.05
        errors = [c / n**0.5 * (1 + rng.uniform(-scatter, scatter)) for n in counts]
        found = needed(student, transcript, errors, counts, tolerance)
        asked.append((found, enough(errors, counts, tolerance), scatter))
    for found, right, scatter in asked:
        require(
            found in right,
            f"errors at five counts that scatter by {100 * scatter:.0f} %:"
            f" {min(right):.0f} samples are needed, yours is {said(found, 6)}. Every"
            " error counts in the estimate of c.",
        )
