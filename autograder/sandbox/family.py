"""What a process without a sandbox has used, with all that it has started."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

import psutil

from autograder.sandbox.inside.meter import Meter, Usage

# macOS and Windows do not say how long a process waited for a core.
KERNEL_SAYS = os.path.exists("/proc/self/schedstat")
IN_USE = 50.0  # percent of a core's time


class Family:
    """A process and its descendants, measured from now on."""

    def __init__(self, pid: int) -> None:
        self._process, self._meter = psutil.Process(pid), Meter()
        self._known = self._read()
        self._begun = self._known.ran

    def usage(self) -> Usage:
        """What they have used; the last known figures if they have gone."""
        with contextlib.suppress(psutil.Error):
            found = self._read()
            self._known = replace(found, ran=max(self._known.ran, found.ran))
        return replace(self._known, ran=self._known.ran - self._begun)

    def _read(self) -> Usage:
        every = [self._process, *self._process.children(recursive=True)]
        if KERNEL_SAYS:
            return self._meter.read(*(process.pid for process in every))
        # With a core to spare nobody waits for one.
        busy = min(psutil.cpu_percent(percpu=True)) > IN_USE
        return Usage(sum(map(_ran, every)), 0.0, busy)


def _ran(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0
