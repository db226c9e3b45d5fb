"""What the questions of several problems share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from autograder.checking.runner import Shortfall, credit, require
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe
from autograder.sandbox.student import Observation

CLASSES = 5
HUGE = 1e12  # longer numbers are not read out


def model(kind: str, rng: Generator, size: Sequence[int], **options: Any) -> Recipe:
    """A net that nobody has seen before, for images of ``size`` (H, W)."""
    options = {"classes": CLASSES, "size": [3, *size], **options}
    return Recipe(kind, int(rng.integers(2**31)), options)


def weight(recipe: Recipe, target: int) -> np.ndarray:
    """The weights of the target class, (3, H, W), in float64."""
    built: Any = tiny_models.build(recipe)
    return np.asarray(built.weight.detach()[target], dtype=np.float64)


def gradient(recipe: Recipe, points: Tensor, target: int) -> np.ndarray:
    """The gradient of a logit at each point (N, 3, H, W), float64."""
    built: Any = tiny_models.build(recipe).eval().double()
    at = points.double().requires_grad_()
    (found,) = torch.autograd.grad(built(at)[:, target].sum(), at)
    return found.numpy()


def integral(net: Recipe, x: Tensor, start: Tensor, target: int) -> np.ndarray:
    """Integrated Gradients from ``start`` to ``x``, to a few thousandths."""
    alphas = (torch.arange(400) + 0.5)[:, None, None, None].double() / 400
    mean = gradient(net, start + alphas * (x - start), target).mean(axis=0)
    return np.asarray((x - start).numpy() * mean)


def image(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def new_seed(rng: Generator) -> int:
    return int(rng.integers(2**31))


def array(value: Any) -> np.ndarray | None:
    """The value as float64, or None if it is no array of numbers."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def require_array(
    value: Any, message: str, fits: Callable[[np.ndarray], bool] = lambda found: True
) -> np.ndarray:
    """The value as float64; end the check unless it is an array that ``fits``."""
    found = array(value)
    if found is None or not fits(found):
        raise Shortfall(message)
    return found


@np.errstate(over="ignore")
def distance(found: np.ndarray, right: np.ndarray) -> float:
    """Relative L2 distance."""
    norm = max(float(np.linalg.norm(right)), 1e-12)
    return float(np.linalg.norm(found - right)) / norm


def said(number: float, digits: int = 3) -> str:
    """A number as people write it: a few digits, and no exponent."""
    if not abs(number) < HUGE:
        return "a huge number"
    told = np.format_float_positional(number, digits, fractional=False, trim="-")
    return str(told)


def share_of(share: float) -> str:
    """A share as people say it: "12%", or "160 times the right size"."""
    if share < 2:
        return f"{said(100 * share, 2)}%"
    return f"{said(share, 2)} times the right size"


def require_none(complaints: Mapping[str, bool]) -> None:
    """Give half of the points if one complaint is true, and none if more are."""
    true = [words for words, holds in complaints.items() if holds]
    if true:
        credit(max(0, 1 - len(true) / 2), "; ".join(true) + ".")


# Beside a map that shows it, for `require_care`.
EXPLAINED_IN_TRAINING = (
    "the model came in training mode and was explained in it: call model.eval() first"
)


def require_care(seen: Observation, own: Mapping[str, bool]) -> None:
    """Give half of the points for one carelessness, and none for more.

    What a call left behind is told by the process that ran it. To forge that is more
    work than to do as asked; and it earns nothing without the right numbers.

    Args:
        seen: What the call left behind.
        own: More complaints, and whether each is true.
    """
    left = {word for model in seen.models for word in model.changed}
    require_none(
        {
            **own,
            "what was handed over has changed: work on a copy (clone)": bool(
                seen.changed
            ),
            "the model came back in another mode: remember model.training and put it"
            " back": "mode" in left,
            "the model came back changed: take your hooks away, and leave requires_grad"
            " as it was": bool(left & {"hooks", "requires_grad"}),
        }
    )


def asked_about(seen: Observation, shape: Sequence[int]) -> int:
    """About how many different images a model with ``record`` was asked.

    It is 0 in a transform of torch.func, which leaves no record.
    """
    batches = [batch for model in seen.models for batch in model.asked]
    return len({one.tobytes() for b in batches for one in b.reshape(-1, *shape)})


def require_steps(seen: Observation, shape: Sequence[int], n_steps: int) -> None:
    """End the check unless the model was asked about ``n_steps`` points or so."""
    points = asked_about(seen, shape)
    require(
        not points
        or n_steps <= points <= 1.5 * n_steps + 4,  # both ends, and some more
        f"with n_steps {n_steps} the model was asked about {points} points: take"
        " n_steps of them.",
    )
