"""The results as text: one table per model and number of threads, then the targets."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.columns import CHUNKED, COLUMNS, TASKS
from benchmarks.rounds import ratio
from benchmarks.store import IN_USE
from benchmarks.subjects import TITLES


def text(data: dict[str, Any]) -> str:
    """Everything that is there."""
    machine = ", ".join(f"{name} {value}" for name, value in data["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in data["versions"].items())
    parts = [
        f"{data['date']}, {data['device']}; {machine}",
        versions,
        (
            "time: median of the rounds; ratio: chapter4's median over the column's,"
            " with the quartiles of single rounds;"
        ),
        (
            "memory: peak growth, on a CPU of the resident set, on a GPU of PyTorch's"
            " tensors;"
        ),
        (
            "in use: that of the resident set where every large block goes back when it"
            " is freed;"
        ),
        (
            "deviation: relative L2 of the map from the right formula in float64, and"
            " in brackets that of the same formula"
        ),
        "in float32.",
    ]
    for where in dict.fromkeys(key.rsplit("/", 1)[0] for key in data["times"]):
        parts += ["", *_table(data, where)]
    for key, cell in data["scaling"].items():
        times = ", ".join(f"{n}: {duration(s)}" for n, s in cell["seconds"].items())
        parts += ["", f"{key}, {cell['threads']} threads: {times}"]
    for key, cell in data["malloc"].items():
        parts += ["", f"{key}, MALLOC_* / without: {malloc_line(cell['seconds'])}"]
    return "\n".join([*parts, "", *_targets(data.get("targets", []))])


def duration(seconds: list[float]) -> str:
    """The median, in ms or s."""
    median = statistics.median(seconds)
    return f"{median:.2f} s" if median >= 1 else f"{1000 * median:.3g} ms"


def malloc_line(seconds: dict[str, list[float]]) -> str:
    """For each column the time with the variables over that without."""
    return ", ".join(
        f"{COLUMNS[name]} {ratio(seconds[f'{name}+malloc'], plain)}"
        for name, plain in seconds.items()
        if f"{name}+malloc" in seconds
    )


def _table(data: dict[str, Any], where: str) -> list[str]:
    model, threads = where.split("/")
    tasks = [task for task in TASKS if f"{where}/{task}" in data["times"]]
    cells = {task: data["times"][f"{where}/{task}"] for task in tasks}
    shown = [
        name for name in COLUMNS if any(name in c["seconds"] for c in cells.values())
    ]
    rows = [["", *(COLUMNS[name] for name in shown)]]
    for task in tasks:
        seconds = cells[task]["seconds"]
        count = f", n = {data['settings']['n']}" if task in CHUNKED else ""
        rows.append([TASKS[task] + count, *("" for _ in shown)])
        rows.append(
            ["  time", *(duration(seconds[c]) if c in seconds else "" for c in shown)]
        )
        if "ours" in seconds:
            rows.append(["  chapter4 / it", *(_ratio(seconds, c) for c in shown)])
        rows.append(["  memory", *(_memory(data, model, task, c) for c in shown)])
        in_use = [_memory(data, model, task, c + IN_USE) for c in shown]
        if any(in_use):
            rows.append(["  in use", *in_use])
        deviations = {
            c: found
            for c in shown
            if (found := data["deviation"].get(f"{model}/{task}/{c}"))
        }
        if deviations:
            plain = max(found["float32"] for found in deviations.values())
            line = [deviation(deviations.get(c)) for c in shown]
            rows.append([f"  deviation ({plain:.0e})", *line])
        if "chunks" in cells[task]:
            best = cells[task]["best"]
            times = ", ".join(
                f"{chunk}: {duration(s)}" for chunk, s in cells[task]["chunks"].items()
            )
            rows.append([f"  Captum's chunks, best {best}; {times}"])
    heading = f"{TITLES[model]}, {threads} thread{'s' if threads != '1' else ''}"
    return [heading, *_aligned([row for row in rows if any(row[1:]) or row[0]])]


def _ratio(seconds: dict[str, list[float]], column: str) -> str:
    if column == "ours" or column not in seconds:
        return ""
    return str(ratio(seconds["ours"], seconds[column]))


def _memory(data: dict[str, Any], model: str, task: str, column: str) -> str:
    start = f"{model}/{task}/{column}"
    if data["memory"].get(start) is not None:
        return f"{data['memory'][start]:.0f} MiB"
    by_n = {
        int(key.rsplit("/", 1)[1]): mib
        for key, mib in data["memory"].items()
        if key.startswith(f"{start}/") and mib is not None
    }
    return " ".join(f"{n}: {by_n[n]:.0f}" for n in sorted(by_n))


def deviation(found: dict[str, Any] | None) -> str:
    """In one digit; "nan" for a map without numbers to compare, "" for no map."""
    if not found:
        return ""
    return "nan" if found["deviation"] is None else f"{found['deviation']:.0e}"


def _aligned(rows: list[list[str]]) -> list[str]:
    width = max(len(row) for row in rows)
    full = [row for row in rows if len(row) == width]
    widths = [max(len(row[i]) for row in full) for i in range(width)]
    return [
        "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def _targets(records: list[dict[str, Any]]) -> list[str]:
    rows = [["target", "where", "value (quartiles)", "at most", ""]]
    for r in records:
        value = f"{r['value']:.2f} ({r['low']:.2f}-{r['high']:.2f})"
        verdict = "met" if r["met"] else "MISSED"
        rows.append([r["target"], r["where"], value, f"{r['limit']:.2f}", verdict])
    return _aligned(rows) if records else []
