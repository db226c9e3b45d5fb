"""Problem 3: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import Shortfall, check, credit, require
from autograder.problems.common import (
    CLASSES,
    image,
    model,
    new_seed,
    said,
    weight,
)
from autograder.problems.problem3.baseline_pictures import (
    check_blur,
    check_detail,
    check_noise,
    check_plain,
    detail,
    edges,
)
from autograder.problems.problem3.checks import require_shares
from autograder.problems.problem3.questions import (
    EXACT,
    NAMES,
    as_baseline,
    ask_baselines,
    attribute,
    moments,
    new_space,
    require_gradient,
    require_path,
    require_rule,
    shares,
)
from autograder.sandbox.inside import tiny_models


@check(
    "baselines/other-space",
    1.2,
    "The same once more, with other numbers",
    public=False,
)
def test_other_space(student: Any, rng: Generator) -> None:
    space, sigma = new_space(rng), float(rng.uniform(2.6, 3.2))
    pixels = edges(rng, (48, 56))
    x = space.normalize(pixels)
    reply = ask_baselines(student, image(x), space, sigma, new_seed(rng))
    blocks = detail(rng, x.shape[1:], sigma)
    again = ask_baselines(
        student, image(space.normalize(blocks)), space, sigma, new_seed(rng)
    )
    failed = []
    for name in NAMES:
        try:
            found = as_baseline(reply, name, x.shape)
            if name == "blur":
                check_blur(found, pixels, sigma, space)
                found = as_baseline(again, name, x.shape)
                check_detail(found, blocks, sigma, space)
            elif name == "random":
                check_noise(found, x, space)
            else:
                check_plain(found, name, x, space)
        except Shortfall as shortfall:
            failed.append(str(shortfall))
    if failed:
        credit(1 - len(failed) / len(NAMES), " ".join(failed))


@check(
    "integrated-gradients/steps",
    1.3,
    "Every number of steps, and the path starts at the baseline",
    public=False,
    needs="path",
)
def test_steps(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (6, 5)
    for n_steps in (2, 3, 23, 67):
        net = model("power", rng, size, power=3)
        target = int(rng.integers(CLASSES))
        # The path stays on one side of zero. A path that starts at zero, and not at the
        # baseline, would give larger attributions everywhere.
        x, start = rng.uniform(1.5, 2, (3, *size)), rng.uniform(0.7, 1, (3, *size))
        a, b = (image(each).numpy().astype(np.float64) for each in (x, start))
        scale = float(np.abs(weight(net, target) * (a**3 - b**3)).max())
        arguments = (image(x), net, target, image(start), n_steps)
        found = attribute(student, transcript, arguments, scale)
        require_rule(moments(found, weight(net, target), a, b), n_steps)
    require_path(student, rng)


@check(
    "integrated-gradients/class",
    1.3,
    "The logit of the class asked for",
    public=False,
    needs="path",
)
def test_class(student: Any, transcript: Transcript, rng: Generator) -> None:
    # The ReLU net has no bias, so its gradient is the same along a ray from 0. Both x
    # and 0.5 x lie on one such ray.
    size = (8, 6)
    net = model("relu-net", rng, size)
    x = image(rng.normal(size=(3, *size)))
    point = x[None].clone().requires_grad_()
    scores = tiny_models.build(net)(point)[0]
    for target in rng.permutation(CLASSES)[:3].tolist():
        point.grad = None
        scores[target].backward(retain_graph=True)
        assert point.grad is not None
        right = 0.5 * (point.grad[0] * x).numpy().astype(np.float64)
        scale = float(np.abs(right).max())
        found = attribute(student, transcript, (x, net, target, 0.5 * x, 8), scale)
        require(
            np.abs(found - right).max() <= EXACT * scale,
            f"on a net that is linear along the path the attributions of class {target}"
            " must be (x - x') times the gradient of its logit; yours are off by up to"
            f" {said(np.abs(found - right).max() / scale, 2)} of the largest.",
        )
    require_gradient(student, rng)


@check("blind-shares/map", 1, "Shares of the map, relative to its mean", public=False)
def test_blind(student: Any, transcript: Transcript, rng: Generator) -> None:
    for size in ((20, 15), (10, 24)):
        space = new_space(rng)
        pixels = rng.uniform(size=(3, *size))
        # Nearly 0 in dark places, mostly negative, and much larger than 1.
        made = 30 * (rng.normal(size=(3, *size)) - 1) * pixels.mean(axis=0) ** 3
        arguments = (image(made), image(space.normalize(pixels)), *space.given)
        found = shares(student, transcript, arguments)
        require_shares(found, made, pixels)
