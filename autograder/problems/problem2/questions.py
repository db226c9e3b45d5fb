"""What the public and the hidden checks of problem 2 share.

They share how they ask a student's function, and how they read its reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.checking.diagnose import Features, Transcript
from autograder.checking.runner import require
from autograder.problems.common import array, require_array

LEVEL = 0.15
# Every grading draws new inputs. At 4 standard errors, one right answer in 16,000 would
# be called wrong; at 5, one in 1.7 million. The nets are large enough that every known
# mistake lies further away than this.
STANDARD_ERRORS = 5.0
EXACT = 1e-5  # of the map's maximum, float32


def mean_and_spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


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


def as_map(reply: Any, size: Sequence[int], *, strict: bool = False) -> np.ndarray:
    """The reply as a map (H, W).

    One axis of length 1 too many costs points in one check only, the one with
    ``strict``.
    """
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
    if not strict and drawn.size == height * width and drawn.ndim > 2:
        drawn = drawn.squeeze()
    hint = ""
    if drawn.shape == (width, height):
        hint = ": rows and columns are swapped"
    elif drawn.ndim == 3 and drawn.shape[0] == 3:
        hint = ": the maximum over the channels is missing"
    elif drawn.size == height * width:
        hint = ": there is an axis of length 1 too many"
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


def curve(
    student: Any, transcript: Transcript, arguments: tuple[Any, ...]
) -> np.ndarray:
    """What ``error_curve(*arguments)`` returns, one number per count."""
    reply = student.call("error_curve", *arguments)
    counts = arguments[3]
    transcript.note(
        "error-curve",
        arguments,
        reply,
        lambda reply: np.log(as_curve(reply, counts) + 1e-9),
        lambda a, k: (*a[:4], [s + 7919 * (k + 1) for s in a[4]]),
    )
    return as_curve(reply, counts)


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
