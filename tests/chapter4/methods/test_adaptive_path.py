"""Section 4.3: Integrated Gradients to a tolerance, and its reference."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from measures import EXACT, close, relative_l2
from nets import ConvNet, Power, built, image
from torch import Tensor

import chapter4
from chapter4.methods.adaptive_path import KEPT, PILOT, PathIntegral, integrate
from chapter4.methods.reference_path import reference_attributions


class Path:
    """F on [0, 1] from a formula for it and for its gradient; keeps what was asked."""

    def __init__(
        self, score: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
    ) -> None:
        self.score, self.slope = score, slope
        self.calls: list[int] = []

    def __call__(self, alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
        at = torch.tensor(alphas, dtype=torch.float64)
        self.calls.append(len(alphas))
        return self.slope(at).reshape(len(alphas), -1), self.score(at)

    def integral(self, tolerance: float, n_steps: int) -> PathIntegral:
        first, last = self.score(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        return integrate(self, (first, last), tolerance, n_steps)


def ramp(corner: float, height: float = 1.0) -> Path:
    return Path(
        lambda at: height * (at - corner).relu(),
        lambda at: height * (at > corner).double(),
    )


def switch(place: float, steepness: float) -> Path:
    """A probability that goes from 0 to 1 in a small part of the path."""

    def score(at: Tensor) -> Tensor:
        return (steepness * (at - place)).sigmoid()

    return Path(score, lambda at: steepness * score(at) * (1 - score(at)))


def walk(seed: int, size: int = 64, grid: int = 8192) -> tuple[Path, Tensor]:
    """A gradient that walks at random, and its integral.

    The grid is so fine that its steps don't show.
    """
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randn((grid, size), generator=generator, dtype=torch.float64)
    gradients = moves.cumsum(dim=0) / math.sqrt(grid)
    scores = torch.cat([torch.zeros(1), gradients.sum(dim=1).cumsum(dim=0) / grid])

    def at_point(at: Tensor) -> Tensor:
        return gradients[(at * grid).long().clamp(max=grid - 1)]

    return (
        Path(lambda at: scores[(at * grid).round().long()], at_point),
        gradients.mean(dim=0),
    )


@pytest.mark.parametrize("slope", [5, 0])
def test_a_straight_score_needs_only_the_first_look(slope: float) -> None:
    path = Path(lambda at: slope * at + 3, lambda at: slope + 0 * at)
    found = path.integral(0.05, 50)
    assert found.total.item() == pytest.approx(slope, rel=1e-12)
    assert (len(found.alphas), found.error, found.converged) == (PILOT, 0.0, True)


@pytest.mark.parametrize("corner", [0.003, 0.3, 0.61, 0.97])
def test_a_ramp_gets_its_steps_at_the_corner(corner: float) -> None:
    """relu(alpha - c): its gradient is 0, then 1, and its integral is 1 - c.

    The integral is known up to half the gap around c.
    """
    found = ramp(corner).integral(1e-3, 50)
    assert found.converged
    assert found.total.item() == pytest.approx(1 - corner, rel=3e-3)
    # The midpoint rule needs 250 steps for an error of half a gap, 0.002.
    assert len(found.alphas) <= 25
    near = [abs(alpha - corner) < 0.1 for alpha in found.alphas]
    assert sum(near) >= len(near) / 2


def test_the_estimated_error_of_a_ramp_is_that_of_its_gap() -> None:
    """One jump of 1 in a gap of width h: standard deviation h / sqrt(12).

    The deviation is divided by the integral.
    """
    path = ramp(0.3)
    found = path.integral(0.02, 50)
    alphas = np.array(found.alphas)
    gap = np.diff(alphas)[alphas[:-1] < 0.3][-1]
    want = gap / math.sqrt(12) / found.total.item()
    assert found.error == pytest.approx(want, rel=1e-9)


def test_what_lies_between_two_steps_shows_in_the_score() -> None:
    """The gradient is 0 at every step of the first look.

    Only F shows the change between two of them.
    """
    found = switch(0.3, 400).integral(0.05, 60)
    assert found.converged
    assert found.total.item() == pytest.approx(1, abs=0.05)
    inside = [0.28 < alpha < 0.32 for alpha in found.alphas]
    assert sum(inside) >= len(inside) / 4


def test_a_jump_of_the_score_is_never_vouched_for() -> None:
    """F jumps and its gradient is 0 everywhere: the map misses the whole change.

    The result says so.
    """
    path = Path(lambda at: (at > 0.3).double(), lambda at: 0 * at)
    for n_steps in (20, 300):
        found = path.integral(0.05, n_steps)
        assert not found.converged
        assert found.error == pytest.approx(1)
        assert len(found.alphas) <= n_steps


@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 70])
def test_stops_at_the_cap(n_steps: int) -> None:
    found = walk(0)[0].integral(1e-4, n_steps)
    assert len(found.alphas) == n_steps
    assert not found.converged
    assert found.error > 1e-4


def test_one_step_can_not_tell_its_error() -> None:
    assert ramp(0.3).integral(0.5, 1).error == math.inf


@pytest.mark.parametrize("n_steps", [1, 4, 23, 64, 65, 200])
def test_weights_sum_to_one_and_steps_are_in_order(n_steps: int) -> None:
    path, _ = walk(1)
    found = path.integral(1e-4, n_steps)
    assert sum(found.weights) == pytest.approx(1, rel=1e-12)
    assert found.alphas == sorted(set(found.alphas))
    assert found.alphas[0] > 0
    assert found.alphas[-1] < 1
    gradients, _ = path(found.alphas)
    weighted = torch.tensor(found.weights, dtype=torch.float64) @ gradients
    close("adaptive IG: weights times gradients", found.total, weighted, EXACT)


def test_the_estimate_is_right_for_a_random_walk() -> None:
    """Mean of (error / estimated error)^2 over 40 walks: 1 within 4 standard errors."""
    ratios = []
    for seed in range(40):
        path, exact = walk(seed)
        found = path.integral(0.05, 300)
        assert found.converged
        error = float((found.total - exact).norm() / found.total.norm())
        ratios.append((error / found.error) ** 2)
    standard_error = np.std(ratios, ddof=1) / math.sqrt(len(ratios))
    assert abs(np.mean(ratios) - 1) <= 4 * standard_error
    assert standard_error < 0.1


def test_every_step_is_used_once_and_memory_has_a_limit() -> None:
    path, exact = walk(2)
    found = path.integral(0.004, 1000)
    assert found.converged
    assert len(found.alphas) > 2 * KEPT
    assert sum(path.calls) == len(found.alphas)
    assert max(path.calls) <= KEPT
    assert float((found.total - exact).norm() / exact.norm()) <= 0.005


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_the_tolerance_is_reached_against_the_exact_answer(score: Any) -> None:
    """As a root mean square over twenty images: one may be above its estimate."""
    model, batch, start = built(ConvNet), image(20), image(20, seed=1)
    targets = [2] * 20
    exact = chapter4.integrated_gradients(
        batch, model, targets, start, 600, rule="riemann_middle", score=score
    )
    found = chapter4.integrated_gradients(
        batch, model, targets, start, 200, tolerance=0.02, score=score
    )
    assert all(found.settings["converged"])
    assert max(found.settings["estimated_error"]) <= 0.02
    pairs = zip(found.attributions, exact.attributions, strict=True)
    errors = [relative_l2(own, peer) for own, peer in pairs]
    assert math.sqrt(np.mean(np.square(errors))) <= 0.02


def test_the_cost_is_counted() -> None:
    model = built(ConvNet)
    with chapter4.count_passes(model) as passes:
        found = chapter4.integrated_gradients(
            image(), model, 2, image(seed=1), tolerance=0.02
        )
    assert passes.backward == found.settings["gradients"] > PILOT
    assert passes.forward == found.settings["gradients"] + 2  # F(x) and F(x')


def test_neither_the_chunk_nor_the_batch_changes_the_map() -> None:
    model, batch, start = built(ConvNet), image(3), image(3, seed=1)
    together = chapter4.integrated_gradients(
        batch, model, [0, 1, 2], start, tolerance=0.02
    )
    for i in range(3):
        for chunk_size in (1, 3, 50):
            alone = chapter4.integrated_gradients(
                batch[i], model, i, start[i], tolerance=0.02, chunk_size=chunk_size
            )
            assert alone.settings["gradients"] == together.settings["gradients"][i]
            own, name = together.attributions[i], "adaptive IG: chunk and batch"
            close(name, own, alone.attributions, EXACT)


def test_steps_of_a_float64_image_are_not_rounded_to_float32() -> None:
    model, x, start = built(Power, 3), image()[0], image(seed=1)[0]

    def evaluate(alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
        points = [start + alpha * (x - start) for alpha in alphas]
        batch = torch.stack(points).requires_grad_()
        scores = model(batch)[:, 2]
        (gradient,) = torch.autograd.grad(scores.sum(), batch)
        return gradient * (x - start), scores.detach()

    first, last = model(torch.stack([start, x]))[:, 2].tolist()
    by_hand = integrate(evaluate, (first, last), 0.001, 200)
    found = chapter4.integrated_gradients(x, model, 2, start, 200, tolerance=0.001)
    assert found.settings["gradients"] == len(by_hand.alphas)
    close("adaptive IG: by hand", found.attributions, by_hand.total, EXACT)


def test_settings_say_what_came_of_it() -> None:
    result = chapter4.integrated_gradients(
        image(), built(Power, 1), 1, image(seed=1), 30, tolerance=0.1
    )
    assert result.settings == {
        "score": "logit",
        "baseline": "tensor",
        "n_steps": 30,
        "rule": "adaptive",
        "backend": "chapter4",
        "seed": 0,
        "tolerance": 0.1,
        "gradients": PILOT,
        "estimated_error": pytest.approx(0, abs=1e-12),
        "converged": True,
    }


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tolerance": 0}, ValueError, r"between 0 and 1, such as 0\.05, not 0"),
        ({"tolerance": 1.0}, ValueError, "between 0 and 1"),
        ({"tolerance": math.nan}, ValueError, "between 0 and 1"),
        ({"tolerance": "5%"}, TypeError, r"a number such as 0\.05, not '5%'"),
        ({"tolerance": True}, TypeError, "not True"),
        ({"tolerance": 0.1, "n_steps": 0}, ValueError, "n_steps is at least 1"),
        ({"tolerance": 0.1, "chunk_size": 0}, ValueError, "chunk_size is at least 1"),
        ({"tolerance": 0.1, "rule": "riemann_left"}, ValueError, "leave out rule and"),
        ({"tolerance": 0.1, "backend": "captum"}, ValueError, "leave out rule and"),
    ],
)
def test_bad_arguments(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        chapter4.integrated_gradients(image(), built(ConvNet), 1, **options)


def test_the_reference_is_the_midpoint_rule_in_float64() -> None:
    model, x = built(ConvNet, dtype=torch.float32), image(dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[int] = []
    found = reference_attributions(
        x, model, 2, n_steps=30, chunk_size=7, progress=seen.append
    )
    assert seen == [7, 14, 21, 28, 30]
    black, twin = chapter4.make_baseline("black", x, model), copy.deepcopy(model)
    for score in ("logit", "probability"):
        settings = {"rule": "riemann_middle", "score": score}
        want = chapter4.integrated_gradients(
            x.double(), twin.double(), 2, black.double(), 30, **settings
        )
        assert found[score].dtype == np.float64
        close("the reference of IG", found[score], want.attributions, EXACT)
    assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())
    assert next(model.parameters()).requires_grad


def test_a_reference_explains_the_predicted_class_of_one_image() -> None:
    model, x = built(ConvNet), image()
    target = int(model(x).argmax())
    own = reference_attributions(x, model, n_steps=3)["logit"]
    want = reference_attributions(x, model, target, n_steps=3)["logit"]
    close("the reference's class", own, want, 0)
    with pytest.raises(ValueError, match="made for one image, not 2"):
        reference_attributions(image(2), model, n_steps=3)
