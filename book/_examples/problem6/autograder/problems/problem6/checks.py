"""Problem 6, public checks: what Gradient x Input leaves over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe

HINTS = {"gap": ("For F(x) = w · x + b the shares add up to w · x: the gap is b.",)}
SIZE = (3, 6, 5)


def model(kind: str, rng: np.random.Generator, **options: Any) -> Recipe:
    """A net that nobody has seen before."""
    return Recipe(kind, int(rng.integers(2**31)), {"size": list(SIZE), **options})


def found(
    student: Any, transcript: Transcript, net: Recipe, rng: np.random.Generator
) -> tuple[float, torch.Tensor, int]:
    """Ask for the gap of a new image; returns the gap, the image and the class."""
    image = torch.from_numpy(rng.normal(size=SIZE).astype(np.float32))
    target = int(rng.integers(4))
    reply = student.call("gap", image, net, target)
    # The known mistakes are compared with this reply.
    transcript.note("gap", (image, net, target), reply, lambda value: value)
    number = np.asarray(reply if reply is not None else np.nan, dtype=float)
    require(
        number.size == 1 and np.isfinite(number).all(),
        "gap must return one finite number.",
    )
    return number.item(), image, target


@check("gap/linear", 1, "A linear model: the gap is its bias", public=True)
def test_linear(student: Any, transcript: Transcript, rng: np.random.Generator) -> None:
    net = model("power", rng, power=1)
    got, _, target = found(student, transcript, net, rng)
    built: Any = tiny_models.build(net)
    bias = float(built.bias[target])
    require(
        abs(got - bias) <= 1e-4,
        f"for F(x) = w · x + b with b = {bias:.4f} the gap is b; yours is {got:.4f}.",
    )
