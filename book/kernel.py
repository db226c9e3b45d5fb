"""What runs in a page's kernel: its start as a fork, and notes of what it uses.

Reading a file, importing a module and listing a folder each raise one of Python's audit
events. Their paths say what a page's results depend on.
"""

from __future__ import annotations

import os
import sys
from importlib.util import source_from_cache
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
# In another process nothing is noted: a page that starts one may use everything.
PROCESSES = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.exec"}
EVERYTHING = "everything"

_noted: set[str] = set()


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be a kernel until it is told to stop.

    Args:
        arguments: Those of ``python -m ipykernel_launcher``.
        folder: Where its cells run.
        environment: Its environment variables.
    """
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # an interruption is for the build, which ends its kernels
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.remove(str(Path(__file__).parent))
    # It ends with the process that it was forked from, and so with the build.
    IPKernelApp.launch_instance(arguments, parent_handle=os.getppid())


def begin() -> None:
    """Begin to note."""
    sys.addaudithook(_note)


def found() -> list[str]:
    """Return what was used, as ``kind:path``, the path relative to the repository.

    The kinds are ``code`` (an imported module), ``file`` (read as a file) and
    ``folder`` (listed). ``everything`` stands alone.
    """
    return sorted(_noted)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in PROCESSES:
        _noted.add(EVERYTHING)
    elif event in ("open", "os.listdir", "os.scandir"):
        path = arguments[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        inside = os.path.relpath(os.fsdecode(path), ROOT)
        who = _reader()
        if event != "open":
            # Python looks through folders for modules. That is no use of the others.
            if who != "import":
                _add("folder", inside)
        elif who == "import":
            _add("code", source_from_cache(inside) if inside.endswith("c") else inside)
        elif who != "traceback.py":  # it keeps lines of code, in case of an error
            _add("file", inside)


def _reader() -> str:
    """The file whose code reads, "import" for Python's own search of modules."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = os.path.basename(frame.f_code.co_filename)
        if name.startswith("<frozen importlib"):
            return "import"
        if name not in ("linecache.py", "tokenize.py"):
            return name
        frame = frame.f_back
    return ""


def _add(kind: str, inside: str) -> None:
    if not inside.startswith(("..", ".venv", os.path.join("book", "_build"))):
        _noted.add(f"{kind}:{Path(inside).as_posix()}")
