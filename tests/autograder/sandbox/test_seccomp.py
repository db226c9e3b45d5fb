"""The filter of system calls: what is not in its table is refused on both machines."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import honest
import pytest

from autograder.sandbox.inside import seccomp
from autograder.sandbox.launcher import Sandbox
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent

ALLOWED, DONE = seccomp.ALLOW, seccomp.ERRNO
REFUSED, UNKNOWN = seccomp.ERRNO | errno.EPERM, seccomp.ERRNO | errno.ENOSYS
MACHINES = list(seccomp.MACHINES)
# Numbers that no kernel has yet, and the last one before x86-64's second table.
NUMBERS = [*range(600), 1000, 2**16 - 1, 2**30 - 1]
# uretprobe and uprobe: newer kernels let them past every filter, and end the process
# that calls them by hand.
PAST_EVERY_FILTER = (335, 336)
CODE = """
import ctypes, errno, fcntl, os

def told(numbers):
    call = ctypes.CDLL(None, use_errno=True).syscall
    found = {}
    for number in numbers:
        ctypes.set_errno(0)
        returned = call(*map(ctypes.c_long, (number, 0, 0, 0, 0, 0, 0)))
        found[str(number)] = [returned, ctypes.get_errno()]
    return found

def kept(path):
    global file
    file = open(path)
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_SH)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except PermissionError:
        return "no lease"
"""


def run_filter(machine: str, number: int, *arguments: int, foreign: int = 0) -> int:
    """What the filter says to one system call: classic BPF by the book."""
    record = {seccomp.NUMBER: number}
    record[seccomp.ARCHITECTURE] = seccomp.MACHINES[machine][1] + foreign
    for i, argument in enumerate(arguments):
        record[seccomp.ARGUMENTS + 8 * i] = argument & 0xFFFFFFFF
        record[seccomp.ARGUMENTS + 8 * i + 4] = argument >> 32
    program = seccomp.filter_program(machine)
    steps = [program[i : i + 8] for i in range(0, len(program), 8)]
    at, held = 0, 0
    while True:
        code = int.from_bytes(steps[at][:2], "little")
        yes, no = steps[at][2:4]
        operand = int.from_bytes(steps[at][4:], "little")
        at += 1
        if code == seccomp.LOAD:
            held = record[operand]
        elif code == seccomp.RETURN:
            return operand
        else:
            met = {
                seccomp.EQUAL: held == operand,
                seccomp.AT_LEAST: held >= operand,
                seccomp.ANY_BIT: bool(held & operand),
            }
            at += yes if met[code] else no


def blocks(machine: str) -> dict[int, seccomp.Block]:
    """The table for one machine."""
    column = seccomp.MACHINES[machine][0]
    rows = [(row[column], row[2]) for row in seccomp.TABLE.values()]
    found = {number: block for number, block in rows if number is not None}
    assert len(found) == sum(number is not None for number, _ in rows)
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_has_its_result(machine: str) -> None:
    table = blocks(machine)
    for number in NUMBERS:
        said = run_filter(machine, number, *[2**64 - 1] * 6)
        if number not in table:
            assert said == (REFUSED if number < seccomp.YOUNG else UNKNOWN), number
        elif table[number] in (seccomp.ALLOWED, seccomp.DONE):
            assert said == table[number][0][3], number
        else:
            assert said == REFUSED, number  # for its arguments: no rule allows all bits
    for number in table:
        assert run_filter(machine, seccomp.X32 + number) == seccomp.KILL
        assert run_filter(machine, number, foreign=1) == seccomp.KILL


def test_another_machine_has_no_filter() -> None:
    with pytest.raises(OSError, match="no filter of system calls for riscv64"):
        seccomp.filter_program("riscv64")


def test_the_table_is_the_kernels() -> None:
    """Against the kernel's own headers, where they are installed."""
    header = Path("/usr/include/asm-generic/unistd.h")
    native = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    for path, column in ((native, 0), (header, 1)):
        if not path.exists():
            continue
        found = {}
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) == 3 and words[0] == "#define" and words[2].isdecimal():
                name = words[1].removeprefix("__NR3264_").removeprefix("__NR_")
                found[name] = int(words[2])
        found.setdefault("newfstatat", found.get("fstatat", -1))
        for name, row in seccomp.TABLE.items():
            assert row[column] == found.get(name), name


# Each rule from both sides: a call, its arguments and what it is told.
NULL, POINTER, HIGH = 0, 0x7FFE0000, 2**32
RULES = [
    ("clone", (0x3D0F00,), ALLOWED),  # as glibc starts a thread
    ("clone", (0x1200011,), REFUSED),  # fork
    ("clone", (0x4111,), REFUSED),  # posix_spawn
    ("clone", (0x3D0F00 - 0x400,), REFUSED),  # a thread with descriptors of its own
    ("clone", (0x3D0F00 | 0x10000000,), REFUSED),  # and with new namespaces
    ("mmap", (0, 4096, 3, 0x22), ALLOWED),
    ("mmap", (0, 4096, 3, 0x22 | 0x40000), REFUSED),  # huge pages
    ("madvise", (0, 4096, 4), ALLOWED),  # DONTNEED
    ("madvise", (0, 4096, 21), REFUSED),  # PAGEOUT
    ("madvise", (0, 4096, 12), REFUSED),  # MERGEABLE
    ("fcntl", (3, 1030, 0), ALLOWED),  # F_DUPFD_CLOEXEC
    ("fcntl", (3, 4, 0x800), ALLOWED),  # F_SETFL: O_NONBLOCK
    ("fcntl", (3, 4, 0x2000), REFUSED),  # F_SETFL: O_ASYNC
    ("fcntl", (3, 6, POINTER), DONE),  # F_SETLK
    ("fcntl", (3, HIGH + 7, POINTER), DONE),  # F_SETLKW, as the kernel reads it
    ("fcntl", (3, 38, POINTER), REFUSED),  # F_OFD_SETLKW
    ("fcntl", (3, 8, 1), REFUSED),  # F_SETOWN
    ("fcntl", (3, 10, 1), REFUSED),  # F_SETSIG
    ("fcntl", (3, 1024, 0), REFUSED),  # F_SETLEASE
    ("fcntl", (3, HIGH + 1024, 0), REFUSED),
    ("fcntl", (3, 1026, 1), REFUSED),  # F_NOTIFY
    ("fcntl", (3, 1031, 2**20), REFUSED),  # F_SETPIPE_SZ
    ("ioctl", (3, 0x5401), ALLOWED),  # TCGETS
    ("ioctl", (3, 0x5412), REFUSED),  # TIOCSTI, which types into a terminal
    ("ioctl", (3, 0x40049409), REFUSED),  # FICLONE
    ("socketpair", (1, 1), ALLOWED),
    ("socketpair", (2, 1), REFUSED),
    ("socketpair", (30, 1), REFUSED),  # TIPC
    ("sendto", (3, POINTER, 1, 0, NULL), ALLOWED),
    ("sendto", (3, POINTER, 1, 0, POINTER), REFUSED),
    ("sendto", (3, POINTER, 1, 0, HIGH), REFUSED),
    ("sendto", (3, POINTER, 1, 1, NULL), REFUSED),  # MSG_OOB
    ("recvfrom", (3, POINTER, 1, 0), ALLOWED),
    ("recvfrom", (3, POINTER, 1, 1), REFUSED),  # MSG_OOB
    ("getsockopt", (3, 1, 3), ALLOWED),  # SO_TYPE
    ("getsockopt", (3, 1, 77), REFUSED),  # SO_PEERPIDFD
    ("prctl", (15,), ALLOWED),  # PR_SET_NAME
    ("prctl", (4,), REFUSED),  # PR_SET_DUMPABLE
    ("kill", (1, 10), ALLOWED),
    ("kill", (0, 10), REFUSED),
    ("kill", (2**32 - 1, 10), REFUSED),  # -1: everybody
    ("tgkill", (1, 7, 10), ALLOWED),
    ("tgkill", (2, 7, 10), REFUSED),
    ("prlimit64", (0, 7, NULL, POINTER), ALLOWED),
    ("prlimit64", (0, 7, POINTER, NULL), REFUSED),
    ("prlimit64", (0, 7, HIGH, NULL), REFUSED),
    ("arch_prctl", (0x1023,), ALLOWED),  # the matrix unit
    ("arch_prctl", (0x1012,), REFUSED),
    ("flock", (3, 2), DONE),
    ("sync", (), DONE),
    ("fadvise64", (3, 0, 0, 4), DONE),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "result"), RULES)
def test_arguments_decide(
    machine: str, name: str, arguments: tuple[int, ...], result: int
) -> None:
    number = seccomp.TABLE[name][seccomp.MACHINES[machine][0]]
    if number is None:
        assert (name, machine) == ("arch_prctl", "aarch64")
        return
    arguments += (0,) * (6 - len(arguments))
    assert run_filter(machine, number, *arguments) == result


def test_every_rule_is_tried_from_both_sides() -> None:
    tried = {(name, result in (ALLOWED, DONE)) for name, _, result in RULES}
    for name, (*_, block) in seccomp.TABLE.items():
        if block not in (seccomp.ALLOWED, seccomp.DONE):
            assert {(name, True), (name, False)} <= tried, name


@pytest.fixture(scope="module")
def student(sandboxes: Callable[[int], Sandbox]) -> Iterator[SandboxedStudent]:
    with SandboxedStudent(sandboxes(2), [Cell("cell 1", CODE)]) as made:
        yield made


def test_every_call_outside_the_table_is_refused(student: SandboxedStudent) -> None:
    table = blocks(os.uname().machine)
    outside = [n for n in NUMBERS if n not in table and n not in PAST_EVERY_FILTER]
    assert len(outside) > 400
    wanted = {n: errno.EPERM if n < seccomp.YOUNG else errno.ENOSYS for n in outside}
    told = student.call("told", outside)
    assert told == {str(n): [-1, error] for n, error in wanted.items()}


def test_calls_that_are_told_to_be_done_return_0(student: SandboxedStudent) -> None:
    found = blocks(os.uname().machine).items()
    done = [number for number, block in found if block == seccomp.DONE]
    assert len(done) == 9
    assert student.call("told", done) == {str(number): [0, 0] for number in done}


def test_shared_files_are_never_locked(student: SandboxedStudent) -> None:
    """As the machine sees it, whatever the submission was told."""
    path = os.__file__

    def locked() -> bool:
        inode = f":{os.stat(path).st_ino} "
        return inode in Path("/proc/locks").read_text()

    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert locked()
    assert not locked()
    assert student.call("kept", path) == "no lease"
    assert not locked()


@pytest.mark.slow
def test_honest_notebooks_miss_nothing(sandboxes: Callable[[int], Sandbox]) -> None:
    cells = [Cell(title, source) for title, source in honest.CELLS.items()]
    last = Cell("last", "def right():\n    return torch.ones(3).sum().item()")
    with SandboxedStudent(sandboxes(4), [*cells, last]) as student:
        assert student.call("right") == 3
        assert student.failed_cells == {}
