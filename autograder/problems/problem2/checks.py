"""Problem 2, public checks: SmoothGrad and the number of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.stats import norm

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import CLASSES, image, model, new_seed, weight
from autograder.problems.problem2.questions import (
    EXACT,
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


@check("smooth-grad/form", 1, "The map of one image is (H, W)", public=True)
def test_form(student: Any, rng: Generator) -> None:
    size = (11, 7)
    net = model("power", rng, size)
    x = image(rng.normal(size=(3, *size)))
    other = model("deep-net", rng, size)
    for given, words, asked in (
        (x, "(3, H, W)", net),
        (x[None], "(1, 3, H, W)", other),
    ):
        reply = student.call("smooth_grad", given, asked, 2, 3, LEVEL, new_seed(rng))
        drawn = as_map(reply, size, strict=True)
        require(
            (drawn >= 0).all(),
            f"the map of an image {words} has negative values: it is the maximum over"
            " channels of the ABSOLUTE value.",
        )


@check("smooth-grad/no-noise", 1, "Without noise it is the plain gradient", public=True)
def test_no_noise(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (9, 8)
    net = model("power", rng, size, power=2)
    target = int(rng.integers(CLASSES))
    x = image(rng.normal(size=(3, *size)))
    right = np.abs(2 * weight(net, target) * x.numpy()).max(axis=0)
    asked = []
    for n_samples in (1, 4):
        arguments = (x, net, target, n_samples, 0.0, new_seed(rng))
        drawn = smooth(student, transcript, arguments, lambda drawn: drawn)
        asked.append((n_samples, drawn, right))
    # Once more on a net whose gradient cannot be read off its weights.
    net = model("deep-net", rng, size)
    right = vanilla_gradients(x, tiny_models.build(net), target).map
    arguments = (x, net, target, 2, 0.0, new_seed(rng))
    drawn = smooth(student, transcript, arguments, lambda drawn: drawn)
    asked.append((2, drawn, right))
    for n_samples, drawn, right in asked:
        off = np.abs(drawn - right).max() / right.max()
        times = np.median(drawn / right)
        require(
            off <= EXACT,
            f"with noise_level 0 and n_samples {n_samples} the map must be max over"
            f" channels of |gradient of the logit|; yours is {times:.3g} times that in"
            f" the median pixel, and off by up to {off:.1e} of its maximum.",
        )


@check(
    "smooth-grad/closed-form",
    1,
    "relu(w.x): the mean gradient is w Phi(w.x / (sigma |w|))",
    public=True,
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


@check("smooth-grad/seed", 1, "The seed decides the noise", public=True)
def test_seed(student: Any, rng: Generator) -> None:
    size = (16, 12)
    net = model("signs", rng, size, channels=[0])
    x = rng.uniform(2, 3, (3, *size))
    first, second = new_seed(rng), new_seed(rng)
    maps = [
        as_map(student.call("smooth_grad", image(x), net, 1, 2, LEVEL, seed), size)
        for seed in (first, first, second)
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
        abs(alike) <= STANDARD_ERRORS / len(noise[0]) ** 0.5,
        f"two seeds give the same noise (correlation {alike:.2f}): the noise must come"
        " from `seed`.",
    )


@check("smooth-grad/courtesy", 0, "Image and model are left as they were", public=True)
def test_courtesy(student: Any, rng: Generator) -> None:
    # This is worth no points. What a call left behind is reported by the process that
    # ran it. A question with a number as its answer could not show more, since code
    # that writes to the image can also write it back before the next question.
    # `error_curve` draws many maps of one image, so carelessness costs points there.
    size = (7, 6)
    net = model("stateful", rng, size, training=True)
    x = image(rng.normal(size=(3, *size)))
    seen = student.observe("smooth_grad", x, net, 1, 3, LEVEL, new_seed(rng))
    as_map(seen.value, size)
    require(
        not seen.changed,
        "the image that was handed over has changed: work on a copy (clone).",
    )
    require(
        not any("mode" in model.changed for model in seen.models),
        "the model came back in another mode: remember model.training and put it back.",
    )


@check(
    "error-curve/form",
    1,
    "One error per count, 0 where noise changes nothing",
    public=True,
)
def test_curve_form(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (8, 6)
    net = model("power", rng, size)
    x = image(rng.normal(size=(3, *size)))
    arguments = (x, net, 1, [4, 2, 8], [new_seed(rng), new_seed(rng)])
    found = curve(student, transcript, arguments)
    require(
        (found <= EXACT).all(),
        "a linear net has one gradient everywhere, so every error is 0; yours go up to"
        f" {found.max():.2g}.",
    )


@check("error-curve/law", 1, "The error falls as 1/sqrt(n)", public=True)
def test_curve_law(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, counts = (40, 40), [8, 2, 32]
    net = model("signs", rng, size, channels=[1])
    x = image(rng.uniform(4, 7, (3, *size)))
    seeds = [new_seed(rng) for _ in range(3)]
    found = curve(student, transcript, (x, net, 2, counts, seeds))
    # Its gradient is as long as that of x, with a third of the noise. Whoever measures
    # the errors sees the difference.
    calm = image(rng.uniform(5, 6, (3, *size)))
    calm *= x[1].norm() / calm[1].norm()
    less = curve(student, transcript, (calm, net, 2, counts[:1], seeds))[0]
    # The map is |x + mean noise|. The reference's own noise adds n / (16 max n) to the
    # square of every error, relative to that square.
    wanted = np.array([(1 / n + 1 / (16 * max(counts))) ** 0.5 for n in counts])
    error = (2 * x[1].numel() * len(seeds)) ** -0.5  # relative, of one norm
    allowed = STANDARD_ERRORS * error * 2**0.5 + (1 + 1 / 16) ** 0.5 - 1
    for i, j in ((1, 0), (0, 2), (1, 2)):
        ratio, right = found[i] / max(found[j], 1e-12), wanted[i] / wanted[j]
        require(
            abs(ratio / right - 1) <= allowed,
            f"from n = {counts[i]} to n = {counts[j]} the error must fall to one part"
            f" in {right:.2f}; yours falls to one part in {ratio:.2f}.",
        )
    right = float((x.max() - x.min()) / (calm.max() - calm.min()))
    ratio = found[0] / max(less, 1e-12)
    require(
        abs(ratio / right - 1) <= allowed,
        f"an image with one part in {right:.2f} of the noise, and as long a gradient,"
        f" has one part in {right:.2f} of the error; yours has one part in {ratio:.2f}:"
        " measure the errors.",
    )


@check("samples-needed/law", 1, "The n that reaches a given error", public=True)
def test_needed(student: Any, transcript: Transcript, rng: Generator) -> None:
    counts = [8, 16, 32, 64]
    for right in (90.5, 12.5):
        c = float(rng.uniform(0.8, 3))
        errors = [c / n**0.5 for n in counts]
        tolerance = c / right**0.5
        found = needed(student, transcript, errors, counts, tolerance)
        require(
            abs(found - right) <= 1,
            f"errors {c:.2f} / sqrt(n) reach {tolerance:.3f} with {np.ceil(right):.0f}"
            f" samples, not with {found:.6g}.",
        )
