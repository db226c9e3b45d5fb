"""Completeness, deletion and insertion, infidelity: by hand and against Captum."""

from __future__ import annotations

import math
from typing import Any

import nets
import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from oracles.contract import same_state, snapshot
from torch import Tensor

import chapter4
from chapter4.core.attribution import seeded
from chapter4.evidence.deletion_insertion import pixel_ranks


def linear(grid: list[list[float]]) -> nets.ByHand:
    """F_0(x) = the sum of grid times the first channel; F_1 = 0."""
    weight = torch.zeros(2, 3, len(grid), len(grid[0]), dtype=torch.float64)
    weight[0, 0] = torch.tensor(grid)
    return nets.ByHand(weight)


def curves_of(
    maps: dict[str, np.ndarray], grid: list[list[float]], **options: Any
) -> Any:
    """The curves of ``linear(grid)`` at ones, with zeros for what is deleted."""
    x = torch.ones(3, len(grid), len(grid[0]), dtype=torch.float64)
    settings = {"fill": 0 * x, "n_points": 4, "score": "logit"} | options
    return chapter4.deletion_insertion(maps, x, linear(grid), 0, **settings)


FOUR = [[4.0, 3.0], [2.0, 1.0]]
ONES = torch.ones(3, 2, 2, dtype=torch.float64)


def test_completeness_by_hand() -> None:
    model, shares = linear(FOUR), np.array(FOUR)
    # F goes from -10 to 10; the shares of that are twice the weights.
    exact = chapter4.completeness(2 * shares, ONES, model, 0, baseline=-ONES)
    assert (exact.total, exact.change, exact.delta) == (20, 20, 0)
    wrong = chapter4.completeness(2.2 * shares, ONES, model, 0, baseline=-ONES)
    assert wrong.delta == pytest.approx(0.1)
    nothing = chapter4.completeness(shares, ONES, model, 0, baseline=ONES)
    assert math.isnan(nothing.delta)
    # The probability of the first class is 1 / (1 + exp(-F)).
    found = chapter4.completeness(
        shares, ONES / 10, model, 0, baseline=0 * ONES, score="probability"
    )
    assert found.change == pytest.approx(1 / (1 + math.exp(-1)) - 0.5)


@pytest.mark.parametrize("baseline", ["blur", "random"])
def test_completeness_agrees_with_integrated_gradients(baseline: str) -> None:
    model, x = nets.built(nets.ConvNet), nets.image()
    result = chapter4.integrated_gradients(x, model, 1, baseline, 7, seed=3)
    found = chapter4.completeness(
        result.attributions, x, model, 1, baseline=baseline, seed=3
    )
    assert found.delta == pytest.approx(result.delta, rel=1e-9)
    assert found.change == pytest.approx(result.score - result.baseline_score)


def test_curves_of_a_linear_model_by_hand() -> None:
    found = curves_of({"best": np.array(FOUR), "worst": -np.array(FOUR)}, FOUR)
    curves = found.maps["best"]
    assert curves.deletion.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curves.deletion.scores.tolist() == [10, 6, 3, 1, 0]
    assert curves.insertion.scores.tolist() == [0, 4, 7, 9, 10]
    assert curves.deletion.area == pytest.approx(3.75)
    assert curves.insertion.area == pytest.approx(6.25)
    assert found.maps["worst"].deletion.scores.tolist() == [10, 9, 7, 4, 0]
    for each in found.random:  # whatever the order, of a linear model
        assert each.deletion.area + each.insertion.area == pytest.approx(10)
        assert 3.75 <= each.deletion.area <= 6.25
    assert (found.target, found.fill) == (0, "tensor")


def test_random_orders_of_a_linear_model_have_the_mean_of_the_ends() -> None:
    found = curves_of({}, FOUR, random_seeds=range(100))
    mean, spread = found.random_area("deletion")
    assert abs(mean - 5) <= 4 * spread / math.sqrt(100)
    areas = [curves.deletion.area for curves in found.random]
    assert spread == pytest.approx(np.std(areas, ddof=1))
    assert spread > 0.3


def test_curves_by_probability() -> None:
    options = {"n_points": 2, "score": "probability"}
    found = curves_of({"best": np.array(FOUR)}, FOUR, **options)
    expected = [1 / (1 + math.exp(-score)) for score in (10, 3, 0)]
    assert found.maps["best"].deletion.scores == pytest.approx(expected)
    assert found.score == "probability"


def test_cells_change_together_by_their_mean() -> None:
    grid = [[1.0, 2.0, 30.0, 3.0, 50.0], [3.0, 4.0, 4.0, 5.0, 60.0]]
    # Cells of 2 x 2 from the left: means 2.5 and 10.5, and a narrow one with 55.
    options = {"n_points": 10, "cell": 2, "controls": False}
    found = curves_of({"map": np.array(grid)}, grid, **options)
    curve = found.maps["map"].deletion
    assert curve.scores.tolist() == [162, 52, 10, 0]
    assert curve.fractions.tolist() == pytest.approx([0, 0.2, 0.6, 1])
    assert (found.random, found.centre) == ((), None)


def test_equal_values_are_ordered_by_the_seed_alone() -> None:
    blank = np.zeros((6, 5))
    first, again = pixel_ranks(blank, seed=1), pixel_ranks(blank, seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, pixel_ranks(blank, seed=2))
    assert sorted(first.ravel()) == list(range(30))
    # No place is preferred: a corner's mean rank over seeds is that of any pixel, 14.5.
    corner = [pixel_ranks(blank, seed=seed)[0, 0] for seed in range(400)]
    assert abs(np.mean(corner) - 14.5) <= 4 * math.sqrt((30**2 - 1) / 12 / 400)
    # Ties among the highest stay above the rest.
    half = np.repeat([[1.0, 0.0]], 4, axis=0)
    assert pixel_ranks(half, seed=3)[:, 0].max() == 3


def test_a_blank_map_is_one_more_random_order() -> None:
    blank = {"blank": np.zeros((2, 2))}
    found = curves_of(blank, FOUR, seed=3, random_seeds=(2, 3))
    same = found.random[1].deletion.scores
    assert np.array_equal(found.maps["blank"].deletion.scores, same)


def test_the_centre_control_is_a_gaussian_about_the_centre() -> None:
    blob = chapter4.centre_blob((9, 13))
    assert blob[4, 6] == 1
    assert blob[4, 10] == pytest.approx(math.exp(-16 / (2 * 2.25**2)))
    assert blob[0, 6] == blob[4, 2]  # a circle, not stretched with the image
    even = chapter4.centre_blob((4, 4))
    assert even[1:3, 1:3].min() == even.max()
    grid = [[0.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 0.0]]
    found = curves_of({}, grid, n_points=9, random_seeds=())
    assert found.centre is not None
    assert found.centre.deletion.scores.tolist() == [7] + [0] * 9


@pytest.mark.parametrize("fill", ["blur", "mean", "black", "white"])
def test_all_maps_end_in_the_one_fill(fill: str) -> None:
    model, x = nets.built(nets.ConvNet), nets.image()
    maps = {"a": np.arange(48.0).reshape(8, 6), "b": np.eye(8, 6)}
    found = chapter4.deletion_insertion(maps, x, model, 2, fill=fill, score="logit")
    with torch.no_grad():
        ends = model(torch.cat([x, chapter4.make_baseline(fill, x, model)]))[:, 2]
    for curves in (*found.maps.values(), *found.random, found.centre):
        assert curves is not None
        assert curves.deletion.scores[[0, -1]] == pytest.approx(ends.numpy())
        assert curves.insertion.scores[[-1, 0]] == pytest.approx(ends.numpy())
        assert (np.diff(curves.deletion.fractions) > 0).all()


def test_curves_do_not_depend_on_the_chunk_and_leave_the_model_alone() -> None:
    model, x = nets.stateful(), nets.image()
    before, maps = snapshot(model), {"a": np.arange(48.0).reshape(8, 6)}
    one, many = (
        chapter4.deletion_insertion(maps, x, model, 1, chunk_size=size).maps["a"]
        for size in (1, 50)
    )
    assert one.deletion.scores == pytest.approx(many.deletion.scores, rel=1e-12)
    same_state(before, snapshot(model))


def test_no_gradient_and_no_more_memory_than_a_chunk() -> None:
    watched = nets.Watched(nets.built(nets.ConvNet))
    maps = {"a": np.arange(48.0).reshape(8, 6)}
    chapter4.deletion_insertion(
        maps, nets.image(), watched, 1, n_points=10, controls=False, chunk_size=4
    )
    assert not any(watched.with_gradient)
    assert watched.largest == 4
    # The class, the two ends, and nine mixtures each way.
    assert sum(len(batch) for batch in watched.batches) == 1 + 2 + 2 * 9


def test_infidelity_of_a_linear_model() -> None:
    model = nets.built(nets.Power, 1)
    weight, x = model.weight[2].detach().numpy(), nets.image()
    exact = chapter4.infidelity(weight, x, model, 2, n_samples=20)
    assert exact.value < 1e-24
    assert exact.scale == pytest.approx(1)
    # Twice the gradient: the error is the observed change itself; one factor mends it.
    double = chapter4.infidelity(2 * weight, x, model, 2, n_samples=20)
    assert double.value == pytest.approx(double.observed)
    assert double.scale == pytest.approx(0.5)
    assert double.scaled < 1e-24
    # Off by d: E (I d)^2 = sigma^2 |d|^2, its variance 2 sigma^4 |d|^4.
    d, sigma, n = np.random.default_rng(0).normal(size=weight.shape), 0.3, 2000
    off = chapter4.infidelity(weight + d, x, model, 2, sigma=sigma, n_samples=n)
    expected = sigma**2 * (d**2).sum()
    error = math.sqrt(2 / n) * expected
    assert abs(off.value - expected) <= 4 * error
    assert off.standard_error == pytest.approx(error, rel=0.3)


def test_infidelity_of_a_quadratic_model() -> None:
    # F(x) - F(x - I) = 2 a x I - a I^2: the gradient misses sum(a I^2), whose second
    # moment is sigma^4 ((sum a)^2 + 2 sum a^2).
    model, x, sigma = nets.built(nets.Power, 2), nets.image(), 0.5
    a = model.weight[1].detach()
    gradient = (2 * a * x[0]).numpy()
    found = chapter4.infidelity(gradient, x, model, 1, sigma=sigma, n_samples=2000)
    expected = sigma**4 * float(a.sum() ** 2 + 2 * (a**2).sum())
    assert abs(found.value - expected) <= 4 * found.standard_error


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_agrees_with_captum(normalize: bool) -> None:
    model, x = nets.built(nets.ConvNet), nets.image()
    phi = chapter4.vanilla_gradients(x, model, 1).attributions
    ours = chapter4.infidelity(phi, x, model, 1, sigma=0.4, n_samples=12, seed=5)
    generator = seeded(5)

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
        return 0.4 * noise, inputs - 0.4 * noise

    theirs = captum_infidelity(
        lambda batch: model(batch)[:, 1],
        perturb,
        x,
        torch.from_numpy(phi)[None],
        n_perturb_samples=12,
        normalize=normalize,
    )
    value = ours.scaled if normalize else ours.value
    assert value == pytest.approx(theirs.item(), rel=1e-9)
    assert ours.value > 1e-6


def test_infidelity_by_squares_of_a_linear_model() -> None:
    model, x = nets.built(nets.Power, 1), nets.image()
    weight = model.weight[0].detach().numpy()
    fill = chapter4.make_baseline("black", x, model)
    shares = weight * (x - fill)[0].numpy()
    options = {"perturbation": "square", "fill": "black", "side": 3}
    few = options | {"n_samples": 10}
    of_shares = chapter4.infidelity(shares, x, model, 0, contributions=True, **few)
    of_slopes = chapter4.infidelity(weight, x, model, 0, **few)
    assert max(of_shares.value, of_slopes.value) < 1e-24
    assert min(of_shares.observed, of_slopes.observed) > 0.1
    # All 6 x 4 places of the square are as likely: the mean over them, exactly.
    sums = [
        shares[:, top : top + 3, left : left + 3].sum() ** 2
        for top in range(6)
        for left in range(4)
    ]
    zeros = chapter4.infidelity(0 * weight, x, model, 0, n_samples=1500, **options)
    assert abs(zeros.value - np.mean(sums)) <= 4 * zeros.standard_error
    assert zeros.value == zeros.observed == zeros.scaled


def test_infidelity_has_its_seed_and_no_chunk() -> None:
    model, x = nets.built(nets.ConvNet), nets.image()
    phi = np.ones((3, 8, 6))
    runs = [
        chapter4.infidelity(phi, x, model, 1, seed=seed, chunk_size=size).value
        for seed, size in ((0, 1), (0, 64), (1, 64))
    ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-12)
    assert runs[0] != pytest.approx(runs[2], rel=1e-3)


CURVES = {"maps": {"a": np.ones((8, 6))}, "image": nets.image(), "target_class": 0}
PHI = np.ones((3, 8, 6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maps": {"cam": np.ones((6, 8))}}, r"'cam' is \(6, 8\)"),
        ({"maps": {"cam": np.full((8, 6), np.nan)}}, "NaN"),
        ({"image": nets.image(2)}, "one image at a time"),
        ({"fill": "blurr"}, "did you mean 'blur'"),
        ({"fill": torch.zeros(3, 4, 4)}, "not the image's shape"),
        ({"n_points": 0}, "n_points is at least 1"),
        ({"cell": 0}, "cell is at least 1"),
        ({"score": "loss"}, "'logit' or 'probability'"),
        ({"target_class": 9}, "9"),
    ],
)
def test_what_curves_refuse(change: dict[str, object], words: str) -> None:
    model = nets.built(nets.ConvNet)
    with pytest.raises(ValueError, match=words):
        chapter4.deletion_insertion(model=model, **(CURVES | change))
    with pytest.raises(ValueError, match="'deletion' or 'insertion'"):
        chapter4.deletion_insertion(model=model, **CURVES).random_area("both")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attributions": np.ones((8, 6))}, "signed attributions"),
        ({"attributions": PHI * math.inf}, "NaN or infinite"),
        ({"contributions": True}, "gaussian needs sensitivities"),
        ({"sigma": 0.0}, "positive"),
        ({"perturbation": "squares"}, "gaussian, square"),
        ({"perturbation": "square", "side": 7}, "does not fit"),
        ({"n_samples": 0}, "n_samples is at least 1"),
    ],
)
def test_what_infidelity_refuses(change: dict[str, object], words: str) -> None:
    given = {"attributions": PHI, "image": nets.image(), "target_class": 0} | change
    with pytest.raises(ValueError, match=words):
        chapter4.infidelity(model=nets.built(nets.ConvNet), **given)


def test_what_completeness_refuses() -> None:
    model, x = nets.built(nets.ConvNet), nets.image()
    with pytest.raises(ValueError, match="not the image's shape"):
        chapter4.completeness(PHI, x, model, 0, baseline=torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        chapter4.completeness(PHI * math.nan, x, model, 0)
    with pytest.raises(ValueError, match="one image at a time"):
        chapter4.completeness(PHI, nets.image(2), model, 0)
