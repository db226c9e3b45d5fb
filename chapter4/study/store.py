"""evidence.json: what was measured, item by item.

A run can be cut off at any moment.
"""

from __future__ import annotations

import json
import math
import os
import platform
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


def save(study: dict[str, Any], path: Path = EVIDENCE) -> None:
    """Replace the file in one step.

    A run that is cut off leaves either the old file or the new one.
    """
    study["items"] = dict(sorted(study["items"].items()))
    head = {key: value for key, value in study.items() if key != "items"}
    # One line for each item: it is short, and a diff shows what has changed.
    lines = [
        f"  {json.dumps(key)}: {json.dumps(plain(value), allow_nan=False)}"
        for key, value in study["items"].items()
    ]
    text = json.dumps(plain(head), indent=1, allow_nan=False)[:-2]
    text += ',\n "items": {\n' + ",\n".join(lines) + "\n }\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


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
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
