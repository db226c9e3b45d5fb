"""Problem 5, public checks: the cause of a misclassification."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import distance, image
from autograder.problems.problem5.cases import classifier, make_case, own_classifier
from autograder.problems.problem5.questions import (
    CLASSES,
    EXACT,
    REAL,
    as_dict,
    ask_case,
    black,
    both_maps,
    cam_inside,
    cam_of,
    check_cover,
    check_predicted,
    check_scale,
    check_standing,
    cover_test,
    covers,
    dark_photo,
    enlarged,
    grad_cam,
    integrated,
    is_linear_from_black,
    linear_attributions,
    logits,
    model,
    normalised,
    off,
    photo,
    power_attributions,
    require_counting,
    require_gradient,
    require_inside,
    standing,
)

# While a task's check fails, these are shown one by one. The notebook has the first
# ones of each task, folded.
HINTS = {
    "standing": (
        "The rank is 1 plus the number of classes with a larger logit: one comparison"
        " and one sum.",
        "Compare logits and not probabilities, of which many may round to the same 0.",
    ),
    "grad-cam": (
        "In a forward hook on the layer keep the output itself. After the forward pass"
        " `torch.autograd.grad(score, kept)` gives the gradient there; remove the hook"
        " in `finally`.",
        "`logits[torch.arange(len(images)), classes]` takes one class per image. Its"
        " sum can be differentiated at once, because no image's score depends on"
        " another image.",
        "The order is: mean of the gradient over the cells, times the activations, sum"
        " over channels, ReLU. Nothing is scaled.",
    ),
    "integrated-gradients": (
        "`model.preprocessing.normalize(torch.zeros_like(image))` is black as the model"
        " takes it.",
        "Add up the gradients at n_steps points between black and the image, divide by"
        " n_steps, and multiply by the difference in the end.",
    ),
    "both-maps": (
        "`model.preprocessing.crop_image(PIL.Image.fromarray(photo))` is what the model"
        " sees, and `model.preprocessing.normalize` makes its tensor.",
        "Stack the two maps of a method into one array and divide it once, by its"
        " maximum, if that is not 0.",
    ),
    "cover-test": (
        "Clone the image for each cover, or the covers pile up.",
        "Two boxes of the same size overlap if they are less than a height apart in"
        " rows and less than a width apart in columns.",
    ),
    "find-cause": (
        "Compute the evidence first: one share for each entry of `changes`. The cause"
        " follows from these numbers and from the answer to the picture itself.",
        "Ask in this order: is there a mistake at all, do harmless changes undo it,"
        " which removal undoes it most often, and is that often enough?",
    ),
    "words": (
        "The numbers come from the cell that looks at one mistake. Say what was"
        " changed, and what the model answered.",
    ),
}
WORDS = ("suspect", "intervention", "doubt")


@check("standing/numbers", 2, "Both classes' rank and probability", public=True)
def test_standing(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for place in (2, 5):
        scores = rng.normal(size=9) * 2
        true = int(np.argsort(-scores)[place])
        asked.append((standing(student, transcript, scores, true), scores, true))
    for reply, scores, true in asked:
        check_standing(reply, scores, true)


@check("grad-cam/one-image", 2, "Grad-CAM where it has a closed form", public=True)
def test_grad_cam(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (12, 16)
    while True:
        net = model("conv-net", rng, size)
        x = image(rng.normal(size=(1, 3, *size)))
        found = [cam_of(net, x, [k]) for k in range(CLASSES)]
        # A map that is positive in parts, so that the ReLU shows, and of a class that
        # the model does not predict.
        mixed = [k for k in range(CLASSES) if 0.2 < (found[k] > 0).mean() < 0.9]
        target = [k for k in mixed if k != logits(net, x)[0].argmax()]
        if target:
            break
    right = found[target[0]]
    cams = grad_cam(student, transcript, net, x, [target[0]], right)
    require(
        off(cams, right) <= EXACT,
        "on features -> global average pooling -> linear Grad-CAM is relu(sum_k w_k"
        f" A^k) / (h w); yours is off by up to {off(cams, right):.2g} of its maximum.",
    )
    require_inside(student, transcript, rng, 1)


@check("integrated-gradients/linear", 1, "From black, on a linear model", public=True)
def test_ig_linear(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (7, 6)
    net = model("power", rng, size)
    x = image(rng.uniform(-4, 2, (3, *size)))  # below black, too
    target = int(rng.integers(CLASSES))
    right = power_attributions(net, x, target)
    found = integrated(student, transcript, net, x, target, 5)
    require(
        off(found, right) <= EXACT,
        "on a linear model the attribution is weight x (pixel - black), with any"
        f" number of steps; yours is off by up to {off(found, right):.2g} of the"
        " largest. Black is (0 - mean) / std per channel:"
        f" {', '.join(f'{v:.3f}' for v in black(net).flatten().tolist())}.",
    )
    require_gradient(student, rng)


@check("both-maps/one-scale", 2, "Two maps of a method on one scale", public=True)
def test_one_scale(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (8, 10)
    while True:
        net = model("conv-net", rng, size)
        picture = dark_photo(rng, size)
        x = normalised(picture)
        if not is_linear_from_black(net, x):
            continue
        predicted, true = (int(k) for k in np.argsort(-logits(net, x[None])[0])[:2])
        pair = (predicted, true)
        right = {
            "gradcam": enlarged(
                cam_inside(net, torch.stack([x, x]), "features.0", [*pair]), size
            ),
            "ig": (
                np.stack([np.abs(linear_attributions(net, x, k)) for k in pair]).sum(1)
            ),
        }
        peaks = np.stack([maps.max(axis=(1, 2)) for maps in right.values()])
        if peaks.all() and (np.abs(np.log(peaks[:, 0] / peaks[:, 1])) > 0.1).all():
            break
    found = both_maps(student, transcript, picture, net, "features.0", true, 4, size)
    check_predicted(found, predicted)
    check_scale(found["gradcam"], right["gradcam"], "gradcam", REAL)
    check_scale(found["ig"], right["ig"], "ig", 1e-4)


@check("both-maps/seen", 1, "What the model sees of the photo", public=True)
def test_seen(student: Any, transcript: Transcript, rng: Generator) -> None:
    picture = photo(rng, (64, 96))
    net = classifier("shapes")
    true = int(rng.integers(10))
    found = both_maps(student, transcript, picture, net, "layer4", true, 2, (64, 64))
    error = distance(found["seen"], picture[:, 16:80] / 255)
    require(
        error <= 1e-3,
        "'seen' is the part of the photo that the model sees, in pixels from 0 to 1:"
        f" here the 64 columns in the middle. Yours is {error:.1%} off (relative L2)."
        " `model.preprocessing.crop_image` gives it.",
    )


@check("cover-test/suspect", 2, "The suspect covered, and other places", public=True)
def test_cover(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (12, 15)
    net = model("power", rng, size)
    x = image(rng.normal(size=(3, *size)) + rng.normal(size=(3, 1, 1)))
    true = int(logits(net, x[None])[0].argsort()[-2])
    box = (3, 6, 6, 9)
    found = cover_test(student, transcript, net, x, true, box)
    check_cover(found, *covers(net, x, true, box))


@check("find-cause/mark", 2, "A mark that decides, and one that doesn't", public=True)
def test_mark(student: Any, transcript: Transcript, rng: Generator) -> None:
    own_classifier("shapes-logo")
    cases = [make_case(cause, rng) for cause in ("mark", "not found")]
    for i in rng.permutation(len(cases)):
        ask_case(student, transcript, cases[i])
    require_counting(student, transcript, rng)


@check("words/form", 0, "Three short texts, each with a number", public=True)
def test_words(student: Any) -> None:
    said = as_dict(student.call("in_own_words"), "in_own_words", WORDS)
    for word in WORDS:
        require(isinstance(said[word], str), f"{word!r} must be a text.")
        count = len(said[word].split())
        require(
            15 <= count <= 150,
            f"{word!r} has {count} words: write two or three sentences.",
        )
        require(
            any(c.isdigit() for c in said[word]),
            f"{word!r} holds no number: say what you measured.",
        )
