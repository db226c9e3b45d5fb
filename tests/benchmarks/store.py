"""The file of results: what was measured, on which machine, with which versions.

Every cell is saved at once.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# What only judges and shows cells may change without a new measurement.
SHOWING = ("report.py", "targets.py", "test_benchmark.py")
IN_USE = "+in_use"  # ends the column of memory that counts no holes between blocks
PARTS = ("times", "memory", "deviation", "scaling", "malloc")


class Store:
    """Cells by part and key in one JSON file.

    A cell that was measured with other code, another machine or other settings is
    measured again, unless ``keep`` is on.
    """

    def __init__(
        self, file: Path, head: dict[str, Any], *, fresh: bool = False, keep: bool
    ) -> None:
        self.file = file
        self.data: dict[str, Any] = {**head, **{part: {} for part in PARTS}}
        if fresh or not file.exists():
            return
        old = json.loads(file.read_text(encoding="utf-8"))
        same = [old.get(name) == head[name] for name in ("code", "machine", "settings")]
        if keep or all(same):
            for part in PARTS:
                self.data[part] = old.get(part, {})
            self.data["versions"] = old.get("versions", {}) | head["versions"]

    def has(self, part: str, key: str) -> bool:
        """Whether this cell needs no measuring.

        None is kept where a library does not do the task.
        """
        return key in self.data[part]

    def put(self, part: str, key: str, cell: Any) -> None:
        """Keep a cell, at once."""
        self.data[part][key] = cell
        self.save()

    def save(self) -> None:
        """Write the file; a stop in between leaves the old one whole."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        text = json.dumps(self.data, indent=1, sort_keys=True)
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(self.file)


def head(device: str, settings: dict[str, Any], versions: dict[str, str]) -> Any:
    """What stands above the cells."""
    return {
        "code": fingerprint(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device,
        "machine": machine(device),
        "settings": settings,
        "versions": versions,
    }


def machine(device: str) -> dict[str, Any]:
    """Processor, usable cores, memory, system, Python; with CUDA the GPU."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory_gib"] = round(size / 2**30)
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
        found["tf32_convolutions"] = torch.backends.cudnn.allow_tf32
    return found


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fingerprint(folders: Sequence[Path] | None = None) -> str:
    """A digest of the package's code and of what measures it."""
    if folders is None:
        import chapter4

        folders = (Path(chapter4.__file__).parent, Path(__file__).parent)
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*.py")):
            if file.name in SHOWING:
                continue
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
