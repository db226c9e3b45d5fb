"""How far the memory of this process grows, at its peak."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import math
from collections.abc import Callable
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def growth(run: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Peak minus what was there before ``run``, in MiB; nan if it can't be read.

    On a CPU it is the resident set of this process, whose high-water mark Linux lets a
    process reset for itself; on CUDA the tensors that PyTorch allocates.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if not RESET.exists():
        return math.nan
    # What was freed goes back first, or it would be there to be filled again unseen.
    name = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim is not None:
        trim(0)
    RESET.write_text("5")
    start = _kib("VmRSS")
    run()
    return (_kib("VmHWM") - start) / 2**10


def _kib(field: str) -> int:
    (line,) = (
        each for each in STATUS.read_text().splitlines() if each.startswith(f"{field}:")
    )
    return int(line.split()[1])
