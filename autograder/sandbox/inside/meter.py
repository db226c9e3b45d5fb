"""What processes have used, by the kernel's figures.

The clock says little: on a busy machine right code is slow as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What a submission's processes have used since they began.

    Attributes:
        ran: Seconds of computing, of all threads together.
        starved: Seconds for which it could have run and had no core.
        active: Whether a thread runs now, or waits for a core or a disk. The kernel
            tells of such a wait only when it is over.
    """

    ran: float = 0.0
    starved: float = 0.0
    active: bool = False


class Meter:
    """Reads the same processes again and again, by Linux's ``/proc``."""

    def __init__(self) -> None:
        self._ran, self._starved = 0.0, 0.0
        self._delays: dict[str, int] = {}

    def read(self, *pids: int) -> Usage:
        """What these processes have used together.

        Threads that wait at the same time, perhaps for each other, count once: the one
        that waited longest since the last reading.
        """
        ticks, active, delays = 0, False, {}
        for pid in pids:
            ticks += sum(map(int, _fields(f"/proc/{pid}/stat")[11:15]))
            for thread in _threads(pid):
                active |= _fields(f"{thread}/stat")[:1] in (["R"], ["D"])
                delays[thread] = int((_text(f"{thread}/schedstat").split() or "00")[1])
        longer = (n - self._delays.get(thread, 0) for thread, n in delays.items())
        self._starved += max([0, *longer]) / 1e9
        self._delays = delays
        # A child that nobody waits for takes its figures with it.
        self._ran = max(self._ran, ticks / os.sysconf("SC_CLK_TCK"))
        return Usage(self._ran, self._starved, active)


def _threads(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{name}" for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []  # it has gone


def _fields(path: str) -> list[str]:
    """The fields of a ``stat`` behind the name, which may hold anything."""
    return _text(path).rpartition(")")[2].split()


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # it has gone
