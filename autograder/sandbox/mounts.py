"""What the sandbox shows of this machine, as bubblewrap's arguments.

Inside are the system and Python, both read-only, the cut-down packages, and nothing
else. The project, the course and all submissions are hidden, wherever they lie.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import autograder
import chapter4
from autograder.sandbox import stub_package

INSIDE = "/grader"
# No machine has a folder of this name. Another folder might hold the Python that the
# sandbox shows.
HOME = "/student"
# Where nbgrader collects submissions, unless its configuration says otherwise.
EXCHANGE = Path("/usr/local/share/nbgrader")
# A student's copy of a cell that checks their work does not fail.
SELF_CHECK = """\
def self_check(*_, **__):
    print("not run here: self_check")
"""
# Where an installation keeps what it knows, in a folder of libraries.
RECORDS = (
    *("*.pth", "*.egg-link", "__editable__*", "__pycache__/__editable__*"),
    *("*.dist-info/direct_url.json", "*.dist-info/RECORD"),
)
MAX_CANARIES = 1_000


class Exposed(ValueError):
    """Something that must be hidden is a folder that Python needs."""


def bubblewrap(problem: int, folder: Path, hide: Sequence[Path] = ()) -> list[str]:
    """Bubblewrap's arguments for the sandbox of one problem.

    Args:
        problem: 1 to 5.
        folder: An empty folder, for the texts that are made for the sandbox.
        hide: Folders that nobody may see inside, with all that is in them.

    Returns:
        The arguments, without the command's own name.

    Raises:
        Exposed: One of these folders is one that Python needs.
    """
    stub_package.build(problem, folder, linked=False)
    own = folder / "autograder" / "sandbox" / "inside"
    stub_package.copy_code(Path(__file__).with_name("inside"), own)
    for package in (own.parent, own.parents[1]):
        (package / "__init__.py").write_text("", encoding="utf-8")
    (own.parents[1] / "selfcheck.py").write_text(SELF_CHECK, encoding="utf-8")
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
    arguments += _machine(hidden(problem, hide))
    empty = folder / "empty"
    empty.touch()
    for record in records():
        arguments += ["--ro-bind", str(empty), str(record)]
    arguments += ["--ro-bind", str(folder), INSIDE]
    for inside, outside in stub_package.data().items():
        arguments += ["--ro-bind", str(outside), f"{INSIDE}/{inside}"]
    # This comes last. Bubblewrap's root and /dev are memory without a limit, so nobody
    # may write to them.
    return [*arguments, "--chdir", "/", "--remount-ro", "/dev", "--remount-ro", "/"]


def _machine(hide: Sequence[Path]) -> list[str]:
    """The arguments that show the system and Python without the hidden folders.

    A shown folder may lie in a hidden one, and that one in a shown one: parents come
    first, and each of them needs an argument only where its parent has the other state.
    """
    state = dict.fromkeys(shown(), True)
    for path in hide:
        if path in state:
            raise Exposed(
                f"{path} can't be hidden from submissions, because Python itself is"
                " there: keep the course and Python's environment in folders of their"
                " own"
            )
        state[path] = False
    arguments, closed = [], []
    for path in sorted(state):
        nearest = next((state[p] for p in path.parents if p in state), False)
        if state[path] and not nearest:
            arguments += ["--ro-bind", str(path), str(path)]
        elif nearest and not state[path]:
            arguments += ["--size", "4096", "--tmpfs", str(path)]
            closed += ["--remount-ro", str(path)]
    for link in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        if link.is_symlink():
            arguments += ["--symlink", os.readlink(link), str(link)]
        elif link.exists():
            arguments += ["--ro-bind", str(link), str(link)]
    return arguments + closed


def shown() -> list[Path]:
    """What of this machine can be seen inside: the system and this Python."""
    wanted = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/fonts")]
    wanted += [Path(sys.base_prefix), Path(sys.prefix), *libraries()]
    # A folder that is reached through a link is needed under both names.
    found = {p for path in wanted if path.exists() for p in (path, path.resolve())}
    return sorted(found)


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
    """Folders that must look empty inside, if anything shows them at all."""
    names = ("chapter4", "autograder", *stub_package.stubbed(problem))
    candidates = [folder / name for folder in libraries() for name in names]
    candidates.append(EXCHANGE)
    found = {path.resolve() for path in [*candidates, *hide] if path.is_dir()}
    found |= {*_project()}
    # A folder that is shown under a second name has these folders in it as well.
    again = {
        link / path.relative_to(link.resolve())
        for link in shown()
        for path in found
        if link.resolve() in path.parents
    }
    return sorted(found | again)


def _project() -> Iterator[Path]:
    """The project's folder, or its packages where they lie among other libraries."""
    shared = {path.resolve() for path in libraries()}
    for module in (autograder, chapter4):
        assert module.__file__ is not None
        package = Path(module.__file__).resolve().parent
        yield package if package.parent in shared else package.parent


def records() -> Iterator[Path]:
    """Files among the libraries that tell where the project is, or what is in it."""
    told = [b"autograder/cli.py", *(os.fsencode(path) for path in _project())]
    places = [folder.glob(name) for folder in libraries() for name in RECORDS]
    for path in chain.from_iterable(places):
        if path.is_file() and any(word in path.read_bytes() for word in told):
            yield path


def canaries(hide: Sequence[Path], folder: Path) -> list[list[int]]:
    """What to look for inside: the device and the number of each folder to hide.

    Args:
        hide: The folders; with them, the folders that lie directly in them are looked
            for.
        folder: The folder of texts that are made for the sandbox.
    """
    folders = {path.resolve() for path in [*hide, *_project()] if path.is_dir()}
    folders.discard(Path("/"))
    found = [*sorted(folders), *chain.from_iterable(map(_below, sorted(folders)))]
    # These are shown on purpose, such as an environment that lies in a course.
    wanted = [folder, *shown(), *stub_package.data().values()]
    needed = {_number(path) for path in wanted}
    numbers = [_number(path) for path in found[:MAX_CANARIES]]
    return [list(number) for number in numbers if number not in needed]


def _below(folder: Path) -> list[Path]:
    """The folders in a folder, as far as it may be read."""
    try:
        below = sorted(folder.iterdir())
        return [path for path in below if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _number(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
