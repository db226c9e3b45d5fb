"""The corpus of submissions that cheat or do harm: one file each in autograder/hostile.

Every one of them stops at the proof: it returns text that begins with "got" where it could do
harm, and does none, so that a sandbox may be broken on purpose to see the tests fail.
Its head says what it tries, `expect` what a call of its function may come to, `honest` where
an honest solution stands in the same notebook, `seconds` how long a call may take, `pause`
how long the grader waits between its two calls, `fakes` what is made up: such a one is put
before every problem's checks.
FUNCTION, SECRET and PORT in it become the asked function, a file of the grader's and a port.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autograder.sandbox.notebook import Cell

FOLDER = Path(__file__).parents[1] / "autograder" / "hostile"


@dataclass(frozen=True)
class Attack:
    """One submission. tries: in a sentence. expect: of wrong, right, missing, raised,
    timed-out, crashed and bad-reply. honest: before, after or no.
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
        """The notebook's code cells, for a problem that asks for `function`."""
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
    told = dict(
        re.findall(r"^# (expect|honest|seconds|pause|fakes): (.*)$", text, flags=re.M)
    )
    return Attack(
        path.stem,
        tries,
        frozenset(told["expect"].split()),
        told.get("honest", "no"),
        float(told.get("seconds", 10)),
        float(told.get("pause", 0)),
        "fakes" in told,
        text,
    )
