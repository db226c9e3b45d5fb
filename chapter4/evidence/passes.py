"""What a map costs: the images that go through the model while it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Passes:
    """How many images were sent through a model.

    Attributes:
        forward: Images in forward passes.
        backward: Images whose gradient was taken from the model's output.
    """

    forward: int = 0
    backward: int = 0


@contextmanager
def count_passes(model: nn.Module) -> Iterator[Passes]:
    """Count the images that go through the model inside the block.

    An image counts as backward once for every gradient taken from its logits, however
    far down that gradient goes: Grad-CAM's gradient stops at its layer. The hooks are
    removed afterwards, also after an exception.

    Args:
        model: A model whose output is a tensor (N, K).

    Yields:
        The counts so far. They grow while the block runs.
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
