"""Numbers about maps, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import chapter4


def test_total_variation_by_hand() -> None:
    # Steps down: 1, 3; across: 1, 3; their mean is 2. The mean value is 1.5.
    assert chapter4.total_variation(
        np.array([[0.0, 1.0], [1.0, 4.0]])
    ) == pytest.approx(2 / 1.5)
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
    assert chapter4.relative_difference(
        np.array([3.0, 5.0]), np.array([3.0, 4.0])
    ) == pytest.approx(0.2)
    assert (
        chapter4.relative_difference(np.array([[3.0], [4.0]]), np.array([[3.0], [4.0]]))
        == 0
    )
    assert math.isnan(chapter4.relative_difference(np.ones(2), np.zeros(2)))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        chapter4.relative_difference(np.ones(2), np.ones(3))


def test_noise_to_signal_by_hand() -> None:
    # Mean 2, variance 2 with one degree of freedom: the signal is 4 - 2 / 2 = 3.
    assert chapter4.noise_to_signal(
        [np.array([1.0]), np.array([3.0])]
    ) == pytest.approx(math.sqrt(2 / 3))
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
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()


def test_passes_of_every_method(small: nn.Module) -> None:
    x = torch.rand(2, 3, 8, 8)
    runs = {
        (2, 2): lambda: chapter4.vanilla_gradients(x, small),
        (2 + 2 * 7, 2 * 7): lambda: chapter4.smooth_grad(
            x, small, n_samples=7, chunk_size=3
        ),
        (2 + 2 + 2 * 10, 2 * 10): lambda: chapter4.integrated_gradients(
            x, small, baseline=torch.zeros_like(x), n_steps=10
        ),
    }
    for expected, run in runs.items():
        with chapter4.count_passes(small) as passes:
            run()
        assert (passes.forward, passes.backward) == expected


def test_passes_of_grad_cam_and_of_plain_forwards(small: nn.Module) -> None:
    x = torch.rand(3, 8, 8)
    with chapter4.count_passes(small) as passes:
        chapter4.GradCAM(small, "1").generate_cam(x)
        with torch.no_grad():
            small(x[None].repeat(4, 1, 1, 1))
    assert (passes.forward, passes.backward) == (5, 1)


def test_the_counter_leaves_no_hook(small: nn.Module) -> None:
    with pytest.raises(RuntimeError), chapter4.count_passes(small) as passes:
        raise RuntimeError
    small(torch.rand(1, 3, 8, 8))
    assert passes.forward == 0
    assert not small._forward_hooks
