"""Problem 3: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import Shortfall, check, credit, require
from autograder.problems.common import (
    CLASSES,
    distance,
    image,
    integral,
    model,
    new_seed,
    require_none,
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
    FAR,
    FAR_STEPS,
    NAMES,
    as_attributions,
    as_baseline,
    as_number,
    ask_baselines,
    attribute,
    cells_of,
    logits,
    map_of,
    moments,
    new_space,
    number,
    require_gradient,
    require_path,
    require_rule,
    shares,
)
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe


@check(
    "baselines/other-space",
    1,
    "The same for a model with other constants",
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
    1,
    "Every number of steps, and the path starts at the baseline",
    public=False,
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
    "integrated-gradients/class", 1, "The logit of the class asked for", public=False
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
            f" {np.abs(found - right).max() / scale:.1e} of the largest.",
        )
    require_gradient(student, rng)


@check(
    "integrated-gradients/courtesy",
    1,
    "Explained in eval mode; image and model left as they were",
    public=False,
)
def test_courtesy(student: Any, rng: Generator) -> None:
    size = (7, 6)
    net = model("stateful", rng, size)
    in_training = Recipe(net.kind, net.seed, {**net.options, "training": True})
    target = int(rng.integers(CLASSES))
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    reply = student.call("integrated_gradients", x, net, target, start, FAR_STEPS)
    calm = as_attributions(reply, (3, *size))
    off = distance(calm, integral(net, x, start, target))
    require(
        off <= FAR,
        f"on a small convolutional net the attributions are {off:.1%} off (relative"
        " L2): see the other checks first.",
    )
    asked = (x, in_training, target, start, FAR_STEPS)
    after = student.observe("integrated_gradients", *asked)
    found = as_attributions(after.value, (3, *size))
    off = np.abs(found - calm).max() / np.abs(calm).max()
    require_none(
        {
            "the model came in training mode and was explained in it: call model.eval()"
            " first": off > 1e-4,
            "a tensor that was handed over has changed: work on a copy (clone)": (
                after.changed
            ),
            "the model came back in another mode: remember model.training and put it"
            " back": "mode" in after.models[0].changed,
        }
    )


@check(
    "completeness/any-sign",
    1,
    "The error has no sign, and is relative to the change alone",
    public=False,
)
def test_any_sign(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (6, 5)
    for sign in (1, -1):
        net = model("power", rng, size)
        x, start = (image(2 * rng.normal(size=(3, *size))) for _ in range(2))
        change = logits(net, x) - logits(net, start)
        target = int(np.argmax(sign * change))
        for share in rng.permutation(
            [rng.uniform(0.2, 0.8), rng.uniform(-2, -1), rng.uniform(1.5, 3)]
        ):
            made = rng.normal(size=(3, *size))
            made += (change[target] * share - made.sum()) / made.size
            arguments = (image(made), x, start, net, target)
            found = number(
                student, transcript, "completeness", "completeness_error", arguments
            )
            right = abs(share - 1)
            require(
                abs(found - right) <= 1e-3 * right,
                f"a sum of {made.sum():.3f} where the logit changes by"
                f" {change[target]:.3f} is an error of {right:.2f}; yours is"
                f" {found:.4g}.",
            )


@check("completeness/no-change", 1, "Equal scores have no relative error", public=False)
def test_no_change(student: Any, rng: Generator) -> None:
    size = (6, 5)
    net = model("relu-of-dot", rng, size)
    # Both images lie far on the side where the class's score is exactly 0, in whatever
    # order the products are summed.
    away = -weight(net, 1)
    x, start = (image(away * rng.uniform(0.5, 2, away.shape)) for _ in range(2))
    right = float(rng.uniform(0.1, 0.9))
    made = np.full((3, *size), (1 + right) * logits(net, -x)[1] / x.numel())
    reply = student.call("completeness_error", image(made), -x, start, net, 1)
    found = as_number(reply, "completeness_error")
    require(
        abs(found - right) <= 1e-3,
        f"where the scores do differ the error is {right:.3f} here, not {found:.4g}.",
    )
    for made in (np.zeros((3, *size)), rng.normal(size=(3, *size))):
        reply = student.call(
            "completeness_error", image(made), x, start, net, 1, finite=False
        )
        found = as_number(reply, "completeness_error")
        require(
            np.isnan(found),
            "where F(x) = F(x') there is nothing to be relative to: return nan, not"
            f" {found:.4g}.",
        )


@check("correlation/cells", 1, "How alike two maps are, over cells", public=False)
def test_cells(student: Any, transcript: Transcript, rng: Generator) -> None:
    for size, cell in (((12, 20), 4), ((15, 9), 3)):
        coarse = rng.uniform(0.5, 3, (size[0] // cell, size[1] // cell))
        shared = np.kron(coarse, np.ones((cell, cell)))
        # The second map is a hundred times smaller, and its signs differ.
        first = shared * rng.normal(size=(3, *size))
        second = 0.01 * (3.5 - shared) * rng.normal(size=(3, *size))
        each = [cells_of(map_of(made), cell).ravel() for made in (first, second)]
        right = float(np.corrcoef(each)[0, 1])
        arguments = (image(first), image(second), cell)
        found = number(student, transcript, "correlation", "map_correlation", arguments)
        require(
            abs(found - right) <= 1e-4,
            f"averaged over cells of {cell} x {cell} pixels these two maps have the"
            f" correlation {right:.4f}; yours is {found:.4g}.",
        )


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
