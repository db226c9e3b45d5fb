"""Problem 3, public checks: the baselines of Integrated Gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import (
    CLASSES,
    EXPLAINED_IN_TRAINING,
    image,
    model,
    new_seed,
    require_care,
    require_none,
    require_steps,
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
from autograder.problems.problem3.questions import (
    EXACT,
    IMAGENET,
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
from autograder.sandbox.inside.values import Recipe

# While a task's check fails, these are shown one by one. The notebook has the same
# ones, folded.
HINTS = {
    "baselines": (
        "Black is the pixel value 0, and what the model gets is (0 - mean) / std per"
        " channel. What colour would `torch.zeros_like(image)` be?",
        "Go back to pixel values with image times std plus mean, make the four pictures"
        " there, and normalise them all by one line at the end.",
        "`mean` and `std` need the shape (3, 1, 1) to meet an image. `gaussian_blur` of"
        " `torchvision.transforms.functional` blurs;"
        " `torch.Generator().manual_seed(seed)` draws the noise.",
    ),
    "integrated-gradients": (
        "Start with the gradient at one point baseline + alpha * (image - baseline):"
        " detach it, let it require a gradient, and use `torch.autograd.grad`.",
        "Add up the gradients at n_steps such points, each times its weight. The"
        " weights must sum to 1.",
        "Multiply by image - baseline once, at the end, and keep all signs. A linear"
        " model shows the weights' sum, a cubic one where the points lie.",
    ),
    "completeness": (
        "Sum all signed attributions into one number. The scores are the logits of"
        " `target_class` at the two ends.",
        "Divide the size of the difference by the size of F(image) - F(baseline), and"
        " think of the case that it is 0.",
    ),
    "correlation": (
        "First the two maps, then the means over cells, then the correlation.",
        "`map.reshape(H // cell, cell, W // cell, cell).mean((1, 3))` averages over"
        " cells, `np.corrcoef` correlates.",
    ),
    "blind-shares": (
        "Take the normalisation back before you compare lightness: each channel has its"
        " own mean and std.",
        "`np.quantile(lightness, 0.1)` is the lightness below which a tenth of the"
        " pixels lies.",
    ),
    "explanation": (
        "Start each text from one line of the numbers above: which of them would change"
        " with another baseline, and through which factor of the formula?",
    ),
}


@check(
    "baselines/care",
    1.2,
    "Four baselines in the shape of the image, which is left as it was",
    public=True,
)
def test_form(student: Any, rng: Generator) -> None:
    size, changed, other_shape = (23, 17), False, False
    x = image(IMAGENET.normalize(rng.uniform(size=(3, *size))))
    for given in (x, x[None]):
        after = student.observe(
            "make_baselines", given, *IMAGENET.given, 1.5, new_seed(rng)
        )
        changed = changed or bool(after.changed)
        pictures = {"image": np.asarray(given).reshape(x.shape)}
        for name in NAMES:
            found = as_baseline(after.value, name, given.shape)
            other_shape |= np.shape(after.value.get(name)) != tuple(given.shape)
            same = [other for other, p in pictures.items() if np.allclose(p, found)]
            require(not same, f"the baseline {name!r} equals {same[:1]}.")
            pictures[name] = found
    require_none(
        {
            "what was handed over has changed: work on a copy": changed,
            "a baseline must have the image's shape, (3, H, W) or (1, 3, H, W)": (
                other_shape
            ),
        }
    )


@check("baselines/black", 0.7, "Black is the pixel value 0", public=True)
def test_black(student: Any, rng: Generator) -> None:
    space = new_space(rng)
    x = space.normalize(rng.uniform(0.1, 0.9, (3, 16, 12)))
    reply = ask_baselines(student, image(x), space, 1.0, new_seed(rng))
    check_plain(as_baseline(reply, "black", x.shape), "black", x, space)


@check("baselines/white", 0.7, "White is the pixel value 1", public=True)
def test_white(student: Any, rng: Generator) -> None:
    space = new_space(rng)
    x = space.normalize(rng.uniform(0.1, 0.9, (3, 16, 12)))
    reply = ask_baselines(student, image(x), space, 1.0, new_seed(rng))
    check_plain(as_baseline(reply, "white", x.shape), "white", x, space)


@check("baselines/blur", 0.7, "The blur is a Gaussian, without a frame", public=True)
def test_blur(student: Any, rng: Generator) -> None:
    sigma, space = 2.0, new_space(rng)
    pixels = edges(rng, (40, 32))
    x = space.normalize(pixels)
    reply = ask_baselines(student, image(x), space, sigma, new_seed(rng))
    check_blur(as_baseline(reply, "blur", x.shape), pixels, sigma, space)
    pixels = detail(rng, x.shape[1:], sigma)
    x = space.normalize(pixels)
    reply = ask_baselines(student, image(x), space, sigma, new_seed(rng))
    check_detail(as_baseline(reply, "blur", x.shape), pixels, sigma, space)


@check("baselines/random", 0.9, "Random is uniform in pixel values", public=True)
def test_random(student: Any, rng: Generator) -> None:
    space = new_space(rng)
    x = space.normalize(rng.uniform(size=(3, 40, 32)))
    reply = ask_baselines(student, image(x), space, 1.0, new_seed(rng))
    check_noise(as_baseline(reply, "random", x.shape), x, space)


@check("baselines/seed", 0.6, "The seed decides the noise", public=True)
def test_seed(student: Any, rng: Generator) -> None:
    x = IMAGENET.normalize(rng.uniform(size=(3, 20, 16)))
    first = new_seed(rng)
    drawn = [
        as_baseline(
            ask_baselines(student, image(x), IMAGENET, 1.0, seed), "random", x.shape
        )
        for seed in (first, first, first + 1)
    ]
    require(
        np.abs(drawn[0] - drawn[1]).max() <= EXACT,
        "two calls with the same seed gave two random baselines: make a generator of"
        " your own from `seed`.",
    )
    alike = np.abs(drawn[0] - drawn[2]).max()
    require(
        alike > EXACT,
        "two seeds give the same random baseline: the noise must come from `seed`.",
    )


@check(
    "integrated-gradients/path",
    3,
    "(image - baseline) times the mean gradient between the two",
    public=True,
)
def test_path(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, asked = (9, 8), []
    net = model("power", rng, size)
    target = int(rng.integers(CLASSES))
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    right = weight(net, target) * (x - start).numpy()
    scale = float(np.abs(right).max())
    for n_steps in (4, 10, 50):
        arguments = (x, net, target, start, n_steps)
        asked.append((attribute(student, transcript, arguments, scale), n_steps))
    curved, n_steps = model("power", rng, size, power=3), 20
    a, b = (each.numpy().astype(np.float64) for each in (x, start))
    largest = float(np.abs(weight(curved, target) * (a**3 - b**3)).max())
    arguments = (x[None], curved, target, start[None], n_steps)
    on_curved = attribute(student, transcript, arguments, largest)
    for found, n in asked:
        off = np.abs(found - right).max() / scale
        times = float(np.median(found / right))
        require(
            off <= EXACT,
            f"on a linear net, with n_steps {n}, the attributions must be weight x"
            f" (image - baseline); yours are {said(times)} times that in the median,"
            f" and off by up to {said(off, 2)} of the largest.",
        )
    require_rule(moments(on_curved, weight(curved, target), a, b), n_steps)
    require_gradient(student, rng)
    require_path(student, rng)
    net = model("power", rng, size, power=3, record=True)
    seen = student.observe("integrated_gradients", x, net, target, start, 64)
    require_steps(seen, x.shape, 64)


@check(
    "integrated-gradients/care",
    1.4,
    "(3, H, W), in evaluation mode; model and images left as they were",
    public=True,
    needs="path",
)
def test_care(student: Any, rng: Generator) -> None:
    size = (7, 6)
    net = model("stateful", rng, size)
    in_training = Recipe(net.kind, net.seed, {**net.options, "training": True})
    target = int(rng.integers(CLASSES))
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    reply = student.call("integrated_gradients", x, net, target, start, 8)
    calm = as_attributions(reply, (3, *size))
    asked = (x, in_training, target, start, 8)
    after = student.observe("integrated_gradients", *asked)
    found = as_attributions(after.value, (3, *size))
    off = np.abs(found - calm).max() / np.abs(calm).max()
    axis = "there is a batch axis too many: the attributions are (3, H, W)"
    own = {axis: np.ndim(after.value) != 3, EXPLAINED_IN_TRAINING: off > 1e-4}
    require_care(after, own)


@check("completeness/value", 1, "|sum - (F(x) - F(x'))| / |F(x) - F(x')|", public=True)
def test_completeness(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (8, 6)
    net = model("relu-net", rng, size)
    x, start = (image(3 * rng.normal(size=(3, *size))) for _ in range(2))
    change = logits(net, x) - logits(net, start)
    # A class whose score changes and that is predicted at neither end.
    order = [k for k in np.argsort(-change) if k not in _predicted(net, x, start)]
    target, right = int(order[0]), float(rng.uniform(0.1, 0.4))
    made = rng.normal(size=(3, *size))
    made += (change[target] * (1 + right) - made.sum()) / made.size
    arguments = (image(made), x, start, net, target)
    found = number(student, transcript, "completeness", "completeness_error", arguments)
    require(
        abs(found - right) <= 1e-3 * right,
        f"the attributions sum to {made.sum():.4f}, and the class's logit changes by"
        f" {change[target]:.4f}: an error of {right:.4f} of that change; yours is"
        f" {said(found, 4)}.",
    )


def _predicted(net: Any, *images: Any) -> set[int]:
    return {int(logits(net, image).argmax()) for image in images}


@check(
    "completeness/any-sign",
    1,
    "The error has no sign, and is relative to the change alone",
    public=True,
    needs="value",
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
                f" {said(found, 4)}.",
            )


@check(
    "completeness/no-change",
    1,
    "Equal scores have no relative error",
    public=True,
    needs="value",
)
def test_no_change(student: Any, rng: Generator) -> None:
    size = (6, 5)
    net = model("relu-of-dot", rng, size)
    # Both images lie far on the side where the class's score is exactly 0, in whatever
    # order the products are summed.
    away = -weight(net, 1)
    x, start = (image(away * rng.uniform(0.5, 2, away.shape)) for _ in range(2))
    right = float(rng.uniform(0.1, 0.9))
    for near in (-x, -1e-9 * x):
        change = float(logits(net, near)[1])
        made = np.full((3, *size), (1 + right) * change / x.numel())
        reply = student.call(
            "completeness_error", image(made), near, start, net, 1, finite=False
        )
        found = as_number(reply, "completeness_error")
        require(
            abs(found - right) <= 1e-3,
            f"where the scores differ by {said(change, 2)} the error is {right:.3f}"
            f" here, not {said(found, 4)}: only equal scores have no relative error.",
        )
    for made in (np.zeros((3, *size)), rng.normal(size=(3, *size))):
        reply = student.call(
            "completeness_error", image(made), x, start, net, 1, finite=False
        )
        found = as_number(reply, "completeness_error")
        require(
            np.isnan(found),
            "where F(x) = F(x') there is nothing to be relative to: return nan, not"
            f" {said(found, 4)}.",
        )


@check("correlation/pixels", 1, "How alike two maps are, pixel by pixel", public=True)
def test_correlation(student: Any, transcript: Transcript, rng: Generator) -> None:
    first, second = _two_attributions(rng, (12, 8))
    right = float(np.corrcoef(map_of(first).ravel(), map_of(second).ravel())[0, 1])
    arguments = (image(first), image(second), 1)
    found = number(student, transcript, "correlation", "map_correlation", arguments)
    require(
        abs(found - right) <= 1e-4,
        f"with cell 1 the correlation of these two maps is {right:.4f}; yours is"
        f" {said(found, 4)}.",
    )


def _two_attributions(
    rng: Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Two signed attributions (3, H, W) whose maps are alike in part.

    They are more alike when averaged over cells of 4 x 4 pixels.
    """
    coarse = rng.uniform(0.5, 3, (size[0] // 4, size[1] // 4))
    shared = np.kron(coarse, np.ones((4, 4)))
    first, second = (shared * rng.normal(size=(3, *size)) for _ in range(2))
    return first, second


@check("correlation/cells", 1, "How alike two maps are, over cells", public=True)
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
            f" correlation {right:.4f}; yours is {said(found, 4)}.",
        )


@check(
    "blind-shares/pixel-space",
    1,
    "The share of the darkest and of the brightest tenth",
    public=True,
)
def test_shares(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, space = (20, 15), new_space(rng)
    pixels = rng.uniform(size=(3, *size))
    made = rng.normal(size=(3, *size)) * (0.2 + pixels)
    arguments = (image(made), image(space.normalize(pixels)), *space.given)
    found = shares(student, transcript, arguments)
    require_shares(found, made, pixels)


def require_shares(
    found: tuple[float, float], made: np.ndarray, pixels: np.ndarray
) -> None:
    drawn, light = map_of(made), pixels.mean(axis=0)
    groups = {
        "darkest": light <= np.quantile(light, 0.1),
        "brightest": light >= np.quantile(light, 0.9),
    }
    for (name, where), value in zip(groups.items(), found, strict=True):
        right = float(drawn[where].mean() / drawn.mean())
        require(
            abs(value - right) <= 1e-3 * right,
            f"the {name} tenth of these pixels has {right:.3f} times the map's mean;"
            f" you say {said(value, 4)}.",
        )


@check(
    "explanation/form",
    0,
    "A text for each baseline and for the guidelines, with numbers",
    public=True,
)
def test_explanation(student: Any) -> None:
    reply = student.call("explanation")
    parts = (*NAMES, "guidelines")
    require(
        isinstance(reply, dict) and set(parts) <= set(reply),
        "explanation must return a dictionary of texts with the keys"
        f" {', '.join(parts)}.",
    )
    for part in parts:
        text = reply[part]
        words = len(text.split()) if isinstance(text, str) else 0
        require(
            words >= 12,
            f"the text on {part!r} has {words} words: write at least two sentences.",
        )
        require(
            any(letter.isdigit() for letter in text),
            f"the text on {part!r} names no number: support it by one that you"
            " measured.",
        )
