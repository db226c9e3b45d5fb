"""Forged answers that are as large as they may be, and larger.

Run as a program, it asks its own forger everything that a problem's checks ask, and
prints by how much its memory grew.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from autograder.sandbox.inside import protocol, values

WHOLE = 64 * 2**20  # bytes of a message
MOST = values.MAX_NUMBERS
# What the checks look for in a dictionary.
KEYS = [
    *("predicted", "true", "true_rank", "predicted_probability", "true_probability"),
    *("top5", "seen", "gradcam", "ig", "blank", "delta", "covered", "elsewhere"),
    *("cause", "evidence", "darkest", "brightest", "words", "weights", "removed"),
    *("with_special", "without_special", "black", "white", "mean", "blur", "noise"),
]

Forged = tuple[Any, list[tuple[str, list[int]]]]


def answer(value: Any, **more: Any) -> dict[str, Any]:
    """An answer whose value is this tree."""
    after = {"dict": [["changed", []], ["models", []]]}
    both = {"dict": [["value", value], ["after", after]]}
    return {"output": "", "value": both, **more}


def of(*arrays: tuple[str, list[int]]) -> Forged:
    """An answer of these arrays: one alone, or a list of them."""
    trees = [{"array": i} for i in range(len(arrays))]
    return answer(trees[0] if len(trees) == 1 else trees), list(arrays)


def named(times: int) -> Forged:
    """One array of the largest size, named so often."""
    return answer([{"array": 0}] * times), [("<f8", [MOST])]


def in_a_dictionary() -> Forged:
    pairs = [[key, {"array": i}] for i, key in enumerate(KEYS)]
    return answer({"dict": pairs}), [("<f8", [MOST // len(KEYS)])] * len(KEYS)


def of_models(size: int) -> Forged:
    """Recorded inputs of a model."""
    forged = answer(1.0)
    state = [["changed", ["x" * 1000] * 90], ["asked", [{"array": 0}]]]
    forged["value"]["dict"][1][1]["dict"][1][1] = [{"dict": state}]
    return forged, [("<f8", [size])]


def a_long_list(key: str) -> Forged:
    """A dictionary in which one entry is an array of the largest size."""
    pairs = [[name, 0.0] for name in KEYS if name != key]
    return answer({"dict": [*pairs, [key, {"array": 0}]]}), [("<f8", [MOST])]


def error(line: str) -> Forged:
    return {"output": "", "error": {"kind": "raised", "line": line}}, []


FRAMES: dict[str, Callable[[], Forged]] = {
    "numbers": lambda: of(("<f8", [MOST])),
    "a row": lambda: of(("<f4", [1, MOST])),
    "a column": lambda: of(("<i8", [MOST, 1])),
    "pictures": lambda: of(("|u1", [MOST // (3 * 224 * 224), 3, 224, 224])),
    "truths": lambda: of(("|b1", [3, MOST // 3])),
    "256 arrays": lambda: of(*[("<f8", [MOST // 256])] * 256),
    "a dictionary of arrays": in_a_dictionary,
    "a long top 5": lambda: a_long_list("top5"),
    "a long list of places": lambda: a_long_list("elsewhere"),
    "recorded inputs": lambda: of_models(MOST),
    "empty giants": lambda: of(*[("<f8", [0, 2**26])] * 256),
    "small numbers, too many": lambda: of(("|u1", [WHOLE])),
    "halves, too many": lambda: of(("<f2", [WHOLE // 2])),
    "named 60 times": lambda: named(60),
    "named 19,000 times": lambda: named(19_000),
    "words": lambda: (answer(["\u0100" * 5] * 19_000), []),
    "a long text": lambda: (answer("\U00010000" * 99_000), []),
    "names": lambda: (answer({"dict": [[f"{i:x}", {}] for i in range(19_000)]}), []),
    "texts, too many": lambda: (answer(["x" * 90] * 20_000), []),
    "lists in lists": lambda: (answer([[]] * 19_000), []),
    "lists in lists, too many": lambda: (answer([[]] * 600_000), []),
    "mappings, too many": lambda: (answer([{"": 0}] * 200_000), []),
    "an output": lambda: ({**answer(1.0), "output": "x" * 2_000_000}, []),
    "an error": lambda: error("x" * 2_000_000),
}


def forge(sock: socket.socket, name: str) -> None:
    """Answers every question with one forged frame, until nobody asks any more."""
    zeros = bytes(WHOLE)
    content, arrays = FRAMES[name]()
    described = [{"dtype": dtype, "shape": shape} for dtype, shape in arrays]
    size = sum(np.dtype(d).itemsize * int(np.prod(s)) for d, s in arrays)
    while True:
        question, _ = protocol.receive(sock)
        run = question["op"] != "call"
        said = {"output": "", "value": None} if run else content
        header = {
            "content": said | {"id": question["id"]},
            "arrays": [] if run else described,
        }
        head = json.dumps(header, ensure_ascii=False).encode()
        body = zeros[: 0 if run else size]
        sock.sendall(struct.pack(">4sIQ", protocol.MARK, len(head), len(body)) + head)
        sock.sendall(body)


class Forger:
    """A process that forges; it can be asked like a submission's."""

    def __init__(self, name: str) -> None:
        self.sock, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.sock.close()
            try:
                forge(theirs, name)
            finally:
                os._exit(0)
        theirs.close()

    def usage(self) -> Any:
        from autograder.sandbox.inside.meter import Usage

        return Usage()  # nobody asks how long it takes

    def end(self) -> Any:
        from autograder.sandbox.launcher import Ending

        self.sock.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0
        return Ending(0, 0.0)


def memory(line: str) -> int:
    """This process's memory in bytes, by a line of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as file:
        (found,) = [row for row in file if row.startswith(line)]
    return int(found.split()[1]) * 1024


def growths(problem: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """How much memory a problem's checks take with each frame, and what they say."""
    from autograder.checking.runner import run_checks
    from autograder.sandbox.launcher import Launcher, Limits
    from autograder.sandbox.student import SandboxedStudent

    class Forgers(Launcher):
        limits, name = Limits(), ""

        def open(self) -> Any:
            return Forger(self.name)

    launcher = Forgers()
    for name in ["an error", *names]:  # the first one imports what is needed
        launcher.name = name
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the highest so far is forgotten
        before = memory("VmRSS:")
        with SandboxedStudent(launcher, [], budget_seconds=10_000) as student:
            results = run_checks(problem, student, seed=1)
        yield {
            "frame": name,
            "growth": memory("VmHWM:") - before,
            "statuses": sorted({result.status for result in results}),
            "longest": max(len(result.message) for result in results),
        }


if __name__ == "__main__":
    for found in growths(sys.argv[1], sys.argv[2:] or list(FRAMES)):
        print(json.dumps(found), flush=True)
