"""Numbers about maps, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import nets
import numpy as np
import pytest
import torch
from torch import nn

import chapter4


def test_total_variation_by_hand() -> None:
    # Steps down: 1, 3; across: 1, 3; their mean is 2. The mean value is 1.5.
    steps = np.array([[0.0, 1.0], [1.0, 4.0]])
    assert chapter4.total_variation(steps) == pytest.approx(2 / 1.5)
    board = np.indices((8, 8)).sum(0) % 2
    assert chapter4.total_variation(board) == pytest.approx(2)
    assert chapter4.total_variation(7.5 * board) == pytest.approx(2)
    assert chapter4.total_variation(np.full((3, 5), 2.0)) == 0
    assert math.isnan(chapter4.total_variation(np.zeros((3, 3))))


@pytest.mark.parametrize(
    "bad", [np.ones(4), np.ones((1, 4)), np.ones((2, 2, 2)), -np.ones((2, 2))]
)
def test_total_variation_refuses_what_is_no_map(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="map"):
        chapter4.total_variation(bad)


def test_relative_difference_by_hand() -> None:
    right = np.array([3.0, 4.0])
    found = chapter4.relative_difference(np.array([3.0, 5.0]), right)
    assert found == pytest.approx(0.2)
    assert chapter4.relative_difference(right[:, None], right[:, None]) == 0
    assert math.isnan(chapter4.relative_difference(np.ones(2), np.zeros(2)))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        chapter4.relative_difference(np.ones(2), np.ones(3))


def test_noise_to_signal_by_hand() -> None:
    # Mean 2, variance 2 with one degree of freedom: the signal is 4 - 2 / 2 = 3.
    found = chapter4.noise_to_signal([np.array([1.0]), np.array([3.0])])
    assert found == pytest.approx(math.sqrt(2 / 3))
    same = np.array([1.0, -2.0])
    assert chapter4.noise_to_signal([same, same, same]) == 0
    assert chapter4.noise_to_signal([same, -same]) == math.inf
    with pytest.raises(ValueError, match="two"):
        chapter4.noise_to_signal([same])


@pytest.mark.parametrize("sigma", [0.5, 2.0])
@pytest.mark.parametrize("count", [2, 6])
def test_noise_to_signal_of_known_noise(sigma: float, count: int) -> None:
    random = np.random.default_rng(0)
    signal = random.normal(size=20_000)
    estimates = [signal + sigma * random.normal(size=signal.size) for _ in range(count)]
    # The answer's own standard error is well below 2 per cent at 20,000 values.
    expected = sigma * math.sqrt(signal.size) / np.linalg.norm(signal)
    assert chapter4.noise_to_signal(estimates) == pytest.approx(expected, rel=0.06)


@pytest.fixture
def small() -> nn.Module:
    return nets.built(nets.ConvNet)


X = nets.image(2)
START = torch.zeros_like(X)


@pytest.mark.parametrize(
    ("run", "forward", "backward"),
    [
        (lambda net: chapter4.vanilla_gradients(X, net), 2, 2),
        (lambda net: chapter4.smooth_grad(X, net, None, 7, chunk_size=3), 16, 14),
        (lambda net: chapter4.integrated_gradients(X, net, None, START, 10), 24, 20),
        (lambda net: chapter4.GradCAM(net, "features").generate_cam(X), 2, 2),
        (lambda net: net(X.clone()), 2, 0),
    ],
)
def test_passes(run: Any, forward: int, backward: int, small: nn.Module) -> None:
    with chapter4.count_passes(small) as passes:
        run(small)
    assert (passes.forward, passes.backward) == (forward, backward)


def test_the_counter_leaves_no_hook(small: nn.Module) -> None:
    with pytest.raises(RuntimeError), chapter4.count_passes(small) as passes:
        raise RuntimeError
    small(X)
    assert passes.forward == 0
    assert not small._forward_hooks
