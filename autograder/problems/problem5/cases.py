"""Pictures that a model misclassifies, with a cause that is known.

The pictures are drawn shapes with a mark, a cover and noise, of which at most one is
strong enough to matter, and pictures between two classes. Every grading draws new
cases. A case is kept only if its cause acts alone: the model is right without it and
wrong with it, by a margin that rounding cannot change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe
from chapter4.shapes.drawing import CLASSES, SIZE, Box, make_shape, paste_logo

REMOVES = {
    "without the mark": "mark",
    "without the cover": "occlusion",
    "without the noise": "noise",
}
HARMLESS = "harmless"
CAUSES = ("no mistake", "near tie", *REMOVES.values(), "not found")
RETAKES = 3
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0), (2, 0), (0, 2), (-2, 0), (0, -2))
MARGIN, CLOSE = 0.1, 0.005  # differences of logits, whose rounding error is 1e-5
STRONG, WEAK, FAINT = 0.3, 0.02, 0.005  # standard deviations of noise; white is 1
TRIES = 500


@dataclass(frozen=True)
class Case:
    """A misclassified picture, and the same scene with one thing changed.

    Attributes:
        model: The classifier.
        image: The picture, normalised, (3, 64, 64).
        true_class: The class of the drawn shape.
        changes: Change -> pictures with this change, normalised, (N, 3, 64, 64).
        cause: One of ``CAUSES``.
        evidence: Change -> the share of its pictures that the model names right.
    """

    model: Recipe
    image: Tensor
    true_class: int
    changes: dict[str, Tensor]
    cause: str
    evidence: dict[str, float]


def classifier(name: str) -> Recipe:
    """The recipe of an embedded classifier, "shapes" or "shapes-logo"."""
    return Recipe("chapter4", 0, {"load": "load_classifier", "name": name})


@cache
def own_classifier(name: str) -> nn.Module:
    """The grader's own copy of an embedded classifier."""
    model: nn.Module = tiny_models.build(classifier(name))
    return model


def cause_of(evidence: dict[str, float]) -> str:
    """The cause of a misclassification, by the rule that the problem states."""
    if evidence[HARMLESS] >= 0.5:
        return "near tie"
    best = max(REMOVES, key=lambda change: evidence[change])
    return REMOVES[best] if evidence[best] >= 0.5 else "not found"


def make_case(cause: str, rng: Generator) -> Case:
    """Draw a new case.

    Args:
        cause: ``"near tie"``, ``"mark"``, ``"occlusion"``, ``"noise"`` or
            ``"not found"``.
        rng: Draws the case.

    Returns:
        The case.

    Raises:
        RuntimeError: If no case is found in ``TRIES`` tries.
    """
    for _ in range(TRIES):
        case = _attempt(cause, rng)
        if case is not None:
            return case
    raise RuntimeError(f"no case of {cause!r} in {TRIES} tries")


def _attempt(cause: str, rng: Generator) -> Case | None:
    name = "shapes-logo" if cause == "mark" else "shapes"
    scene = _Scene(cause, rng)
    least = MARGIN
    if cause == "near tie":
        scene.balance(name)
        least = CLOSE
    image = scene.draw(rng)
    if not -50 < _margins(name, image[None], scene.label)[0] < -least:
        return None
    changes = {
        change: torch.stack([scene.draw(rng, without=change) for _ in range(RETAKES)])
        for change in REMOVES
    }
    changes[HARMLESS] = _harmless(image)
    evidence = {}
    for change, pictures in changes.items():
        margins = _margins(name, pictures, scene.label)
        if (np.abs(margins) < least).any():
            return None
        evidence[change] = float((margins > 0).mean())
    clear = cause == "near tie" or all(share in (0, 1) for share in evidence.values())
    if not clear or cause_of(evidence) != cause:
        return None
    return Case(classifier(name), image, scene.label, changes, cause, evidence)


class _Scene:
    """A drawn object and what may hide it; pixels from 0 to 1, (64, 64, 3)."""

    def __init__(self, cause: str, rng: Generator) -> None:
        index, seed = int(rng.integers(10_000)), int(rng.integers(2**31))
        if CLASSES[index % 10] == "star":  # the model's answer to the mark
            index += 1
        sample = make_shape(index, seed=seed, logo_probability=1)
        assert sample.logo_box is not None
        self.label, self.logo = sample.label, sample.logo_box
        self.pixels = make_shape(index, seed=seed).image / 255
        self.sigma = {"noise": STRONG, "near tie": FAINT}.get(cause, WEAK)
        self.other = make_shape(index + 1, seed=seed).image / 255
        half = _half(sample.mask, rng)
        patch = _patch(sample.mask, self.logo, rng)
        if cause == "not found":  # half of it stays hidden, whatever is removed
            self.pixels = _painted(self.pixels, half, rng)
        self.cover = half if cause == "occlusion" else patch
        self.colour_seed = int(rng.integers(2**31))

    def balance(self, name: str) -> None:
        """Blend in an object of the next class until the model is all but undecided."""
        own, other, low, high = self.pixels, self.other, 0.0, 1.0
        for _ in range(12):
            share = (low + high) / 2
            self.pixels = (1 - share) * own + share * other
            plain = self.draw(np.random.default_rng(0))
            if _margins(name, plain[None], self.label)[0] < 0:
                high = share
            else:
                low = share
        self.pixels = (1 - high) * own + high * other

    def draw(self, rng: Generator, without: str = "") -> Tensor:
        """The scene with fresh noise, normalised (3, 64, 64)."""
        pixels = self.pixels
        if without != "without the cover":
            pixels = _painted(
                pixels, self.cover, np.random.default_rng(self.colour_seed)
            )
        if without != "without the mark":
            whole = np.rint(pixels * 255).astype(np.uint8)
            pixels = paste_logo(whole, self.logo) / 255
        sigma = FAINT if without == "without the noise" else self.sigma
        pixels = np.clip(pixels + rng.normal(0, sigma, pixels.shape), 0, 1)
        image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
        return (image.contiguous() - 0.5) / 0.5


def _half(mask: np.ndarray, rng: Generator) -> Box:
    """A box over one half of the object, and a little more."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    share = rng.uniform(0.5, 0.65)
    sides = (
        (top, left, top + share * (bottom - top), right),
        (bottom - share * (bottom - top), left, bottom, right),
        (top, left, bottom, left + share * (right - left)),
        (top, right - share * (right - left), bottom, right),
    )
    a, b, c, d = (round(float(v)) for v in sides[int(rng.integers(4))])
    return max(a - 1, 0), max(b - 1, 0), min(c + 1, SIZE), min(d + 1, SIZE)


def _patch(mask: np.ndarray, logo: Box, rng: Generator) -> Box:
    """A small box beside object and mark, or anywhere if there is no room."""
    side, taken = 7, mask.copy()
    taken[logo[0] : logo[2], logo[1] : logo[3]] = True
    for _ in range(50):
        top, left = (int(v) for v in rng.integers(0, SIZE - side, 2))
        if not taken[top : top + side, left : left + side].any():
            break
    return top, left, top + side, left + side


def _painted(pixels: np.ndarray, box: Box, rng: Generator) -> np.ndarray:
    painted = pixels.copy()
    top, left, bottom, right = box
    painted[top:bottom, left:right] = rng.uniform(0, 1, 3)
    return painted


def _harmless(image: Tensor) -> Tensor:
    """The picture moved by a pixel or two, and mirrored."""
    moved = [torch.roll(image, shift, dims=(1, 2)) for shift in SHIFTS]
    return torch.stack([*moved, image.flip(2)])


def _margins(name: str, pictures: Tensor, label: int) -> np.ndarray:
    """Logit of the true class minus the largest other one, per picture."""
    with torch.no_grad():
        logits = own_classifier(name)(pictures).double().numpy()
    true = logits[:, label].copy()
    logits[:, label] = -np.inf
    margins: np.ndarray = true - logits.max(axis=1)
    return margins
