"""What a notebook can set for all code, and what a question finds in its place.

The checks ask what a function does in a fresh kernel, where nobody has turned gradients
off for all.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Setting:
    """One thing that code can set for all code after it.

    Attributes:
        words: What it is, for a student.
        usual: Its value in a fresh kernel.
        read: Gives the present value.
        write: Sets it.
    """

    words: str
    usual: Any
    read: Callable[[], Any]
    write: Callable[[Any], Any]


SETTINGS = (
    Setting(
        "torch's default dtype",
        torch.float32,
        torch.get_default_dtype,
        torch.set_default_dtype,
    ),
    Setting(
        "torch's default device",
        torch.device("cpu"),
        torch.get_default_device,
        # The CPU by name would be a context of its own, which costs time.
        lambda device: torch.set_default_device(
            None if device == torch.device("cpu") else device
        ),
    ),
    Setting(
        "whether torch computes gradients",
        True,
        torch.is_grad_enabled,
        torch.set_grad_enabled,
    ),
    Setting(
        "torch's deterministic algorithms",
        0,
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    Setting(
        "torch's search for anomalies",
        False,
        torch.is_anomaly_enabled,
        torch.set_anomaly_enabled,
    ),
    Setting(
        "torch's autocast",
        False,
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    Setting(
        "the precision of torch's matrix products",
        "highest",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Setting(
        "what NumPy does about overflow and division by zero",
        {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
        np.geterr,
        lambda how: np.seterr(**how),
    ),
)


def present() -> list[Any]:
    """The present values, in the order of ``SETTINGS``."""
    return [setting.read() for setting in SETTINGS]


def usual() -> list[Any]:
    """The values in a fresh kernel."""
    return [setting.usual for setting in SETTINGS]


def put(wanted: list[Any]) -> None:
    """Sets whatever has another value now."""
    for setting, value in zip(SETTINGS, wanted, strict=True):
        if setting.read() != value:
            setting.write(value)


def changed_since(before: list[Any]) -> list[str]:
    """What has another value now, in words that follow a cell's or function's name."""
    return [
        f"changed {setting.words} for all code after it; your functions are called"
        " without this change"
        for setting, value in zip(SETTINGS, before, strict=True)
        if setting.read() != value
    ]


@contextlib.contextmanager
def as_in_a_fresh_kernel() -> Iterator[None]:
    """Everything is as usual inside, and afterwards as it was before."""
    before = present()
    put(usual())
    try:
        with torch.inference_mode(False):
            yield
    finally:
        put(before)


def seed(number: int) -> None:
    """Seeds every generator that has one state for the whole process."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
