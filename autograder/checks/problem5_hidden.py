"""Problem 5, checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.checking import check, credit, require
from autograder.checks.problem5_asking import (
    CLASSES,
    EXACT,
    REAL,
    as_array,
    as_maps,
    as_pair,
    ask_case,
    black,
    both_maps,
    cam_of,
    check_cause,
    check_cover,
    check_predicted,
    check_scale,
    check_standing,
    cover_test,
    covers,
    enlarged,
    find_cause,
    grad_cam,
    image,
    integrated,
    logits,
    model,
    normalised,
    off,
    photo,
    power_attributions,
    standing,
)
from autograder.checks.problem5_cases import (
    HARMLESS,
    REMOVES,
    classifier,
    make_case,
    own_classifier,
)
from autograder.diagnose import Evidence
from autograder.student import StudentError
from chapter4.shapes import make_shape


@check("standing/rank", 1, "The rank at both ends, and of the unlikely", public=False)
def test_rank(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    certain = rng.permutation([150.0, -10.0, -30.0, -60.0, -61.0, -62.0, -90.0])
    scores = rng.normal(size=8)
    order = np.argsort(-scores)
    # Of these, all classes but one have a probability that float32 rounds to 0.
    asked = [(scores, int(order[0])), (scores, int(order[-1]))]
    asked += [(certain, int(np.argsort(-certain)[place])) for place in (2, 5)]
    replies = [standing(student, evidence, values, true) for values, true in asked]
    for reply, (values, true) in zip(replies, asked, strict=True):
        check_standing(reply, values, true)


@check("standing/few-classes", 1, "Fewer than five classes", public=False)
def test_few(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    scores = rng.normal(size=3)
    true = int(rng.integers(3))
    try:
        reply = standing(student, evidence, scores, true)
    except StudentError as error:
        require(
            error.kind != "raised",
            f"with three classes {error}. Not every model has five: 'top5' lists all that there are.",
        )
        raise
    check_standing(reply, scores, true)


@check("grad-cam/batch", 1, "Each image of a batch has its own class", public=False)
def test_batch(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    size = (14, 10)
    while True:
        net = model("conv-net", rng, size)
        x = image(rng.normal(size=(4, 3, *size)))
        classes = [int(k) for k in rng.permutation(CLASSES)[:4]]
        right = cam_of(net, x, classes)
        # One of the maps is nowhere 0, so that a minimum taken off shows.
        if (right.min(axis=(1, 2)) > 0.02 * right.max()).any():
            break
    found = grad_cam(student, evidence, net, x, classes, right)
    wrong = [i for i in range(4) if off(found[i], right[i]) > EXACT]
    require(
        not wrong,
        f"four images with the classes {classes}: the maps of number {', '.join(str(i + 1) for i in wrong)} are wrong. "
        "Image i has class classes[i].",
    )


@check("grad-cam/blank", 1, "A blank map is zeros", public=False)
def test_blank(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    net, x, target = _blank(rng, (9, 8))
    other = next(k for k in range(CLASSES) if cam_of(net, x[None], [k]).any())
    both = torch.stack([x, x])
    right = cam_of(net, both, [target, other])
    found = grad_cam(student, evidence, net, both, [target, other], right)
    require(
        (found[0] == 0).all() and off(found[1], right[1]) <= EXACT,
        "where every weighted sum is negative the map is all zeros, and its neighbour in the batch stays as it is.",
    )


def _blank(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Any, Tensor, int]:
    """A net, an image and a class whose map is all zeros, though others are not."""
    while True:
        net = model("conv-net", rng, size)
        x = normalised(photo(rng, size))
        cams = [cam_of(net, x[None], [k]) for k in range(CLASSES)]
        best = int(logits(net, x[None])[0].argmax())
        empty = [k for k in range(CLASSES) if not cams[k].any() and k != best]
        if empty and cams[best].any():
            return net, x, empty[0]


@check(
    "grad-cam/courtesy", 1, "In eval mode; hooks gone, model as before", public=False
)
def test_courtesy(student: Any, rng: np.random.Generator) -> None:
    size = (7, 6)
    net = model("stateful", rng, size, training=True)
    x = image(rng.normal(size=(3, 3, *size)))
    classes = [int(k) for k in rng.integers(CLASSES, size=3)]
    right = cam_of(net, x, classes)
    seen = student.observe("grad_cam", x, net, "features", classes, finite=False)
    found = as_maps(seen.value, right.shape)
    # All but the first are the worker's word. To forge them is more work than to do as asked.
    after = seen.models[0].changed
    complaints = []
    if off(found, right) > 1e-4:
        complaints.append(
            "the model came in training mode and was explained in it: call model.eval() first"
        )
    if "hooks" in after:
        complaints.append(
            "hooks were left behind in the model: keep the handle and call handle.remove() in `finally`"
        )
    if "mode" in after:
        complaints.append(
            "the model came back in another mode: remember model.training and put it back"
        )
    if seen.changed:
        complaints.append("the images that were handed over have changed")
    if complaints:
        credit(max(0, 1 - len(complaints) / 2), "; ".join(complaints) + ".")


@check("integrated-gradients/path", 2, "The mean over the whole path", public=False)
def test_path(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    size, n_steps, asked = (8, 6), 64, []
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    for options in ({}, {"preprocessing": half}):
        net = model("power", rng, size, power=3, **options)
        x = image(rng.uniform(-0.9, 1.5, (3, *size)))
        target = int(rng.integers(CLASSES))
        found = integrated(student, evidence, net, x, target, n_steps)
        asked.append((found, power_attributions(net, x, target)))
    for found, right in asked:
        require(
            off(found, right) <= 4 / n_steps,
            f"with {n_steps} steps the attributions of a cubic model are right to a few percent by any rule; yours are "
            f"off by up to {off(found, right):.1%} of the largest: (x - black) x the MEAN gradient from black to x.",
        )


@check("both-maps/place", 1, "Grad-CAM lies where it belongs", public=False)
def test_place(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    net: Any = own_classifier("shapes-logo")
    while True:
        seed, index = int(rng.integers(2**31)), int(rng.integers(10_000))
        sample = make_shape(index, seed=seed, logo_probability=1)
        picture = photo(rng, (64, 100))
        picture[:, 18:82] = sample.image
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float() / 255
        x = net.preprocessing.normalize(pixels)
        with torch.no_grad():
            grid, scores = net.features(x)[0].double(), net(x)[0]
        predicted, true = (int(k) for k in scores.argsort(descending=True)[:2])
        weights = net.fc.weight.detach().double()[[predicted, true]]
        raw = torch.einsum("nc,chw->nhw", weights, grid).relu()
        drawn = enlarged(raw.numpy(), (64, 64))
        peaks = drawn.max(axis=(1, 2))
        if peaks.min() > 0.05 * peaks.max() and float(scores[predicted] - scores[true]) > 0.1:  # fmt: skip
            break
    recipe = classifier("shapes-logo")
    found = both_maps(student, evidence, picture, recipe, "layer4", true, 2, (64, 64))
    check_predicted(found, predicted)
    check_scale(found["gradcam"], drawn, "gradcam", REAL)


@check("both-maps/blank", 1, "Blank flags and completeness errors", public=False)
def test_flags(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    size, n_steps = (12, 10), 2
    while True:
        net = model("conv-net", rng, size)
        picture = photo(rng, size)
        x = normalised(picture)
        scores = logits(net, x[None])[0]
        predicted = int(scores.argmax())
        empty = [k for k in range(CLASSES) if not cam_of(net, x[None], [k]).any()]
        if empty and predicted not in empty:
            break
    found = both_maps(
        student, evidence, picture, net, "features", empty[0], n_steps, size
    )
    require(
        as_pair(found["blank"], "blank") == [0, 1],
        "'blank' says for the predicted class and for the true one whether Grad-CAM's ReLU left nothing: here False "
        f"and True; yours is {found['blank']!r:.60}.",
    )
    require(
        (found["gradcam"][1] == 0).all(), "'gradcam': a blank map is drawn as zeros."
    )
    gain = scores - logits(net, black(net).expand(1, *x.shape).float())[0]
    deltas = as_pair(found["delta"], "delta")
    for k, delta in zip((predicted, empty[0]), deltas, strict=True):
        own = student.call("integrated_gradients", x, net, k, n_steps)
        total = as_array(own, "integrated_gradients", x.shape, "the attributions").sum()
        right = abs(total - gain[k]) / abs(gain[k])
        require(
            abs(delta - right) <= 1e-3 + 1e-3 * right,
            "'delta' is |sum of the signed attributions - (F(x) - F(black))| / |F(x) - F(black)|, before any scaling: "
            f"{right:.4f} for your attributions of class {k}; yours is {delta:.4f}.",
        )


@check("cover-test/tiling", 1, "A suspect that fits no tiling", public=False)
def test_tiling(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    size, asked = (13, 17), []
    for box in ((4, 7, 7, 12), (0, 12, 3, 17)):
        net = model("power", rng, size)
        x = image(rng.normal(size=(3, *size)) + rng.normal(size=(3, 1, 1)))
        true = int(rng.integers(CLASSES))
        asked.append(
            (
                cover_test(student, evidence, net, x, true, box),
                covers(net, x, true, box),
            )
        )
    for found, right in asked:
        check_cover(found, *right)


@check("find-cause/known", 2, "Occlusion, noise and a near tie", public=False)
def test_known(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    cases = [make_case(cause, rng) for cause in ("occlusion", "noise", "near tie")]
    wrong = []
    for case in cases:
        named = find_cause(
            student, evidence, case.model, case.image, case.true_class, case.changes
        )
        wrong.append((named, case))
    for named, case in wrong:
        check_cause(named, case.cause, case.evidence)


@check("find-cause/rule", 1, "Shares between none and all", public=False)
def test_rule(student: Any, evidence: Evidence, rng: np.random.Generator) -> None:
    ask_case(student, evidence, make_case("mark", rng))
    # Shares of right answers: without the mark, the cover, the noise, and after harmless changes.
    scenes: list[tuple[str, tuple[int, ...], bool]] = [
        ("no mistake", (4, 1, 0, 0), True),
        ("occlusion", (2, 3, 1, 1), False),
        ("not found", (1, 0, 1, 1), False),
        ("near tie", (4, 0, 0, 2), False),
        ("near tie", (2, 0, 1, 3), False),
        ("mark", (2, 0, 0, 0), False),
    ]
    asked = []
    for cause, right, known in scenes:
        net, true, hits, misses = _answered(rng)
        taken = iter(rng.permutation(len(hits)))
        missed = iter(rng.permutation(len(misses)))
        changes = {}
        for change, n in zip((*REMOVES, HARMLESS), right, strict=True):
            pictures = [hits[next(taken)] for _ in range(n)]
            pictures += [misses[next(missed)] for _ in range(4 - n)]
            changes[change] = torch.stack([pictures[i] for i in rng.permutation(4)])
        picture = hits[next(taken)] if known else misses[next(missed)]
        named = find_cause(student, evidence, net, picture, true, changes)
        shares = dict(zip(changes, (n / 4 for n in right), strict=True))
        asked.append((named, cause, shares))
    for named, cause, shares in asked:
        check_cause(named, cause, shares)


def _answered(rng: np.random.Generator) -> tuple[Any, int, Tensor, Tensor]:
    """A net, a class, and pictures that the net takes for it and for others, none by a hair."""
    size = (6, 5)
    while True:
        net = model("power", rng, size)
        x = image(rng.normal(size=(200, 3, *size)))
        scores = logits(net, x)
        best, second = np.sort(scores, axis=1)[:, :-3:-1].T
        clear = best - second > 0.02
        answers = scores.argmax(axis=1)
        for true in rng.permutation(CLASSES):
            hits, misses = (
                x[clear & (answers == true)],
                x[clear & (answers != true)],
            )
            if min(len(hits), len(misses)) >= 20:
                return net, int(true), hits, misses
