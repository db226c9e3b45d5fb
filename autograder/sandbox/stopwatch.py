"""How long a submission's answers may take: by processor time, and not by the clock.

Nobody loses a point because the machine is busy. Code that computes too long ends, and
so does code that waits for something other than a core. If neither explains why an
answer does not come, the machine is to blame.
"""

from __future__ import annotations

import random
import selectors
import time
from dataclasses import astuple, dataclass, replace

from autograder.sandbox.inside.meter import Usage
from autograder.sandbox.launcher import Process

# What it uses is looked at so often: a look costs a tenth of a millisecond.
LOOK_EVERY = 0.2
# Seconds in which it may wait for something other than a core, for one answer.
IDLE_SECONDS = 10.0
# The clock may go on for so many times the seconds of computing that are allowed, for
# one answer and for all together.
ONE_BY_THE_CLOCK, ALL_BY_THE_CLOCK = 15.0, 10.0
WAITED = "it neither computed nor waited for a processor core"


class Starved(RuntimeError):
    """The machine was too busy to say anything of the submission."""


@dataclass
class Spent:
    """Seconds in which answers were due.

    Attributes:
        ran: Of computing; also between the answers.
        idle: In which it neither computed nor waited for a core.
        clock: By the clock, as long as we waited.
    """

    ran: float = 0.0
    idle: float = 0.0
    clock: float = 0.0

    def since(self, other: Spent) -> Spent:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Spent(*(now - then for now, then in pairs))


class Stopwatch:
    """Counts what all processes of one submission use, and ends what takes too long.

    Args:
        budget: Seconds of computing, and of waiting, in all answers together.
        idle: Seconds of waiting in one answer.
    """

    def __init__(self, budget: float, idle: float = IDLE_SECONDS) -> None:
        self._budget, self._idle = budget, idle
        self._spent, self._before = Spent(), Spent()
        self._process: Process | None = None
        self._last, self._next, self._alone = Usage(), 0.0, 0.0
        self._name, self._seconds = "", 0.0

    @property
    def used_up(self) -> str:
        """Why the submission gets no more answers, or ""."""
        budget = f"{self._budget:g} seconds"
        if self._spent.ran > self._budget:
            return f"the notebook has used up its {budget} of computing"
        if self._spent.idle > self._budget:
            return f"the notebook has waited for {budget} in all: {WAITED}"
        return ""

    def begin(self, process: Process, name: str, seconds: float) -> None:
        """An answer is due from now on.

        Args:
            process: It answers.
            name: Who answers, for messages.
            seconds: How long it may compute.
        """
        process.sock.setblocking(False)
        if process is not self._process:
            self._process, self._last = process, Usage()
            self._plan()
        elif time.monotonic() > self._next:
            self._look()
        self._alone = 0.0
        self._name, self._seconds = name, seconds
        self._before = replace(self._spent)

    def end(self, ran: float) -> None:
        """The process has ended, and has computed for so many seconds."""
        self._spent.ran += max(0.0, ran - self._last.ran)
        self._process, self._last = None, Usage()

    def wait(self, writing: bool) -> None:
        """Returns when the process's socket can be written to, or read from.

        Raises:
            TimeoutError: The answer takes too long; the message says why.
            Starved: The machine is too busy.
        """
        ready = False
        while not ready:
            start = time.monotonic()
            patience = max(0.0, self._next - start)
            ready = self._ready(writing, patience)
            waited = time.monotonic() - start
            self._spent.clock += waited
            # If it took longer, we were the ones to whom nobody gave a core.
            self._alone += min(waited, patience)
            if time.monotonic() >= self._next:
                self._look()
                self._judge(ready or self._ready(writing, 0.0))

    def _ready(self, writing: bool, patience: float) -> bool:
        assert self._process is not None
        event = selectors.EVENT_WRITE if writing else selectors.EVENT_READ
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.sock, event)
            return bool(selector.select(patience))

    def _look(self) -> None:
        assert self._process is not None
        usage, last = self._process.usage(), self._last
        ran = max(0.0, usage.ran - last.ran)
        self._spent.ran += ran
        if not usage.active:
            starved = usage.starved - last.starved
            self._spent.idle += max(0.0, self._alone - ran - starved)
        self._last = usage
        self._plan()

    def _plan(self) -> None:
        """When the next look is due; nobody can know it and be busy just then."""
        self._alone = 0.0
        self._next = time.monotonic() + LOOK_EVERY * random.uniform(0.5, 1.5)

    def _judge(self, ready: bool) -> None:
        spent = self._spent.since(self._before)
        if self.used_up:
            raise TimeoutError(self.used_up)
        if spent.ran > self._seconds:
            raise TimeoutError(
                f"{self._name} used more than {self._seconds:.3g} seconds of computing"
            )
        if spent.idle > self._idle:
            raise TimeoutError(
                f"{self._name} waits: for {self._idle:g} seconds {WAITED}"
            )
        if ready:  # an answer that has come is read, however late
            return
        for told, most in (
            (spent, self._seconds * ONE_BY_THE_CLOCK),
            (self._spent, self._budget * ALL_BY_THE_CLOCK),
        ):
            if told.clock > most:
                raise Starved(
                    f"the machine was too busy: in {told.clock:.3g} seconds this"
                    f" notebook got {told.ran:.2g} seconds of computing"
                )
