"""The pointing game by hand, Wilson's interval against SciPy, and known cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

import chapter4
from chapter4.evidence import ground_truth
from chapter4.evidence.pointing import grown
from chapter4.shapes.drawing import make_shape


def peak(*at: tuple[int, int]) -> np.ndarray:
    values = np.full((6, 10), 0.5)
    for row, column in at:
        values[row, column] = 2
    return values


BOX = np.zeros((6, 10), bool)
BOX[2:4, 3:6] = True


def test_the_pointing_game_by_hand() -> None:
    inside = chapter4.pointing_game(peak((3, 5)), BOX)
    assert (inside.hit, inside.chance, inside.ties, inside.blank) == (1, 0.1, 1, False)
    assert chapter4.pointing_game(peak((3, 6)), BOX).hit == 0
    # Two of three highest pixels lie in the box. (Quantus counts any of them as a hit.)
    tied = chapter4.pointing_game(peak((2, 3), (3, 3), (0, 0)), BOX)
    assert (tied.hit, tied.ties) == (pytest.approx(2 / 3), 3)
    almost = peak((2, 3), (0, 0)) + 1e-7 * np.arange(60).reshape(6, 10) / 60
    assert chapter4.pointing_game(almost, BOX).ties == 2
    assert chapter4.pointing_game(100 * almost, BOX).ties == 2
    # Blank maps point nowhere; by Quantus' rule they would always hit.
    for blank in (np.zeros((6, 10)), -peak((3, 5))):
        found = chapter4.pointing_game(blank, BOX)
        assert (found.hit, found.blank) == (0, True)
    # A map that is everywhere the same, but not zero, points as well as chance.
    assert chapter4.pointing_game(np.ones((6, 10)), BOX).hit == pytest.approx(0.1)


def test_the_tolerance_is_a_distance() -> None:
    at = peak((3, 7))  # two columns beside the box
    assert chapter4.pointing_game(at, BOX, tolerance=1.9).hit == 0
    assert chapter4.pointing_game(at, BOX, tolerance=2).hit == 1
    corner = peak((4, 6))  # one row and one column beside it: the root of 2
    assert chapter4.pointing_game(corner, BOX, tolerance=1.4).hit == 0
    assert chapter4.pointing_game(corner, BOX, tolerance=1.5).hit == 1
    # 2 x 3 pixels, a ring of 10 about them, without and with its four corners.
    assert chapter4.pointing_game(at, BOX, tolerance=1).chance == pytest.approx(16 / 60)
    assert grown(BOX, 1.5).sum() == 20


def test_chance_is_what_random_maps_reach() -> None:
    random, n = np.random.default_rng(0), 2000
    maps = random.random((n, 6, 10))
    games = [chapter4.pointing_game(each, BOX, tolerance=1) for each in maps]
    chance = games[0].chance
    error = math.sqrt(chance * (1 - chance) / n)
    assert abs(np.mean([game.hit for game in games]) - chance) <= 4 * error


@pytest.mark.parametrize(("hits", "cases"), [(0, 7), (8, 10), (490, 492), (3, 3)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_agrees_with_scipy(hits: int, cases: int, confidence: float) -> None:
    expected = binomtest(hits, cases).proportion_ci(confidence, method="wilson")
    found = chapter4.wilson_interval(hits, cases, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: chapter4.pointing_game(np.ones((5, 5)), BOX), "map's shape"),
        (lambda: chapter4.pointing_game(peak(), BOX & False), "at least one pixel"),
        (lambda: chapter4.pointing_game(peak(), BOX, tolerance=-1), "0 pixels or more"),
        (lambda: chapter4.pointing_game(peak() * np.nan, BOX), "NaN"),
        (lambda: chapter4.wilson_interval(3, 2), "no interval"),
        (lambda: chapter4.pointing_accuracy([], torch.nn.Identity(), None), "one case"),
    ],
)
def test_what_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_the_logo_is_the_cause_and_nothing_else_can_be() -> None:
    model = chapter4.load_classifier("shapes-logo")
    cases = chapter4.logo_mistakes(model, 12)
    assert len({case.name for case in cases}) == 12
    for case in cases:
        index = int(case.name.removeprefix("test "))
        plain = make_shape(index, seed=3)
        marked = case.image.permute(1, 2, 0).numpy() * 0.5 + 0.5
        changed = (np.abs(marked - plain.image / 255) > 1e-3).any(axis=2)
        assert case.region.sum() == 100
        assert changed.any()
        assert not changed[~case.region].any()
        with torch.no_grad():
            before = torch.from_numpy(plain.image / 255 * 2 - 1).permute(2, 0, 1)
            assert model(before[None].float()).argmax() == plain.label != case.target
            assert model(case.image[None]).argmax() == case.target == 3


def test_off_centre_shapes_leave_the_centre_free() -> None:
    model = chapter4.load_classifier("shapes")
    cases = chapter4.off_centre_shapes(model, 12)
    for case in cases:
        sample = make_shape(int(case.name.removeprefix("test ")), seed=3)
        assert np.array_equal(case.region, sample.mask)
        assert case.target == sample.label
        assert not case.region[31:33, 31:33].any()
        with torch.no_grad():
            assert model(case.image[None]).argmax() == case.target
    blob = chapter4.centre_blob((64, 64))
    centre = chapter4.pointing_accuracy(
        cases, model, lambda x, m, t: np.stack([blob] * len(x))
    )
    assert centre.hits == 0


def test_accuracy_is_the_mean_of_the_games_whatever_the_batch() -> None:
    model = chapter4.load_classifier("shapes-logo")
    cases = chapter4.logo_mistakes(model, 21)

    def method(x: torch.Tensor, m: torch.nn.Module, targets: list[int]) -> np.ndarray:
        given = targets if len(x) > 1 else targets[0]
        return chapter4.GradCAM(m, "layer4").generate_cam(x, given).map

    found = chapter4.pointing_accuracy(cases, model, method, tolerance=3, batch_size=20)
    maps = [method(case.image[None], model, [case.target]) for case in cases]
    games = [
        chapter4.pointing_game(each, case.region, tolerance=3)
        for each, case in zip(maps, cases, strict=True)
    ]
    assert found.hits == pytest.approx(sum(game.hit for game in games))
    assert found.chance == pytest.approx(np.mean([game.chance for game in games]))
    assert found.interval == chapter4.wilson_interval(found.hits, 21)
    # 490 of the 492 mistakes, says the model's record.
    assert found.accuracy >= 0.85


def test_too_few_cases_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "N_PICTURES", 100)
    sound = chapter4.load_classifier("shapes")
    with pytest.raises(ValueError, match="mistakes of this model, not 50"):
        chapter4.logo_mistakes(sound, 50)
    with pytest.raises(ValueError, match="such pictures, not 99"):
        chapter4.off_centre_shapes(sound, 99)
