"""The saved study: complete, by this recipe, and what this code measures.

The study was measured on other machines and with other releases; on this photo float32
and float64 agree to a millionth, so that rounding moves no number by a thousandth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from chapter4.study import __main__ as command
from chapter4.study import known, pages, photo_items, recipe, reference, saved
from chapter4.study.store import EVIDENCE, plain

STUDY = saved()
PHOTO = "cat"
# One of the fills: the others differ in it alone, and cost as much again.
FILLS = [["blur", 16]]
KEYS = ("deletion_blur_16", "insertion_blur_16")


def breadth(names: Iterable[str], *quick: str) -> list[Any]:
    """All names; those that are not quick are left to the slow tests."""
    marks = {name: () if name in quick else pytest.mark.slow for name in names}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


def item(key: str) -> dict[str, Any]:
    return STUDY["items"][key]


def test_the_study_is_complete_and_by_this_recipe() -> None:
    assert set(STUDY["items"]) == set(command.items())
    for key, found in STUDY["items"].items():
        assert found["recipe"] == recipe.digest(key.partition("/")[0]), key
        machine = STUDY["machines"][found["machine"]]
        assert machine["cpu"]
        assert machine["threads"] == 1
    assert STUDY["recipes"] == plain(recipe.RECIPES)
    assert len(recipe.photo_names()) >= 20
    assert recipe.REFERENCE["photos"] >= 5
    assert recipe.REFERENCE["steps"] >= 1000


def test_the_file_is_small_and_plain_json() -> None:
    text = EVIDENCE.read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert "NaN" not in text
    assert "Infinity" not in text


def test_times_are_those_of_one_machine() -> None:
    times = [v for key, v in STUDY["items"].items() if key.startswith("cost/")]
    assert len({found["machine"] for found in times}) == 1
    plain_gradient = [
        item(f"cost/{photo}/vanilla_gradients")["gradients_of_time"]
        for photo in recipe.photo_names()[: recipe.COST["photos"]]
    ]
    assert np.median(plain_gradient) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "name", breadth(recipe.PHOTO_METHODS, "vanilla_gradients", "gradcam", "ig_black")
)
def test_one_photo_measures_what_was_saved(name: str) -> None:
    expected = item(f"photo/{PHOTO}/{name}")
    found = photo_items.measure_map(PHOTO, name)
    found |= photo_items.measure_faithfulness(PHOTO, name, FILLS)
    for key in ("images_forward", "images_backward", "blank"):
        assert found[key] == expected[key], key
    assert found["score"] == pytest.approx(expected["score"], rel=1e-4)
    assert found["total_variation"] == pytest.approx(
        expected["total_variation"], rel=1e-3
    )
    if expected["delta"] is None:
        assert found["delta"] is None
    else:
        assert found["delta"] == pytest.approx(expected["delta"], abs=1e-3)
    for key in KEYS:
        assert found[key] == pytest.approx(expected[key], abs=1e-3), key


@pytest.mark.parametrize("name", ["vanilla_gradients", "gradcam"])
def test_one_grey_level_does_what_was_saved(name: str) -> None:
    expected = item(f"photo/{PHOTO}/{name}")["grey_level"]
    found = photo_items.measure_stability(PHOTO, name, repeat=False)["grey_level"]
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "name", breadth(("vanilla_gradients", "gradcam", "gradcam++"), "gradcam")
)
def test_randomization_measures_what_was_saved(name: str) -> None:
    expected = item(f"randomization/{PHOTO}/{name}")
    found = plain(photo_items.measure_randomization(PHOTO, name))
    assert found["blank"] == expected["blank"]
    assert found["correlations"] == pytest.approx(expected["correlations"], abs=2e-3)


@pytest.mark.parametrize("case", known.CASES)
@pytest.mark.parametrize(
    "name",
    breadth(("vanilla_gradients", "gradcam", "centre", "random"), "gradcam", "random"),
)
def test_known_answers_measure_what_was_saved(case: str, name: str) -> None:
    expected = item(f"known/{case}/{name}")
    found = known.measure_known(case, name)
    # One picture of 200 whose two highest pixels are nearly equal may tip.
    assert found["hits"] == pytest.approx(expected["hits"], abs=1)
    assert found["chance"] == pytest.approx(expected["chance"], rel=1e-4)
    assert (found["cases"], found["blank"]) == (expected["cases"], expected["blank"])


@pytest.mark.parametrize("case", known.CASES)
def test_the_random_control_is_at_chance(case: str) -> None:
    found = item(f"known/{case}/random")
    low, high = found["interval"]
    assert low <= found["chance"] <= high


def test_controls_measure_what_was_saved() -> None:
    expected = item(f"controls/{PHOTO}")
    found = photo_items.measure_controls(PHOTO, FILLS)
    assert (found["target"], found["right"]) == (expected["target"], expected["right"])
    measured = [key for key in found if key.startswith(("random", "centre", "prob"))]
    assert len(measured) == 7
    for key in measured:
        assert found[key] == pytest.approx(expected[key], abs=1e-3), key


def test_a_walk_measures_what_was_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth step of it, and the errors of the smaller counts."""
    short = recipe.PATH | {"steps": 20, "early": 4, "counts": [10, 25]}
    monkeypatch.setattr(pages, "PATH", short)
    found, expected = pages.measure_path(PHOTO), item(f"path/{PHOTO}")
    for key in ("scores", "slopes", "early_slopes"):
        assert found[key] == pytest.approx(expected[key][9::10], rel=1e-3, abs=0.02)
    for rule in short["rules"]:
        measured = [each["delta"] for each in found[rule]]
        saved_ones = [each["delta"] for each in expected[rule][:2]]
        assert measured == pytest.approx(saved_ones, abs=1e-3)
    assert expected["gausslegendre"][-1]["distance"] == 0


@pytest.mark.slow
def test_the_noise_of_smoothgrad_is_what_was_saved() -> None:
    found, expected = pages.measure_noise(PHOTO), item(f"noise/{PHOTO}")
    assert found["noise_to_signal"] == pytest.approx(
        expected["noise_to_signal"], rel=1e-3
    )
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-3)
    assert found["cosine"] == pytest.approx(expected["cosine"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("photo", recipe.CLAIMS["photos"][::3])
def test_claims_measure_what_was_saved(photo: str) -> None:
    found, expected = pages.measure_claims(photo), item(f"claims/{photo}")
    for key in ("noise_to_signal", "roughness", "deleted", "least_correlation"):
        assert found[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-3), key
    assert found["seeds"] == pytest.approx(expected["seeds"], rel=1e-3)


def test_the_reference_is_nearer_to_more_steps() -> None:
    for photo in recipe.photo_names()[: recipe.REFERENCE["photos"]]:
        for score in recipe.REFERENCE["scores"]:
            by_rule = item(f"reference/{photo}")[score]
            assert set(by_rule) == {"sum", *reference.RULES}
            few, many = (by_rule[f"gausslegendre_{n}"]["error"] for n in (25, 100))
            assert many < few
            assert by_rule["gausslegendre_50"]["images_backward"] == 50
