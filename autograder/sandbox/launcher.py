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
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

from autograder.sandbox import stub_package

START_SECONDS = 120.0
ORDER_SECONDS = 30.0
STOP_SECONDS = 5.0
INSIDE = "/grader"
# No machine has a folder of this name. Another folder might hold the Python that the
# sandbox shows.
HOME = "/student"
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
CONTRIBUTING.md has the recipes, and what to do where it is there but cannot start.
--unsafe-no-sandbox grades without it: submissions can then read and change your \
files."""


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


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: The exit code as ``subprocess`` gives it, negative for a signal.
        cpu_seconds: Seconds of computing that it used; 0 where nobody measured them.
    """

    code: int
    cpu_seconds: float


class Process(Protocol):
    """One submission's process, with a socket for the questions."""

    sock: socket.socket

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

    There is one for each problem and worker.

    Args:
        problem: 1 to 5. It decides which parts of ``chapter4`` and Captum are inside.
        limits: What each submission's process may use; None for the defaults.
        hide: Folders that must not be seen even if they are in a folder that is shown.

    Raises:
        SandboxUnavailable: Bubblewrap is missing or cannot start here.
    """

    def __init__(
        self, problem: int, *, limits: Limits | None = None, hide: Sequence[Path] = ()
    ) -> None:
        self.limits = limits or Limits()
        command = shutil.which("bwrap")
        if command is None:
            what = "that needs Linux" if sys.platform != "linux" else "bwrap is missing"
            raise SandboxUnavailable(RECIPE.format(what=what))
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._errors: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            self._control, inner = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            stack.callback(self._control.close)
            settings = {
                "control": inner.fileno(),
                "modules": stub_package.preloaded(problem),
                "folders": writable(),
            }
            with inner:
                self._bwrap = subprocess.Popen(
                    [
                        command,
                        *bubblewrap(problem, folder, hide),
                        *python("autograder.sandbox.inside.fork_server", settings),
                    ],
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=[inner.fileno()],
                    start_new_session=True,
                )
            stack.callback(self._stop)
            self._answer(START_SECONDS)
            self._running: set[_Forked] = set()
            self._stack = stack.pop_all()

    def open(self) -> Process:
        ours, theirs = socket.socketpair()
        limits = {
            "memory": self.limits.memory,
            "cpu_seconds": self.limits.cpu_seconds,
        }
        with theirs:
            try:
                order = json.dumps({"open": limits}).encode()
                socket.send_fds(self._control, [order], [theirs.fileno()])
                forked = _Forked(ours, self._answer(ORDER_SECONDS)["pid"], self)
                self._running.add(forked)
                return forked
            except BaseException:
                ours.close()
                raise

    def close(self) -> None:
        for forked in list(self._running):
            forked.lost()
        self._stack.close()

    def ended(self, forked: _Forked) -> Ending:
        """Makes the fork server end a process."""
        self._running.discard(forked)
        self._control.send(json.dumps({"end": forked.pid}).encode())
        answer = self._answer(ORDER_SECONDS)
        return Ending(answer["code"], answer["cpu_seconds"])

    def _answer(self, seconds: float) -> dict[str, Any]:
        self._control.settimeout(seconds)
        try:
            data = self._control.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._stop()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            last = said.splitlines()[-1] if said else "no answer"
            what = f"bubblewrap could not start it here ({last})"
            raise SandboxUnavailable(RECIPE.format(what=what))
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _stop(self) -> None:
        # The fork server ends when we hang up, and so does everything in its process
        # space.
        self._control.close()
        try:
            self._bwrap.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._bwrap.kill()
            self._bwrap.wait()


class _Forked:
    """A process that the fork server made."""

    def __init__(self, sock: socket.socket, pid: int, sandbox: Sandbox) -> None:
        self.sock, self.pid, self._sandbox = sock, pid, sandbox
        self._ending: Ending | None = None

    def end(self) -> Ending:
        if self._ending is None:
            self.sock.close()
            self._ending = self._sandbox.ended(self)
        return self._ending

    def lost(self) -> None:
        """Notes that the process ended with its sandbox, which is being closed."""
        self.sock.close()
        self._ending = Ending(-9, 0.0)


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
        paths = map(str, (self._folder.name, project, *libraries()))
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

    def end(self) -> Ending:
        self.sock.close()
        if hasattr(os, "killpg"):  # also ends what the process has started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        return Ending(self._process.wait(), 0.0)


def python(module: str, settings: dict[str, Any]) -> list[str]:
    """The command that runs a module with its settings."""
    return [sys.executable, "-m", module, json.dumps(settings)]


def bubblewrap(problem: int, folder: Path, hide: Sequence[Path] = ()) -> list[str]:
    """Bubblewrap's arguments for the sandbox of one problem.

    Inside are the system and Python, both read-only, the cut-down packages, and nothing
    else.

    Args:
        problem: 1 to 5.
        folder: An empty folder, for the texts that are made for the sandbox.
        hide: Folders that must look empty if they are in a folder that is shown.

    Returns:
        The arguments, without the command's own name.
    """
    stub_package.build(problem, folder, linked=False)
    own = folder / "autograder" / "sandbox" / "inside"
    stub_package.copy_code(Path(__file__).with_name("inside"), own)
    for package in (own.parent, own.parents[1]):
        (package / "__init__.py").write_text("", encoding="utf-8")
    arguments = ["--unshare-all", "--unshare-user", "--disable-userns"]
    arguments += ["--uid", "65534", "--gid", "65534", "--hostname", "grader"]
    # The fork server makes namespaces and mounts; its children give the right up.
    arguments += ["--cap-drop", "ALL"]
    arguments += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    arguments += ["--die-with-parent", "--new-session", "--clearenv"]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    # These are for the fork server alone; each submission mounts its own over them.
    for place in sorted({*writable()} - {"/dev/shm"}):
        arguments += ["--size", str(2**24), "--tmpfs", place]
    for path in shown():
        arguments += ["--ro-bind", str(path), str(path)]
    for link in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        if link.is_symlink():
            arguments += ["--symlink", os.readlink(link), str(link)]
        elif link.exists():
            arguments += ["--ro-bind", str(link), str(link)]
    for path in hidden(problem, hide):
        arguments += ["--size", "4096", "--tmpfs", str(path), "--remount-ro", str(path)]
    arguments += ["--ro-bind", str(folder), INSIDE]
    for inside, outside in stub_package.data().items():
        arguments += ["--ro-bind", str(outside), f"{INSIDE}/{inside}"]
    paths = os.pathsep.join([INSIDE, *map(str, libraries())])
    for name, value in (ENVIRONMENT | {"PYTHONPATH": paths}).items():
        arguments += ["--setenv", name, value]
    # This comes last. Bubblewrap's root and /dev are memory without a limit, so nobody
    # may write to them.
    return [*arguments, "--chdir", "/", "--remount-ro", "/dev", "--remount-ro", "/"]


def shown() -> list[Path]:
    """What of this machine can be seen inside: the system and this Python."""
    wanted = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/fonts")]
    wanted += [Path(sys.base_prefix), Path(sys.prefix), *libraries()]
    # A folder that is reached through a link is needed under both names.
    found = {p for path in wanted if path.exists() for p in (path, path.resolve())}
    return sorted(p for p in found if not any(q in p.parents for q in found))


def writable() -> list[str]:
    """Folders that a submission may write to.

    ``/tmp`` is not among them where Python itself is below it.
    """
    taken = any(Path("/tmp") in path.parents for path in shown())
    return [HOME, "/dev/shm", *(() if taken else ("/tmp",))]


def libraries() -> list[Path]:
    """The folders that this Python imports installed packages from."""
    found = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    found += [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    return [Path(path) for path in dict.fromkeys(found)]


def hidden(problem: int, hide: Sequence[Path]) -> list[Path]:
    """Folders inside the shown ones that must look empty."""
    names = ("chapter4", "autograder", *stub_package.stubbed(problem))
    candidates = [folder / name for folder in libraries() for name in names]
    found = {path.resolve() for path in [*candidates, *hide] if path.is_dir()}
    return sorted(p for p in found if any(root in p.parents for root in shown()))
