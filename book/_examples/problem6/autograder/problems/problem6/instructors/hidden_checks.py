"""Problem 6: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.problem6.checks import found, model
from autograder.sandbox.inside import tiny_models


@check("gap/no-bias", 1, "ReLUs without a bias leave nothing over", public=False)
def test_no_bias(
    student: Any, transcript: Transcript, rng: np.random.Generator
) -> None:
    got, _, _ = found(student, transcript, model("relu-net", rng), rng)
    require(abs(got) <= 1e-4, "a net of ReLUs without a bias has gap 0.")


@check("gap/quadratic", 1, "A quadratic model", public=False)
def test_quadratic(
    student: Any, transcript: Transcript, rng: np.random.Generator
) -> None:
    net = model("power", rng, power=2)
    got, image, target = found(student, transcript, net, rng)
    built: Any = tiny_models.build(net)
    # F = q + b with q quadratic. The shares add up to 2 q, so the gap is b - q.
    bias = float(built.bias[target])
    quadratic = float(built(image[None])[0, target]) - bias
    require(abs(got - (bias - quadratic)) <= 1e-3, "wrong for a quadratic model.")
