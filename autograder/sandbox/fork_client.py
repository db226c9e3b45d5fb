"""The asking side of the sandbox's fork server (``inside/fork_server.py``).

The server is trusted, but a submission may find a way to kill or stop it. So every
order has an answer within a limit, or the server is ``Lost``.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.sandbox.inside.meter import Usage

# A busy machine takes long. A server that is dead or stopped is known at once.
START_SECONDS = 300.0
ORDER_SECONDS = 120.0
STOP_SECONDS = 5.0
LOOK_EVERY = 0.2


class Lost(RuntimeError):
    """The fork server is dead, stopped or silent; the message says which."""


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: The exit code as ``subprocess`` gives it, negative for a signal.
        cpu_seconds: Seconds of computing that it used; 0 where nobody measured them.
    """

    code: int
    cpu_seconds: float


class ForkServer:
    """Bubblewrap with a fork server in it, which is ready when this is made.

    Args:
        bubblewrap: Bubblewrap's command with its arguments.
        settings: What the fork server reads at its start.

    Attributes:
        seen: The first path inside that must be hidden and is not, or "".

    Raises:
        Lost: It did not start.
    """

    def __init__(self, bubblewrap: Sequence[str], settings: dict[str, Any]) -> None:
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Each message then says which process has sent it.
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop
        self._server = 0
        self._open: dict[int, socket.socket] = {}
        module = "autograder.sandbox.inside.fork_server"
        given = json.dumps(settings | {"control": inner.fileno()})
        with inner:
            self.process = subprocess.Popen(
                [*bubblewrap, sys.executable, "-m", module, given],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[inner.fileno()],
                start_new_session=True,
            )
        try:
            self.seen: str = self._answer(START_SECONDS)["seen"]
        except Lost:
            said = self._said()
            self.stop()
            raise Lost(said) from None
        except BaseException:
            self.stop()
            raise

    def open(self, limits: dict[str, int]) -> Forked:
        """Starts a process for a submission.

        Raises:
            Lost: The server is dead, stopped or silent.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = self._told({"open": limits}, [theirs.fileno()])["pid"]
            except BaseException:
                ours.close()
                raise
        self._open[pid] = ours
        return Forked(ours, pid, self)

    def usage(self, pid: int) -> Usage:
        """What a submission's process has used.

        Raises:
            Lost: The server is dead, stopped or silent.
        """
        return Usage(**self._told({"look": pid}))

    def end(self, pid: int) -> Ending:
        """Ends a submission's process.

        Where the server is lost, the process has ended with it, or ends now.
        """
        self._open.pop(pid).close()
        try:
            answer = self._told({"end": pid})
        except Lost:
            self.stop()
            return Ending(-9, 0.0)
        return Ending(answer["code"], answer["cpu_seconds"])

    def stop(self) -> None:
        """Ends the server and every process that it has started."""
        # The server ends when we hang up, unless it is stopped; then its process space
        # ends with bubblewrap.
        self._control.close()
        try:
            self.process.wait(STOP_SECONDS if self._runs() else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()

    def close(self) -> None:
        """As ``stop``, and nobody can ask its processes any more."""
        self.stop()
        for sock in self._open.values():
            sock.close()

    def _told(
        self, order: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
        except OSError as error:  # also where it was stopped before
            raise Lost(f"it takes no orders: {error}") from None
        return self._answer(ORDER_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not select.select([self._control], [], [], LOOK_EVERY)[0]:
            if not self._runs():
                raise Lost("it was killed or stopped")
            if time.monotonic() > end:
                raise Lost("it gives no answer")
        size = socket.CMSG_SPACE(struct.calcsize("3i"))
        try:
            data, ancillary, _, _ = self._control.recvmsg(4096, size)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Lost("it has ended")
        for _, kind, sender in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                self._server = struct.unpack("3i", sender[:12])[0]
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _runs(self) -> bool:
        """Whether the server can answer at all: it is neither dead nor stopped."""
        if self.process.poll() is not None:
            return False
        for pid in filter(None, (self._server, self.process.pid)):
            state = ""
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text()
                state = stat.rpartition(")")[2].split()[0]
            if state not in tuple("RSDI"):
                return False
        return True

    def _said(self) -> str:
        """The last line that bubblewrap or the server wrote, for whoever set it up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "no answer"


class Forked:
    """A process that the fork server made for a submission."""

    def __init__(self, sock: socket.socket, pid: int, server: ForkServer) -> None:
        self.sock, self.pid, self._server = sock, pid, server
        self._ending: Ending | None = None

    def usage(self) -> Usage:
        return self._server.usage(self.pid)

    def end(self) -> Ending:
        if self._ending is None:
            self._ending = self._server.end(self.pid)
        return self._ending
