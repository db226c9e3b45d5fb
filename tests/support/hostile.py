"""The corpus of submissions that cheat or do harm: one file each in autograder/hostile.

Each of them stops once it has proved its point: where it could do harm, it does none
and returns text that begins with "got". So a sandbox may be broken on purpose to see
the tests fail. FUNCTION, SECRET and PORT in a file become the function that the problem
asks for, a file of the grader's and the port of a server of its own.

The first comment of a file says in a sentence what it tries. More comments may follow:

* ``expect``: how a call of its function may end.
* ``honest``: where the same notebook has an honest solution.
* ``seconds``: how long a call may compute, and how long it may wait.
* ``pause``: how long the grader waits between its two calls.
* ``fakes``: what is made up. Such a submission meets the checks of every problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autograder.sandbox.notebook import Cell

FOLDER = Path(__file__).parents[1] / "autograder" / "hostile"


@dataclass(frozen=True)
class Attack:
    """One submission.

    Attributes:
        name: The file's name, without its ending.
        tries: What it tries, in a sentence.
        expect: How a call may end: wrong, right, missing, raised, timed-out, crashed or
            bad-reply.
        honest: Where the honest solution is in the notebook: before, after or no.
        seconds: How long a call may compute, and how long it may wait.
        pause: How long the grader waits between its two calls, in seconds.
        fakes: Whether it makes something up.
        source: The file's text.
    """

    name: str
    tries: str
    expect: frozenset[str]
    honest: str
    seconds: float
    pause: float
    fakes: bool
    source: str

    def cells(
        self, function: str, solution: str, *, secret: Path, port: int
    ) -> list[Cell]:
        """The notebook's code cells, for a problem that asks for ``function``."""
        source = self.source.replace("FUNCTION", function).replace("PORT", str(port))
        evil = Cell("cell 2", source.replace("SECRET", str(secret)))
        order = {
            "before": [Cell("cell 1", solution), evil],
            "after": [evil, Cell("cell 3", solution)],
        }
        return order.get(self.honest, [evil])


def attacks() -> list[Attack]:
    """The whole corpus, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.py"))]


def _read(path: Path) -> Attack:
    text = path.read_text(encoding="utf-8")
    tries = re.findall(r"^# ([A-Z].*)$", text, flags=re.M)[0]
    head = dict(
        re.findall(r"^# (expect|honest|seconds|pause|fakes): (.*)$", text, flags=re.M)
    )
    return Attack(
        path.stem,
        tries,
        frozenset(head["expect"].split()),
        head.get("honest", "no"),
        float(head.get("seconds", 10)),
        float(head.get("pause", 0)),
        "fakes" in head,
        text,
    )
