"""Problem 5, public checks: the cause of a misclassification."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import (
    EXPLAINED_IN_TRAINING,
    distance,
    image,
    require_care,
    require_steps,
    said,
    share_of,
)
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
    as_dict,
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
    dark_photo,
    enlarged,
    find_cause,
    grad_cam,
    in_training,
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
    require_path,
    standing,
    surest,
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


@check("standing/rank", 1, "The rank at both ends, and of the unlikely", public=True)
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
        # And one that is nowhere 0, so that a minimum taken off shows.
        high = [k for k in range(CLASSES) if found[k].min() > 0.02 * found[k].max()]
        if target and high:
            break
    asked = [
        (grad_cam(student, transcript, net, x, [k], found[k]), found[k])
        for k in (target[0], high[0])
    ]
    for cams, right in asked:
        require(
            off(cams, right) <= EXACT,
            "on features -> global average pooling -> linear Grad-CAM is relu(sum_k w_k"
            f" A^k) / (h w); yours is off by up to {said(off(cams, right), 2)} of its"
            " maximum.",
        )
    require_inside(student, transcript, rng, 1)


@check(
    "grad-cam/batch",
    1,
    "Each image of a batch has its own class",
    public=True,
    needs="one-image",
)
def test_batch(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (14, 10)
    net = model("conv-net", rng, size)
    x = image(rng.normal(size=(4, 3, *size)))
    classes = [int(k) for k in rng.permutation(CLASSES)[:4]]
    right = cam_of(net, x, classes)
    found = grad_cam(student, transcript, net, x, classes, right)
    wrong = [i for i in range(4) if off(found[i], right[i]) > EXACT]
    require(
        not wrong,
        f"four images with the classes {classes}: the maps of number"
        f" {', '.join(str(i + 1) for i in wrong)} are wrong. Image i has class"
        " classes[i].",
    )
    require_inside(student, transcript, rng, 3)


@check(
    "grad-cam/care",
    1,
    "In evaluation mode; model and images are left as they were",
    public=True,
    needs="one-image",
)
def test_care(student: Any, rng: Generator) -> None:
    size = (7, 6)
    while True:
        net = model("stateful", rng, size)
        x = image(rng.normal(size=(3, 3, *size)))
        classes = [int(k) for k in rng.integers(CLASSES, size=3)]
        right = cam_inside(net, x, "features.1", classes)
        if right.any(axis=(1, 2)).all():
            break
    calm = student.call("grad_cam", x, net, "features.1", classes, finite=False)
    require(
        off(as_maps(calm, right.shape), right) <= CLOSE,
        "on a net with batch norm the maps are wrong in evaluation mode, too: see the"
        " other checks first.",
    )
    seen = student.observe(
        "grad_cam", x, in_training(net), "features.1", classes, finite=False
    )
    found = as_maps(seen.value, right.shape)
    require_care(seen, {EXPLAINED_IN_TRAINING: off(found, right) > CLOSE})


@check(
    "integrated-gradients/path",
    2.4,
    "From black, on a linear model and on curved ones",
    public=True,
)
def test_path(student: Any, transcript: Transcript, rng: Generator) -> None:
    linear = model("power", rng, (7, 6))
    x = image(rng.uniform(-4, 2, (3, 7, 6)))  # below black, too
    target = int(rng.integers(CLASSES))
    straight = power_attributions(linear, x, target)
    found_on_linear = integrated(student, transcript, linear, x, target, 5)
    size, n_steps, asked = (8, 6), 64, []
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    for options in ({}, {"preprocessing": half}):
        net = model("power", rng, size, power=3, **options)
        x = image(rng.uniform(-0.9, 1.5, (3, *size)))
        target = int(rng.integers(CLASSES))
        found = integrated(student, transcript, net, x, target, n_steps)
        asked.append((found, power_attributions(net, x, target)))
    values = ", ".join(f"{v:.3f}" for v in black(linear).flatten().tolist())
    require(
        off(found_on_linear, straight) <= EXACT,
        "on a linear model the attribution is weight x (pixel - black), with any number"
        f" of steps; yours is off by up to {said(off(found_on_linear, straight), 2)} of"
        f" the largest. Black is (0 - mean) / std per channel: {values}.",
    )
    for found, right in asked:
        require(
            off(found, right) <= 4 / n_steps,
            f"with {n_steps} steps the attributions of a cubic model are right to a few"
            " percent by any rule; yours are off by up to"
            f" {share_of(off(found, right))} of the largest: (x - black) x the MEAN"
            " gradient from black to x.",
        )
    require_gradient(student, rng)
    require_path(student, rng)
    net = model("power", rng, size, power=3, record=True)
    seen = student.observe("integrated_gradients", x, net, target, 40, finite=False)
    require_steps(seen, x.shape, 40)


@check(
    "integrated-gradients/care",
    0.6,
    "In evaluation mode; model and image are left as they were",
    public=True,
    needs="path",
)
def test_ig_care(student: Any, rng: Generator) -> None:
    size = (7, 6)
    net = model("stateful", rng, size)
    x = image(rng.normal(size=(3, *size)))
    target = int(rng.integers(CLASSES))
    calm = student.call("integrated_gradients", x, net, target, 4, finite=False)
    right = as_array(calm, "integrated_gradients", x.shape, "the attributions")
    seen = student.observe(
        "integrated_gradients", x, in_training(net), target, 4, finite=False
    )
    found = as_array(seen.value, "integrated_gradients", x.shape, "the attributions")
    require_care(seen, {EXPLAINED_IN_TRAINING: off(found, right) > CLOSE})


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
    right = picture[:, 16:80] / 255
    error, times = distance(found["seen"], right), found["seen"].max() / right.max()
    require(
        times < 100,
        f"'seen' is {said(times)} times too large: pixels go from 0 to 1 here, so"
        " divide those up to 255 by 255.",
    )
    require(
        error <= 1e-3,
        "'seen' is the part of the photo that the model sees, in pixels from 0 to 1:"
        f" here the 64 columns in the middle. Yours is off by {share_of(error)}"
        " (relative L2). `model.preprocessing.crop_image` gives it.",
    )


@check("both-maps/blank", 1.5, "Blank flags and completeness errors", public=True)
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
    require_two_blank(student, transcript, rng)


def require_two_blank(student: Any, transcript: Transcript, rng: Generator) -> None:
    """Ask once more where Grad-CAM is blank for both classes."""
    size = (6, 5)
    while True:
        net = model("conv-net", rng, size)
        picture = photo(rng, size)
        x = normalised(picture)
        predicted = int(logits(net, x[None])[0].argmax())
        empty = [k for k in range(CLASSES) if not cam_of(net, x[None], [k]).any()]
        if predicted in empty and len(empty) > 1:
            break
    true = next(k for k in empty if k != predicted)
    found = both_maps(student, transcript, picture, net, "features", true, 2, size)
    check_scale(found["gradcam"], np.zeros((2, *size)), "gradcam", REAL)


@check("cover-test/suspect", 1.8, "The suspect covered, and other places", public=True)
def test_cover(student: Any, transcript: Transcript, rng: Generator) -> None:
    size = (12, 15)
    net = model("power", rng, size)
    x = image(rng.normal(size=(3, *size)) + rng.normal(size=(3, 1, 1)))
    true = int(logits(net, x[None])[0].argsort()[-2])
    box = (3, 6, 6, 9)
    found = cover_test(student, transcript, net, x, true, box)
    check_cover(found, *covers(net, x, true, box))


@check("cover-test/tiling", 0.9, "A suspect that fits no tiling", public=True)
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


@check(
    "cover-test/care",
    0.3,
    "The image is left as it was",
    public=True,
    needs="suspect",
)
def test_cover_care(student: Any, rng: Generator) -> None:
    size = (6, 8)
    net = model("power", rng, size)
    x = image(rng.normal(size=(3, *size)))
    seen = student.observe("cover_test", x, net, 1, [2, 3, 4, 6], finite=False)
    require(
        not seen.changed,
        "what was handed over has changed: clone it before you cover a part.",
    )


@check("find-cause/mark", 2, "A mark that decides, and one that doesn't", public=True)
def test_mark(student: Any, transcript: Transcript, rng: Generator) -> None:
    own_classifier("shapes-logo")
    cases = [make_case(cause, rng) for cause in ("mark", "not found")]
    for i in rng.permutation(len(cases)):
        ask_case(student, transcript, cases[i])
    require_counting(student, transcript, rng)


@check("find-cause/rule", 1, "Shares between none and all", public=True)
def test_rule(student: Any, transcript: Transcript, rng: Generator) -> None:
    # How many of eight pictures are right after each removal and after harmless
    # changes.
    # The removals and the scenes are shuffled, so that no place gives an answer away.
    scenes = [
        ((8, 2, 0, 0), True),
        ((4, 6, 5, 2), False),
        ((2, 0, 1, 1), False),
        ((3, 0, 2, 2), False),
        ((8, 0, 0, 4), False),
        ((4, 0, 3, 5), False),
        ((5, 0, 0, 3), False),
        ((4, 0, 0, 0), False),
    ]
    asked = []
    for i in rng.permutation(len(scenes)):
        counts, known = scenes[i]
        right = (*_order(counts[:3], rng), counts[3])
        shares = dict(zip((*REMOVES, HARMLESS), (n / 8 for n in right), strict=True))
        cause = "no mistake" if known else cause_of(shares)
        net, true, hits, misses = answered(rng)
        # The fewer right answers a change brings, the surer they are: answers count,
        # and not probabilities.
        taken, missed = iter(surest(net, hits, true)), iter(surest(net, misses, true))
        changes = {}
        for change, n in sorted(shares.items(), key=lambda item: item[1]):
            n = round(8 * n)
            pictures = [hits[next(taken)] for _ in range(n)]
            pictures += [misses[next(missed)] for _ in range(8 - n)]
            changes[change] = torch.stack([pictures[i] for i in rng.permutation(8)])
        picture = hits[next(taken)] if known else misses[next(missed)]
        named = find_cause(student, transcript, net, picture, true, changes)
        asked.append((named, cause, shares))
    for named, cause, shares in asked:
        check_cause(named, cause, shares)


def _order(counts: tuple[int, ...], rng: Generator) -> list[int]:
    """Shuffle the counts, of eight pictures, for the three removals.

    If two or more counts reach half, the first and the last of them is not the largest.
    """
    while True:
        drawn: list[int] = rng.permutation(counts).tolist()
        enough = [n for n in drawn if n >= 4]
        if len(enough) < 2 or max(enough) not in (enough[0], enough[-1]):
            return drawn


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
