"""What descends from a process, and waiting for it however busy the machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

PATIENCE = 120.0  # seconds; nothing that works takes so long


def below(pid: int) -> set[int]:
    """All processes that descend from one, by Linux's /proc."""
    children: set[int] = set()
    threads: list[str] = []
    with suppress(OSError):
        threads = os.listdir(f"/proc/{pid}/task")
    for thread in threads:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
            children |= {int(child) for child in text.split()}
    return children.union(*map(below, children))


def soon(condition: Callable[[], object]) -> bool:
    """Whether something comes true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def all_end(processes: Iterable[int]) -> bool:
    """Whether processes end; the kernel takes a moment to empty a process space."""
    return soon(lambda: not any(map(_runs, processes)))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
