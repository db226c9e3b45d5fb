"""The saved study as a table and as verdicts on the printed one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from chapter4.study.recipe import FILLS, PHOTO_METHODS

# The noise is called high if one grey level changes a map by more of its norm than
# this, as on the page of corrections.
HIGH_NOISE = 0.25
# A sum that misses by more than this is called incomplete.
LARGE_DELTA = 0.05


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the photos on which a number is defined.

    Attributes:
        median: The median.
        low: The lower quartile.
        high: The upper quartile.
        count: The number of photos.
    """

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self:.3g}"

    def __format__(self, form: str) -> str:
        """Each of the three numbers in this form: ``f"{spread:.2f}"``."""
        low, median, high = (
            f"{value:{form or '.3g'}}" for value in (self.low, self.median, self.high)
        )
        return median if low == high else f"{median} ({low} to {high})"


@dataclass(frozen=True)
class Margin:
    """How much better than random orders a method's order is, over the photos.

    Attributes:
        spread: The difference of the areas over the photo's probability, see
            ``margin``.
        above_random: On how many photos it is better than the random orders.
        above_both: On how many photos it is better than the centre's order as well.
    """

    spread: Spread
    above_random: int
    above_both: int


@dataclass(frozen=True)
class EqualError:
    """What the adaptive rule needs for the error of Captum's default.

    Attributes:
        error: The error of 50 steps of Gauss-Legendre, relative L2 to the float64
            reference.
        fixed: The gradients that these steps take.
        adaptive: The fewest gradients of all measured runs of the adaptive rule with
            this error or less; inf if there is no such run.
        reached: The error of that run.
    """

    error: float
    fixed: int
    adaptive: float
    reached: float

    @property
    def saving(self) -> float:
        """How many times fewer gradients the adaptive rule takes.

        Below 1 the fixed rule is cheaper.
        """
        return self.fixed / self.adaptive


@dataclass(frozen=True)
class Claim:
    """A printed statement and the rule that decides it.

    Attributes:
        name: A short name.
        printed: The statement.
        rule: The rule in words.
        held: On how many photos the rule held.
        photos: On how many photos it was measured.
        number: The number that decided, over the photos.
    """

    name: str
    printed: str
    rule: str
    held: int
    photos: int
    number: Spread

    @property
    def verdict(self) -> str:
        """In a word: "held" on all photos, "not held" on none, else "depends"."""
        if not self.photos:
            return "not measured"
        if self.held == self.photos:
            return "held"
        return "depends" if self.held else "not held"


def spread(values: Iterable[float | None]) -> Spread:
    """Median and quartiles of the values that are defined; nan if there are none."""
    found = np.asarray([v for v in values if v is not None], float)
    if not len(found):
        return Spread(math.nan, math.nan, math.nan, 0)
    low, median, high = np.quantile(found, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), len(found))


def of_photos(study: Mapping[str, Any], method: str) -> dict[str, dict[str, Any]]:
    """Photo -> what was measured for a method, including its cost and the controls."""
    found = {}
    for key, item in study["items"].items():
        kind, photo, *rest = key.split("/")
        if kind == "photo" and rest == [method]:
            cost = study["items"].get(f"cost/{photo}/{method}", {})
            controls = study["items"].get(f"controls/{photo}", {})
            found[photo] = {**controls, **cost, **item}
    return found


def summary(study: Mapping[str, Any]) -> dict[str, dict[str, Spread]]:
    """Method -> measure -> spread over the photos.

    The measures are the saved ones and a few more: ``blank`` is the share of blank
    maps. ``deletion_margin_FILL_CELL`` and ``insertion_margin_FILL_CELL`` are margins
    against the controls, see ``margin``. They are shares of the photo's probability.
    """
    table = {}
    for method in PHOTO_METHODS:
        photos = list(of_photos(study, method).values())
        measures = {
            name: spread(photo.get(name) for photo in photos)
            for name in (
                "gradients_of_time",
                "images_backward",
                "delta",
                "total_variation",
                "grey_level",
                "repeat_rank_correlation",
                "repeat_noise_to_signal",
            )
        }
        measures["blank"] = spread(float(photo["blank"]) for photo in photos)
        for which, what in product(FILLS, ("deletion", "insertion")):
            measures[f"{what}_margin_{which}"] = spread(
                margin(photo, what, which) for photo in photos
            )
        table[method] = measures
    return table


def margin(photo: Mapping[str, Any], what: str, which: str, who: str = "") -> float:
    """How much better than random orders an order is on one photo.

    Above 0 it finds more than chance does. The margin is a share of the photo's
    probability, so that photos can be compared.

    Args:
        photo: What was measured for one photo, see ``of_photos``.
        what: "deletion", where a small area is good, or "insertion".
        which: Fill and side of the cells, such as "blur_16".
        who: "centre_" for the control.
    """
    sign = 1 if what == "deletion" else -1
    area, chance = photo[f"{who}{what}_{which}"], photo[f"random_{what}_{which}"]
    found: float = sign * (chance - area) / photo["probability"]
    return found


def margins(study: Mapping[str, Any], method: str, what: str, which: str) -> Margin:
    """``margin`` of a method, or of "centre", over the photos."""
    # The controls of a photo stand beside what was measured for any method.
    photos = of_photos(study, PHOTO_METHODS[0] if method == "centre" else method)
    who = "centre_" if method == "centre" else ""
    own = [margin(photo, what, which, who) for photo in photos.values()]
    centre = [margin(photo, what, which, "centre_") for photo in photos.values()]
    both = [max(0, control) for control in centre]
    return Margin(
        spread=spread(own),
        above_random=sum(each > 0 for each in own),
        above_both=sum(each > most for each, most in zip(own, both, strict=True)),
    )


def equal_error(study: Mapping[str, Any], score: str) -> dict[str, EqualError]:
    """Photo -> the adaptive rule against 50 steps of Gauss-Legendre at their error."""
    found = {}
    for key, item in study["items"].items():
        kind, _, photo = key.partition("/")
        if kind != "reference":
            continue
        rules = item[score]
        captum = rules["gausslegendre_50"]
        gradients, reached = min(
            (
                (rule["images_backward"], rule["error"])
                for name, rule in rules.items()
                if name.startswith("adaptive") and rule["error"] <= captum["error"]
            ),
            default=(math.inf, math.nan),
        )
        found[photo] = EqualError(
            captum["error"], captum["images_backward"], gradients, reached
        )
    return found


def saving(study: Mapping[str, Any], score: str) -> Spread:
    """How many times fewer gradients the adaptive rule needs.

    It is 0 on a photo where no measured run of the rule reached that error.
    """
    return spread(each.saving for each in equal_error(study, score).values())


def randomized(study: Mapping[str, Any], method: str) -> list[Spread]:
    """Rank correlation with the trained model's map after each stage, over the photos.

    A blank map has none.
    """
    rows = [
        item["correlations"]
        for key, item in study["items"].items()
        if key.startswith("randomization/") and key.endswith(f"/{method}")
    ]
    return [spread(stage) for stage in zip(*rows, strict=True)]


def claims(study: Mapping[str, Any]) -> list[Claim]:
    """The printed table's claims, each decided photo by photo by a rule on one number.

    A cell of that table is a word, and a word needs a rule. The rule is shown beside
    its verdict. The rules were fixed when only one photo, the cat, had been measured.
    The limit of noise was fixed before that.
    """
    by_method = {name: of_photos(study, name) for name in PHOTO_METHODS}

    def decide(
        name: str,
        printed: str,
        rule: str,
        number: Callable[..., float],
        holds: Callable[[float], bool],
        *methods: str,
        needs: str = "blank",
    ) -> Claim:
        found = [
            number(*(by_method[m][photo] for m in methods))
            for photo in by_method[methods[0]]
            if all(needs in by_method[m].get(photo, {}) for m in methods)
        ]
        finite = spread(v for v in found if math.isfinite(v))
        held = sum(map(holds, found))
        return Claim(name, printed, rule, held, len(found), finite)

    def noise(name: str, printed: str, method: str, word: str = "less") -> Claim:
        return decide(
            name,
            printed,
            f"one grey level changes the map by {word} than {HIGH_NOISE} of its norm",
            lambda photo: _defined(photo, "grey_level"),
            lambda change: (
                change > HIGH_NOISE if word == "more" else change < HIGH_NOISE
            ),
            method,
        )

    time = "gradients_of_time"
    return [
        decide(
            "vanilla-cost",
            "Vanilla gradients: cost low",
            "one gradient",
            lambda v: v["images_backward"],
            lambda count: count == 1,
            "vanilla_gradients",
        ),
        decide(
            "gradcam-cost",
            "Grad-CAM: cost low",
            "no more time than one gradient",
            lambda c: c[time],
            lambda ratio: ratio <= 1,
            "gradcam",
            needs=time,
        ),
        decide(
            "ig-cost-above-smoothgrad",
            "SmoothGrad: cost medium; Integrated Gradients: cost high",
            "with 50 gradients each, Integrated Gradients take at least 1.2 times the"
            " time",
            lambda i, s: i[time] / s[time],
            lambda ratio: ratio >= 1.2,
            "ig_black",
            "smooth_grad",
            needs=time,
        ),
        decide(
            "ig-guarantee",
            "Integrated Gradients: theoretical guarantee",
            f"at 50 steps the sum misses by at most {LARGE_DELTA}",
            lambda i: _defined(i, "delta"),
            lambda delta: delta <= LARGE_DELTA,
            "ig_black",
        ),
        noise(
            "vanilla-noise",
            "Vanilla gradients: noise high",
            "vanilla_gradients",
            "more",
        ),
        noise("smoothgrad-noise", "SmoothGrad: noise low", "smooth_grad"),
        decide(
            "smoothgrad-repeats",
            "SmoothGrad: noise low",
            "the noise of one estimate is less than half of its signal",
            lambda s: _defined(s, "repeat_noise_to_signal"),
            lambda ratio: ratio < 0.5,
            "smooth_grad",
            needs="repeat_noise_to_signal",
        ),
        decide(
            "smoothgrad-denoises",
            "SmoothGrad: denoising",
            "one grey level changes the map less than the vanilla one, and it is less"
            " rough: the larger of the two ratios is below 1",
            lambda s, v: max(s[k] / v[k] for k in ("grey_level", "total_variation")),
            lambda ratio: ratio < 1,
            "smooth_grad",
            "vanilla_gradients",
        ),
        noise("gradcam-noise", "Grad-CAM: noise low", "gradcam"),
        noise("ig-noise", "Integrated Gradients: noise low", "ig_black"),
        decide(
            "ig-precise",
            "Integrated Gradients: precise attribution",
            "deleting cells in its order lowers the probability more than random orders"
            " do and than Grad-CAM's order does: the smaller margin is above 0",
            lambda i, c: min(
                margin(i, "deletion", "blur_16"),
                margin(i, "deletion", "blur_16") - margin(c, "deletion", "blur_16"),
            ),
            lambda lead: lead > 0,
            "ig_black",
            "gradcam",
            needs="random_deletion_blur_16",
        ),
    ]


def _defined(photo: Mapping[str, Any], key: str) -> float:
    # JSON has no nan: what was not defined is null, and then no rule holds.
    return math.nan if photo[key] is None else float(photo[key])
