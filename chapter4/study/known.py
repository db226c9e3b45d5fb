"""Every method on cases with a known answer: how often its highest value hits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from chapter4.evidence.deletion_insertion import centre_blob
from chapter4.evidence.ground_truth import logo_mistakes, off_centre_shapes
from chapter4.evidence.pointing import BatchMethod, KnownAnswer, pointing_accuracy
from chapter4.inputs.models import load_classifier
from chapter4.study.recipe import KNOWN, methods

CASES = {
    "logo_mistakes": ("shapes-logo", logo_mistakes),
    "off_centre_shapes": ("shapes", off_centre_shapes),
}
CONTROLS = ("random", "centre")


def known_methods() -> tuple[str, ...]:
    """All methods, and the two controls that know nothing about the model."""
    return (*methods(), *CONTROLS)


@cache
def cases_of(name: str) -> tuple[nn.Module, Sequence[KnownAnswer]]:
    """The model and the cases of one kind; they are made only once."""
    model_name, make = CASES[name]
    model = load_classifier(model_name)
    return model, make(model, KNOWN["cases"])


def measure_known(case: str, name: str) -> dict[str, Any]:
    """The pointing game of one method, or control, on all cases of one kind."""
    model, cases = cases_of(case)
    result = pointing_accuracy(
        cases, model, as_batches(name), tolerance=KNOWN["tolerance"][case]
    )
    return asdict(result)


def as_batches(name: str) -> BatchMethod:
    """A method, or "random" or "centre", in the form that the pointing game takes."""
    if name == "centre":
        return lambda x, model, targets: np.stack([centre_blob(_size(x))] * len(x))
    if name == "random":
        generator = np.random.default_rng(KNOWN["seed"])
        return lambda x, model, targets: generator.random((len(x), *_size(x)))
    method, samples, seed = methods()[name], KNOWN["samples"], KNOWN["seed"]
    return lambda x, model, targets: (
        method(x, model, targets if len(x) > 1 else targets[0], samples, seed).map
    )


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
