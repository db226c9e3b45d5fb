"""Starts and stops the processes in which student code runs.

``Sandbox`` is the real thing: bubblewrap around a fork server. ``Subprocess`` is a
plain subprocess, for a student's own machine and for ``--unsafe-no-sandbox``. Both give
one ``Process`` per submission.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from autograder.sandbox import cgroup, mounts, stub_package
from autograder.sandbox.family import Family
from autograder.sandbox.fork_client import Ending, ForkServer, Lost
from autograder.sandbox.inside.meter import Usage
from autograder.sandbox.mounts import HOME, INSIDE

START_SECONDS = 300.0
# One thread: submissions do many small operations on few cores, and a fork is safe.
ENVIRONMENT = {
    "HOME": HOME,
    "HF_HUB_OFFLINE": "1",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",  # an arena per thread would count against the memory limit
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": f"{HOME}/.matplotlib",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",
    "TMPDIR": HOME,
    "TOKENIZERS_PARALLELISM": "false",
    "USER": "student",
}
RECIPE = """\
student code is graded in a sandbox, and {what}.
Install it on Debian or Ubuntu with: apt-get install bubblewrap
On macOS and Windows: run the same command in a Linux container or in WSL.
CONTRIBUTING.md has the recipes, and what to do where it is there but cannot start."""
EXPOSED = """\
submissions could read {path} inside the sandbox, and it belongs to the course or to \
the project. Nothing is graded like this: keep both out of /usr and of Python's \
folders, and mount neither of them there."""


class SandboxUnavailable(RuntimeError):
    """There is no sandbox here; the message says how to get one."""


@dataclass(frozen=True)
class Limits:
    """What one submission's process may use.

    Attributes:
        memory: Bytes beyond what torch has mapped already.
        cpu_seconds: Seconds of computing in all, from start to end.
    """

    memory: int = 2 * 2**30
    cpu_seconds: int = 300


class Process(Protocol):
    """One submission's process, with a socket for the questions."""

    sock: socket.socket

    def usage(self) -> Usage:
        """What it has used, with everything that it started.

        Raises:
            Lost: It has gone with the whole sandbox.
        """

    def end(self) -> Ending:
        """Kills the process, if it still runs, and everything that it started."""


class Launcher:
    """Something that starts processes for submissions to one problem."""

    limits: Limits

    def open(self) -> Process:
        """Starts a new process that nobody has used."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends everything."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sandbox(Launcher):
    """Bubblewrap around a fork server that has imported torch; a context manager.

    There is one for each problem and worker. A fork server that dies or is stopped is
    replaced by the next submission.

    Args:
        problem: 1 to 5. It decides which parts of ``chapter4`` and Captum are inside.
        limits: What each submission's process may use; None for the defaults.
        hide: Folders that must not be seen even if they are in a folder that is shown.
        core: Each submission gets one processor core, of those that this process may
            use: the one with this number, counted round and round; None for any.

    Raises:
        SandboxUnavailable: Bubblewrap is missing, cannot start here, or shows what it
            must hide.
    """

    def __init__(
        self,
        problem: int,
        *,
        limits: Limits | None = None,
        hide: Sequence[Path] = (),
        core: int | None = None,
    ) -> None:
        self._core = os.getpid() if core is None else core
        self.limits = limits or Limits()
        command = shutil.which("bwrap")
        if command is None:
            what = "that needs Linux" if sys.platform != "linux" else "bwrap is missing"
            raise SandboxUnavailable(RECIPE.format(what=what))
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            # The process's own limits don't count what the kernel and the folders in
            # memory take for it.
            memory = self.limits.memory + 2 * 2**30
            group = stack.enter_context(cgroup.limited(memory, 4096))
            try:
                mounted = mounts.bubblewrap(problem, folder, hide)
                self._command = [*group, command, *mounted]
            except mounts.Exposed as error:
                raise SandboxUnavailable(str(error)) from None
            paths = os.pathsep.join([INSIDE, *map(str, mounts.libraries())])
            for name, value in (ENVIRONMENT | {"PYTHONPATH": paths}).items():
                self._command += ["--setenv", name, value]
            self._settings = {
                "modules": stub_package.preloaded(problem),
                "folders": mounts.writable(),
                "hidden": mounts.canaries(hide, folder),
            }
            try:
                self._server = ForkServer(self._command, self._settings)
            except Lost as error:
                what = f"bubblewrap could not start it here ({error})"
                raise SandboxUnavailable(RECIPE.format(what=what)) from None
            stack.callback(lambda: self._server.close())
            if self._server.seen:
                raise SandboxUnavailable(EXPOSED.format(path=self._server.seen))
            self._stack = stack.pop_all()

    def open(self) -> Process:
        cores = sorted(os.sched_getaffinity(0))
        limits = {
            "memory": self.limits.memory,
            "cpu_seconds": self.limits.cpu_seconds,
            "core": cores[self._core % len(cores)],
        }
        try:
            return self._server.open(limits)
        except Lost:  # what a submission did to it ends with that submission
            self._server.stop()
        try:
            self._server = ForkServer(self._command, self._settings)
            return self._server.open(limits)
        except Lost as error:
            raise Lost(f"the sandbox could not be started again: {error}") from None

    def close(self) -> None:
        self._stack.close()


class Subprocess(Launcher):
    """Subprocesses without a sandbox: student code can do what its user can do.

    Args:
        problem: 1 to 5. It decides which parts of ``chapter4`` and Captum there are.
        limits: Kept because every launcher has them; nothing here enforces them.
    """

    def __init__(self, problem: int, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._folder = tempfile.TemporaryDirectory()
        stub_package.build(problem, Path(self._folder.name), linked=True)
        self._modules = stub_package.preloaded(problem)
        self._running: list[_Spawned] = []

    def open(self) -> Process:
        token = secrets.token_hex(16)
        project = Path(__file__).parents[2]
        paths = map(str, (self._folder.name, project, *mounts.libraries()))
        environment = os.environ | {
            **{k: v for k, v in ENVIRONMENT.items() if k.endswith("THREADS")},
            "MPLBACKEND": "Agg",
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONSAFEPATH": "1",
            "PYTHONWARNINGS": "ignore",
        }
        # A socket pair can't be handed over on every system.
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            settings = {"port": port, "token": token, "modules": self._modules}
            process = subprocess.Popen(
                python("autograder.sandbox.inside.evaluator", settings),
                # As in the sandbox: an empty folder, and nothing beside the notebook.
                cwd=tempfile.mkdtemp(dir=self._folder.name),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                sock = _called_back(server, process)
                spawned = _Spawned(sock, process)
                self._running.append(spawned)
                sock.settimeout(START_SECONDS)
                if sock.recv(len(token), socket.MSG_WAITALL) != token.encode():
                    raise OSError("somebody else called the grader's port")
                return spawned
            except BaseException:
                process.kill()
                process.wait()
                raise

    def close(self) -> None:
        for spawned in self._running:
            spawned.end()
        self._folder.cleanup()


def _called_back(
    server: socket.socket, process: subprocess.Popen[bytes]
) -> socket.socket:
    """The connection from a process that was started; OSError if none comes."""
    server.settimeout(0.1)
    for _ in range(round(START_SECONDS / 0.1)):
        with contextlib.suppress(TimeoutError):
            return server.accept()[0]
        if process.poll() is not None:
            break
    raise OSError(
        "the process for a submission did not start: can Python import torch?"
    )


class _Spawned:
    """A subprocess in a process group of its own."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.sock, self._process = sock, process
        self._family = Family(process.pid)

    def usage(self) -> Usage:
        return self._family.usage()

    def end(self) -> Ending:
        ran = self.usage().ran
        self.sock.close()
        if hasattr(os, "killpg"):  # also ends what the process has started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        return Ending(self._process.wait(), ran)


def python(module: str, settings: dict[str, Any]) -> list[str]:
    """The command that runs a module with its settings."""
    return [sys.executable, "-m", module, json.dumps(settings)]
