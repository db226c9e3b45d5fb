"""Problem 3, public checks: the baselines of Integrated Gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, credit, require
from autograder.problems.common import CLASSES, image, model, new_seed, weight
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
    ask_baselines,
    attribute,
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


@check("baselines/form", 1, "Four baselines in the shape of the image", public=True)
def test_form(student: Any, rng: Generator) -> None:
    size = (23, 17)
    x = image(IMAGENET.normalize(rng.uniform(size=(3, *size))))
    for given in (x, x[None]):
        after = student.observe(
            "make_baselines", given, *IMAGENET.given, 1.5, new_seed(rng)
        )
        pictures = {"image": np.asarray(given)}
        for name in NAMES:
            found = as_baseline(after.value, name, given.shape, strict=True)
            same = [other for other, p in pictures.items() if np.allclose(p, found)]
            require(not same, f"the baseline {name!r} equals {same[:1]}.")
            pictures[name] = found
    if after.changed:
        credit(0.5, "the image that was handed over has changed: work on a copy.")


@check("baselines/black", 1, "Black is the pixel value 0", public=True)
def test_black(student: Any, rng: Generator) -> None:
    x = IMAGENET.normalize(rng.uniform(0.1, 0.9, (3, 16, 12)))
    reply = ask_baselines(student, image(x), IMAGENET, 1.0, new_seed(rng))
    check_plain(as_baseline(reply, "black", x.shape), "black", x, IMAGENET)


@check("baselines/white", 1, "White is the pixel value 1", public=True)
def test_white(student: Any, rng: Generator) -> None:
    x = IMAGENET.normalize(rng.uniform(0.1, 0.9, (3, 16, 12)))
    reply = ask_baselines(student, image(x), IMAGENET, 1.0, new_seed(rng))
    check_plain(as_baseline(reply, "white", x.shape), "white", x, IMAGENET)


@check("baselines/blur", 1, "The blur is a Gaussian, without a frame", public=True)
def test_blur(student: Any, rng: Generator) -> None:
    sigma = 2.0
    pixels = edges(rng, (40, 32))
    x = IMAGENET.normalize(pixels)
    reply = ask_baselines(student, image(x), IMAGENET, sigma, new_seed(rng))
    check_blur(as_baseline(reply, "blur", x.shape), pixels, sigma, IMAGENET)
    pixels = detail(rng, x.shape[1:], sigma)
    x = IMAGENET.normalize(pixels)
    reply = ask_baselines(student, image(x), IMAGENET, sigma, new_seed(rng))
    check_detail(as_baseline(reply, "blur", x.shape), pixels, sigma, IMAGENET)


@check(
    "baselines/random", 1, "Random is uniform in pixel values, by the seed", public=True
)
def test_random(student: Any, rng: Generator) -> None:
    size = (40, 32)
    x = IMAGENET.normalize(rng.uniform(size=(3, *size)))
    first, second = new_seed(rng), new_seed(rng)
    drawn = [
        as_baseline(
            ask_baselines(student, image(x), IMAGENET, 1.0, seed), "random", x.shape
        )
        for seed in (first, first, second)
    ]
    check_noise(drawn[0], x, IMAGENET)
    require(
        np.abs(drawn[0] - drawn[1]).max() <= EXACT,
        "two calls with the same seed gave two random baselines: make a generator of"
        " your own from `seed`.",
    )
    alike = float(np.corrcoef(drawn[0].ravel(), drawn[2].ravel())[0, 1])
    require(
        abs(alike) <= 5 / x.size**0.5,
        f"two seeds give the same random baseline (correlation {alike:.2f}): the noise"
        " must come from `seed`.",
    )


@check(
    "integrated-gradients/form",
    1,
    "One signed number per pixel and channel",
    public=True,
)
def test_attributions_form(student: Any, rng: Generator) -> None:
    size = (11, 7)
    net = model("power", rng, size)
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    for given, base in ((x, start), (x[None], start[None])):
        reply = student.call("integrated_gradients", given, net, 2, base, 6)
        found = as_attributions(reply, (3, *size), strict=True)
        require(
            (found < 0).any() and (found > 0).any(),
            "the attributions all have one sign: leave their signs as they are, only"
            " drawing takes absolute values.",
        )


@check(
    "integrated-gradients/linear",
    1,
    "On a linear net: weight times (image - baseline)",
    public=True,
)
def test_linear(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (9, 8)
    net = model("power", rng, size)
    target = int(rng.integers(CLASSES))
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    right = weight(net, target) * (x - start).numpy()
    scale = float(np.abs(right).max())
    for n_steps in (4, 10, 50):
        arguments = (x, net, target, start, n_steps)
        found = attribute(student, transcript, arguments, scale)
        off = np.abs(found - right).max() / scale
        times = float(np.median(found / right))
        require(
            off <= EXACT,
            f"on a linear net, with n_steps {n_steps}, the attributions must be weight"
            f" x (image - baseline); yours are {times:.3g} times that in the median,"
            f" and off by up to {off:.1e} of the largest.",
        )
    require_gradient(student, rng)


@check(
    "integrated-gradients/curved",
    2,
    "On a cubic net: the gradients between baseline and image",
    public=True,
)
def test_curved(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, n_steps = (9, 8), 20
    net = model("power", rng, size, power=3)
    target = int(rng.integers(CLASSES))
    x, start = (image(rng.normal(size=(3, *size))) for _ in range(2))
    a, b = (each.numpy().astype(np.float64) for each in (x, start))
    scale = float(np.abs(weight(net, target) * (a**3 - b**3)).max())
    found = attribute(student, transcript, (x, net, target, start, n_steps), scale)
    require_rule(moments(found, weight(net, target), a, b), n_steps)
    require_path(student, rng)


@check("completeness/value", 1, "|sum - (F(x) - F(x'))| / |F(x) - F(x')|", public=True)
def test_completeness(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (8, 6)
    net = model("relu-net", rng, size)
    x, start = (image(3 * rng.normal(size=(3, *size))) for _ in range(2))
    change = logits(net, x) - logits(net, start)
    # A class whose score changes and that is predicted at neither end.
    order = [
        k for k in np.argsort(-np.abs(change)) if k not in _predicted(net, x, start)
    ]
    target, right = int(order[0]), float(rng.uniform(0.1, 0.4))
    made = rng.normal(size=(3, *size))
    made += (change[target] * (1 + right) - made.sum()) / made.size
    arguments = (image(made), x, start, net, target)
    found = number(student, transcript, "completeness", "completeness_error", arguments)
    require(
        abs(found - right) <= 1e-3 * right,
        f"the attributions sum to {made.sum():.4f}, and the class's logit changes by"
        f" {change[target]:.4f}: an error of {right:.4f} of that change; yours is"
        f" {found:.4g}.",
    )


def _predicted(net: Any, *images: Any) -> set[int]:
    return {int(logits(net, image).argmax()) for image in images}


@check("correlation/pixels", 1, "How alike two maps are, pixel by pixel", public=True)
def test_correlation(student: Any, transcript: Transcript, rng: Generator) -> None:
    first, second = _two_attributions(rng, (12, 8))
    right = float(np.corrcoef(map_of(first).ravel(), map_of(second).ravel())[0, 1])
    arguments = (image(first), image(second), 1)
    found = number(student, transcript, "correlation", "map_correlation", arguments)
    require(
        abs(found - right) <= 1e-4,
        f"with cell 1 the correlation of these two maps is {right:.4f}; yours is"
        f" {found:.4g}.",
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
            f" you say {value:.4g}.",
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
