"""What public and hidden checks of problem 5 share: how they ask, what is right, and how they read the reply."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from autograder import nets
from autograder.checking import require
from autograder.checks.problem5_cases import CAUSES, HARMLESS, REMOVES, Case
from autograder.diagnose import Evidence
from autograder.values import Recipe

CLASSES = 6
EXACT = 1e-5  # of the largest value, float32, tiny nets
REAL = 1e-2  # relative L2, trained nets
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Added to what is compared with the known mistakes, so that values near 0 are not compared digit by digit.
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


def model(
    kind: str, rng: np.random.Generator, size: Sequence[int], **options: Any
) -> Recipe:
    """A net that nobody has seen before, for images of `size` (H, W)."""
    options = {
        "classes": CLASSES,
        "size": [3, *size],
        "preprocessing": IMAGENET,
        **options,
    }
    return Recipe(kind, int(rng.integers(2**31)), options)


def image(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def photo(rng: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """A photo of nothing: uint8 (H, W, 3)."""
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def black(recipe: Recipe) -> Tensor:
    """Black as the model takes it, (3, 1, 1), float64."""
    space = recipe.options["preprocessing"]
    mean, std = (
        torch.tensor(space[key], dtype=torch.double) for key in ("mean", "std")
    )
    return (-mean / std)[:, None, None]


def logits(recipe: Recipe, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = nets.build(recipe)(x).double().numpy()
    return found


def array(value: Any) -> np.ndarray | None:
    """The value as float64, or None where it is no array of numbers."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


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
    found = array(value)
    require(found is not None, f"{name}: {what} is no array of numbers.")
    assert found is not None
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
    found = array(value)
    require(found is not None and found.size == 1, f"{name} must be one number.")
    assert found is not None
    number = float(found.reshape(()))
    require(math.isfinite(number), f"{name} is NaN or infinity.")
    return number


@np.errstate(over="ignore")
def off(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, of the right one's largest value."""
    return float(np.abs(found - right).max() / max(np.abs(right).max(), 1e-12))


@np.errstate(over="ignore")
def distance(found: np.ndarray, right: np.ndarray) -> float:
    """Relative L2."""
    norm = max(float(np.linalg.norm(right)), 1e-12)
    return float(np.linalg.norm(found - right)) / norm


def scaled(right: np.ndarray) -> Callable[[Any], Any]:
    """For the comparison with known mistakes: a reply in units of the right one's largest value."""
    unit = max(float(np.abs(right).max()), 1e-12)

    def in_units(reply: Any) -> Any:
        with np.errstate(over="ignore"):  # a reply may hold anything
            return np.asarray(reply, dtype=np.float64) / unit + OFFSET

    return in_units


def check_predicted(found: dict[str, Any], predicted: int) -> None:
    value = as_number(found["predicted"], "'predicted'")
    require(
        value == predicted,
        f"'predicted' is the class with the largest logit, {predicted} here; yours is {value:g}.",
    )


# standing


def standing(
    student: Any, evidence: Evidence, scores: np.ndarray, true: int
) -> dict[str, Any]:
    """What `standing` says of these logits."""
    arguments = (image(scores), true)
    reply = student.call("standing", *arguments, finite=False)
    evidence.note("standing", arguments, reply, _standing_numbers)
    return as_dict(reply, "standing", STANDING)


def _standing_numbers(reply: Any) -> list[float]:
    reply = _entries(reply)
    values = [float(reply[key]) + OFFSET for key in STANDING if key != "top5"]
    return values + [float(k) + OFFSET for k in reply["top5"]]


def _entries(reply: Any) -> dict[str, Any]:
    """A dictionary of a submission, in which what is not there is an error of its own kind."""
    if not isinstance(reply, dict):
        raise TypeError("no dictionary")
    return defaultdict(lambda: None, reply)


def check_standing(reply: dict[str, Any], scores: np.ndarray, true: int) -> None:
    """Every entry of one reply."""
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
        f"{right - 1} of {len(scores)} classes have a larger logit than the true one, so its rank is {right}; "
        f"yours is {rank:g}.",
    )
    for key, k in (("predicted_probability", order[0]), ("true_probability", true)):
        found = as_number(reply[key], repr(key))
        require(
            abs(found - shares[k]) <= 1e-5 + 1e-4 * shares[k],
            f"{key!r} is the softmax of all logits at that class, {shares[k]:.4f} here; yours is {found:.4f}.",
        )
    top = array(reply["top5"])
    require(
        top is not None and top.ndim == 1 and top.tolist() == order[:5],
        f"'top5' lists the five most probable classes (all, where there are fewer), the best first: {order[:5]} here.",
    )


# grad_cam


def grad_cam(
    student: Any,
    evidence: Evidence,
    net: Recipe,
    x: Tensor,
    classes: list[int],
    right: np.ndarray,
) -> np.ndarray:
    """The raw maps (N, h, w) that `grad_cam` gives at the layer `features`."""
    arguments = (x, net, "features", classes)
    reply = student.call("grad_cam", *arguments, finite=False)
    evidence.note("grad-cam", arguments, reply, scaled(right))
    return as_maps(reply, right.shape)


BLANK = "The ReLU may leave nothing: such a map is all zeros, and dividing it by its maximum is 0 / 0."


def as_maps(reply: Any, shape: Sequence[int]) -> np.ndarray:
    require(reply is not None, "grad_cam returned None: end it with `return`.")
    return as_array(reply, "grad_cam", shape, "the stack of raw maps (N, h, w)", BLANK)


def cam_of(net: Recipe, x: Tensor, classes: Sequence[int]) -> np.ndarray:
    """Closed form on features -> global average pooling -> linear: relu(sum_k w_k A^k) / (h w)."""
    built: Any = nets.build(net).eval()
    with torch.no_grad():
        grid = built.features(x).double()  # (N, C, h, w)
        weights = built.head.weight.double()[list(classes)]  # (N, C)
    found = torch.einsum("nc,nchw->nhw", weights, grid).relu()
    return (found / grid[0, 0].numel()).numpy()


# integrated_gradients


def integrated(
    student: Any,
    evidence: Evidence,
    net: Recipe,
    x: Tensor,
    target: int,
    n_steps: int,
) -> np.ndarray:
    """The signed attributions (3, H, W)."""
    arguments = (x, net, target, n_steps)
    reply = student.call("integrated_gradients", *arguments, finite=False)
    right = power_attributions(net, x, target)
    evidence.note("integrated-gradients", arguments, reply, scaled(right))
    require(
        reply is not None, "integrated_gradients returned None: end it with `return`."
    )
    return as_array(reply, "integrated_gradients", x.shape, "the attributions")


def power_attributions(net: Recipe, x: Tensor, target: int) -> np.ndarray:
    """F = sum a x^p + b: what pixel i gains from black to x is a_i (x_i^p - black^p)."""
    built: Any = nets.build(net)
    power = net.options.get("power", 1)
    gain = x.double() ** power - black(net) ** power
    return (built.weight[target].detach().double() * gain).numpy()


# both_maps


def both_maps(
    student: Any,
    evidence: Evidence,
    picture: np.ndarray,
    net: Recipe,
    layer: str,
    true: int,
    n_steps: int,
    size: Sequence[int],
) -> dict[str, Any]:
    """What `both_maps` returns, its arrays checked for their shapes."""
    arguments = (picture, net, layer, true, n_steps)
    reply = student.call("both_maps", *arguments, finite=False)
    cost = 10 if net.kind == "chapter4" else 1
    evidence.note("both-maps", arguments, reply, _maps_numbers, cost=cost)
    found = as_dict(reply, "both_maps", MAPS)
    where = "On a photo that is wider than high the model sees the middle only."
    shape = array(found["seen"])
    require(
        shape is None or shape.shape == (*size, 3),
        f"'seen' is what the model sees of the photo, ({size[0]}, {size[1]}, 3); yours is "
        f"{None if shape is None else shape.shape}: overlays belong on the crop. {where}",
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
    found = array(value)
    require(
        found is not None and found.shape == (2,),
        f"{key!r} holds two values, for the predicted class and for the true one.",
    )
    assert found is not None
    return [float(v) for v in found]


def check_scale(found: np.ndarray, right: np.ndarray, key: str, limit: float) -> None:
    """Two maps against the right ones, both divided by one number, which is the larger maximum."""
    peak = float(right.max())
    if peak == 0:
        require(
            (found == 0).all(),
            f"{key!r}: both maps are blank, so both are all zeros.",
        )
        return
    require(
        found.min() >= 0 and abs(found.max() - 1) <= 0.3,
        f"{key!r}: the largest value of the two maps together must be 1 and none negative; "
        f"yours go from {found.min():.3g} to {found.max():.3g}.",
    )
    ours = [float(m.max() / peak) for m in right]
    theirs = [float(m.max() / found.max()) for m in found]
    require(
        np.allclose(ours, theirs, atol=max(limit, 1e-3)),
        f"{key!r}: on one scale the two maps have the maxima {ours[0]:.3f} (predicted) and {ours[1]:.3f} (true); yours "
        f"have {theirs[0]:.3f} and {theirs[1]:.3f}: divide both by the same number.",
    )
    error = distance(found / found.max(), right / peak)
    require(
        error <= limit,
        f"{key!r}: the maxima are right, but the maps are {error:.1%} off (relative L2).",
    )


def normalised(picture: np.ndarray) -> Tensor:
    """A photo of the net's own size as the net takes it, (3, H, W)."""
    pixels = picture.astype(np.float64).transpose(2, 0, 1) / 255
    mean, std = (np.array(IMAGENET[key])[:, None, None] for key in ("mean", "std"))
    return image((pixels - mean) / std)


def dark_photo(rng: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """A photo that is nearly black."""
    return rng.integers(0, 60, (*size, 3), dtype=np.uint8)


def is_linear_from_black(net: Recipe, x: Tensor) -> bool:
    """Whether no ReLU of a conv-net switches between black and x: Integrated Gradients are exact there by any rule."""
    built: Any = nets.build(net)
    ends = torch.stack([black(net).expand_as(x).to(x), x])
    with torch.no_grad():
        before = built.features[0](ends)
    return bool((before[0] * before[1] > 1e-3).all())


def linear_attributions(net: Recipe, x: Tensor, target: int) -> np.ndarray:
    """(x - black) x gradient, (3, H, W)."""
    point = x[None].clone().requires_grad_()
    score = nets.build(net)(point)[0, target]
    gradient = torch.autograd.grad(score, point)[0][0]
    return np.asarray(((x - black(net)) * gradient).double())


def enlarged(raw: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(N, h, w) to (N, H, W), bilinear between the centres of the cells."""
    grid = torch.from_numpy(raw)[None]
    large = interpolate(grid, size=tuple(size), mode="bilinear", align_corners=False)
    return large[0].numpy()


# cover_test


def cover_test(
    student: Any,
    evidence: Evidence,
    net: Recipe,
    x: Tensor,
    true: int,
    box: Sequence[int],
) -> dict[str, Any]:
    arguments = (x, net, true, list(box))
    reply = student.call("cover_test", *arguments, finite=False)
    evidence.note("cover-test", arguments, reply, _cover_numbers)
    return as_dict(reply, "cover_test", ("covered", "elsewhere"))


def _cover_numbers(reply: Any) -> np.ndarray:
    reply = _entries(reply)
    both = [float(reply["covered"]), *(float(v) for v in reply["elsewhere"])]
    return np.array(both) + OFFSET


def covers(
    net: Recipe, x: Tensor, true: int, box: Sequence[int]
) -> tuple[float, list[float]]:
    """The right answer: the true class's probability with the box covered, and with each box of the tiling that does
    not touch it.
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
        "'covered' is the true class's probability once the box is filled with the image's mean colour, one value per "
        f"channel: {covered:.4f} here; yours is {value:.4f}.",
    )
    count = len(elsewhere)
    values = as_array(
        found["elsewhere"],
        "cover_test",
        (count,),
        "'elsewhere' (one place per box of the tiling that doesn't touch the suspect)",
    )
    worst = int(np.abs(values - elsewhere).argmax())
    require(
        abs(values[worst] - elsewhere[worst]) <= 1e-5,
        "'elsewhere' holds the same probability with one other place covered at a time, in reading order: "
        f"{elsewhere[worst]:.4f} at place {worst}; yours is {values[worst]:.4f}.",
    )


# find_cause


def find_cause(
    student: Any,
    evidence: Evidence,
    net: Recipe,
    picture: Tensor,
    true: int,
    changes: dict[str, Tensor],
) -> tuple[str, dict[str, float]]:
    """The cause that is named, and the evidence for it. Without evidence a name is worth nothing."""
    arguments = (picture, net, true, changes)
    reply = student.call("find_cause", *arguments, finite=False)
    # A trained model takes longer to load than a tiny one takes to run.
    cost = 10 if net.kind == "chapter4" else 1
    evidence.note("find-cause", arguments, reply, _cause_numbers, cost=cost)
    found = as_dict(reply, "find_cause", ("cause",))
    cause = found["cause"]
    require(
        isinstance(cause, str) and cause in CAUSES,
        f"'cause' is one of {', '.join(map(repr, CAUSES))}; yours is {cause!r:.60}.",
    )
    shares = found.get("evidence")
    require(
        isinstance(shares, dict) and shares,
        f"a cause is named ({cause}) without the evidence for it: return under 'evidence' what each change does.",
    )
    assert isinstance(shares, dict)
    missing = [key for key in changes if key not in shares]
    require(
        not missing,
        f"a cause is named ({cause}) without the evidence for it: {', '.join(map(repr, missing))} "
        f"{'is' if len(missing) == 1 else 'are'} missing under 'evidence'.",
    )
    return str(cause), {
        key: as_number(shares[key], f"evidence {key!r}") for key in changes
    }


def _cause_numbers(reply: Any) -> list[float]:
    reply = _entries(reply)
    shares = _entries(reply["evidence"])
    ordered = [float(shares[key]) for key in (*REMOVES, HARMLESS)]
    return [CAUSES.index(reply["cause"]) + OFFSET, *(v + OFFSET for v in ordered)]


def check_cause(
    named: tuple[str, dict[str, float]], cause: str, right: dict[str, float]
) -> None:
    """Evidence first: a name earns nothing without it."""
    found, shares = named
    for change, share in right.items():
        require(
            abs(shares[change] - share) <= 1e-6,
            f"the evidence for {change!r} is the share of its pictures that the model gives the true class, "
            f"{share:.3f} here; yours is {shares[change]:.3f}.",
        )
    told = ", ".join(f"{change} {share:.2f}" for change, share in right.items())
    require(
        found == cause,
        f"the evidence is right ({told}), but it shows {cause!r} and not {found!r}.",
    )


def ask_case(student: Any, evidence: Evidence, case: Case) -> None:
    named = find_cause(
        student, evidence, case.model, case.image, case.true_class, case.changes
    )
    check_cause(named, case.cause, case.evidence)
