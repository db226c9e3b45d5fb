"""What the public and the hidden checks of problem 2 share.

They share how they ask a student's function, and how they read its reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import kurtosis

from autograder.checking.diagnose import Features, Transcript
from autograder.checking.runner import require
from autograder.problems.common import (
    CLASSES,
    array,
    asked_about,
    gradient,
    image,
    model,
    new_seed,
    require_array,
    weight,
)

LEVEL = 0.15
# Every grading draws new inputs. At 4 standard errors, one right answer in 16,000 would
# be called wrong; at 5, one in 1.7 million. The nets are large enough that every known
# mistake lies further away than this.
STANDARD_ERRORS = 5.0
EXACT = 1e-5  # of the map's maximum, float32
SAME = 2e-5  # relative, of two references: other noise gives the same by chance only


def mean_and_spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def noise_in(drawn: np.ndarray, clean: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and excess kurtosis of the noise in a map."""
    noise = drawn - clean
    if np.abs(noise).max() <= EXACT * np.abs(clean).max():
        return 0.0, 0.0, 0.0  # what rounding leaves has no shape
    return (*mean_and_spread(noise), float(kurtosis(noise.ravel())))


def smooth(
    student: Any, transcript: Transcript, arguments: tuple[Any, ...], features: Features
) -> np.ndarray:
    """The map (H, W), float64, that ``smooth_grad(*arguments)`` returns.

    The transcript keeps the map's ``features``.
    """
    reply = student.call("smooth_grad", *arguments)
    size = arguments[0].shape[-2:]

    def seen(reply: Any) -> Any:
        return features(as_map(reply, size))

    n_samples, level = arguments[3:5]
    reseed = _other_seed if level > 0 else None
    transcript.note("smooth-grad", arguments, reply, seen, reseed, cost=n_samples)
    return as_map(reply, size)


def _other_seed(arguments: tuple[Any, ...], k: int) -> tuple[Any, ...]:
    return (*arguments[:-1], arguments[-1] + 7919 * (k + 1))


def as_map(reply: Any, size: Sequence[int]) -> np.ndarray:
    """The reply as a map (H, W); axes of length 1 are taken away."""
    require(
        reply is not None,
        "smooth_grad returned None: end the function with `return` and the map.",
    )
    drawn = array(reply)
    require(
        not isinstance(reply, list) or (drawn is not None and drawn.ndim >= 2),
        "smooth_grad returned several things: return the map alone.",
    )
    drawn = require_array(
        reply, "smooth_grad must return the map: an array or a tensor."
    )
    height, width = size
    if drawn.size == height * width and drawn.ndim > 2:
        drawn = drawn.squeeze()
    hint = ""
    if drawn.shape == (width, height):
        hint = ": rows and columns are swapped"
    elif drawn.ndim == 3 and drawn.shape[0] == 3:
        hint = ": the maximum over the channels is missing"
    require(
        drawn.shape == (height, width),
        f"the map of an image (3, {height}, {width}) is ({height}, {width}), yours is"
        f" {drawn.shape}{hint}.",
    )
    require(np.isfinite(drawn).all(), "the map holds NaN or infinity.")
    return drawn


def as_curve(reply: Any, counts: Sequence[int]) -> np.ndarray:
    """The reply of ``error_curve`` as one number per count."""
    require(reply is not None, "error_curve returned None: return the errors.")
    require(
        not isinstance(reply, dict),
        "error_curve returned a dictionary: return a list with one error per count.",
    )
    curve = require_array(
        reply,
        "error_curve must return a flat list of numbers, one error per count.",
        lambda curve: curve.ndim == 1,
    )
    require(
        len(curve) == len(counts),
        f"{len(counts)} counts were asked for, {len(curve)} errors came back: give one"
        " per count, averaged over seeds.",
    )
    require(np.isfinite(curve).all(), "an error is NaN or infinity.")
    require(
        (curve >= 0).all(), "an error is negative: take the norm of the difference."
    )
    return curve


class Curve:
    """One question of ``error_curve``, on a net where its answer has one unknown.

    Every gradient of the net is a multiple of one picture, and so is every map: M is
    the number m times the picture, and the reference R is r times it. The maps of
    ``seeds`` are known, since ``smooth_grad`` draws them again. So r is all that is
    unknown, and every count has an error that must fit it.

    Args:
        student: Runs the submission.
        rng: Draws the question.
        counts: The counts that are asked for.
        n_seeds: How many seeds.
    """

    def __init__(
        self, student: Any, rng: Generator, counts: Sequence[int], n_seeds: int
    ) -> None:
        size = (5, 4)
        self.student, self.counts = student, list(counts)
        self.net = model("relu-of-dot", rng, size, soft=True, record=True)
        self.x = image(rng.uniform(-1.5, 1.5, (3, *size)))
        self.target = int(rng.integers(CLASSES))
        self.seeds = [new_seed(rng) for _ in range(n_seeds)]
        self.picture = np.abs(weight(self.net, self.target)).max(axis=0)
        arguments = (self.x, self.net, self.target, self.counts, self.seeds)
        self.seen = student.observe("error_curve", *arguments)
        self.errors = as_curve(self.seen.value, self.counts)
        self.multiples = np.array(
            [[self.multiple(n, seed) for seed in self.seeds] for n in self.counts]
        )

    def multiple(self, n_samples: int, seed: int) -> float:
        """The number m of the map of ``n_samples``."""
        arguments = (self.x, self.net, self.target, n_samples, LEVEL, seed)
        reply = self.student.call("smooth_grad", *arguments)
        times = as_map(reply, self.x.shape[1:]) / self.picture
        require(
            np.ptp(times) <= 1e-3 * abs(times).max() and times.min() > 0,
            "your errors can't be judged: they are those of your smooth_grad, whose"
            " maps are not right yet.",
        )
        return float(times.mean())

    def require_errors_of_one_reference(self) -> None:
        """End the check unless one r explains the errors of all counts."""
        self.r = self.fitted(lambda m, r: np.abs(m - r).mean(axis=1) / r)
        if self.r is not None:
            return
        size = float(np.linalg.norm(self.picture))
        many = len(self.picture.ravel())
        fits = [
            words
            for words, errors in {
                "the first seed's alone: take the mean over all seeds": (
                    lambda m, r: np.abs(m - r)[:, 0] / r
                ),
                "the last seed's alone: take the mean over all seeds": (
                    lambda m, r: np.abs(m - r)[:, -1] / r
                ),
                "the largest over the seeds: take their mean": (
                    lambda m, r: np.abs(m - r).max(axis=1) / r
                ),
                "the smallest over the seeds: take their mean": (
                    lambda m, r: np.abs(m - r).min(axis=1) / r
                ),
                "the median over the seeds: take their mean": (
                    lambda m, r: np.median(np.abs(m - r), axis=1) / r
                ),
                "summed over the seeds: take their mean": (
                    lambda m, r: np.abs(m - r).sum(axis=1) / r
                ),
                "the root of the mean square over the seeds: take their mean": (
                    lambda m, r: np.sqrt(((m - r) ** 2).mean(axis=1)) / r
                ),
                "those of the seeds' mean map: average the errors, not the maps": (
                    lambda m, r: np.abs(m.mean(axis=1) - r) / r
                ),
                "|M - R| / |M|: divide by the norm of the reference": (
                    lambda m, r: (np.abs(m - r) / m).mean(axis=1)
                ),
                "|M - R|, not divided by |R|": (
                    lambda m, r: size * np.abs(m - r).mean(axis=1)
                ),
                "|M - R| divided by the number of pixels: divide by |R|": (
                    lambda m, r: size * np.abs(m - r).mean(axis=1) / many
                ),
                "mean absolute differences: take |M - R| / |R| with L2 norms": (
                    lambda m, r: self.picture.mean() * np.abs(m - r).mean(axis=1)
                ),
                "|M - R|^2 / |R|^2: take the norms themselves": (
                    lambda m, r: ((m - r) ** 2).mean(axis=1) / r**2
                ),
                "in the order of the sorted counts: keep the order of `counts`": (
                    lambda m, r: (np.abs(m - r).mean(axis=1) / r)[
                        np.argsort(self.counts)
                    ]
                ),
                "the mean over counts as well: give one error per count": (
                    lambda m, r: np.full(len(m), (np.abs(m - r) / r).mean())
                ),
            }.items()
            if self.fitted(errors) is not None
        ]
        require(
            len(fits) != 1,
            f"the errors are {fits[0] if fits else ''}.",
        )
        require(
            False,
            "there is no reference map R for which the errors of all counts are the"
            " mean over `seeds` of |M - R| / |R|, with M the map of your smooth_grad at"
            " noise_level 0.15: draw R once, before both loops.",
        )

    def fitted(self, errors: Callable[[np.ndarray, Any], np.ndarray]) -> float | None:
        """The r for which ``errors(m, r)`` are the student's, if there is one."""
        m = self.multiples
        middle = float(m.mean())
        # The errors have a corner at each m, and at most one r lies between two of
        # them.
        grid = np.sort([*middle * np.geomspace(0.2, 5, 1001), *m.ravel()])
        off = np.array([errors(m, r)[0] - self.errors[0] for r in grid])
        for i in np.flatnonzero(off[:-1] * off[1:] <= 0):
            low, high = grid[i], grid[i + 1]
            for _ in range(40):
                r = (low + high) / 2
                same = (errors(m, r)[0] - self.errors[0]) * off[i] > 0
                low, high = (r, high) if same else (low, r)
            if np.allclose(errors(m, r), self.errors, rtol=1e-3, atol=1e-5):
                return float(r)
        return None

    def require_a_reference_of_its_own(self) -> None:
        """End the check unless R is a map of enough samples and of another seed."""
        assert self.r is not None
        most = 16 * max(self.counts)
        here = gradient(self.net, self.x[None], self.target)[0]
        clean = float(np.abs(here).max(axis=0).mean() / self.picture.mean())
        require(
            abs(self.r / clean - 1) > SAME,
            "R is the gradient of the clean image: the maps converge to something else."
            " Draw R as a map of many samples.",
        )
        for n, row in zip(self.counts, self.multiples, strict=True):
            require(
                np.abs(row / self.r - 1).min() > SAME,
                f"R is itself a map of {n} samples that is compared with it.",
            )
        for seed in self.seeds:
            require(
                abs(self.multiple(most, seed) / self.r - 1) > SAME,
                "R was drawn with one of `seeds`: draw it with a seed of its own.",
            )
        copies = asked_about(self.seen, self.x.shape)
        require(
            copies >= most or not copies,  # torch.func leaves no record
            f"for counts {self.counts} R has 16 x {max(self.counts)} = {most} samples,"
            f" and the model was asked about {copies} noisy copies in all.",
        )
        factors = self.single_factors()
        error = factors.std() * (1 / most + 1 / len(factors)) ** 0.5
        require(
            abs(self.r - factors.mean()) <= STANDARD_ERRORS * error,
            "R is not near the map that SmoothGrad converges to: draw it by your"
            f" smooth_grad with {most} samples and noise_level 0.15.",
        )

    def single_factors(self) -> np.ndarray:
        """The multiples that 400 single noisy copies give."""
        generator = torch.Generator().manual_seed(self.seeds[0] ^ 1)
        sigma = LEVEL * (self.x.max() - self.x.min())
        noise = torch.randn((400, *self.x.shape), generator=generator)
        found = gradient(self.net, self.x + sigma * noise, self.target)
        return np.abs(found).max(axis=1).mean(axis=(1, 2)) / self.picture.mean()


def enough(
    errors: Sequence[float], counts: Sequence[int], tolerance: float
) -> set[float]:
    """What ``samples_needed`` may return: one number for each way to estimate c."""
    e, roots = np.asarray(errors), np.sqrt(counts)
    estimates = (
        (e * roots).mean(),
        np.exp(np.log(e * roots).mean()),
        (e / roots).sum() / (1 / roots**2).sum(),  # least squares
    )
    return {float(np.ceil((c / tolerance) ** 2 - 1e-9)) for c in estimates}


def needed(
    student: Any,
    transcript: Transcript,
    errors: Sequence[float],
    counts: Sequence[int],
    tolerance: float,
) -> float:
    """What ``samples_needed`` returns, as a float."""
    arguments = (list(errors), list(counts), tolerance)
    reply = student.call("samples_needed", *arguments)
    transcript.note("samples-needed", arguments, reply, lambda reply: reply)
    number = require_array(
        reply,
        "samples_needed must return one number.",
        lambda number: number.size == 1 and not isinstance(reply, bool),
    )
    require(np.isfinite(number).all(), "samples_needed returned NaN or infinity.")
    return float(number.reshape(()))
