"""The ``seccomp`` filter: the system calls that a notebook needs, and no others.

The list was recorded: ``python tests/support/honest.py`` shows what honest notebooks
call. What older and newer versions of glibc call in the same places stands beside it.

Other students' processes see the same read-only files. So a call may be refused for its
arguments (a lease on a file, a note of who reads it, a signal to a group), and calls
that would reach other processes or the disk are told that they succeeded, and nothing
is done:

- Locks. A submission is one process, alone with the files that it can write to, so
  there is nobody to keep out. On a shared file a lock could hold others up, and each
  takes memory of the kernel's.
- Writing out (``fsync`` and the like). Those files lie in memory and never on a disk.
- Advice about reading. It changes no result, but can empty the cache for everybody.
"""

from __future__ import annotations

import struct

Step = tuple[int, int, int, int]  # operation, steps to skip if true, if false, operand
Block = tuple[Step, ...]  # steps that end in a result

# Classic BPF: operations, results, and the places of the fields in seccomp's record.
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

ALLOWED: Block = ((RETURN, 0, 0, ALLOW),)
REFUSED: Block = ((RETURN, 0, 0, ERRNO | EPERM),)
UNKNOWN: Block = ((RETURN, 0, 0, ERRNO | ENOSYS),)
KILLED: Block = ((RETURN, 0, 0, KILL),)
DONE: Block = ((RETURN, 0, 0, ERRNO | 0),)


def by_value(argument: int, results: dict[int, Block]) -> Block:
    """Another result for each value of an argument; all other values are refused.

    The kernel takes an ``int`` from the lower half, so nothing hides in the upper one.
    """
    steps = [(LOAD, 0, 0, ARGUMENTS + 8 * argument)]
    for value, block in results.items():
        steps += [(EQUAL, 0, len(block), value), *block]
    return (*steps, *REFUSED)


def one_of(argument: int, *values: int) -> Block:
    """Allowed if an argument has one of these values."""
    return by_value(argument, dict.fromkeys(values, ALLOWED))


def unless(argument: int, bits: int, then: Block = ALLOWED) -> Block:
    """Refused if an argument has any of these bits."""
    load = (LOAD, 0, 0, ARGUMENTS + 8 * argument)
    return (load, (ANY_BIT, 0, 1, bits), *REFUSED, *then)


def nothing(argument: int) -> Block:
    """Allowed if an argument is a pointer to nothing, in both halves."""
    lower, upper = (ARGUMENTS + 8 * argument + half for half in (0, 4))
    look = ((LOAD, 0, 0, lower), (EQUAL, 0, 3, 0), (LOAD, 0, 0, upper))
    return (*look, (EQUAL, 0, 1, 0), *ALLOWED, *REFUSED)


# clone, just as glibc starts a thread. Other flags make processes, or threads with file
# descriptors of their own, each with a limit of its own.
NEW_THREAD = 0x3D0F00
# mmap from the machine's few huge pages.
MAP_HUGETLB = 0x40000
# madvise. Not PAGEOUT, COLD and REMOVE, which take shared pages out of memory, nor
# MERGEABLE, which keeps a kernel thread busy.
ADVICE = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 102, 103)
# fcntl. Not leases, notes, owners of signals, the size of pipes.
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_SETLK, F_SETLKW = 0, 1, 2, 3, 4, 6, 7
F_DUPFD_CLOEXEC = 1030
O_ASYNC = 0x2000  # signals whenever something happens
FCNTL = by_value(
    1,
    {
        F_GETFL: ALLOWED,
        F_SETFL: unless(2, O_ASYNC),
        F_GETFD: ALLOWED,
        F_SETFD: ALLOWED,
        F_DUPFD: ALLOWED,
        F_DUPFD_CLOEXEC: ALLOWED,
        F_SETLK: DONE,
        F_SETLKW: DONE,
    },
)
# ioctl: is it a terminal (TCGETS, and TCGETS2 of newer glibc), its size, how much there
# is to read, FIONBIO, FIOCLEX and FIONCLEX.
REQUESTS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5451, 0x5450)
AF_UNIX = 1
MSG_OOB = 1  # sends ahead of all else; seldom used, and with a history of holes
# getsockopt: type, error, protocol, family. Not, say, who is at the other end.
SOCKET_FACTS = (3, 4, 38, 39)
# prctl: a thread's name, which rights are left, and the length of arm64's vectors.
OWN_NAME_AND_FACTS = (15, 16, 23, 39, 51)
# arch_prctl: may the processor's matrix unit be used, and please. oneDNN asks.
AMX = (0x1021, 0x1022, 0x1023)
# A submission is the first process in a process space of its own. By 0 or a negative
# number it would reach its process group, which others may be in.
OWN_PROCESS = 1

# name: its number on x86-64 and on arm64 (None: it has none there), and the result
TABLE: dict[str, tuple[int | None, int | None, Block]] = {
    # memory; mmap also maps libraries
    "brk": (12, 214, ALLOWED),
    "mmap": (9, 222, unless(3, MAP_HUGETLB)),
    "munmap": (11, 215, ALLOWED),
    "mremap": (25, 216, ALLOWED),
    "mprotect": (10, 226, ALLOWED),
    "madvise": (28, 233, one_of(2, *ADVICE)),
    # files. What can be written to lies in memory; the rest is mounted read-only
    "open": (2, None, ALLOWED),
    "openat": (257, 56, ALLOWED),
    "close": (3, 57, ALLOWED),
    "read": (0, 63, ALLOWED),
    "write": (1, 64, ALLOWED),
    "pread64": (17, 67, ALLOWED),
    "pwrite64": (18, 68, ALLOWED),
    "readv": (19, 65, ALLOWED),
    "writev": (20, 66, ALLOWED),
    "preadv": (295, 69, ALLOWED),
    "pwritev": (296, 70, ALLOWED),
    "lseek": (8, 62, ALLOWED),
    "sendfile": (40, 71, ALLOWED),
    "copy_file_range": (326, 285, ALLOWED),
    "stat": (4, None, ALLOWED),
    "lstat": (6, None, ALLOWED),
    "fstat": (5, 80, ALLOWED),
    "newfstatat": (262, 79, ALLOWED),
    "statx": (332, 291, ALLOWED),
    "statfs": (137, 43, ALLOWED),
    "fstatfs": (138, 44, ALLOWED),
    "access": (21, None, ALLOWED),
    "faccessat": (269, 48, ALLOWED),
    "faccessat2": (439, 439, ALLOWED),
    "readlink": (89, None, ALLOWED),
    "readlinkat": (267, 78, ALLOWED),
    "getxattr": (191, 8, ALLOWED),
    "lgetxattr": (192, 9, ALLOWED),
    "fgetxattr": (193, 10, ALLOWED),
    "listxattr": (194, 11, ALLOWED),
    "llistxattr": (195, 12, ALLOWED),
    "flistxattr": (196, 13, ALLOWED),
    "getdents64": (217, 61, ALLOWED),
    "getcwd": (79, 17, ALLOWED),
    "chdir": (80, 49, ALLOWED),
    "fchdir": (81, 50, ALLOWED),
    "mkdir": (83, None, ALLOWED),
    "mkdirat": (258, 34, ALLOWED),
    "rmdir": (84, None, ALLOWED),
    "unlink": (87, None, ALLOWED),
    "unlinkat": (263, 35, ALLOWED),
    "rename": (82, None, ALLOWED),
    "renameat": (264, 38, ALLOWED),
    "renameat2": (316, 276, ALLOWED),
    "link": (86, None, ALLOWED),
    "linkat": (265, 37, ALLOWED),
    "symlink": (88, None, ALLOWED),
    "symlinkat": (266, 36, ALLOWED),
    "chmod": (90, None, ALLOWED),
    "fchmod": (91, 52, ALLOWED),
    "fchmodat": (268, 53, ALLOWED),
    "utimensat": (280, 88, ALLOWED),
    "umask": (95, 166, ALLOWED),
    "truncate": (76, 45, ALLOWED),
    "ftruncate": (77, 46, ALLOWED),
    "fallocate": (285, 47, ALLOWED),
    "dup": (32, 23, ALLOWED),
    "dup2": (33, None, ALLOWED),
    "dup3": (292, 24, ALLOWED),
    "fcntl": (72, 25, FCNTL),
    "ioctl": (16, 29, one_of(1, *REQUESTS)),
    # waiting, pipes, and the pairs of sockets with which asyncio wakes itself. Not
    # epoll, whose limit holds for all processes of a user together
    "pipe": (22, None, ALLOWED),
    "pipe2": (293, 59, ALLOWED),
    "poll": (7, None, ALLOWED),
    "ppoll": (271, 73, ALLOWED),
    "select": (23, None, ALLOWED),
    "pselect6": (270, 72, ALLOWED),
    "socketpair": (53, 199, one_of(0, AF_UNIX)),
    "sendto": (44, 206, unless(3, MSG_OOB, nothing(4))),
    "recvfrom": (45, 207, unless(3, MSG_OOB)),
    "getsockname": (51, 204, ALLOWED),
    "getpeername": (52, 205, ALLOWED),
    "getsockopt": (55, 209, one_of(2, *SOCKET_FACTS)),
    "shutdown": (48, 210, ALLOWED),
    # threads
    "clone": (56, 220, one_of(0, NEW_THREAD)),
    "set_robust_list": (273, 99, ALLOWED),
    "rseq": (334, 293, ALLOWED),
    "futex": (202, 98, ALLOWED),
    "gettid": (186, 178, ALLOWED),
    "exit": (60, 93, ALLOWED),
    "exit_group": (231, 94, ALLOWED),
    "sched_yield": (24, 124, ALLOWED),
    "sched_getaffinity": (204, 123, ALLOWED),
    "getcpu": (309, 168, ALLOWED),
    "prctl": (157, 167, one_of(0, *OWN_NAME_AND_FACTS)),
    "arch_prctl": (158, None, one_of(0, *AMX)),
    # signals, to this process alone
    "rt_sigaction": (13, 134, ALLOWED),
    "rt_sigprocmask": (14, 135, ALLOWED),
    "rt_sigreturn": (15, 139, ALLOWED),
    "rt_sigpending": (127, 136, ALLOWED),
    "rt_sigsuspend": (130, 133, ALLOWED),
    "rt_sigtimedwait": (128, 137, ALLOWED),
    "sigaltstack": (131, 132, ALLOWED),
    "pause": (34, None, ALLOWED),
    "kill": (62, 129, one_of(0, OWN_PROCESS)),
    "tgkill": (234, 131, one_of(0, OWN_PROCESS)),
    "restart_syscall": (219, 128, ALLOWED),
    # time
    "clock_gettime": (228, 113, ALLOWED),
    "clock_getres": (229, 114, ALLOWED),
    "clock_nanosleep": (230, 115, ALLOWED),
    "nanosleep": (35, 101, ALLOWED),
    "gettimeofday": (96, 169, ALLOWED),
    "time": (201, None, ALLOWED),
    "times": (100, 153, ALLOWED),
    "alarm": (37, None, ALLOWED),
    "getitimer": (36, 102, ALLOWED),
    "setitimer": (38, 103, ALLOWED),
    # what it may know of itself and of the machine
    "getpid": (39, 172, ALLOWED),
    "getppid": (110, 173, ALLOWED),
    "getpgrp": (111, None, ALLOWED),
    "getpgid": (121, 155, ALLOWED),
    "getsid": (124, 156, ALLOWED),
    "getuid": (102, 174, ALLOWED),
    "geteuid": (107, 175, ALLOWED),
    "getgid": (104, 176, ALLOWED),
    "getegid": (108, 177, ALLOWED),
    "getresuid": (118, 148, ALLOWED),
    "getresgid": (120, 150, ALLOWED),
    "getgroups": (115, 158, ALLOWED),
    "capget": (125, 90, ALLOWED),
    "getpriority": (140, 141, ALLOWED),
    "getrlimit": (97, 163, ALLOWED),
    "prlimit64": (302, 261, nothing(2)),
    "getrusage": (98, 165, ALLOWED),
    "uname": (63, 160, ALLOWED),
    "sysinfo": (99, 179, ALLOWED),
    "getrandom": (318, 278, ALLOWED),
    # told to be done, and not done; see above
    "flock": (73, 32, DONE),
    "fsync": (74, 82, DONE),
    "fdatasync": (75, 83, DONE),
    "sync": (162, 81, DONE),
    "syncfs": (306, 267, DONE),
    "sync_file_range": (277, 84, DONE),
    "msync": (26, 227, DONE),
    "fadvise64": (221, 223, DONE),
    "readahead": (187, 213, DONE),
}
# machine: its place in the table above, and audit architecture
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# Calls from here on have one number on all machines, and older kernels lack them. Told
# so, programs do without, glibc without clone3, whose flags no filter can see.
YOUNG = 424
X32 = 0x40000000  # x86-64 has its calls a second time, under other numbers


def filter_program(machine: str) -> bytes:
    """The ``seccomp`` filter as a BPF program.

    Args:
        machine: The machine as ``os.uname().machine`` gives it.

    Returns:
        The program's bytes, 8 for each step.

    Raises:
        OSError: There is no table for this machine.
    """
    if machine not in MACHINES:
        raise OSError(f"no filter of system calls for {machine}: use x86-64 or arm64")
    column, architecture = MACHINES[machine]
    found: dict[int, Block] = {}
    for x86_64, arm64, block in TABLE.values():
        if (number := (x86_64, arm64)[column]) is not None:
            found[number] = block
    leaves: list[tuple[int, Block]] = []  # the first number with this result
    for number in sorted({0, YOUNG, X32, *found, *(n + 1 for n in found)}):
        other = REFUSED if number < YOUNG else UNKNOWN if number < X32 else KILLED
        block = found.get(number, other)
        if not leaves or leaves[-1][1] != block:
            leaves.append((number, block))
    program = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        *KILLED,
        (LOAD, 0, 0, NUMBER),
        *halved(leaves),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def halved(leaves: list[tuple[int, Block]]) -> Block:
    """A search by halves for the result of a number: eight steps instead of 150."""
    if len(leaves) == 1:
        return leaves[0][1]
    middle = len(leaves) // 2
    below, above = halved(leaves[:middle]), halved(leaves[middle:])
    return ((AT_LEAST, len(below), 0, leaves[middle][0]), *below, *above)
