"""Stand-ins for what notebooks rely on and has no place here.

``google.colab`` does nothing, unless a cell asks whether it is there; and a
``DataLoader`` loads in the process itself.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from torch.utils.data import DataLoader

COLAB = "google.colab"
# What a call gives that gives anything but None.
RESULTS: dict[str, Callable[[], Any]] = {
    f"{COLAB}.files.upload": dict,
    f"{COLAB}.userdata.get": str,
}
WITHOUT_WORKERS = {
    "num_workers": 0,
    "persistent_workers": False,
    "prefetch_factor": None,
    "multiprocessing_context": None,
    "timeout": 0,
}


def install() -> None:
    """Puts the stand-ins in their places."""
    # The last finder: a real package google, if there is one, keeps its other parts.
    sys.meta_path.append(Finder())
    DataLoader.__init__ = without_workers(DataLoader.__init__)  # type: ignore[method-assign]


class Harmless(ModuleType):
    """A module or function of ``google.colab``: it has every part, and does nothing."""

    def __getattr__(self, name: str) -> Harmless:
        if name.startswith("__"):
            raise AttributeError(name)
        return Harmless(f"{self.__name__}.{name}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        print(f"not run here: {self.__name__}")
        return RESULTS.get(self.__name__, lambda: None)()


class Finder(MetaPathFinder, Loader):
    """Finds ``google.colab`` when it is imported, so that it is not there before."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        wanted = f"{name}.".startswith(f"{COLAB}.") or name == "google"
        if wanted and not guarded():
            return ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ModuleType(spec.name) if spec.name == "google" else Harmless(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def guarded() -> bool:
    """Whether the cell imports in a ``try``: then it finds out where it runs."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith("cell "):
        frame = frame.f_back
    if frame is None:
        return False
    lines = linecache.getlines(frame.f_code.co_filename)[: frame.f_lineno]
    inner = indent(lines[-1])
    for line in reversed(lines):  # each line that begins a block around the import
        if line.strip() and indent(line) < inner:
            inner = indent(line)
            if line.split()[0] == "try:":
                return True
    return False


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def without_workers(make: Callable[..., None]) -> Callable[..., None]:
    """``DataLoader.__init__`` without what needs other processes."""
    parameters = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> None:
        given = parameters.bind(*args, **kwargs)
        for name in WITHOUT_WORKERS.keys() & given.arguments.keys():
            given.arguments[name] = WITHOUT_WORKERS[name]
        make(*given.args, **given.kwargs)

    return made
