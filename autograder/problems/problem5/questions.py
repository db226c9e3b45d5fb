"""What the public and the hidden checks of problem 5 share.

They share how they ask a student's function, what is right, and how they read the
reply.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn.functional import interpolate

import chapter4
from autograder.checking.diagnose import Transcript
from autograder.checking.runner import require
from autograder.problems import common
from autograder.problems.common import (
    array,
    distance,
    image,
    integral,
    require_array,
    said,
    share_of,
)
from autograder.problems.problem5.cases import CAUSES, HARMLESS, REMOVES, Case
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe

CLASSES = 6
EXACT = 1e-5  # relative to the largest value; float32, tiny nets
CLOSE = 1e-4  # the same, between two ways of computing a value
REAL = 1e-2  # relative L2, for trained nets
STEPS = 160  # with so many steps all rules for a path's points agree
NETS = 3  # one of them may be nearly linear on the way
NO_FORMULA = (
    "the attributions are right on a model that has a formula for them, and not on a"
    " small convolutional net: "
)
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Added to all values that are compared with the known mistakes. Otherwise values near 0
# would be compared digit by digit.
OFFSET = 3.0

STANDING = (
    "predicted",
    "predicted_probability",
    "top5",
    "true",
    "true_rank",
    "true_probability",
)
MAPS = ("seen", "predicted", "gradcam", "ig", "blank", "delta")
WITHOUT_TRUE = (
    "a report on a mistake needs the true class's numbers beside the predicted class's."
)


def model(kind: str, rng: Generator, size: Sequence[int], **options: Any) -> Recipe:
    """A net that nobody has seen before, for images of ``size`` (H, W)."""
    options = {"classes": CLASSES, "preprocessing": IMAGENET, **options}
    return common.model(kind, rng, size, **options)


def photo(rng: Generator, size: Sequence[int]) -> np.ndarray:
    """A photo of random pixels: uint8 (H, W, 3)."""
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def black(recipe: Recipe) -> Tensor:
    """Black as the model takes it, normalised, (3, 1, 1), float64."""
    space = recipe.options["preprocessing"]
    mean, std = (
        torch.tensor(space[key], dtype=torch.double) for key in ("mean", "std")
    )
    return (-mean / std)[:, None, None]


def logits(recipe: Recipe, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = tiny_models.build(recipe)(x).double().numpy()
    return found


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def as_dict(reply: Any, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """The reply as a dictionary with these keys."""
    require(reply is not None, f"{name} returned None: end it with `return`.")
    require(
        isinstance(reply, dict),
        f"{name} must return a dictionary with {', '.join(keys)}.",
    )
    missing = [key for key in keys if key not in reply]
    words = ", ".join(map(repr, missing))
    verb = "is" if len(missing) == 1 else "are"
    why = WITHOUT_TRUE if any(key.startswith("true") for key in missing) else ""
    require(
        not missing, f"{words} {verb} missing in what {name} returns. {why}".strip()
    )
    return dict(reply)


def as_array(
    value: Any, name: str, shape: Sequence[int], what: str, nan: str = ""
) -> np.ndarray:
    """The value as a finite array of this shape."""
    found = require_array(value, f"{name}: {what} is no array of numbers.")
    hint = ""
    if found.size == math.prod(shape):
        hint = ": the same numbers in another shape"
    require(
        found.shape == tuple(shape),
        f"{name}: {what} has the shape {found.shape} instead of {tuple(shape)}{hint}.",
    )
    require(np.isfinite(found).all(), f"{name}: {what} holds NaN or infinity. {nan}")
    return found


def as_number(value: Any, name: str) -> float:
    message = f"{name} must be one number."
    found = require_array(value, message, lambda found: found.size == 1)
    number = float(found.reshape(()))
    require(math.isfinite(number), f"{name} is NaN or infinity.")
    return number


@np.errstate(over="ignore")
def off(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, relative to the largest right value."""
    return float(np.abs(found - right).max() / max(np.abs(right).max(), 1e-12))


def scaled(right: np.ndarray) -> Callable[[Any], Any]:
    """A function that gives a reply in units of the largest right value.

    The comparison with known mistakes uses it.
    """
    unit = max(float(np.abs(right).max()), 1e-12)

    def in_units(reply: Any) -> Any:
        with np.errstate(over="ignore"):  # a reply may hold anything
            return np.asarray(reply, dtype=np.float64) / unit + OFFSET

    return in_units


def check_predicted(found: dict[str, Any], predicted: int) -> None:
    value = as_number(found["predicted"], "'predicted'")
    require(
        value == predicted,
        f"'predicted' is the class with the largest logit, {predicted} here; yours is"
        f" {value:g}.",
    )


# standing


def standing(
    student: Any, transcript: Transcript, scores: np.ndarray, true: int
) -> dict[str, Any]:
    """What ``standing`` returns for these logits."""
    arguments = (image(scores), true)
    reply = student.call("standing", *arguments, finite=False)
    transcript.note("standing", arguments, reply, _standing_numbers)
    return as_dict(reply, "standing", STANDING)


def _standing_numbers(reply: Any) -> list[float]:
    reply = _entries(reply)
    values = [float(reply[key]) + OFFSET for key in STANDING if key != "top5"]
    return values + [float(k) + OFFSET for k in reply["top5"]]


def _entries(reply: Any) -> dict[str, Any]:
    """A submission's dictionary, with None for every missing entry.

    Raises:
        TypeError: If the reply is no dictionary.
    """
    if not isinstance(reply, dict):
        raise TypeError("no dictionary")
    return defaultdict(lambda: None, reply)


def check_standing(reply: dict[str, Any], scores: np.ndarray, true: int) -> None:
    """Check every entry of one reply."""
    scores = scores.astype(np.float32).astype(np.float64)
    order = [int(k) for k in np.argsort(-scores)]
    shares = softmax(scores)
    check_predicted(reply, order[0])
    require(
        as_number(reply["true"], "'true'") == true,
        f"'true' is the class that was handed over, {true} here.",
    )
    rank, right = as_number(reply["true_rank"], "'true_rank'"), order.index(true) + 1
    require(
        rank == right,
        f"{right - 1} of {len(scores)} classes have a larger logit than the true one,"
        f" so its rank is {right}; yours is {rank:g}.",
    )
    for key, k in (("predicted_probability", order[0]), ("true_probability", true)):
        found = as_number(reply[key], repr(key))
        require(
            abs(found - shares[k]) <= 1e-5 + 1e-4 * shares[k],
            f"{key!r} is the softmax of all logits at that class, {shares[k]:.4f} here;"
            f" yours is {found:.4f}.",
        )
    top = array(reply["top5"])
    require(
        top is not None and top.ndim == 1 and top.tolist() == order[:5],
        "'top5' lists the five most probable classes (all, where there are fewer), the"
        f" best first: {order[:5]} here.",
    )


# grad_cam


def grad_cam(
    student: Any,
    transcript: Transcript,
    net: Recipe,
    x: Tensor,
    classes: list[int],
    right: np.ndarray,
) -> np.ndarray:
    """The raw maps (N, h, w) that ``grad_cam`` returns at the layer ``features``."""
    arguments = (x, net, "features", classes)
    reply = student.call("grad_cam", *arguments, finite=False)
    transcript.note("grad-cam", arguments, reply, scaled(right))
    return as_maps(reply, right.shape)


BLANK = (
    "The ReLU may leave nothing: such a map is all zeros, and dividing it by its"
    " maximum is 0 / 0."
)


def as_maps(reply: Any, shape: Sequence[int]) -> np.ndarray:
    require(reply is not None, "grad_cam returned None: end it with `return`.")
    return as_array(reply, "grad_cam", shape, "the stack of raw maps (N, h, w)", BLANK)


def cam_of(net: Recipe, x: Tensor, classes: Sequence[int]) -> np.ndarray:
    """Grad-CAM's closed form, (N, h, w), for a net with global average pooling.

    On features -> global average pooling -> linear it is
    ``relu(sum_k w_k A^k) / (h w)``.
    """
    built: Any = tiny_models.build(net).eval()
    with torch.no_grad():
        grid = built.features(x).double()  # (N, C, h, w)
        weights = built.head.weight.double()[list(classes)]  # (N, C)
    found = torch.einsum("nc,nchw->nhw", weights, grid).relu()
    return (found / grid[0, 0].numel()).numpy()


def cam_inside(net: Recipe, x: Tensor, layer: str, classes: list[int]) -> np.ndarray:
    """The book's Grad-CAM in eval mode, raw (N, h, w); it needs no closed form."""
    cam = chapter4.GradCAM(tiny_models.build(net).eval(), layer)
    found = [cam.generate_cam(one, k).raw for one, k in zip(x, classes, strict=True)]
    return np.stack(found).astype(np.float64)


def require_inside(
    student: Any, transcript: Transcript, rng: Generator, count: int
) -> None:
    """Ask once more at a layer before the net's ReLU, where no closed form helps.

    The gradient differs from cell to cell there.
    """
    size = (10, 12)
    while True:
        net = model("conv-net", rng, size)
        x = image(rng.normal(size=(count, 3, *size)))
        classes = [int(k) for k in rng.permutation(CLASSES)[:count]]
        right = cam_inside(net, x, "features.0", classes)
        if (right.min(axis=(1, 2)) == 0).all() and right.any(axis=(1, 2)).all():
            break
    arguments = (x, net, "features.0", classes)
    reply = student.call("grad_cam", *arguments, finite=False)
    transcript.note("grad-cam", arguments, reply, scaled(right))
    found = off(as_maps(reply, right.shape), right)
    require(
        found <= CLOSE,
        "at the last layer, where Grad-CAM has a closed form, yours is right; at the"
        f" layer 'features.0' of the same kind of net it is off by up to"
        f" {said(found, 2)} of its maximum. A channel's weight is the mean of the"
        " gradient over the layer's cells.",
    )


def in_training(net: Recipe) -> Recipe:
    """The same net, in training mode."""
    return Recipe(net.kind, net.seed, {**net.options, "training": True})


# integrated_gradients


def require_gradient(student: Any, rng: Generator) -> None:
    """Ask once more, on a net where no formula but the gradient helps.

    The net is linear between black and the image.
    """
    size = (7, 6)
    while True:
        net = model("conv-net", rng, size)
        x = normalised(dark_photo(rng, size))
        if is_linear_from_black(net, x):
            break
    target = int(rng.integers(CLASSES))
    right = linear_attributions(net, x, target)
    reply = student.call("integrated_gradients", x, net, target, 5, finite=False)
    found = as_array(reply, "integrated_gradients", x.shape, "the attributions")
    require(
        off(found, right) <= 1e-3,
        f"{NO_FORMULA}it is linear between black and this image, and yours is off by up"
        f" to {said(off(found, right), 2)} of the largest attribution.",
    )


def require_path(student: Any, rng: Generator) -> None:
    """Ask once more, on nets whose gradient jumps on the way; any rule is right."""
    size = (9, 8)
    for _ in range(NETS):
        net = model("stateful", rng, size)
        x = normalised(photo(rng, size))
        target = int(rng.integers(CLASSES))
        right = integral(net, x, black(net).expand_as(x), target)
        arguments = (x, net, target, STEPS)
        reply = student.call("integrated_gradients", *arguments, finite=False)
        found = as_array(reply, "integrated_gradients", x.shape, "the attributions")
        require(
            distance(found, right) <= 0.05,
            f"{NO_FORMULA}with {STEPS} steps any rule is right to a few percent; yours"
            f" is off by {share_of(distance(found, right))} (relative L2).",
        )


def integrated(
    student: Any,
    transcript: Transcript,
    net: Recipe,
    x: Tensor,
    target: int,
    n_steps: int,
) -> np.ndarray:
    """The signed attributions (3, H, W)."""
    arguments = (x, net, target, n_steps)
    reply = student.call("integrated_gradients", *arguments, finite=False)
    right = power_attributions(net, x, target)
    transcript.note("integrated-gradients", arguments, reply, scaled(right))
    require(
        reply is not None, "integrated_gradients returned None: end it with `return`."
    )
    return as_array(reply, "integrated_gradients", x.shape, "the attributions")


def power_attributions(net: Recipe, x: Tensor, target: int) -> np.ndarray:
    """The right attributions, (3, H, W), for ``F = sum a x^p + b``.

    From black to x, pixel i gains ``a_i (x_i^p - black^p)``.
    """
    built: Any = tiny_models.build(net)
    power = net.options.get("power", 1)
    gain = x.double() ** power - black(net) ** power
    return (built.weight[target].detach().double() * gain).numpy()


# both_maps


def both_maps(
    student: Any,
    transcript: Transcript,
    picture: np.ndarray,
    net: Recipe,
    layer: str,
    true: int,
    n_steps: int,
    size: Sequence[int],
) -> dict[str, Any]:
    """What ``both_maps`` returns, with the shapes of its arrays checked."""
    arguments = (picture, net, layer, true, n_steps)
    reply = student.call("both_maps", *arguments, finite=False)
    cost = 10 if net.kind == "chapter4" else 1
    transcript.note("both-maps", arguments, reply, _maps_numbers, cost=cost)
    found = as_dict(reply, "both_maps", MAPS)
    where = "On a photo that is wider than high the model sees the middle only."
    shape = array(found["seen"])
    require(
        shape is None or shape.shape == (*size, 3),
        f"'seen' is what the model sees of the photo, ({size[0]}, {size[1]}, 3); yours"
        f" is {None if shape is None else shape.shape}: overlays belong on the crop."
        f" {where}",
    )
    found["seen"] = as_array(found["seen"], "both_maps", (*size, 3), "'seen'")
    for key in ("gradcam", "ig"):
        what = f"{key!r} (predicted class first, then the true one)"
        found[key] = as_array(found[key], "both_maps", (2, *size), what, BLANK)
    return found


def _maps_numbers(reply: Any) -> np.ndarray:
    reply = _entries(reply)
    parts = [
        np.asarray(reply[key], dtype=np.float64) for key in ("seen", "gradcam", "ig")
    ]
    return np.concatenate([part.ravel() for part in parts]) + OFFSET


def as_pair(value: Any, key: str) -> list[float]:
    found = require_array(
        value,
        f"{key!r} holds two values, for the predicted class and for the true one.",
        lambda found: found.shape == (2,),
    )
    return [float(v) for v in found]


def check_scale(found: np.ndarray, right: np.ndarray, key: str, limit: float) -> None:
    """Check two maps that are divided by one number, the larger of their maxima."""
    peak = float(right.max())
    if peak == 0:
        require(
            (found == 0).all(), f"{key!r}: both maps are blank, so both are all zeros."
        )
        return
    require(
        found.min() >= 0 and abs(found.max() - 1) <= 0.3,
        f"{key!r}: the largest value of the two maps together must be 1 and none"
        f" negative; yours go from {said(found.min())} to {said(found.max())}.",
    )
    ours = [float(m.max() / peak) for m in right]
    theirs = [float(m.max() / found.max()) for m in found]
    require(
        np.allclose(ours, theirs, atol=max(limit, 1e-3)),
        f"{key!r}: on one scale the two maps have the maxima {ours[0]:.3f} (predicted)"
        f" and {ours[1]:.3f} (true); yours have {theirs[0]:.3f} and {theirs[1]:.3f}:"
        " divide both by the same number.",
    )
    error = distance(found / found.max(), right / peak)
    require(
        error <= limit,
        f"{key!r}: the maxima are right, but the maps are off by {share_of(error)}"
        " (relative L2).",
    )


def normalised(picture: np.ndarray) -> Tensor:
    """A photo of the net's own size as the net takes it: normalised, (3, H, W)."""
    pixels = picture.astype(np.float64).transpose(2, 0, 1) / 255
    mean, std = (np.array(IMAGENET[key])[:, None, None] for key in ("mean", "std"))
    return image((pixels - mean) / std)


def dark_photo(rng: Generator, size: Sequence[int]) -> np.ndarray:
    """A photo that is nearly black."""
    return rng.integers(0, 60, (*size, 3), dtype=np.uint8)


def is_linear_from_black(net: Recipe, x: Tensor) -> bool:
    """Whether no ReLU of a conv-net switches between black and x.

    Then every rule for the path's points gives exact Integrated Gradients.
    """
    built: Any = tiny_models.build(net)
    ends = torch.stack([black(net).expand_as(x).to(x), x])
    with torch.no_grad():
        before = built.features[0](ends)
    return bool((before[0] * before[1] > 1e-3).all())


def linear_attributions(net: Recipe, x: Tensor, target: int) -> np.ndarray:
    """``(x - black) * gradient``, (3, H, W)."""
    point = x[None].clone().requires_grad_()
    score = tiny_models.build(net)(point)[0, target]
    gradient = torch.autograd.grad(score, point)[0][0]
    return np.asarray(((x - black(net)) * gradient).double())


def enlarged(raw: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Enlarge maps (N, h, w) to (N, H, W), bilinear between the cells' centres."""
    grid = torch.from_numpy(raw)[None]
    large = interpolate(grid, size=tuple(size), mode="bilinear", align_corners=False)
    return large[0].numpy()


# cover_test


def cover_test(
    student: Any,
    transcript: Transcript,
    net: Recipe,
    x: Tensor,
    true: int,
    box: Sequence[int],
) -> dict[str, Any]:
    arguments = (x, net, true, list(box))
    reply = student.call("cover_test", *arguments, finite=False)
    transcript.note("cover-test", arguments, reply, _cover_numbers)
    return as_dict(reply, "cover_test", ("covered", "elsewhere"))


def _cover_numbers(reply: Any) -> np.ndarray:
    reply = _entries(reply)
    both = [float(reply["covered"]), *(float(v) for v in reply["elsewhere"])]
    return np.array(both) + OFFSET


def covers(
    net: Recipe, x: Tensor, true: int, box: Sequence[int]
) -> tuple[float, list[float]]:
    """The right answer of ``cover_test``.

    Returns:
        The true class's probability with the box covered, and a list of the same
        probability with each other box of the tiling covered that does not overlap with
        this one.
    """
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    places = [
        (row, column)
        for row in range(0, x.shape[1] - height + 1, height)
        for column in range(0, x.shape[2] - width + 1, width)
        if row >= bottom
        or row + height <= top
        or column >= right
        or column + width <= left
    ]
    covered = x.repeat(len(places) + 1, 1, 1, 1)
    for copy, (row, column) in zip(covered, [(top, left), *places], strict=True):
        mean = x.mean(dim=(1, 2))[:, None, None]
        copy[:, row : row + height, column : column + width] = mean
    shares = [float(softmax(row)[true]) for row in logits(net, covered)]
    return shares[0], shares[1:]


def check_cover(found: dict[str, Any], covered: float, elsewhere: list[float]) -> None:
    value = as_number(found["covered"], "'covered'")
    require(
        abs(value - covered) <= 1e-5,
        "'covered' is the true class's probability once the box is filled with the"
        f" image's mean colour, one value per channel: {covered:.4f} here; yours is"
        f" {value:.4f}.",
    )
    count = len(elsewhere)
    others = array(found["elsewhere"])
    require(
        others is None or others.size > 0,
        "'elsewhere' is missing: cover other places, too.",
    )
    values = as_array(
        found["elsewhere"],
        "cover_test",
        (count,),
        "'elsewhere' (one place for each tile that doesn't overlap with the box)",
    )
    worst = int(np.abs(values - elsewhere).argmax())
    require(
        abs(values[worst] - elsewhere[worst]) <= 1e-5,
        "'elsewhere' holds the same probability with one other place covered at a"
        f" time, in reading order: {elsewhere[worst]:.4f} at place {worst}; yours is"
        f" {values[worst]:.4f}.",
    )


# find_cause


def find_cause(
    student: Any,
    transcript: Transcript,
    net: Recipe,
    picture: Tensor,
    true: int,
    changes: dict[str, Tensor],
) -> tuple[str, dict[str, float]]:
    """The cause that ``find_cause`` names, and the share of each change.

    Without these shares, the name of a cause is worth nothing.
    """
    arguments = (picture, net, true, changes)
    reply = student.call("find_cause", *arguments, finite=False)
    # A trained model takes longer to load than a tiny one takes to run.
    cost = 10 if net.kind == "chapter4" else 1
    transcript.note("find-cause", arguments, reply, _cause_numbers, cost=cost)
    found = as_dict(reply, "find_cause", ("cause",))
    cause = found["cause"]
    require(
        isinstance(cause, str) and cause in CAUSES,
        f"'cause' is one of {', '.join(map(repr, CAUSES))}; yours is {cause!r:.60}.",
    )
    shares = found.get("evidence")
    require(
        isinstance(shares, dict) and shares,
        f"a cause is named ({cause}) without the evidence for it: return under"
        " 'evidence' what each change does.",
    )
    assert isinstance(shares, dict)
    missing = [key for key in changes if key not in shares]
    require(
        not missing,
        f"a cause is named ({cause}) without the evidence for it:"
        f" {', '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'}"
        " missing under 'evidence'.",
    )
    return str(cause), {
        key: as_number(
            shares[key],
            f"a cause is named ({cause}) without the evidence for it: evidence {key!r}",
        )
        for key in changes
    }


def _cause_numbers(reply: Any) -> list[float]:
    reply = _entries(reply)
    shares = _entries(reply["evidence"])
    ordered = [float(shares[key]) for key in (*REMOVES, HARMLESS)]
    return [CAUSES.index(reply["cause"]) + OFFSET, *(v + OFFSET for v in ordered)]


def check_cause(
    named: tuple[str, dict[str, float]], cause: str, right: dict[str, float]
) -> None:
    """Check the shares first: without them, the name of a cause earns nothing."""
    require_evidence(named, right)
    listed = ", ".join(f"{change} {share:.2f}" for change, share in right.items())
    require(
        named[0] == cause,
        f"the evidence is right ({listed}), but it shows {cause!r} and not"
        f" {named[0]!r}.",
    )


def require_evidence(
    named: tuple[str, dict[str, float]], right: dict[str, float]
) -> None:
    """Check the share of each change, whatever cause is named."""
    for change, share in right.items():
        require(
            abs(named[1][change] - share) <= 1e-6,
            f"the evidence for {change!r} is the share of its pictures that the model"
            f" gives the true class, {share:.3f} here; yours is"
            f" {named[1][change]:.3f}.",
        )


def ask_case(student: Any, transcript: Transcript, case: Case) -> None:
    named = find_cause(
        student, transcript, case.model, case.image, case.true_class, case.changes
    )
    check_cause(named, case.cause, case.evidence)


def require_counting(student: Any, transcript: Transcript, rng: Generator) -> None:
    """Ask once more with shares that nobody can guess.

    The model is right on some pictures of each change, and wrong on others.
    """
    net, true, hits, misses = answered(rng)
    changes, shares = {}, {}
    for change in (*REMOVES, HARMLESS):
        right, wrong = (int(n) for n in rng.integers(0, 5, 2))
        right += right + wrong == 0
        pictures = torch.cat([_some(hits, right, rng), _some(misses, wrong, rng)])
        changes[change] = pictures[torch.from_numpy(rng.permutation(right + wrong))]
        shares[change] = right / (right + wrong)
    named = find_cause(student, transcript, net, misses[0], true, changes)
    require_evidence(named, shares)


def _some(pictures: Tensor, count: int, rng: Generator) -> Tensor:
    return pictures[torch.from_numpy(rng.permutation(len(pictures))[:count])]


def surest(net: Recipe, pictures: Tensor, true: int) -> list[int]:
    """The pictures' numbers, by the true class's probability, the largest first."""
    shares = np.array([softmax(row)[true] for row in logits(net, pictures)])
    return [int(i) for i in np.argsort(-shares)]


def answered(rng: Generator) -> tuple[Recipe, int, Tensor, Tensor]:
    """A net, a class, pictures that the net gives this class, and pictures of others.

    No picture's answer is close to another class.
    """
    size = (6, 5)
    while True:
        net = model("relu-net", rng, size)
        x = image(rng.normal(size=(200, 3, *size)))
        scores = logits(net, x)
        best, second = np.sort(scores, axis=1)[:, :-3:-1].T
        clear = best - second > 0.02
        answers = scores.argmax(axis=1)
        for true in rng.permutation(CLASSES):
            hits, misses = (x[clear & (answers == true)], x[clear & (answers != true)])
            if len(hits) >= 20 and len(misses) >= 40:
                return net, int(true), hits, misses
