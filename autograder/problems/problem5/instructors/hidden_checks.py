"""Problem 5: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.problem5.cases import (
    classifier,
    make_case,
    own_classifier,
)
from autograder.problems.problem5.questions import (
    CLASSES,
    EXACT,
    REAL,
    both_maps,
    cam_inside,
    cam_of,
    check_cause,
    check_predicted,
    check_scale,
    check_standing,
    enlarged,
    find_cause,
    grad_cam,
    logits,
    model,
    normalised,
    off,
    photo,
    require_counting,
    require_inside,
    standing,
)
from autograder.sandbox.student import StudentError
from chapter4.shapes.drawing import make_shape


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


@check("grad-cam/blank", 1, "A blank map is zeros", public=False, needs="one-image")
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


@check("both-maps/place", 0.5, "Grad-CAM lies where it belongs", public=False)
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
