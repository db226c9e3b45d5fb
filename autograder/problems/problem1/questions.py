"""What the public and the hidden checks of problem 1 share.

They share how they ask a student's function, and how they read its reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn.functional import interpolate

from autograder.checking.diagnose import Transcript
from autograder.checking.runner import require
from autograder.problems.common import (
    CLASSES,
    array,
    image,
    model,
    require_array,
    require_none,
)
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.inside.values import Recipe
from autograder.sandbox.student import Observation
from chapter4.evidence import relative_difference
from chapter4.methods.gradcam import GradCAM
from chapter4.methods.gradients import vanilla_gradients

EXACT = 1e-5  # of the largest value, float32
SAME = 1e-4  # relative, for the change of a map: a quotient of float32 numbers
NOTHING = 1e-5  # a change as small as this counts as none
METHODS = ("vanilla", "gradcam")
INTERVENTIONS = ("mirror gradient", "add constant")
CONSTANT = 0.5
LABELS = ("vanilla", "Grad-CAM", "both", "neither")
IDS = tuple(f"S{i}" for i in range(1, 11))
WORDS = ("information", "resolution", "noise")


def grid(
    student: Any,
    transcript: Transcript,
    method: str,
    x: Tensor,
    net: Recipe,
    layer: str,
) -> tuple[int, int]:
    """What ``native_resolution`` returns, as (height, width)."""
    return observed_grid(student, transcript, method, x, net, layer)[0]


def observed_grid(
    student: Any,
    transcript: Transcript,
    method: str,
    x: Tensor,
    net: Recipe,
    layer: str,
) -> tuple[tuple[int, int], Observation]:
    """The same, and what the call left behind."""
    arguments = (method, x, net, layer)
    seen = student.observe("native_resolution", *arguments)
    reply = seen.value
    transcript.note("resolution", arguments, reply, lambda reply: reply)
    require(
        reply is not None,
        "native_resolution returned None: end the function with `return` and the pair.",
    )
    found = require_array(
        reply,
        "native_resolution returns the pair (height, width), not a map.",
        lambda found: found.ndim == 1,
    )
    require(
        len(found) == 2,
        "native_resolution returns two numbers, height and width; yours returned"
        f" {len(found)}: leave the channels out.",
    )
    require(
        (found == found.round()).all() and np.abs(found).max() < 1e6,
        "native_resolution returns two whole numbers, height and width.",
    )
    return (int(found[0]), int(found[1])), seen


def require_care(seen: Sequence[Observation]) -> None:
    """Take half of the points for each thing that a call did not leave as it was."""
    changed = {what for one in seen for after in one.models for what in after.changed}
    require_none(
        {
            "a hook stays in the model: remove it": "hooks" in changed,
            "the model came back in another mode: leave it as it was": "mode"
            in changed,
            "the parameters came back with another requires_grad: leave it as it was": (
                "requires_grad" in changed
            ),
            "gradients stay in the parameters' .grad: use torch.autograd.grad, or"
            " model.zero_grad() at the end": "gradients" in changed,
            "the image that was handed over has changed: work on a copy (clone)": any(
                one.changed for one in seen
            ),
        }
    )


def roughness(student: Any, transcript: Transcript, values: np.ndarray) -> float:
    """What ``total_variation`` returns for a map (H, W)."""
    reply = student.call("total_variation", values)
    transcript.note("roughness", (values,), reply, lambda reply: reply)
    return _number("total_variation", reply)


def through(
    student: Any, transcript: Transcript, values: np.ndarray, cells: tuple[int, int]
) -> np.ndarray:
    """What ``through_grid`` returns, as a map of the shape of ``values``."""
    arguments = (values, cells)
    reply = student.call("through_grid", *arguments)
    transcript.note("same-grid", arguments, reply, lambda reply: _plane(reply))
    require(reply is not None, "through_grid returned None: return the map.")
    drawn = _plane(reply)
    require(drawn is not None, "through_grid must return a map: an array or a tensor.")
    assert drawn is not None
    hint = ""
    if drawn.shape == cells:
        hint = ": the means must be enlarged again"
    elif drawn.shape == values.shape[::-1]:
        hint = ": rows and columns are swapped"
    require(
        drawn.shape == values.shape,
        f"a map {values.shape} stays one of {values.shape}, yours is"
        f" {drawn.shape}{hint}.",
    )
    return drawn


def enlarged(means: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The means of the squares as a map of this size, as Grad-CAM's map is drawn."""
    grid = torch.from_numpy(means)[None, None]
    large = interpolate(grid, size, mode="bilinear", align_corners=False)
    return np.asarray(large[0, 0])


def require_map(found: np.ndarray, right: np.ndarray, what: str) -> None:
    """Require the right enlarged map."""
    off = np.abs(found - right)
    at = np.unravel_index(off.argmax(), off.shape)
    require(
        off.max() <= EXACT * right.max(),
        f"{what}: in row {at[0]} and column {at[1]} {right[at]:.4f} is right, yours is"
        f" {found[at]:.4f}. Take the mean of each square, and enlarge bilinearly with"
        " align_corners=False.",
    )


class Question:
    """A net, an image and a class on which every known mistake shows.

    Grad-CAM of this class has cells that the ReLU sets to zero. None of them is left
    once a constant is added to its layer. A gradient mirrored above it changes the map.
    """

    def __init__(
        self, rng: Generator, size: Sequence[int], layer: str = "features"
    ) -> None:
        self.layer, self.early = layer, "features.0"
        while not self._draw(rng, size):
            pass

    def _draw(self, rng: Generator, size: Sequence[int]) -> bool:
        self.net = model("deep-conv-net", rng, size)
        self.x = image(rng.normal(size=(3, *size)))
        built = tiny_models.build(self.net)
        with torch.no_grad():
            # Not the predicted class, so that an answer for that one shows.
            predicted = int(built(self.x[None]).argmax())
            shares = built.head.weight.sum(dim=1).tolist()
        for self.target in set(range(CLASSES)) - {predicted}:
            # A constant raises the map only if the channels' weights have a positive
            # sum.
            if self.layer == "features" and shares[self.target] < 0.5:
                continue
            before = self._map(built, "gradcam")
            with hooked(built, self.layer, add_constant):
                after = self._map(built, "gradcam")
            if (
                (before > 0.05 * before.max()).mean() > 0.2
                and (before > 0).mean() < 0.8
                and after.min() > 0.02 * after.max()
                and all(
                    0.05 < self.right("add constant", place, "gradcam") < 5
                    for place in (self.layer, self.early)
                )
                and (
                    self.layer == "features"
                    or self.right("mirror gradient", "features.2", "gradcam") > 0.01
                )
            ):
                return True
        return False

    def arguments(self, intervention: str, place: str, method: str) -> tuple[Any, ...]:
        """The arguments of ``change_under``."""
        return (intervention, place, method, self.x, self.net, self.target, self.layer)

    def right(self, intervention: str, place: str, method: str) -> float:
        """What ``change_under`` must return."""
        built = tiny_models.build(self.net)
        before = self._map(built, method)
        change = mirror_gradient if intervention == "mirror gradient" else add_constant
        with hooked(built, place, change):
            after = self._map(built, method)
        return relative_difference(after, before)

    def _map(self, built: Any, method: str) -> np.ndarray:
        if method == "vanilla":
            return vanilla_gradients(self.x, built, self.target).map
        return GradCAM(built, self.layer).generate_cam(self.x, self.target).raw


@contextmanager
def hooked(built: Any, place: str, hook: Callable[..., Any]) -> Iterator[None]:
    """Keep a forward hook on one of a model's modules."""
    handle = built.get_submodule(place).register_forward_hook(hook)
    yield
    handle.remove()


def mirror_gradient(module: Any, inputs: Any, output: Tensor) -> None:
    """A forward hook: mirror the gradient of this output, left to right."""
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient.flip(-1))


def add_constant(module: Any, inputs: Any, output: Tensor) -> Tensor:
    """A forward hook: add the constant to every value of the output."""
    return output + CONSTANT


def change(
    student: Any,
    transcript: Transcript,
    question: Question,
    intervention: str,
    place: str,
    method: str,
) -> tuple[float, Observation]:
    """What ``change_under`` returns, as a float, and what the call left behind."""
    arguments = question.arguments(intervention, place, method)
    seen = student.observe("change_under", *arguments, finite=False)
    transcript.note("information", arguments, seen.value, _comparable)
    return _number("change_under", seen.value), seen


def require_changes(
    student: Any,
    transcript: Transcript,
    question: Question,
    asks: Iterable[tuple[str, str, str]],
) -> None:
    """Require the right change for each (intervention, place, method)."""
    asked = [
        (one, change(student, transcript, question, *one)[0], question.right(*one))
        for one in asks
    ]
    for (intervention, place, method), found, right in asked:
        what = (
            f"{intervention!r} at {place!r}, {method!r}, Grad-CAM's layer"
            f" {question.layer!r}"
        )
        require(
            np.isfinite(found),
            f"{what}: the change is {found}: is your first map zero everywhere?",
        )
        if right <= NOTHING:
            require(
                abs(found) <= NOTHING,
                f"{what}: the map must not change; yours changes by {found:.5f}.",
            )
        require(
            abs(found - right) <= SAME * max(right, 0.1),
            f"{what}: |after - before| / |before| is {right:.4f}, yours is"
            f" {found:.4f}.",
        )


def _comparable(reply: Any) -> Any:
    """The reply with rounding errors set to 0 and with a number in place of NaN."""
    value = array(reply)
    if value is None:
        return None
    value = np.nan_to_num(value, nan=-1, posinf=-2, neginf=-3)
    return np.where(np.abs(value) < NOTHING, 0, value)


def label(text: Any) -> str:
    """The label as the table spells it, or "" if the text is none of the four."""
    plain = re.sub("[^a-z]", "", text.lower()) if isinstance(text, str) else ""
    plain = plain.removesuffix("gradients").removesuffix("gradient")
    spelt = {re.sub("[^a-z]", "", known.lower()): known for known in LABELS}
    return spelt.get(plain, "")


def sorted_statements(student: Any) -> dict[str, str]:
    """What ``statements`` returns: every id with one of the labels."""
    reply = student.call("statements")
    require(
        isinstance(reply, dict),
        'statements must return a dictionary such as {"S1": "both", "S2": "neither",'
        " ...}.",
    )
    missing = [id for id in IDS if reply.get(id) is None]
    require(not missing, f"not sorted yet: {', '.join(missing)}.")
    unknown = [id for id in reply if id not in IDS]
    require(
        not unknown,
        f"{len(unknown)} of the keys are no statement's id: the ids are S1 to S10.",
    )
    strange = [id for id in IDS if not label(reply[id])]
    require(
        not strange,
        f"{', '.join(strange)}: the label is one of {', '.join(map(repr, LABELS))}.",
    )
    return {id: label(reply[id]) for id in IDS}


def _number(name: str, reply: Any) -> float:
    require(
        reply is not None and not isinstance(reply, bool),
        f"{name} must return a number, not {type(reply).__name__}.",
    )
    message = f"{name} must return one number, not several."
    found = require_array(reply, message, lambda found: found.size == 1)
    return float(found.reshape(()))


def _plane(reply: Any) -> np.ndarray | None:
    drawn = array(reply)
    if drawn is not None and drawn.ndim > 2:
        drawn = drawn.squeeze()
    return drawn if drawn is not None and drawn.ndim == 2 else None
