"""What the speed is held to, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.rounds import Ratio, ratio
from benchmarks.store import IN_USE

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
FLAT = 1.1  # memory at the most samples or steps over memory at the fewest
LINEAR = 1.15  # seconds per sample, step or image at most, over those at the middle


def evaluate(data: dict[str, Any]) -> list[dict[str, Any]]:
    """One record per target, model and number of threads.

    It holds the value, the quartiles, the limit and whether it is met.
    """
    return [
        record
        for part in (_times, _interpret, _memory, _scaling)
        for record in part(data)
    ]


def _times(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for where, cells in _by_setting(data).items():
        for task, other, limit, words in TIMES:
            seconds = cells.get(task, {}).get("seconds", {})
            if {"ours", other} <= seconds.keys():
                found = ratio(seconds["ours"], seconds[other])
                yield _record(words, where, found, limit)


def _interpret(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    words = "interpret, all methods / the same one by one plus a forward pass"
    for where, cells in _by_setting(data).items():
        seconds = cells.get("interpret_all", {}).get("seconds", {})
        if {"ours", "separate", "forward"} <= seconds.keys():
            pairs = zip(seconds["separate"], seconds["forward"], strict=True)
            allowed = [together + forward for together, forward in pairs]
            yield _record(words, where, ratio(seconds["ours"], allowed), 1.0)


def _memory(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is in use: the number of holes an allocator keeps is not the method's.

    A GPU has one measure alone, and that has no holes.
    """
    peaks: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for key, mib in data["memory"].items():
        model, task, column, *n = key.split("/")
        if column in ("ours", f"ours{IN_USE}") and n:
            by_column = peaks.setdefault((model, task), {})
            by_column.setdefault(column, {})[int(n[0])] = mib
    for (model, task), by_column in peaks.items():
        resident = by_column.get("ours", {})
        in_use = by_column.get(f"ours{IN_USE}", {})
        by_n = in_use if in_use.keys() >= resident.keys() else resident
        few, many = min(by_n), max(by_n)
        if few == many:
            continue
        value = by_n[many] / by_n[few] if by_n[few] > 0 else float("inf")
        what = "peak memory in use" if by_n is in_use else "peak memory"
        words = f"{task}: {what} at n = {many} / n = {few}"
        yield _record(words, model, Ratio(value, value, value), FLAT)


def _scaling(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, cell in data["scaling"].items():
        model, what = key.split("/")
        points = sorted(int(n) for n in cell["seconds"])
        each = {n: [s / n for s in cell["seconds"][str(n)]] for n in points}
        where = f"{model}/{cell['threads']}"
        if what == "images":
            best = min(points[1:], key=lambda n: statistics.median(each[n]))
            found, words = (
                ratio(each[best], each[1]),
                f"an image of a batch of {best} / alone",
            )
            yield _record(words, where, found, 1.0)
            continue
        middle, last = points[len(points) // 2], points[-1]
        words = f"{what}: seconds for each of {last} / of {middle}"
        yield _record(words, where, ratio(each[last], each[middle]), LINEAR)


def _by_setting(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, cell in data["times"].items():
        where, task = key.rsplit("/", 1)
        found.setdefault(where, {})[task] = cell
    return found


def _record(words: str, where: str, found: Ratio, limit: float) -> dict[str, Any]:
    return {
        "target": words,
        "where": where,
        "value": round(found.value, 3),
        "low": round(found.low, 3),
        "high": round(found.high, 3),
        "limit": limit,
        "met": bool(found.value <= limit),
    }
