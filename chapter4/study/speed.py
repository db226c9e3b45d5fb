"""What the methods cost beside other libraries: the saved benchmark.

It is shown as tables and as a figure.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chapter4.plots.figures import finish, new_figure
from chapter4.study.summary import spread
from chapter4.study.tables import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
TASKS = {
    "gradient_1": "gradient, one photo",
    "gradient_8": "gradient, 8 photos",
    "gradcam": "Grad-CAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "cams_together": "Grad-CAM, Grad-CAM++, 5 classes",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "Integrated Gradients",
}
SAMPLED = ("smooth_grad", "integrated_gradients")  # with a number of samples or steps
COLUMNS = {
    "forward": "a forward pass",
    "printed": "printed chapter",
    "captum": "Captum",
    "captum_best": "Captum, best chunk",
    "pytorch_grad_cam": "pytorch-grad-cam",
    "torch_cam": "torch-cam",
}
# Ends the name of a column of memory that does not count the holes between blocks.
IN_USE = "+in_use"
CAPTUM = ("captum", "captum_best")
MODELS = {"efficientnet-lite0": "EfficientNet-Lite0", "resnet50": "ResNet-50"}
# Part of the file -> title, label of the x axis, label of the y axis.
PANELS = {
    "samples": ("SmoothGrad", "noisy copies", "seconds"),
    "steps": ("Integrated Gradients", "steps", "seconds"),
    "images": ("Vanilla gradients", "images in one batch", "milliseconds per image"),
}
MARKERS = "osD"
OWN_PROCESS = "this package, its process"


def benchmark(device: str = "cpu") -> dict[str, Any]:
    """The saved benchmark of "cpu" or "cuda", as ``make benchmark`` writes it."""
    text = (HERE / f"benchmark-{device}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def ratio_table(data: Mapping[str, Any], model: str) -> str:
    """A Markdown table of our median time over that of each column, a task in each row.

    The times are those with the fewest threads that were measured. Below 1 we are
    faster.
    """
    threads = min((key.split("/")[1] for key in data["times"]), key=int)
    rows = []
    for task, words in TASKS.items():
        seconds = data["times"].get(f"{model}/{threads}/{task}", {}).get("seconds", {})
        if "ours" not in seconds:
            continue
        middle = {column: statistics.median(each) for column, each in seconds.items()}
        beside = [
            _ratio(middle["ours"] / middle[column]) if column in middle else ""
            for column in COLUMNS
        ]
        name = f"{words}, {data['settings']['n']}" if task in SAMPLED else words
        rows.append([name, f"{middle['ours']:.2g}", *beside])
    return markdown(["Task", "Seconds", *COLUMNS.values()], rows)


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def memory_table(data: Mapping[str, Any], model: str) -> str:
    """A Markdown table of the memory in use at the peak, in MiB above the loaded model.

    A row is a task and a number of samples or steps. The last column is the growth of
    the resident set for this package; it includes what the allocator keeps of freed
    memory.
    """
    peaks: dict[str, dict[int, dict[str, float]]] = {}
    for key, mib in data["memory"].items():
        where, task, column, *count = key.split("/")
        if where == model and mib is not None:
            found = peaks.setdefault(task, {}).setdefault(int(*count), {})
            found[column] = mib
    columns = {f"{name}{IN_USE}": words for name, words in COLUMNS.items()}
    del columns[f"forward{IN_USE}"]  # not measured
    columns = {f"ours{IN_USE}": "this package", **columns, "ours": OWN_PROCESS}
    rows = []
    for task, words in TASKS.items():
        for count, found in sorted(peaks.get(task, {}).items()):
            name = f"{words}, {count}" if count else words
            cells = [f"{found[c]:,.0f}" if c in found else "" for c in columns]
            rows.append([name, *cells])
    return markdown(["Task", *columns.values()], rows)


def allocator_table(data: Mapping[str, Any], model: str) -> str:
    """A Markdown table of how much time an allocator saves that keeps freed memory.

    The first columns have the time where it keeps freed memory over the time where it
    gives it back, for us and for Captum. The last column has our time over Captum's
    quickest time where both keep it. SmoothGrad and Integrated Gradients have 16 copies
    or steps.
    """
    shown = {"ours": "this package", **{c: COLUMNS[c] for c in CAPTUM}}
    rows = []
    for task, words in TASKS.items():
        seconds = data["malloc"].get(f"{model}/{task}", {}).get("seconds", {})
        given_back = {c: statistics.median(seconds[c]) for c in shown if c in seconds}
        kept = {c: statistics.median(seconds[f"{c}+malloc"]) for c in given_back}
        if "ours" in kept and len(kept) > 1:
            cells = [
                _ratio(kept[c] / given_back[c]) if c in kept else "" for c in shown
            ]
            rows.append([words, *cells, _ratio(kept.pop("ours") / min(kept.values()))])
    return markdown(["Task", *shown.values(), "this package / Captum, both keep"], rows)


def scaling_figure(data: Mapping[str, Any]) -> Figure:
    """Times against noisy copies, against steps, and against the images in a batch.

    The first two panels show seconds, with the line through the origin that fits best.
    The third shows milliseconds per image. Points are medians of the rounds, and bars
    reach the quartiles.
    """
    figure, axes = new_figure(1, len(PANELS), (3.6, 3.2))
    for panel, (what, words) in zip(axes[0], PANELS.items(), strict=True):
        title, label, unit = words
        models = [
            key.split("/")[0] for key in data["scaling"] if key.split("/")[1] == what
        ]
        for model, marker in zip(models, MARKERS, strict=False):
            seconds = data["scaling"][f"{model}/{what}"]["seconds"]
            counts = sorted(int(n) for n in seconds)
            spreads = [
                spread(
                    s * (1000 / n if what == "images" else 1) for s in seconds[str(n)]
                )
                for n in counts
            ]
            middle = [each.median for each in spreads]
            bars = [
                [each.median - each.low for each in spreads],
                [each.high - each.median for each in spreads],
            ]
            name = MODELS.get(model, model)
            drawn, *_ = panel.errorbar(
                counts, middle, yerr=bars, fmt=marker, ms=4, label=name
            )
            if what != "images":
                slope = through_origin(counts, middle)
                ends = [0, counts[-1]]
                panel.plot(ends, [slope * n for n in ends], color=drawn.get_color())
        panel.set(title=title, xlabel=label, ylabel=unit)
        panel.locator_params(axis="x", integer=True)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
    if axes[0][0].get_legend_handles_labels()[0]:
        axes[0][0].legend(frameon=False)
    return finish(figure)


def through_origin(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of the line through the origin with the least squares."""
    return sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)
