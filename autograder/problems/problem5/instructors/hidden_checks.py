"""Problem 5: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import image, require_none
from autograder.problems.problem5.cases import (
    HARMLESS,
    REMOVES,
    cause_of,
    classifier,
    make_case,
    own_classifier,
)
from autograder.problems.problem5.questions import (
    CLASSES,
    CLOSE,
    EXACT,
    REAL,
    answered,
    as_array,
    as_maps,
    as_pair,
    ask_case,
    black,
    both_maps,
    cam_inside,
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
    integrated,
    logits,
    model,
    normalised,
    off,
    photo,
    power_attributions,
    require_counting,
    require_inside,
    require_path,
    standing,
)
from autograder.sandbox.inside.values import Recipe
from autograder.sandbox.student import StudentError
from chapter4.shapes.drawing import make_shape


@check("standing/rank", 1, "The rank at both ends, and of the unlikely", public=False)
def test_rank(student: Any, transcript: Transcript, rng: Generator) -> None:
    certain = rng.permutation([150.0, -10.0, -30.0, -60.0, -61.0, -62.0, -90.0])
    scores = rng.normal(size=8)
    order = np.argsort(-scores)
    # Of these, all classes but one have a probability that float32 rounds to 0.
    asked = [(scores, int(order[0])), (scores, int(order[-1]))]
    asked += [(certain, int(np.argsort(-certain)[place])) for place in (2, 5)]
    replies = [standing(student, transcript, values, true) for values, true in asked]
    for reply, (values, true) in zip(replies, asked, strict=True):
        check_standing(reply, values, true)


@check("standing/few-classes", 1, "Fewer than five classes", public=False)
def test_few(student: Any, transcript: Transcript, rng: Generator) -> None:
    scores = rng.normal(size=3)
    true = int(rng.integers(3))
    try:
        reply = standing(student, transcript, scores, true)
    except StudentError as error:
        require(
            error.kind != "raised",
            f"with three classes {error}. Not every model has five: 'top5' lists all"
            " that there are.",
        )
        raise
    check_standing(reply, scores, true)


@check("grad-cam/batch", 1, "Each image of a batch has its own class", public=False)
def test_batch(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (14, 10)
    while True:
        net = model("conv-net", rng, size)
        x = image(rng.normal(size=(4, 3, *size)))
        classes = [int(k) for k in rng.permutation(CLASSES)[:4]]
        right = cam_of(net, x, classes)
        # One of the maps is nowhere 0, so that a minimum taken off shows.
        if (right.min(axis=(1, 2)) > 0.02 * right.max()).any():
            break
    found = grad_cam(student, transcript, net, x, classes, right)
    wrong = [i for i in range(4) if off(found[i], right[i]) > EXACT]
    require(
        not wrong,
        f"four images with the classes {classes}: the maps of number"
        f" {', '.join(str(i + 1) for i in wrong)} are wrong. Image i has class"
        " classes[i].",
    )
    require_inside(student, transcript, rng, 3)


@check("grad-cam/blank", 1, "A blank map is zeros", public=False)
def test_blank(student: Any, transcript: Transcript, rng: Generator) -> None:
    net, x, target = _blank(rng, (9, 8))
    other = next(k for k in range(CLASSES) if cam_of(net, x[None], [k]).any())
    both = torch.stack([x, x])
    right = cam_of(net, both, [target, other])
    found = grad_cam(student, transcript, net, both, [target, other], right)
    require(
        (found[0] == 0).all() and off(found[1], right[1]) <= EXACT,
        "where every weighted sum is negative the map is all zeros, and its neighbour"
        " in the batch stays as it is.",
    )
    require_inside(student, transcript, rng, 2)


def _blank(rng: Generator, size: tuple[int, int]) -> tuple[Any, Tensor, int]:
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
def test_courtesy(student: Any, rng: Generator) -> None:
    size = (7, 6)
    while True:
        net = model("stateful", rng, size)
        x = image(rng.normal(size=(3, 3, *size)))
        classes = [int(k) for k in rng.integers(CLASSES, size=3)]
        right = cam_inside(net, x, "features.1", classes)
        if right.any(axis=(1, 2)).all():
            break
    in_training = Recipe(net.kind, net.seed, {**net.options, "training": True})
    calm = student.call("grad_cam", x, net, "features.1", classes, finite=False)
    require(
        off(as_maps(calm, right.shape), right) <= CLOSE,
        "on a net with batch norm the maps are wrong in eval mode, too: see the other"
        " checks first.",
    )
    asked = (x, in_training, "features.1", classes)
    seen = student.observe("grad_cam", *asked, finite=False)
    found = as_maps(seen.value, right.shape)
    # All but the first complaint rest on what the worker reports. To forge its report
    # is more work than to do as asked.
    after = seen.models[0].changed
    require_none(
        {
            "the model came in training mode and was explained in it: call model.eval()"
            " first": off(found, right) > CLOSE,
            "hooks were left behind in the model: keep the handle and call"
            " handle.remove() in `finally`": "hooks" in after,
            "the model came back in another mode: remember model.training and put it"
            " back": "mode" in after,
            "the images that were handed over have changed": seen.changed,
        }
    )


@check("integrated-gradients/path", 2, "The mean over the whole path", public=False)
def test_path(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, n_steps, asked = (8, 6), 64, []
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    for options in ({}, {"preprocessing": half}):
        net = model("power", rng, size, power=3, **options)
        x = image(rng.uniform(-0.9, 1.5, (3, *size)))
        target = int(rng.integers(CLASSES))
        found = integrated(student, transcript, net, x, target, n_steps)
        asked.append((found, power_attributions(net, x, target)))
    for found, right in asked:
        require(
            off(found, right) <= 4 / n_steps,
            f"with {n_steps} steps the attributions of a cubic model are right to a few"
            f" percent by any rule; yours are off by up to {off(found, right):.1%} of"
            " the largest: (x - black) x the MEAN gradient from black to x.",
        )
    require_path(student, rng)


@check("both-maps/place", 1, "Grad-CAM lies where it belongs", public=False)
def test_place(student: Any, transcript: Transcript, rng: Generator) -> None:
    net: Any = own_classifier("shapes-logo")
    recipe = classifier("shapes-logo")
    while True:
        seed, index = int(rng.integers(2**31)), int(rng.integers(10_000))
        sample = make_shape(index, seed=seed, logo_probability=1)
        picture = photo(rng, (64, 100))
        picture[:, 18:82] = sample.image
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float() / 255
        x = net.preprocessing.normalize(pixels)
        with torch.no_grad():
            scores = net(x)[0]
        predicted, true = (int(k) for k in scores.argsort(descending=True)[:2])
        both = torch.cat([x, x])
        raw = cam_inside(recipe, both, "layer3", [predicted, true])
        drawn = enlarged(raw, (64, 64))
        peaks = drawn.max(axis=(1, 2))
        ahead = float(scores[predicted] - scores[true])
        if peaks.min() > 0.05 * peaks.max() and ahead > 0.1:
            break
    found = both_maps(student, transcript, picture, recipe, "layer3", true, 2, (64, 64))
    check_predicted(found, predicted)
    check_scale(found["gradcam"], drawn, "gradcam", REAL)


@check("both-maps/blank", 1, "Blank flags and completeness errors", public=False)
def test_flags(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, n_steps = (12, 10), 2
    while True:
        net = model("conv-net", rng, size)
        picture = photo(rng, size)
        x = normalised(picture)
        scores = logits(net, x[None])[0]
        predicted = int(scores.argmax())
        drawn = [k for k in range(CLASSES) if cam_of(net, x[None], [k]).any()]
        empty = [k for k in range(CLASSES) if k not in drawn]
        if empty and predicted in drawn and len(drawn) > 1:
            break
    gain = scores - logits(net, black(net).expand(1, *x.shape).float())[0]
    other = next(k for k in drawn if k != predicted)
    # A report that is always the same is right about one of them at most.
    for true in rng.permutation([empty[0], other]).tolist():
        found = both_maps(
            student, transcript, picture, net, "features", true, n_steps, size
        )
        wanted = [False, true in empty]
        require(
            as_pair(found["blank"], "blank") == wanted,
            "'blank' says for the predicted class and for the true one whether"
            f" Grad-CAM's ReLU left nothing: here {wanted[0]} and {wanted[1]}; yours is"
            f" {found['blank']!r:.60}.",
        )
        require(
            [not drawn.any() for drawn in found["gradcam"]] == wanted,
            "'gradcam': a blank map is drawn as zeros, and no other map is.",
        )
        deltas = as_pair(found["delta"], "delta")
        for k, delta in zip((predicted, true), deltas, strict=True):
            own = student.call("integrated_gradients", x, net, k, n_steps)
            own = as_array(own, "integrated_gradients", x.shape, "the attributions")
            require(own.any(), "the attributions are zero everywhere.")
            right = abs(own.sum() - gain[k]) / abs(gain[k])
            require(
                abs(delta - right) <= 1e-3 + 1e-3 * right,
                "'delta' is |sum of the signed attributions - (F(x) - F(black))| /"
                f" |F(x) - F(black)|, before any scaling: {right:.4f} for your"
                f" attributions of class {k}; yours is {delta:.4f}.",
            )


@check("cover-test/tiling", 1, "A suspect that fits no tiling", public=False)
def test_tiling(student: Any, transcript: Transcript, rng: Generator) -> None:
    size, asked = (13, 17), []
    for box in ((4, 7, 7, 12), (0, 12, 3, 17)):
        net = model("power", rng, size)
        x = image(rng.normal(size=(3, *size)) + rng.normal(size=(3, 1, 1)))
        true = int(rng.integers(CLASSES))
        asked.append(
            (
                cover_test(student, transcript, net, x, true, box),
                covers(net, x, true, box),
            )
        )
    for found, right in asked:
        check_cover(found, *right)


@check("find-cause/known", 2, "Occlusion, noise and a near tie", public=False)
def test_known(student: Any, transcript: Transcript, rng: Generator) -> None:
    cases = [make_case(cause, rng) for cause in ("occlusion", "noise", "near tie")]
    wrong = []
    for case in (cases[i] for i in rng.permutation(len(cases))):
        named = find_cause(
            student, transcript, case.model, case.image, case.true_class, case.changes
        )
        wrong.append((named, case))
    for named, case in wrong:
        check_cause(named, case.cause, case.evidence)
    require_counting(student, transcript, rng)


@check("find-cause/rule", 1, "Shares between none and all", public=False)
def test_rule(student: Any, transcript: Transcript, rng: Generator) -> None:
    ask_case(student, transcript, make_case("mark", rng))
    # How many of four pictures are right after each removal and after harmless changes.
    # The removals and the scenes are shuffled, so that no place gives an answer away.
    scenes = [
        ((4, 1, 0, 0), True),
        ((2, 3, 1, 1), False),
        ((1, 0, 1, 1), False),
        ((4, 0, 0, 2), False),
        ((2, 0, 1, 3), False),
        ((2, 0, 0, 0), False),
    ]
    asked = []
    for i in rng.permutation(len(scenes)):
        counts, known = scenes[i]
        right = (*_order(counts[:3], rng), counts[3])
        shares = dict(zip((*REMOVES, HARMLESS), (n / 4 for n in right), strict=True))
        cause = "no mistake" if known else cause_of(shares)
        net, true, hits, misses = answered(rng)
        taken = iter(rng.permutation(len(hits)))
        missed = iter(rng.permutation(len(misses)))
        changes = {}
        for change, n in zip((*REMOVES, HARMLESS), right, strict=True):
            pictures = [hits[next(taken)] for _ in range(n)]
            pictures += [misses[next(missed)] for _ in range(4 - n)]
            changes[change] = torch.stack([pictures[i] for i in rng.permutation(4)])
        picture = hits[next(taken)] if known else misses[next(missed)]
        named = find_cause(student, transcript, net, picture, true, changes)
        asked.append((named, cause, shares))
    for named, cause, shares in asked:
        check_cause(named, cause, shares)


def _order(counts: tuple[int, ...], rng: Generator) -> list[int]:
    """Shuffle the counts, of four pictures, for the three removals.

    If two or more counts reach half, the first of them is not the largest.
    """
    while True:
        drawn: list[int] = rng.permutation(counts).tolist()
        enough = [n for n in drawn if n >= 2]
        if len(enough) < 2 or enough[0] != max(enough):
            return drawn
