"""Files of measurements: evidence.json, and those of ``make benchmark``.

Each result is saved at once, so that a run can be cut off at any moment.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

EVIDENCE = Path(__file__).with_name("evidence.json")


def saved(path: Path = EVIDENCE) -> dict[str, Any]:
    """The saved study.

    Args:
        path: The JSON file.

    Returns:
        A dictionary with "recipes", "machines" and "items"; empty ones if there is no
        file yet. Items are "kind/..." -> the numbers, the digest of their recipe and
        the index of the machine. null stands for what is not defined, such as the delta
        of a method without completeness.
    """
    if not path.is_file():
        return {"recipes": {}, "machines": [], "items": {}}
    study: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return study


def save(
    data: Mapping[str, Any], path: Path, parts: Sequence[str] = ("items",)
) -> None:
    """Replace the file in one step.

    A run that is cut off leaves either the old file or the new one.

    Args:
        data: What is written.
        path: The JSON file.
        parts: The entries of ``data`` that hold measurements by key. Each gets a line
            of its own: it is short, and a diff shows what has changed.
    """
    head = {key: value for key, value in data.items() if key not in parts}
    text = json.dumps(plain(head), indent=1, allow_nan=False)[:-2]
    for part in parts:
        lines = [
            f"  {json.dumps(key)}: {json.dumps(plain(value), allow_nan=False)}"
            for key, value in sorted(data[part].items())
        ]
        text += f",\n {json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n }"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(f"{text}\n}}\n", encoding="utf-8")
    os.replace(beside, path)


def measure(
    missing: Mapping[str, Callable[[], Any]],
    keep: Callable[[str, Any], None],
    report: Callable[[str], None],
) -> None:
    """Measure one item after the other, and hand on each result at once.

    Args:
        missing: What to call for each key. None from it says that the item cannot be
            measured here; it stays missing.
        keep: Takes a key and its result, and saves it.
        report: Takes each line of progress.
    """
    start, processor = time.monotonic(), time.process_time()
    for done, (key, item) in enumerate(missing.items(), 1):
        found = item()
        if found is not None:
            keep(key, found)
        passed = time.monotonic() - start
        left = passed / done * (len(missing) - done)
        report(
            f"{done}/{len(missing)} {key}{': not measured' if found is None else ''}: "
            f"{passed:.0f} s, about {left:.0f} s to go "
            f"({time.process_time() - processor:.0f} s of processor time)"
        )


def plain(value: Any) -> Any:
    """A value as JSON has it: 5 digits, and null for nan and infinity."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None


def machine() -> dict[str, Any]:
    """What a reader needs to know of this machine to judge the costs."""
    import torch

    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def processor() -> str:
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
