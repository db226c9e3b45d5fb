"""What the speed is held to, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.rounds import ratio
from chapter4.study.speed import IN_USE, SAMPLED
from chapter4.study.summary import Spread, spread

# (task, column that ours is compared with, largest ratio, words).
TIMES = (
    ("gradient_8", "forward", 1.9, "input gradient of 8 photos / plain forward pass"),
    ("gradient_1", "captum", 1.0, "input gradient of 1 photo / Captum"),
    ("cams_together", "forward", 1.1, "Grad-CAM, Grad-CAM++, 5 classes / forward pass"),
    ("smooth_grad", "printed", 0.45, "SmoothGrad / printed chapter"),
    ("smooth_grad", "captum_best", 0.85, "SmoothGrad / Captum at its best chunk"),
    ("integrated_gradients", "printed", 0.45, "IG / printed chapter"),
    ("integrated_gradients", "captum_best", 0.85, "IG / Captum at its best chunk"),
)
TOGETHER = "interpret, all methods / the same one by one plus a forward pass"
FLAT = 1.1  # memory at the most samples or steps over memory at the fewest
LINEAR = 1.15  # seconds per sample or step at most, over those at the middle


def evaluate(data: dict[str, Any]) -> list[dict[str, Any]]:
    """One record per target, model and number of threads.

    It holds the value, the quartiles, the limit and whether it is met.
    """
    return [
        {
            "target": words,
            "where": where,
            "value": round(found.median, 3),
            "low": round(found.low, 3),
            "high": round(found.high, 3),
            "limit": limit,
            "met": bool(found.median <= limit),
        }
        for part in (_times, _memory, _scaling)
        for words, where, found, limit in part(data)
    ]


Judged = Iterator[tuple[str, str, Spread, float]]


def _times(data: dict[str, Any]) -> Judged:
    for key, cell in data["times"].items():
        where, name = key.rsplit("/", 1)
        seconds = cell["seconds"]
        for task, other, limit, words in TIMES:
            if task == name and {"ours", other} <= seconds.keys():
                yield words, where, ratio(seconds["ours"], seconds[other]), limit
        if {"ours", "separate", "forward"} <= seconds.keys():
            pairs = zip(seconds["separate"], seconds["forward"], strict=True)
            allowed = [alone + forward for alone, forward in pairs]
            yield TOGETHER, where, ratio(seconds["ours"], allowed), 1.0


def _memory(data: dict[str, Any]) -> Judged:
    """What is in use: the number of holes an allocator keeps is not the method's.

    A GPU has one measure alone, and that has no holes.
    """
    found = {key: mib for key, mib in data["memory"].items() if mib is not None}
    for start in dict.fromkeys("/".join(key.split("/")[:2]) for key in found):
        model, task = start.split("/")
        resident, in_use = (
            {int(key.split("/")[3]): found[key] for key in found if key.startswith(own)}
            for own in (f"{start}/ours/", f"{start}/ours{IN_USE}/")
        )
        whole = in_use.keys() >= resident.keys()
        by_n, words = (in_use, " in use") if whole else (resident, "")
        if task in SAMPLED and len(by_n) > 1:
            few, many = min(by_n), max(by_n)
            words = f"{task}: peak memory{words} at n = {many} / n = {few}"
            yield words, model, spread([by_n[many] / by_n[few]]), FLAT


def _scaling(data: dict[str, Any]) -> Judged:
    for key, cell in data["scaling"].items():
        model, what = key.split("/")
        points = sorted(int(n) for n in cell["seconds"])
        each = {n: [s / n for s in cell["seconds"][str(n)]] for n in points}
        one, other, limit = points[-1], points[len(points) // 2], LINEAR
        words = f"{what}: seconds for each of {one} / of {other}"
        if what == "images":
            one = min(points[1:], key=lambda n: statistics.median(each[n]))
            other, limit = 1, 1.0
            words = f"an image of a batch of {one} / alone"
        where = f"{model}/{cell['threads']}"
        yield words, where, ratio(each[one], each[other]), limit
