"""What the public and the hidden checks of problem 3 share.

They share how they ask a student's function, and how they read its reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import require
from autograder.problems.common import (
    CLASSES,
    distance,
    gradient,
    image,
    integral,
    model,
    require_array,
    share_of,
)
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe

NAMES = ("black", "white", "blur", "random")
# Relative to the largest attribution. Right answers in float32 stay below 4e-6.
EXACT = 2e-5
HUGE = 1e9  # larger than any right value; keeps our own sums from overflowing
PIXEL = 1e-3  # for a pixel value between 0 and 1: a quarter of a grey level


@dataclass(frozen=True)
class Space:
    """How a model normalises pixel values: ``(pixels - mean) / std`` per channel.

    Attributes:
        mean: Mean of each channel, for pixel values between 0 and 1.
        std: Standard deviation of each channel.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def given(self) -> tuple[list[float], list[float]]:
        """Mean and std in the form in which a student's function gets them."""
        return list(self.mean), list(self.std)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels - _channels(self.mean)) / _channels(self.std)

    def denormalize(self, values: np.ndarray) -> np.ndarray:
        return values * _channels(self.std) + _channels(self.mean)


IMAGENET = Space((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def new_space(rng: Generator) -> Space:
    """A model's own mean and std: far from ImageNet's, and all channels differ."""
    mean = rng.permutation([0.3, 0.55, 0.7]) + rng.uniform(-0.03, 0.03, 3)
    std = rng.permutation([0.1, 0.25, 0.45]) + rng.uniform(-0.03, 0.03, 3)
    return Space(tuple(mean.tolist()), tuple(std.tolist()))


def _channels(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(3, 1, 1)


def logits(recipe: Recipe, image: Tensor) -> np.ndarray:
    """The scores of all classes, float64 from the float32 image."""
    built: Any = tiny_models.build(recipe).eval().double()
    with torch.no_grad():
        scores: Tensor = built(image.double()[None])[0]
    return scores.numpy()


# --- baselines ------------------------------------------------------------------------


def ask_baselines(
    student: Any, image: Tensor, space: Space, sigma: float, seed: int
) -> Any:
    return student.call("make_baselines", image, *space.given, sigma, seed)


def as_baseline(reply: Any, name: str, shape: Sequence[int]) -> np.ndarray:
    """One baseline of a reply of ``make_baselines``, (3, H, W), still normalised."""
    require(
        isinstance(reply, dict),
        "make_baselines must return a dictionary: name of the baseline -> tensor.",
    )
    spelled = {str(key).strip().lower(): value for key, value in reply.items()}
    there = ", ".join(map(repr, reply)) or "nothing"
    require(
        name in spelled,
        f"there is no baseline {name!r} in the dictionary, but {there}.",
    )
    values = require_array(spelled[name], f"the baseline {name!r} is not a tensor.")
    wanted = tuple(shape)[-3:]
    if values.size == np.prod(wanted):
        values = values.reshape(wanted)
    elif values.size in (1, 3):
        # One number, or one for each channel, instead of a whole picture.
        values = np.broadcast_to(values.reshape(-1, 1, 1), wanted)
    require(
        values.shape == wanted,
        f"the baseline {name!r} must have the image's shape {wanted}, not"
        f" {values.shape}.",
    )
    require(
        np.abs(values).max(initial=0) < HUGE, f"the baseline {name!r} is far too large."
    )
    return values


# --- Integrated Gradients -------------------------------------------------------------


def attribute(
    student: Any, transcript: Transcript, arguments: tuple[Any, ...], scale: float
) -> np.ndarray:
    """What ``integrated_gradients(*arguments)`` returns; the transcript keeps it.

    Args:
        student: Runs the submission.
        transcript: Keeps the reply.
        arguments: The arguments of the student's function; the first is the image.
        scale: The size of a right answer's largest attribution.

    Returns:
        Signed attributions, (3, H, W).
    """
    reply = student.call("integrated_gradients", *arguments)
    shape = tuple(arguments[0].shape[-3:])

    def seen(reply: Any) -> Any:
        # The transcript compares each number relative to its own size, and many
        # attributions are nearly 0.
        return 2 + as_attributions(reply, shape) / scale

    transcript.note("integrated-gradients", arguments, reply, seen)
    return as_attributions(reply, shape)


def as_attributions(reply: Any, shape: Sequence[int]) -> np.ndarray:
    """The reply as signed attributions (3, H, W); a batch axis is taken away."""
    require(
        reply is not None,
        "integrated_gradients returned None: end the function with `return` and the"
        " attributions.",
    )
    found = require_array(
        reply, "integrated_gradients must return one tensor of signed attributions."
    )
    wanted = tuple(shape)
    if found.shape == (1, *wanted):
        found = found[0]
    hint = ""
    if found.shape in (wanted[1:], (1, *wanted[1:])):
        hint = ": the channels were put together, which only drawing does"
    elif found.ndim == 4 and found.shape[1:] == wanted:
        hint = ": the steps were not added up"
    elif found.size == 1:
        hint = ": an attribution belongs to every pixel and channel"
    require(
        found.shape == wanted,
        f"the attributions of an image {wanted} are {wanted}, yours are"
        f" {found.shape}{hint}.",
    )
    require(np.abs(found).max() < HUGE, "an attribution is far too large.")
    return found


@dataclass(frozen=True)
class Moments:
    """What the weights w and points a of a rule for integrals sum up to.

    Attributes:
        zeroth: ``sum w``; the integral is 1.
        first: ``sum w a``; the integral is 1/2.
        second: ``sum w a^2``; the integral is 1/3.
        misfit: How far the rule is from the reply, relative to the largest attribution.
            Above ``EXACT``, no rule explains the reply.
    """

    zeroth: float
    first: float
    second: float
    misfit: float


def moments(
    found: np.ndarray, weights: np.ndarray, x: np.ndarray, start: np.ndarray
) -> Moments:
    """The moments of whichever rule gave these attributions of ``sum weights x^3``.

    The gradient at ``start + a (x - start)`` is a polynomial in a, so any rule's sum is
    linear in its three moments.
    """
    change = x - start
    factor = 3 * weights * change
    basis = [start**2, 2 * start * change, change**2]
    table = np.stack([(factor * each).ravel() for each in basis], axis=1)
    best = np.linalg.lstsq(table, found.ravel(), rcond=None)[0]
    misfit = np.abs(table @ best - found.ravel()).max() / np.abs(table.sum(1)).max()
    return Moments(float(best[0]), float(best[1]), float(best[2]), float(misfit))


def require_rule(found: Moments, n_steps: int) -> None:
    """Accept any rule whose weights sum to 1 and whose points are evenly spread."""
    require(
        found.misfit <= EXACT,
        "on a cubic net each attribution must be (x - x') times a weighted mean of the"
        " gradients between baseline and image; yours is no such mean, whatever the"
        " weights.",
    )
    require(
        abs(found.zeroth - 1) <= EXACT,
        f"with n_steps {n_steps} the weights of the gradients must sum to 1; yours sum"
        f" to {found.zeroth:.4f}.",
    )
    # Left and right Riemann sums are the least exact rules, so they set the limit.
    slack = 1e-4
    allowed = 0.5 / n_steps + slack
    require(
        abs(found.first - 1 / 2) <= allowed,
        f"with n_steps {n_steps} the points must lie on the way from baseline (0) to"
        f" image (1), on average at 0.5 give or take {0.5 / n_steps:.3f}; yours lie at"
        f" {found.first:.3f}.",
    )
    allowed = 0.5 / n_steps + 1 / (3 * n_steps**2) + slack
    require(
        abs(found.second - 1 / 3) <= allowed,
        f"with n_steps {n_steps} the points do not cover the way from baseline to"
        f" image: their mean square is {found.second:.3f}, and that of a path is"
        " 0.333.",
    )


NO_FORMULA = (
    "the attributions are right on nets that have a formula for them, and not on a"
    " small convolutional net: "
)
# NEAR and FAR are relative L2 distances. With FAR_STEPS steps no rule is further off
# than 0.02; the gradient at one point alone is off by 0.3, in the median. FAR_STEPS is
# a multiple of every chunk size that people use, since another check looks for dropped
# rests.
NEAR, FAR, FAR_STEPS = 1e-3, 0.05, 160
NETS = 3  # one of them may be nearly linear on the way


def require_gradient(student: Any, rng: Generator) -> None:
    """Ask once more, on a net where no formula but the gradient helps.

    No ReLU of this net switches on the way from baseline to image, nor on the ways that
    known mistakes take. So code that is right on a linear net is right here.
    """
    size = (9, 8)
    while True:
        net = model("conv-net", rng, size)
        x, start = (image(0.05 * rng.normal(size=(3, *size))) for _ in range(2))
        places = torch.stack([0 * x, x, start, x + start])
        before = tiny_models.build(net).features[0](places).detach() > 0
        if (before == before[0]).all() and before.any():
            break
    target = int(rng.integers(CLASSES))
    right = (x - start).numpy() * gradient(net, x[None], target)[0]
    reply = student.call("integrated_gradients", x, net, target, start, 8)
    off = distance(as_attributions(reply, x.shape), right)
    require(
        off <= NEAR,
        f"{NO_FORMULA}(image - baseline) x gradient holds there, too; yours is"
        f" off by {share_of(off)} (relative L2).",
    )


def require_path(student: Any, rng: Generator) -> None:
    """Ask once more, on nets whose gradient jumps on the way; any rule is right."""
    size = (9, 8)
    for _ in range(NETS):
        net = model("stateful", rng, size)
        x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
        target = int(rng.integers(CLASSES))
        reply = student.call("integrated_gradients", x, net, target, start, FAR_STEPS)
        right = integral(net, x, start, target)
        off = distance(as_attributions(reply, x.shape), right)
        require(
            off <= FAR,
            f"{NO_FORMULA}with {FAR_STEPS} steps any rule is right to a few percent;"
            f" yours is off by {share_of(off)} (relative L2).",
        )


# --- numbers about attributions -------------------------------------------------------


def number(
    student: Any,
    transcript: Transcript,
    task: str,
    name: str,
    arguments: tuple[Any, ...],
) -> float:
    """The one number that a student's function returns; the transcript keeps it."""
    reply = student.call(name, *arguments)
    transcript.note(task, arguments, reply, lambda reply: as_number(reply, name))
    return as_number(reply, name)


def as_number(reply: Any, name: str) -> float:
    require(reply is not None, f"{name} returned None: return the number.")
    found = require_array(
        reply,
        f"{name} must return one number.",
        lambda found: found.size == 1 and not isinstance(reply, bool),
    )
    value = float(found.reshape(()))
    require(np.isnan(value) or abs(value) < HUGE, f"{name} gave a huge number.")
    return value


def shares(
    student: Any, transcript: Transcript, arguments: tuple[Any, ...]
) -> tuple[float, float]:
    """What ``blind_shares`` returns for the darkest and the brightest tenth."""
    reply = student.call("blind_shares", *arguments)
    transcript.note("blind-shares", arguments, reply, as_shares)
    return as_shares(reply)


def as_shares(reply: Any) -> tuple[float, float]:
    require(
        isinstance(reply, dict) and {"darkest", "brightest"} <= reply.keys(),
        "blind_shares must return a dictionary with the keys 'darkest' and"
        " 'brightest'.",
    )
    each = [as_number(reply[key], "blind_shares") for key in ("darkest", "brightest")]
    return each[0], each[1]


def map_of(attributions: np.ndarray) -> np.ndarray:
    """The sum over channels of the absolute attributions, (3, H, W) -> (H, W)."""
    return np.asarray(np.abs(attributions).sum(axis=0))


def cells_of(drawn: np.ndarray, cell: int) -> np.ndarray:
    """A map (H, W) averaged over squares of cell x cell pixels."""
    height, width = drawn.shape
    squares = drawn.reshape(height // cell, cell, width // cell, cell)
    return np.asarray(squares.mean(axis=(1, 3)))
