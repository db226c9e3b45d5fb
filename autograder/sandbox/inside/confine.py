"""How a process of the sandbox gives up its rights for good.

It gives up namespaces, mounts, capabilities, resources and system calls. All of this
runs inside the sandbox, before any student code.

The fork server calls ``isolated_fork`` once per submission, and the child calls
``confine``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from pathlib import Path

from autograder.sandbox.inside import seccomp

NEW_MOUNTS, NEW_UTS, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_PIDS, NEW_NET = 0x20000000, 0x40000000
NAMESPACES = NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_PIDS | NEW_NET
NO_SUID, NO_DEV, READ_ONLY = 2, 4, 1
REMOUNT, BIND = 32, 4096
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 24, 38, 22
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 47, 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

FOLDER_OPTIONS = "size=64m,nr_inodes=4096,mode=700"
NOTHING = "size=4k,nr_inodes=2,mode=555"
OPEN_FILES = 256
FILE_BYTES = 64 * 2**20
PROCESSES = 256

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Makes this process the parent of children whose parent has gone."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def guard_devices() -> None:
    """Keeps everybody from the modes and times of devices, and from new terminals.

    The devices are this machine's, and their owner, root outside, could change them for
    all. The fork server itself has no right to these mounts; its children have it to
    their own copies.
    """
    flags = REMOUNT | BIND | NO_SUID | READ_ONLY
    for path in Path("/dev").iterdir():
        if path.is_char_device() and not path.is_symlink():
            _check(_libc.mount(None, bytes(path), None, flags, None), f"mount {path}")
    mount_own("/dev/pts", READ_ONLY, NOTHING)


def isolated_fork() -> int:
    """Like ``os.fork``, with the child in namespaces of its own.

    The child is the first process in a process space, network, mount table and IPC
    space of its own. A process enters a new process space only through a further fork.
    The process in between hands over the id and ends, and the child becomes ours
    (``adopt_orphans``).

    Returns:
        The child's process id, or 0 in the child.

    Raises:
        OSError: No new namespaces could be made.
    """
    out, into = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            os.close(out)
            _check(_libc.unshare(NAMESPACES), "unshare")
            child = os.fork()
            if child == 0:
                os.close(into)
                # A signal to the own process group would reach the fork server, whose
                # group it is otherwise, through all namespaces.
                os.setsid()
                return 0
            os.write(into, struct.pack("i", child))
        finally:
            if os.getpid() != 1:
                os._exit(0)
    os.close(into)
    packed = os.read(out, 4)
    os.close(out)
    os.waitpid(between, 0)
    if len(packed) != 4:
        raise OSError("no new namespaces could be made inside bubblewrap")
    return int(struct.unpack("i", packed)[0])


def confine(
    keep: int, folders: list[str], memory: int, cpu_seconds: int, core: int
) -> None:
    """Gives everything up but the file descriptor ``keep``, for good.

    Args:
        keep: The file descriptor that stays open.
        folders: Folders that become writable and empty; the first one is home.
        memory: Bytes beyond what the process has mapped now.
        cpu_seconds: Seconds of computing after which the process is killed.
        core: The only processor core that it may use.
    """
    os.sched_setaffinity(0, {core})
    Path("/proc/self/oom_score_adj").write_text("1000")
    last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    mapped = int(Path("/proc/self/statm").read_text().split()[0])
    for folder in folders:
        mount_own(folder)
    guard_devices()
    # An empty /proc shows nothing of other processes, and nothing of this one.
    mount_own("/proc", READ_ONLY, NOTHING)
    os.chdir(folders[0])
    close_all_but(keep)
    limit(mapped * resource.getpagesize() + memory, cpu_seconds)
    drop_capabilities(last_capability)
    forbid_system_calls()


def mount_own(folder: str, flags: int = 0, options: str = FOLDER_OPTIONS) -> None:
    """Mounts a fresh folder in memory over an old one."""
    given = (folder.encode(), b"tmpfs", NO_SUID | NO_DEV | flags, options.encode())
    _check(_libc.mount(b"tmpfs", *given), f"mount {folder}")


def close_all_but(keep: int) -> None:
    """Closes every file descriptor but ``keep``; the standard streams lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.closerange(3, keep)
    os.closerange(keep + 1, 65536)


def limit(mapped: int, cpu_seconds: int) -> None:
    """Sets resource limits, soft and hard alike.

    Args:
        mapped: Bytes of address space. A limit on data alone would not count shared
            memory.
        cpu_seconds: Seconds of computing.
    """
    for what, most in {
        resource.RLIMIT_AS: mapped,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_CORE: 1,  # 0 would still start a handler of crashes
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 64,
    }.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def drop_capabilities(last: int) -> None:
    """Drops every capability, for now and for after any exec.

    Args:
        last: The highest capability that the kernel has.
    """
    for capability in range(last + 1):
        _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def forbid_system_calls() -> None:
    """Installs the ``seccomp`` filter in this process, for good."""
    steps = seccomp.filter_program(os.uname().machine)
    buffer = ctypes.create_string_buffer(steps, len(steps))
    program = _Program(len(steps) // 8, ctypes.addressof(buffer))
    done = _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    _check(done, "seccomp")


def _check(returned: int, what: str) -> None:
    if returned:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def threads_of(pid: int) -> int:
    """How many threads a process has, 0 for one that has gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0
