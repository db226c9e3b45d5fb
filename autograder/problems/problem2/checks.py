"""Problem 2, public checks: SmoothGrad and the number of samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import norm

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import Shortfall, check, require
from autograder.problems.common import (
    CLASSES,
    EXPLAINED_IN_TRAINING,
    image,
    model,
    new_seed,
    require_care,
    said,
    weight,
)
from autograder.problems.problem2.noise_checks import SMALL, ask_without_formula
from autograder.problems.problem2.questions import (
    EXACT,
    LEVEL,
    STANDARD_ERRORS,
    Curve,
    as_map,
    enough,
    mean_and_spread,
    needed,
    noise_in,
    smooth,
)
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe
from chapter4.methods.gradients import vanilla_gradients

# While a task's check fails, these are shown one by one. The notebook has the same
# ones, folded.
HINTS = {
    "smooth-grad": (
        "Write the gradient of one image first: a copy that requires a gradient, one"
        " pass of the model, then `torch.autograd.grad(score, copy)`.",
        "Try it on a linear model, whose gradient is its weight whatever the noise:"
        " `n_samples` must then not matter at all.",
        "The order is: signed gradients, mean over samples, absolute value, maximum"
        " over channels. A `torch.Generator().manual_seed(seed)` draws the noise.",
    ),
    "error-curve": (
        "Two loops, one over counts and one over seeds; the reference is made once,"
        " before both.",
        "The mean of n independent draws scatters as 1/sqrt(n). If yours does not, look"
        " at the reference: the gradient of the clean image is something else than the"
        " limit.",
    ),
    "samples-needed": (
        "Every measured point gives a c of its own: its error times sqrt(n). Take a"
        " mean.",
        "Solve c / sqrt(n) = tolerance for n, and round so that the error is small"
        " enough.",
    ),
}


@check("smooth-grad/plain", 1.2, "Without noise it is the plain gradient", public=True)
def test_plain(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (9, 8)
    net = model("power", rng, size, power=2)
    x = image(rng.normal(size=(3, *size)))
    with torch.no_grad():
        scores = tiny_models.build(net)(x[None])[0]
    target = int(scores.argsort()[int(rng.integers(CLASSES - 1))])  # not the largest
    right = np.abs(2 * weight(net, target) * x.numpy()).max(axis=0)
    # Once more on a net whose gradient cannot be read off its weights.
    deep = model("deep-net", rng, size)
    deep_right = vanilla_gradients(x, tiny_models.build(deep), target).map
    for given, asked, n_samples, wanted in (
        (x, net, 1, right),
        (x[None], net, 4, right),
        (x, deep, 2, deep_right),
    ):
        arguments = (given, asked, target, n_samples, 0.0, new_seed(rng))
        drawn = smooth(student, transcript, arguments, lambda drawn: drawn)
        require(
            (drawn >= 0).all(),
            "the map has negative values: it is the maximum over channels of the"
            " ABSOLUTE value.",
        )
        off = np.abs(drawn - wanted).max() / wanted.max()
        times = np.median(drawn / wanted)
        require(
            off <= EXACT,
            f"with noise_level 0 and n_samples {n_samples} the map must be max over"
            f" channels of |gradient of the logit|; yours is {said(times)} times that"
            f" in the median pixel, and off by up to {said(off)} of its maximum.",
        )


@check(
    "smooth-grad/care",
    2.4,
    "A map (H, W), in evaluation mode; image and model are left as they were",
    public=True,
    needs="plain",
)
def test_care(student: Any, rng: Generator) -> None:
    # What a call left behind is reported by the process that ran it: it earns nothing
    # without the right numbers.
    size = (7, 6)
    net = model("stateful", rng, size, training=True)
    target = int(rng.integers(CLASSES))
    x = image(rng.normal(size=(3, *size)))
    arguments = (x, net, target, 3, 0.0, new_seed(rng))
    right = vanilla_gradients(x, tiny_models.build(net).eval(), target).map
    in_evaluation = Recipe(net.kind, net.seed, {**net.options, "training": False})
    calm = student.call("smooth_grad", x, in_evaluation, *arguments[2:])
    require(
        np.abs(as_map(calm, size) - right).max() <= 1e-4 * right.max(),
        "on a net with batch norm the map is wrong in evaluation mode, too: see the"
        " other checks first.",
    )
    seen = student.observe("smooth_grad", *arguments)
    drawn = as_map(seen.value, size)
    off = np.abs(drawn - right).max() / right.max()
    axis = "the map has an axis of length 1 too many: it is (H, W)"
    own = {axis: np.ndim(seen.value) != 2, EXPLAINED_IN_TRAINING: off > 1e-4}
    require_care(seen, own)


@check(
    "smooth-grad/closed-form",
    0.8,
    "relu(w.x): the mean gradient is w Phi(w.x / (sigma |w|))",
    public=True,
    needs="plain",
)
def test_closed_form(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, n_samples = (6, 5), 400
    net = model("relu-of-dot", rng, size)
    pixels = rng.uniform(-1.6, 1.4, (3, *size))
    x = image(pixels)
    sigma = LEVEL * float(x.max() - x.min())
    # The class whose relu the noise switches off about as often as not.
    each = [weight(net, k) for k in range(CLASSES)]
    ratios = [float((w * pixels).sum() / (sigma * np.linalg.norm(w))) for w in each]
    target = int(np.argmin(np.abs(np.abs(ratios) - 0.7)))
    share = float(norm.cdf(ratios[target]))
    largest = np.abs(each[target]).max(axis=0)
    arguments = (x, net, target, n_samples, LEVEL, new_seed(rng))
    drawn = smooth(
        student, transcript, arguments, lambda drawn: mean_and_spread(drawn / largest)
    )
    found, uneven = mean_and_spread(drawn / largest)
    require(
        uneven <= 1e-4,
        "on relu(w.x) every sample's gradient is w or 0, so the map is a multiple of"
        " max |w|; yours is not.",
    )
    error = (share * (1 - share) / n_samples) ** 0.5
    require(
        abs(found - share) <= STANDARD_ERRORS * error,
        f"on relu(w.x) the mean over {n_samples} samples must be {share:.3f} of |w|,"
        f" give or take {error:.3f}; yours is {found:.3f}: look at the size of the"
        " noise and at what is averaged.",
    )


@check(
    "smooth-grad/seed", 1.2, "The seed decides the noise", public=True, needs="plain"
)
def test_seed(student: Any, rng: Generator) -> None:
    size, n_samples = (16, 12), 4
    net = model("signs", rng, size, channels=[0])
    x = rng.uniform(2, 3, (3, *size))
    first = new_seed(rng)
    maps = [
        as_map(
            student.call("smooth_grad", image(x), net, 1, n_samples, LEVEL, seed), size
        )
        for seed in (first, first, first + 1)
    ]
    require(
        np.abs(maps[0] - maps[1]).max() <= EXACT * maps[0].max(),
        "two calls with the same seed gave two maps: make a generator of your own from"
        " `seed` in every call.",
    )
    # The noise is what remains of the map without the part that is linear in the image.
    clean = np.stack([x[0].ravel(), np.ones(x[0].size)], axis=1)
    noise = [
        drawn.ravel() - clean @ np.linalg.lstsq(clean, drawn.ravel(), rcond=None)[0]
        for drawn in (maps[0], maps[2])
    ]
    require(
        all(left.std() > EXACT * maps[0].max() for left in noise),
        "there is no noise in the map: evaluate the gradient at the noisy image.",
    )
    alike = float(np.corrcoef(noise)[0, 1])
    require(
        abs(alike) < 0.99,
        "two seeds give the same noise: the noise must come from `seed`.",
    )
    require(
        abs(alike) <= STANDARD_ERRORS / len(noise[0]) ** 0.5,
        f"the maps of seed {first} and seed {first + 1} share noise (correlation"
        f" {alike:.2f}): make one generator from `seed` and draw all copies from it.",
    )


@check(
    "smooth-grad/mean-first",
    2,
    "The mean comes first, then the absolute value",
    public=True,
    needs="plain",
)
def test_mean_first(student: Any, transcript: Transcript, rng: Generator) -> None:
    # Near zero the gradient, which is the noisy image itself, changes its sign from
    # sample to sample.
    size, n_samples = (24, 20), 32
    net = model("signs", rng, size, channels=[0])
    plane = rng.uniform(-1, 1, size)
    x = image(np.broadcast_to(plane, (3, *size)))
    arguments = (x, net, 1, n_samples, LEVEL, new_seed(rng))
    drawn = smooth(student, transcript, arguments, lambda drawn: [drawn.mean()])
    left = LEVEL * float(x.max() - x.min()) / n_samples**0.5
    # Mean and variance of |normal|.
    mean = left * np.sqrt(2 / np.pi) * np.exp(-((plane / left) ** 2) / 2)
    mean += plane * (1 - 2 * norm.cdf(-plane / left))
    error = np.sqrt((plane**2 + left**2 - mean**2).sum()) / plane.size
    require(
        abs(drawn.mean() - mean.mean()) <= STANDARD_ERRORS * error,
        "where the gradient changes its sign from sample to sample the map's mean must"
        f" be {mean.mean():.3f}, yours is {drawn.mean():.3f}: average the SIGNED"
        " gradients of all copies, and take the absolute value last.",
    )
    ask_without_formula(student, rng, SMALL, 24, 2 * LEVEL, channels=(0,), rising=False)


@check(
    "smooth-grad/samples",
    2,
    "n_samples independent noisy copies, and only those",
    public=True,
    needs="plain",
)
def test_samples(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, asked = (40, 30), []
    pixels = size[0] * size[1]
    for n_samples in (3, 11):
        net = model("signs", rng, size, channels=[2])
        x = rng.uniform(5, 7, (3, *size))
        arguments = (image(x), net, 0, n_samples, LEVEL, new_seed(rng))
        drawn = smooth(student, transcript, arguments, partial(noise_in, clean=x[2]))
        sigma = LEVEL * float(x.max() - x.min())
        asked.append((n_samples, *mean_and_spread(drawn - x[2]), sigma))
    for n_samples, mean, spread, sigma in asked:
        right = sigma / n_samples**0.5
        require(
            abs(mean) <= STANDARD_ERRORS * right / pixels**0.5,
            f"the mean over {n_samples} samples is off by a constant: add all gradients"
            " and divide by n_samples.",
        )
        copies = (sigma / spread) ** 2 if spread > 0 else np.inf
        require(
            abs(spread / right - 1) <= STANDARD_ERRORS / (2 * pixels) ** 0.5,
            f"the noise left in the map must be that of {n_samples} independent copies;"
            f" yours is that of {copies:.1f}.",
        )
    for n_samples in (4, 24):
        ask_without_formula(
            student, rng, SMALL, n_samples, 2 * LEVEL, channels=(2,), rising=True
        )


@check(
    "error-curve/value",
    2,
    "The errors are means over seeds of |M - R| / |R|, with one R",
    public=True,
)
def test_curve_value(student: Any, rng: Generator) -> None:
    asked = Curve(student, rng, [3, 7, 5], n_seeds=3)
    asked.require_errors_of_one_reference()


@check(
    "error-curve/reference",
    1,
    "R has 16 times the largest count of samples, and its own seed",
    public=True,
    needs="value",
)
def test_curve_reference(student: Any, rng: Generator) -> None:
    for chance in (True, False):
        asked = Curve(student, rng, [2, 9, 1], n_seeds=2)
        asked.require_errors_of_one_reference()
        try:
            return asked.require_a_reference_of_its_own()
        except Shortfall:
            # Two maps of different noise may be the same by chance, but not twice.
            if not chance:
                raise


@check("samples-needed/law", 1, "The n that reaches a given error", public=True)
def test_needed(student: Any, transcript: Transcript, rng: Generator) -> None:
    counts, asked = [8, 16, 32, 64], []
    for about in (90.5, 12.5, 2.3):
        c = float(rng.uniform(0.8, 3))
        errors = [c / n**0.5 * (1 + rng.uniform(-0.1, 0.1)) for n in counts]
        tolerance = c / about**0.5
        found = needed(student, transcript, errors, counts, tolerance)
        asked.append((found, enough(errors, counts, tolerance), c, tolerance))
    for found, right, c, tolerance in asked:
        require(
            min(right) - 1 <= found <= max(right) + 1,
            f"the errors follow {c:.2f} / sqrt(n), give or take a tenth, and reach"
            f" {tolerance:.3f} with about {min(right):.0f} samples, not with"
            f" {said(found, 6)}: estimate c from all of them.",
        )


@check(
    "samples-needed/enough",
    1,
    "A whole number of samples, enough and not one too many",
    public=True,
    needs="law",
)
def test_enough(student: Any, transcript: Transcript, rng: Generator) -> None:
    # Two of them are met exactly, in numbers that no way to estimate c rounds upwards.
    for right, exact in ((40, False), (8, False), (1, False), (16, True), (64, True)):
        c = 2.0 if exact else float(rng.uniform(0.5, 2))
        errors = [c / n**0.5 for n in (4, 16, 64)]
        tolerance = c / (right if exact else right - 0.6) ** 0.5
        found = needed(student, transcript, errors, [4, 16, 64], tolerance)
        require(
            found == int(found),
            f"{said(found, 6)} is not a whole number of samples: round up.",
        )
        require(
            found == right,
            f"the errors follow {said(c)} / sqrt(n): {right} samples are enough for"
            f" {said(tolerance)} and one less is not; yours is {found:.0f}.",
        )
