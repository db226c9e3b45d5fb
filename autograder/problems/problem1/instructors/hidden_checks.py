"""Problem 1: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, credit, require
from autograder.problems.common import image, model
from autograder.problems.problem1.questions import (
    EXACT,
    IDS,
    METHODS,
    SAME,
    Question,
    change,
    grid,
    roughness,
    sorted_statements,
    through,
)

RIGHT = {
    "S1": "Grad-CAM",
    "S2": "Grad-CAM",
    "S3": "vanilla",
    "S4": "vanilla",
    "S5": "Grad-CAM",
    "S6": "both",
    "S7": "both",
    "S8": "Grad-CAM",
    "S9": "vanilla",
    "S10": "neither",
}
# Whoever writes one label everywhere gets as many right as this.
FOR_NOTHING = 4
# What to look at again.
POINTERS = {
    "S1": "has a model of linear layers alone an input gradient, and has it a grid?",
    "S2": "which of the two formulas has a factor A?",
    "S3": "where does the gradient of each method stop?",
    "S4": "how many numbers determine each map?",
    "S5": "which map is drawn at another size than the one in which it was computed?",
    "S6": "which of the two starts from the logit of a class that you choose?",
    "S7": "count the passes with hooks: how many does each take?",
    "S8": "which formula cuts off at zero a sum that may be negative everywhere?",
    "S9": "what becomes of a negative value in each formula?",
    "S10": "is a map an intervention?",
}
# Common wrong beliefs: statement, labels that show the belief, and what is wrong with
# it.
BELIEFS = (
    (
        "S4",
        ("Grad-CAM", "both"),
        "Grad-CAM has the layer's resolution, not the pixels'",
    ),
    ("S1", ("vanilla", "both"), "vanilla gradients need no convolutional layer"),
    ("S9", ("Grad-CAM", "both"), "Grad-CAM's ReLU is no absolute value"),
    ("S10", ("vanilla", "Grad-CAM", "both"), "no map shows a cause"),
    ("S6", ("Grad-CAM", "vanilla"), "both methods explain any class that you ask for"),
)
SWAP = {"vanilla": "Grad-CAM", "Grad-CAM": "vanilla"}


@check("resolution/odd-sizes", 1, "The grid of nets of other shapes", public=False)
def test_odd_sizes(student: Any, transcript: Transcript, rng: Generator) -> None:
    # Stride 2 rounds up, the second net keeps the image's size, and the third has a
    # stride that nobody can guess.
    height, width = (2 * rng.choice(range(4, 14), 2, replace=False) + 1).tolist()
    x = image(rng.normal(size=(3, height, width)))
    asked = []
    stride = int(rng.integers(3, 6))
    for kind, options, cells in (
        ("conv-net", {}, ((height + 1) // 2, (width + 1) // 2)),
        ("stateful", {}, (height, width)),
        (
            "deep-conv-net",
            {"stride": stride},
            (-(-height // stride), -(-width // stride)),
        ),
    ):
        net = model(kind, rng, (height, width), **options)
        for method, right in zip(METHODS, ((height, width), cells), strict=True):
            found = grid(student, transcript, method, x, net, "features")
            asked.append((method, right, found))
    for method, right, found in asked:
        require(
            found == right,
            f"{method!r}, image (3, {height}, {width}): {right} is right, yours is"
            f" {found}. Ask the net for the grid and guess nothing.",
        )


@check("roughness/maps", 1, "The roughness of maps that nobody has seen", public=False)
def test_maps(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for shape in ((5, 11), (12, 4)):
        values = rng.exponential(float(rng.uniform(0.1, 3)), shape) + rng.uniform(0, 1)
        down, across = np.abs(np.diff(values, axis=0)), np.abs(np.diff(values, axis=1))
        right = (down.sum() + across.sum()) / (down.size + across.size) / values.mean()
        asked.append((shape, right, roughness(student, transcript, values)))
    for shape, right, found in asked:
        require(
            abs(found / right - 1) <= EXACT,
            f"a map {shape}: the roughness is {right:.4f}, yours is {found:.4g}: take"
            " the mean over all pairs of neighbours, the horizontal and the vertical"
            " ones together, and divide it by the map's mean.",
        )


@check("same-grid/numbers", 0.5, "Means over squares, enlarged", public=False)
def test_numbers(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for cells, side in (((3, 4), 5), ((4, 2), 6)):
        height, width = cells[0] * side, cells[1] * side
        values = rng.exponential(1, (height, width))
        means = values.reshape(cells[0], side, cells[1], side).mean(axis=(1, 3))
        right = torch.nn.functional.interpolate(
            torch.from_numpy(means)[None, None],
            size=(height, width),
            mode="bilinear",
            align_corners=False,
        )[0, 0].numpy()
        asked.append((cells, right, through(student, transcript, values, cells)))
    for cells, right, found in asked:
        off = np.abs(found - right).max() / right.max()
        require(
            off <= EXACT,
            f"through a grid of {cells} the map is off by up to {off:.2g} of its"
            " maximum: take means over squares and enlarge them bilinearly with"
            " align_corners=False, as Grad-CAM's map is drawn.",
        )


@check(
    "information/numbers",
    1,
    "How much each intervention changes each map",
    public=False,
)
def test_change(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    # Both maps of the first net can be worked out from its weights. Those of the second
    # cannot.
    for size, kind in (((15, 12), "conv-net"), ((11, 16), "deep-conv-net")):
        question = Question(rng, size, kind)
        asked += _ask(
            student,
            transcript,
            question,
            (("mirror gradient", question.early), ("add constant", question.layer)),
        )
    _judge(asked)


@check(
    "information/elsewhere",
    1,
    "Interventions at another place; the hooks are gone",
    public=False,
)
def test_elsewhere(student: Any, transcript: Transcript, rng: Generator) -> None:
    # A constant before the ReLU reaches both methods. A gradient that is the same
    # everywhere equals its mirror image.
    question = Question(rng, (14, 11), "deep-conv-net")
    places = (("add constant", question.early), ("mirror gradient", question.layer))
    asked = _ask(student, transcript, question, places)
    _judge(asked)
    # This is what the worker reports. To forge it is more work than to remove a hook.
    models = [after for *_, seen in asked for after in seen.models]
    changed = {what for after in models for what in after.changed}
    if "hooks" in changed:
        credit(0.5, "a hook stays in the model: remove it, best in a `finally`.")
    if "mode" in changed or "requires_grad" in changed:
        credit(0.5, "the model came back in another mode: leave it as it was.")


def _ask(
    student: Any,
    transcript: Transcript,
    question: Question,
    places: tuple[tuple[str, str], ...],
) -> list[tuple[str, float, float, Any]]:
    asked = []
    for intervention, place in places:
        for method in METHODS:
            asks = intervention, place, method
            found, seen = change(student, transcript, question, *asks)
            what = f"{intervention!r} at {place!r}, {method!r}"
            asked.append((what, question.right(*asks), found, seen))
    return asked


def _judge(asked: list[tuple[str, float, float, Any]]) -> None:
    for what, right, found, _ in asked:
        require(
            np.isfinite(found),
            f"{what}: |after - before| / |before| is {right:.4f}, yours is {found}:"
            " your first map is zero everywhere.",
        )
        require(
            abs(found - right) <= SAME * max(right, 0.1),
            f"{what}: |after - before| / |before| is {right:.4f}, yours is"
            f" {found:.4g}.",
        )


@check("statements/sorted", 2, "The statements are sorted", public=False)
def test_statements(student: Any) -> None:
    said = sorted_statements(student)
    wrong = [id for id in IDS if said[id] != RIGHT[id]]
    if not wrong:
        return
    pairs = [id for id in IDS if RIGHT[id] in SWAP]
    if all(said[id] == SWAP[RIGHT[id]] for id in pairs):
        why = "vanilla and Grad-CAM are swapped throughout"
    else:
        beliefs = [why for id, labels, why in BELIEFS if said[id] in labels]
        others = [id for id in wrong if id not in {b[0] for b in BELIEFS}]
        why = "; ".join([*beliefs, *(f"{id}: {POINTERS[id]}" for id in others)][:2])
    right = len(IDS) - len(wrong)
    share = max(0.0, (right - FOR_NOTHING) / (len(IDS) - FOR_NOTHING))
    credit(share, f"not right yet: {', '.join(wrong)}. Think again: {why}.")
