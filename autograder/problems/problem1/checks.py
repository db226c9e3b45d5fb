"""Problem 1, public checks: vanilla gradients and Grad-CAM, measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import check, require
from autograder.problems.common import image, model
from autograder.problems.problem1.questions import (
    EXACT,
    INTERVENTIONS,
    METHODS,
    WORDS,
    Question,
    change,
    enlarged,
    grid,
    observed_grid,
    require_care,
    require_changes,
    require_map,
    roughness,
    sorted_statements,
    through,
)

# While a task's check fails, these are shown one by one. The notebook has the same
# ones, folded.
HINTS = {
    "resolution": (
        "Ask the model, and not your memory of one: a forward hook on the layer sees"
        " the shape of its output.",
        "The result of `generate_cam` has two maps. `.map` is enlarged for drawing;"
        " `.raw` is what the formula gives.",
    ),
    "roughness": (
        "`np.diff(values, axis=0)` holds all differences in the columns, `axis=1` those"
        " in the rows.",
        "A map (H, W) has (H - 1) W pairs in its columns and H (W - 1) in its rows. Put"
        " all of them into one long array before you take the mean.",
    ),
    "same-grid": (
        "`values.reshape(h, H // h, w, W // w)` has each square in two axes of its own."
        " `torch.nn.functional.interpolate` enlarges, and wants a batch and a channel"
        " axis in front.",
    ),
    "information": (
        "`model.get_submodule(place).register_forward_hook(...)` gives a handle whose"
        " `remove()` takes the hook away.",
        "Write a small function that draws the map. Call it once before you register"
        " the hook and once before you remove it.",
        "One method must not notice a gradient that is mirrored below Grad-CAM's layer,"
        " the other must not notice a constant in that layer's output where nothing but"
        " a mean and a linear layer follow. If neither change is zero, look at what is"
        " compared.",
    ),
    "statements": (
        "Write down the formula of each map and mark in it every quantity that depends"
        " on the network.",
        "S1 and S7 can be run: give both methods a model of linear layers alone, and"
        " count passes with hooks.",
    ),
    "words": (
        "The numbers come from the cell that measures. Name the photo or the network"
        " with them.",
    ),
}


@check("resolution/grids", 0.8, "The grid of each method", public=True)
def test_grids(student: Any, transcript: Transcript, rng: Generator) -> None:
    # Odd sizes are rounded up, and nobody can guess the stride.
    height, width = (2 * rng.choice(range(8, 16), 2, replace=False) + 1).tolist()
    stride = int(rng.integers(3, 6))
    net = model("deep-conv-net", rng, (height, width), stride=stride, second=2)
    x = image(rng.normal(size=(3, height, width)))
    pixels = grid(student, transcript, "vanilla", x, net, "features")
    first, last = -(-height // stride), -(-width // stride)
    cells = {"features.1": (first, last), "features": (-(-first // 2), -(-last // 2))}
    found = {
        layer: grid(student, transcript, "gradcam", x, net, layer) for layer in cells
    }
    require(
        pixels == (height, width),
        f"vanilla gradients of an image (3, {height}, {width}) have one value for each"
        f" pixel: ({height}, {width}); yours is {pixels}.",
    )
    for layer, right in cells.items():
        require(
            found[layer] == right,
            f"the layer {layer!r} of this net gives {right} cells for an image"
            f" (3, {height}, {width}), and Grad-CAM is computed on those; yours is"
            f" {found[layer]}.",
        )


@check(
    "resolution/care",
    0.4,
    "The model and the image stay as they were",
    public=True,
    needs="grids",
)
def test_care_of_the_grid(student: Any, transcript: Transcript, rng: Generator) -> None:
    net = model("conv-net", rng, (9, 7))
    x = image(rng.normal(size=(3, 9, 7)))
    require_care(
        [
            observed_grid(student, transcript, method, x, net, "features")[1]
            for method in METHODS
        ]
    )


@check("roughness/by-hand", 1, "Maps whose roughness is known", public=True)
def test_by_hand(student: Any, transcript: Transcript) -> None:
    height, width = 6, 8
    rows, columns = np.indices((height, width))
    # In each row, 1 of 7 pairs of neighbours differs.
    step = np.where(columns < width // 2, 1.0, 3.0)
    pairs = height * (width - 1) + width * (height - 1)
    cases = (
        ("black and white pixels in turn", (rows + columns) % 2 * 1.0, 2.0),
        ("a map that is 4 everywhere", np.full((height, width), 4.0), 0.0),
        ("1 in the left half and 3 in the right one", step, height * 2 / pairs / 2),
        ("the same, ten times as bright", 10 * step, height * 2 / pairs / 2),
    )
    found = [roughness(student, transcript, values) for _, values, _ in cases]
    for (what, _, right), value in zip(cases, found, strict=True):
        require(
            abs(value - right) <= EXACT,
            f"{what}: the mean difference between neighbours over the map's mean is"
            f" {right:.4f}; yours is {value:.4g}.",
        )


@check(
    "same-grid/means",
    0.5,
    "Means over squares, enlarged: what is coarse already",
    public=True,
)
def test_means(student: Any, transcript: Transcript, rng: Generator) -> None:
    level = float(rng.uniform(1, 9))
    flat = through(student, transcript, np.full((12, 8), level), (3, 2))
    values = rng.exponential(1, (6, 10))
    one = through(student, transcript, values, (1, 1))
    require(
        np.abs(flat - level).max() <= EXACT * level,
        f"a map that is {level:.2f} everywhere stays as it is; yours goes from"
        f" {flat.min():.3g} to {flat.max():.3g}.",
    )
    require(
        np.abs(one - values.mean()).max() <= EXACT * values.max(),
        f"one square over the whole map leaves its mean everywhere, {values.mean():.4f}"
        f" here; yours goes from {one.min():.4g} to {one.max():.4g}.",
    )


@check("same-grid/enlarged", 0.25, "The means, enlarged", public=True)
def test_enlarged(student: Any, transcript: Transcript, rng: Generator) -> None:
    means = rng.uniform(1, 9, (2, 3))
    values = np.kron(means, np.ones((4, 4)))
    found = through(student, transcript, values, (2, 3))
    require_map(
        found, enlarged(means, (8, 12)), "a map that is the same all over each square"
    )


@check("information/numbers", 0.9, "How much a constant changes each map", public=True)
def test_constants(student: Any, transcript: Transcript, rng: Generator) -> None:
    # A constant before the ReLU reaches both methods.
    question = Question(rng, (13, 10))
    places = (
        (question.layer, "gradcam"),
        (question.early, "gradcam"),
        (question.early, "vanilla"),
        (question.layer, "vanilla"),
    )
    asks = [("add constant", place, method) for place, method in places]
    require_changes(student, transcript, question, asks)


@check(
    "information/blind-spots",
    0.75,
    "How much a mirrored gradient changes each map, and what is not noticed",
    public=True,
    needs="numbers",
)
def test_blind_spots(student: Any, transcript: Transcript, rng: Generator) -> None:
    # One place is below Grad-CAM's layer and one above it.
    question = Question(rng, (11, 14), layer="features.1")
    places = "features.0", "features.2"
    asks = [("mirror gradient", place, way) for place in places for way in METHODS]
    require_changes(student, transcript, question, asks)


@check(
    "information/care",
    0.6,
    "The model and the image stay as they were",
    public=True,
    needs="numbers",
)
def test_care(student: Any, transcript: Transcript, rng: Generator) -> None:
    question = Question(rng, (9, 8))
    require_care(
        [
            change(student, transcript, question, intervention, question.early, way)[1]
            for intervention in INTERVENTIONS
            for way in METHODS
        ]
    )


@check("statements/form", 0, "Every statement has one of the four labels", public=True)
def test_statements_form(student: Any) -> None:
    sorted_statements(student)


@check(
    "words/form",
    0,
    "Each difference in two or three sentences, with its number",
    public=True,
)
def test_words_form(student: Any) -> None:
    # This checks the form alone; a person reads what the texts say.
    said = student.call("in_own_words")
    require(
        isinstance(said, dict) and all(isinstance(said.get(w), str) for w in WORDS),
        "in_own_words must return a dictionary with a text for each of"
        f" {', '.join(map(repr, WORDS))}.",
    )
    for word in WORDS:
        count = len(said[word].split())
        require(
            count >= 15, f"{word!r} has {count} words: write two or three sentences."
        )
        require(count <= 150, f"{word!r} has {count} words: two or three sentences do.")
        require(
            any(c.isdigit() for c in said[word]),
            f"{word!r} holds no number: say what you measured.",
        )
