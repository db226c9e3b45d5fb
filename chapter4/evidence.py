"""What a map costs and how far it can be trusted, in numbers: passes through the model,
roughness, distance between maps, noise of a random estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn


@dataclass
class Passes:
    """Images sent through a model: forward, and back by a gradient of its output."""

    forward: int = 0
    backward: int = 0


@contextmanager
def count_passes(model: nn.Module) -> Iterator[Passes]:
    """Count the images that go through the model inside the block.

    An image counts as backward once for every gradient taken from its logits, however
    far down that gradient goes: Grad-CAM's stops at its layer. The hooks are gone
    afterwards, after an exception too.
    """
    passes = Passes()

    def gradient_came(gradient: Tensor) -> None:
        passes.backward += int(gradient.flatten(1).any(dim=1).sum())

    def ran(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        passes.forward += len(output)
        if output.requires_grad:
            output.register_hook(gradient_came)

    handle = model.register_forward_hook(ran)
    try:
        yield passes
    finally:
        handle.remove()


def total_variation(values: np.ndarray) -> float:
    """Roughness of a non-negative map (H, W): the mean absolute difference between
    neighbouring pixels over the map's mean.

    0 for a constant map; independent of the map's scale; 2 for black and white pixels
    in turn. nan for a map that is zero everywhere. Bilinear enlargement makes a map
    smooth whatever it shows: a low value is no merit by itself.
    Source: Rudin, Osher and Fatemi 1992, doi:10.1016/0167-2789(92)90242-F.
    """
    values = _map(values)
    if values.min() < 0:
        raise ValueError("total_variation takes a map without negative values")
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    mean = values.mean()
    return float(np.concatenate(steps).mean() / mean) if mean > 0 else float("nan")


def relative_difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Distance between two arrays of one shape over the size of the second:
    |values - reference| / |reference|, in the L2 norm. nan where the reference is 0.
    """
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    if values.shape != reference.shape:
        raise ValueError(
            f"the arrays have different shapes: {values.shape} and {reference.shape}"
        )
    size = np.linalg.norm(reference)
    return float(np.linalg.norm(values - reference) / size) if size else float("nan")


def noise_to_signal(estimates: Sequence[np.ndarray]) -> float:
    """How noisy one random estimate is: the L2 norm of its error over that of what it
    estimates, from two or more independent estimates.

    estimates: signed arrays of one shape, such as `.attributions` of `smooth_grad` with
    different seeds; not maps, whose absolute values are biased. The noise is their
    variance about their mean; the signal is what their mean keeps once its own noise is
    taken off, and the answer is inf where nothing is left.
    """
    stack = np.asarray([np.asarray(e, float) for e in estimates])
    if len(stack) < 2:
        raise ValueError(
            "noise_to_signal needs at least two estimates with different seeds"
        )
    noise = float(stack.var(axis=0, ddof=1).sum())
    signal = float((stack.mean(axis=0) ** 2).sum()) - noise / len(stack)
    return float(np.sqrt(noise / signal)) if signal > 0 else float("inf")


def _map(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 2 or min(array.shape) < 2:
        raise ValueError(f"a map has the shape (H, W), not {array.shape}")
    return array
