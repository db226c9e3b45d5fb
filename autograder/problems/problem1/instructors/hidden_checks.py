"""Problem 1: the checks that only a grading runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, credit, require
from autograder.problems.common import image, model
from autograder.problems.problem1.questions import (
    EXACT,
    IDS,
    METHODS,
    Question,
    enlarged,
    grid,
    require_changes,
    require_map,
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


@check(
    "resolution/odd-sizes",
    0.8,
    "The grid of nets of other shapes",
    public=False,
    needs="grids",
)
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


@check("same-grid/numbers", 0.25, "Means over squares, enlarged", public=False)
def test_numbers(student: Any, transcript: Transcript, rng: Generator) -> None:
    asked = []
    for cells, sides in (((3, 4), (5, 7)), ((4, 2), (6, 3))):
        height, width = cells[0] * sides[0], cells[1] * sides[1]
        values = rng.exponential(1, (height, width))
        means = values.reshape(cells[0], sides[0], cells[1], sides[1]).mean(axis=(1, 3))
        right = enlarged(means, (height, width))
        asked.append((cells, right, through(student, transcript, values, cells)))
    for cells, right, found in asked:
        require_map(found, right, f"the map through a grid of {cells}")


@check(
    "information/elsewhere",
    0.75,
    "Interventions at other places, with Grad-CAM at another layer",
    public=False,
    needs="numbers",
)
def test_elsewhere(student: Any, transcript: Transcript, rng: Generator) -> None:
    # Both methods notice a gradient that is mirrored above Grad-CAM's layer.
    question = Question(rng, (14, 11), layer="features.1")
    places = (
        ("mirror gradient", "features.0"),
        ("mirror gradient", "features.2"),
        ("add constant", "features.0"),
    )
    asks = [(*place, method) for place in places for method in METHODS]
    require_changes(student, transcript, question, asks)


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
