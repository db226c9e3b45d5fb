"""The fork server inside the sandbox.

It imports torch once, and gives every submission a fork of its own in namespaces of its
own. It never runs student code, and never holds a reference or an expected value.

The control socket takes one JSON message at a time: ``{"open": {...}}`` with a
submission's socket beside it, ``{"look": pid}`` for what a process has used, or
``{"end": pid}`` to kill and reap. The launcher starts it with
``python -m autograder.sandbox.inside.fork_server``.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from autograder.sandbox.inside import confine, evaluator, search
from autograder.sandbox.inside.meter import Meter

MAX_THREADS = 200
LOOK_EVERY = 0.1
SECRET = "hidden_checks.py"  # checks that students must not read


def main() -> None:
    """Serves the control socket until the grader hangs up."""
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["control"])
    seen = search.first_seen(settings["hidden"], SECRET)
    evaluator.preload(settings["modules"])
    confine.adopt_orphans()
    gc.collect()
    gc.freeze()
    folders: list[str] = settings["folders"]
    try_out(folders)
    tell(control, {"seen": seen})
    alive: dict[int, Meter] = {}
    while True:
        watch_threads(alive, control)
        data, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        if not data:
            os._exit(0)  # the kernel then ends everything in this process space
        order = json.loads(data)
        if "open" in order:
            pid = opened(control, descriptors[0], order["open"] | {"folders": folders})
            alive[pid] = Meter()
            tell(control, {"pid": pid})
        elif "look" in order:
            tell(control, vars(alive[order["look"]].read(order["look"])))
        else:
            del alive[order["end"]]
            tell(control, ended(order["end"]))


def try_out(folders: list[str]) -> None:
    """Makes one child give everything up.

    A machine that forbids it is then known before the first submission.
    """
    pid = confine.isolated_fork()
    if pid == 0:
        try:
            core = min(os.sched_getaffinity(0))
            confine.confine(3, folders, memory=2**30, cpu_seconds=10, core=core)
            os._exit(0)
        finally:
            os._exit(70)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(
            "the rights to the machine could not be given up inside bubblewrap"
        )


def opened(control: socket.socket, descriptor: int, settings: dict[str, Any]) -> int:
    """Forks a submission's process and returns its id."""
    pid = confine.isolated_fork()
    if pid == 0:
        try:
            sock = socket.socket(fileno=descriptor)
            control.detach()  # confine closes it with all the rest
            confine.confine(descriptor, **settings)
            evaluator.serve(sock)
        finally:
            os._exit(70)
    os.close(descriptor)
    return pid


def watch_threads(alive: Iterable[int], control: socket.socket) -> None:
    """Waits for the next order, and meanwhile kills what starts too many threads.

    The limit on processes does not hold for root.
    """
    while not select.select([control], [], [], LOOK_EVERY if alive else None)[0]:
        for pid in alive:
            if confine.threads_of(pid) > MAX_THREADS:
                os.kill(pid, signal.SIGKILL)


def ended(pid: int) -> dict[str, Any]:
    """Kills a submission's process, if it still runs, and reports how it ended."""
    os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


def tell(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
