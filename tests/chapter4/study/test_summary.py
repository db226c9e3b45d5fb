"""The study's table and verdicts, from a study made up by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chapter4.study.recipe import PHOTO_METHODS, PHOTOS
from chapter4.study.summary import (
    EqualError,
    claims,
    equal_error,
    margin,
    margins,
    of_photos,
    randomized,
    saving,
    spread,
    summary,
)


def test_spread_by_hand() -> None:
    found = spread([1.0, 2.0, 3.0, 4.0, 5.0, None])
    assert (found.low, found.median, found.high, found.count) == (2, 3, 4, 5)
    assert str(found) == "3 (2 to 4)"
    assert math.isnan(spread([None]).median)


def made_up(**changes: Any) -> dict[str, Any]:
    """Two photos, on which all methods measure the same.

    ``changes`` are METHOD__NUMBER=[first, second].
    """
    items: dict[str, Any] = {}
    areas = [f"{fill}_{cell}" for fill, cell in PHOTOS["fills"]]
    for index, photo in enumerate(("a", "b")):
        items[f"controls/{photo}"] = {"probability": 0.5} | {
            f"random_{what}_{area}": 0.3
            for what in ("deletion", "insertion")
            for area in areas
        }
        for method in PHOTO_METHODS:
            item: dict[str, Any] = {
                "images_backward": 1,
                "delta": None,
                "blank": index == 1,
                "total_variation": 0.5,
                "grey_level": 0.2,
            }
            item |= {f"deletion_{area}": 0.2 for area in areas}
            item |= {f"insertion_{area}": 0.4 for area in areas}
            for key, values in changes.items():
                name, _, number = key.partition("__")
                if name == method:
                    item[number] = values[index]
            items[f"photo/{photo}/{method}"] = item
    items["cost/a/gradcam"] = {"gradients_of_time": 0.6}
    return {"items": items}


def test_the_table_by_hand() -> None:
    table = summary(made_up(ig_black__delta=[0.1, 0.3]))
    assert set(table) == set(PHOTO_METHODS)
    assert table["ig_black"]["delta"].median == pytest.approx(0.2)
    assert table["vanilla_gradients"]["delta"].count == 0
    assert table["gradcam"]["blank"].median == 0.5
    assert table["gradcam"]["gradients_of_time"].count == 1
    # A tenth less area than random orders, of a probability of one half; both ways.
    for what in ("deletion", "insertion"):
        margin = table["gradcam"][f"{what}_margin_blur_1"]
        assert margin.median == pytest.approx(0.2)
    assert of_photos(made_up(), "gradcam")["a"]["gradients_of_time"] == 0.6


def verdict(name: str, **changes: Any) -> tuple[str, int, int]:
    (claim,) = (c for c in claims(made_up(**changes)) if c.name == name)
    return claim.verdict, claim.held, claim.photos


def test_verdicts_by_hand() -> None:
    assert verdict("vanilla-noise") == ("not held", 0, 2)
    assert verdict("vanilla-noise", vanilla_gradients__grey_level=[0.3, 0.2]) == (
        "depends",
        1,
        2,
    )
    assert verdict("gradcam-noise") == ("held", 2, 2)
    assert verdict("gradcam-cost") == ("held", 1, 1)
    assert verdict("vanilla-cost") == ("held", 2, 2)
    assert verdict("ig-guarantee") == ("not held", 0, 2)
    assert verdict("ig-guarantee", ig_black__delta=[0.04, 0.06]) == ("depends", 1, 2)
    assert verdict("ig-precise") == ("not held", 0, 2)
    lower = {"ig_black__deletion_blur_16": [0.1, 0.15]}
    assert verdict("ig-precise", **lower) == ("held", 2, 2)
    assert verdict("smoothgrad-denoises") == ("not held", 0, 2)
    calmer = {
        "smooth_grad__grey_level": [0.1, 0.1],
        "smooth_grad__total_variation": [0.4, 0.6],
    }
    assert verdict("smoothgrad-denoises", **calmer) == ("depends", 1, 2)
    noisy = {"smooth_grad__repeat_noise_to_signal": [0.4, None]}
    assert verdict("smoothgrad-repeats", **noisy) == ("depends", 1, 2)


def test_randomization_over_photos() -> None:
    items = {
        "randomization/a/gradcam": {"correlations": [0.2, None]},
        "randomization/b/gradcam": {"correlations": [0.4, 0.1]},
        "randomization/b/gradcam++": {"correlations": [0.9, 0.9]},
    }
    first, second = randomized({"items": items}, "gradcam")
    assert first.median == pytest.approx(0.3)
    assert (second.median, second.count) == (0.1, 1)


def test_spreads_are_written_in_the_asked_form() -> None:
    assert f"{spread([0.5, 0.25, 0.75]):.1%}" == "50.0% (37.5% to 62.5%)"
    assert f"{spread([2.0, 2.0]):.1f}" == "2.0"


def test_margins_by_hand() -> None:
    """Random orders have an area of 0.3 and the photo a probability of one half."""
    study = made_up(gradcam__deletion_blur_16=[0.2, 0.35])
    study["items"]["controls/a"]["centre_deletion_blur_16"] = 0.1
    study["items"]["controls/b"]["centre_deletion_blur_16"] = 0.4
    found = margins(study, "gradcam", "deletion", "blur_16")
    assert found.spread.median == pytest.approx((0.2 - 0.1) / 2)
    # The centre is better still on the first photo, the random orders on the second.
    assert (found.above_random, found.above_both) == (1, 0)
    centre = margins(study, "centre", "deletion", "blur_16")
    assert centre.spread.median == pytest.approx((0.4 - 0.2) / 2)
    assert centre.above_random == 1
    photo = {"probability": 0.5, "random_insertion_x_1": 0.3, "insertion_x_1": 0.4}
    assert margin(photo, "insertion", "x_1") == pytest.approx(0.2)


def test_the_number_that_decides() -> None:
    changed = made_up(
        ig_black__deletion_blur_16=[0.1, 0.15], ig_black__delta=[0.04, None]
    )
    by_name = {claim.name: claim for claim in claims(changed)}
    # 0.1 less than Grad-CAM's 0.2, and 0.05; of a probability of one half.
    assert by_name["ig-precise"].number.median == pytest.approx((0.2 + 0.1) / 2)
    assert by_name["ig-guarantee"].number.count == 1
    assert by_name["ig-guarantee"].verdict == "depends"
    assert by_name["ig-cost-above-smoothgrad"].verdict == "not measured"


def test_equal_error_by_hand() -> None:
    def rules(*adaptive: tuple[int, float]) -> dict[str, Any]:
        return {
            "sum": 1.0,
            "gausslegendre_50": {"error": 0.1, "images_backward": 50},
            "gausslegendre_100": {"error": 0.05, "images_backward": 100},
        } | {
            f"adaptive_{place}": {"error": error, "images_backward": gradients}
            for place, (gradients, error) in enumerate(adaptive)
        }

    by_photo = {
        # The one of 10 gradients has too large an error, the one of 40 is not needed.
        "a": rules((10, 0.2), (20, 0.1), (40, 0.04)),
        "b": rules((40, 0.11)),
        "c": rules((100, 0.09)),
    }
    items = {f"reference/{p}": {"logit": each} for p, each in by_photo.items()}
    study = {"items": {**items, "photo/a/gradcam": {}}}
    found = equal_error(study, "logit")
    assert found["a"] == EqualError(error=0.1, fixed=50, adaptive=20, reached=0.1)
    assert found["a"].saving == pytest.approx(2.5)
    assert (found["b"].adaptive, found["b"].saving) == (math.inf, 0)
    assert found["c"].saving == pytest.approx(0.5)
    assert saving(study, "logit").median == pytest.approx(0.5)
