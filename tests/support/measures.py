"""How far a value may be off, and the record of how far it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Impl = Callable[..., Any]
Method = Callable[..., Any]  # (image, model, target_class=None) -> result
Oracle = Callable[[Impl], None]

EXACT = 1e-10  # float64, deterministic
FLOAT32 = 1e-5  # relative to the map's maximum
DIFFERENCES = 1e-6  # finite differences in float64
STANDARD_ERRORS = 4.0  # Monte Carlo
PRECISIONS = ((torch.float64, EXACT), (torch.float32, FLOAT32))

# Oracle and its limit -> the largest deviation seen, relative to the largest value or
# in standard errors.
DEVIATIONS: dict[str, float] = {}
_recording = True


def record(name: str, deviation: float, allowed: float) -> None:
    """Remember the largest deviation under a name, for the summary after the tests."""
    if _recording:
        key = f"{name}; {allowed:g} allowed"
        DEVIATIONS[key] = max(deviation, DEVIATIONS.get(key, 0.0))


@contextmanager
def unrecorded() -> Iterator[None]:
    """Record nothing, for implementations that are wrong on purpose.

    Yields:
        Nothing; recording goes on afterwards.
    """
    global _recording
    _recording = False
    try:
        yield
    finally:
        _recording = True


def close(name: str, got: Any, want: Any, allowed: float) -> None:
    """Assert that the largest difference is at most ``allowed``.

    The difference is relative to the largest wanted value.
    """
    got, want = (float64(values) for values in (got, want))
    assert got.shape == want.shape, (
        f"{name}: shape {tuple(got.shape)}, not {tuple(want.shape)}"
    )
    assert got.isfinite().all(), f"{name}: NaN or infinite values"
    deviation = ((got - want).abs().max() / (want.abs().max() or 1)).item()
    assert deviation <= allowed, (
        f"{name}: off by {deviation:.2g} of the maximum, {allowed:g} is allowed"
    )
    record(name, deviation, allowed)


def within(name: str, got: float, want: float, standard_error: float) -> None:
    """Assert that a Monte Carlo figure is within 4 standard errors of ``want``."""
    deviation = abs(got - want) / standard_error
    assert deviation <= STANDARD_ERRORS, (
        f"{name}: {got:.4g}, expected {want:.4g}; {deviation:.1f} standard errors off"
    )
    record(f"{name} (standard errors)", deviation, STANDARD_ERRORS)


def relative_l2(got: Any, want: Any) -> float:
    """``|got - want| / |want|``, the measure for maps of real networks."""
    got, want = (float64(values) for values in (got, want))
    assert got.shape == want.shape
    return ((got - want).norm() / want.norm()).item()


def float64(values: Any) -> Tensor:
    """A tensor, array, list or number as a float64 tensor."""
    if isinstance(values, Tensor):
        return values.detach().double()
    return torch.from_numpy(np.array(values, dtype=np.float64))


def refuses(
    kinds: type[Exception] | tuple[type[Exception], ...], call: Callable[[], Any]
) -> str:
    """The message with which ``call`` refuses its input.

    Raises:
        AssertionError: If ``call`` accepts it.
    """
    try:
        call()
    except kinds as error:
        return str(error)
    raise AssertionError("bad input was accepted")


def runs(call: Callable[[], Any]) -> Any:
    """What ``call`` returns.

    Raises:
        AssertionError: If torch raises a RuntimeError.
    """
    try:
        return call()
    except RuntimeError as error:
        raise AssertionError(f"raises {error}") from error


def differences(
    score: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5
) -> Tensor:
    """Central differences of a score at one image.

    Args:
        score: (n, 3, H, W) -> (n,).
        x: The image, (1, 3, H, W).
        step: How far each value is moved.

    Returns:
        The gradient, (1, 3, H, W).
    """
    moves = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    with torch.no_grad():
        return ((score(x + moves) - score(x - moves)) / (2 * step)).reshape(x.shape)


def probability(model: nn.Module, target: int) -> Callable[[Tensor], Tensor]:
    return lambda x: model(x).softmax(dim=1)[:, target]


def logit(model: nn.Module, target: int) -> Callable[[Tensor], Tensor]:
    return lambda x: model(x)[:, target]


def saliency(gradient: Tensor) -> Tensor:
    """The maximum over channels of absolute values, from (C, H, W) or (N, C, H, W)."""
    return gradient.abs().amax(dim=-3)
