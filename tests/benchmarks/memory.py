"""How far the memory of this process grows, at its peak."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


@dataclass
class Growth:
    """``mib``: peak minus what was there before, in MiB; nan if it can't be read."""

    mib: float = float("nan")


@contextmanager
def growth(device: torch.device | str = "cpu") -> Iterator[Growth]:
    """Measure what happens inside.

    On a CPU it is the resident set of this process, whose high-water mark Linux lets a
    process reset for itself; on CUDA the tensors that PyTorch allocates.
    """
    grown = Growth()
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield grown
        grown.mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20
        return
    if not RESET.exists():
        yield grown
        return
    # What was freed goes back first, or it would be there to be filled again unseen.
    name = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim is not None:
        trim(0)
    RESET.write_text("5")
    start = _kib("VmRSS")
    yield grown
    grown.mib = (_kib("VmHWM") - start) / 2**10


def available_mib() -> float:
    """The memory that programs can still have, in MiB; infinite if unknown."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**10
    return float("inf")


def _kib(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"{STATUS} has no {field}")
