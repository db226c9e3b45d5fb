"""The results as text: a line for each task and column, then the targets."""

from __future__ import annotations

import statistics
from typing import Any

import pandas as pd

from benchmarks.columns import COLUMNS, TASKS
from benchmarks.rounds import ratio
from chapter4.study import speed

LEGEND = """\
time: median of the rounds; ratio: chapter4's median over the column's, with the
quartiles of single rounds; memory: MiB of peak growth, on a CPU of the resident set, on
a GPU of PyTorch's tensors; in use: that of the resident set where every large block
goes back when it is freed; deviation: relative L2 of the map from the right formula in
float64, and in brackets that of the same formula in float32"""


def text(data: dict[str, Any]) -> str:
    """Everything that is there."""
    heads = [
        ", ".join(f"{name} {value}" for name, value in data[part].items())
        for part in ("machine", "settings", "versions")
    ]
    parts = [f"{data['date']}, {data['device']}", *heads, LEGEND, _lines(data)]
    for key, cell in data["scaling"].items():
        times = ", ".join(f"{n}: {duration(s)}" for n, s in cell["seconds"].items())
        parts.append(f"{key}, {cell['threads']} threads: {times}")
    for model in dict.fromkeys(key.split("/")[0] for key in data["malloc"]):
        table = speed.allocator_table(data, model)
        parts.append(f"{model}, time where freed memory is kept / given back\n{table}")
    if data["targets"]:
        parts.append(_targets(data["targets"]))
    return "\n\n".join(parts)


def duration(seconds: list[float]) -> str:
    """The median, in ms or s."""
    median = statistics.median(seconds)
    return f"{median:.2f} s" if median >= 1 else f"{1000 * median:.3g} ms"


def _lines(data: dict[str, Any]) -> str:
    rows = []
    for key, cell in data["times"].items():
        model, threads, task = key.split("/")
        for column, seconds in cell["seconds"].items():
            name = f"{model}/{task}/{column}"
            ours = cell["seconds"].get("ours") if column != "ours" else None
            chunk = f" ({cell['best']})" if column == "captum_best" else ""
            rows.append(
                {
                    "model": model,
                    "threads": threads,
                    "task": TASKS[task],
                    "column": COLUMNS[column] + chunk,
                    "time": duration(seconds),
                    "chapter4 / it": f"{ratio(ours, seconds):.2f}" if ours else "",
                    "memory": _memory(data, name),
                    "in use": _memory(data, name + speed.IN_USE),
                    "deviation": deviation(data["deviation"].get(name)),
                }
            )
    return pd.DataFrame(rows).to_string(index=False) if rows else "no times"


def deviation(found: dict[str, Any] | None) -> str:
    """In one digit; "nan" for a map without numbers to compare, "" for no map."""
    if not found:
        return ""
    value, plain = found["deviation"], found["float32"]
    return ("nan" if value is None else f"{value:.0e}") + f" ({plain:.0e})"


def _memory(data: dict[str, Any], name: str) -> str:
    found = {
        key.removeprefix(name).lstrip("/"): mib
        for key, mib in data["memory"].items()
        if (key == name or key.startswith(f"{name}/")) and mib is not None
    }
    counts = sorted(found, key=lambda n: int(n or 0))
    return " ".join(f"{n}: {found[n]:.0f}".removeprefix(": ") for n in counts)


def _targets(records: list[dict[str, Any]]) -> str:
    table = pd.DataFrame(records)
    table["met"] = table["met"].map({True: "met", False: "MISSED"})
    return table.round(2).to_string(index=False)
