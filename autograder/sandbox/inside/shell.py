"""IPython's own shell, in which a submission's cells run as in Jupyter.

It starts no other program, keeps no history on the disk, shows everything as text, and
leaves it to the evaluator to say in one line what failed.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import linecache
import os
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from IPython.core import page
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.core.profiledir import ProfileDir
from IPython.utils.text import SList
from traitlets import Type, default
from traitlets.config import Config

CONFIG = {
    "HistoryManager": {"enabled": False, "hist_file": ":memory:"},
    "InteractiveShell": {"autoindent": False},
    # Nobody sees a picture, so none is drawn.
    "DisplayFormatter": {"active_types": ["text/plain"]},
    "IPythonDisplayFormatter": {"enabled": False},
    "MimeBundleFormatter": {"enabled": False},
}
# Magics that start another program, and Jupyter's own.
PROGRAMS = {
    "line": (
        *("conda", "mamba", "micromamba", "pip", "uv", "less", "more", "man"),
        *("autosave", "clear", "connect_info", "qtconsole", "subshell"),
    ),
    "cell": (
        *("!", "bash", "cmd", "perl", "pypy", "python", "python2", "python3"),
        *("ruby", "script", "sh", "sx", "system"),
    ),
}


class Compiler(CachingCompiler):
    """Compiles code under the cell's name, with the line numbers of the whole cell.

    Attributes:
        cell: The name of the cell that runs.
    """

    cell = "cell"

    def cache(
        self, transformed_code: str, number: int = 0, raw_code: str | None = None
    ) -> str:
        return self.cell

    def ast_parse(
        self, source: str, filename: str = "<unknown>", symbol: str = "exec"
    ) -> Any:
        return super().ast_parse("\n" * lines_above() + source, self.cell, symbol)

    def __call__(self, source: Any, filename: str, symbol: str, **options: Any) -> Any:
        if filename.startswith("<"):  # such as <timed exec>
            filename = self.cell
        return super().__call__(source, filename, symbol, **options)


def lines_above() -> int:
    """How many lines of the cell stand above the code that a magic compiles now.

    A cell magic hands on what is below its line, and a line magic what is behind it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        for magic, own in (("run_cell_magic", 0), ("run_line_magic", 1)):
            if frame.f_code is getattr(InteractiveShell, magic).__code__:
                assert frame.f_back is not None
                return frame.f_back.f_lineno - own
        frame = frame.f_back
    return 0


class Values(DisplayHook):
    """Prints the value of a cell's last expression."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        print(format_dict.get("text/plain", ""))

    def log_output(self, format_dict: Any) -> None:
        pass


class Pictures(DisplayPublisher):
    """Prints what ``display`` is given."""

    def publish(self, data: Any, metadata: Any = None, *_: Any, **__: Any) -> None:
        print(data.get("text/plain", ""))

    def clear_output(self, wait: bool = False) -> None:
        pass


class Shell(InteractiveShell):
    """The shell; ``Shell.instance()`` is the only one.

    It may be made before the fork: it starts no thread and opens no file.
    """

    compiler_class = Type(Compiler)
    displayhook_class = Type(Values)
    display_pub_class = Type(Pictures)

    def __init__(self, **settings: Any) -> None:
        self.failure: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        super().__init__(config=Config(CONFIG), **settings)
        self.set_hook("show_in_pager", page.as_hook(lambda *_, **__: None))
        for kind, names in PROGRAMS.items():
            for name in names:
                self.register_magic_function(not_run(kind, name), kind, name)
        timeit = once(self.find_line_magic("timeit"))
        self.magics_manager.register_function(timeit, "line_cell", "timeit")
        self.run_line_magic("load_ext", "storemagic")
        self.enable_matplotlib("inline")

    def init_profile_dir(self, profile_dir: Any) -> None:
        pass

    @default("profile_dir")
    def _profile_dir(self) -> ProfileDir:
        """A folder for what ``%store`` keeps; an older IPython makes it at once."""
        here = self.user_ns.get("_dh", [os.getcwd()])[0]
        return ProfileDir(location=os.path.join(here, ".ipython"))

    def init_ipython_dir(self, ipython_dir: Any) -> None:
        pass

    def init_virtualenv(self) -> None:
        pass

    def enable_matplotlib(self, gui: str | None = None) -> Any:
        return super().enable_matplotlib("inline")  # whatever is installed at home

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def ask_exit(self) -> None:
        raise SystemExit

    def run(self, source: str, name: str) -> None:
        """Runs one cell.

        Args:
            source: The cell as the student wrote it.
            name: What to call it in the places of errors.

        Raises:
            BaseException: What made it fail.
        """
        # inspect.getsource and the lines of a traceback need this.
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        importlib.invalidate_caches()  # %%writefile may have made a module
        Compiler.cell, self.failure = name, None
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        # What the cell sets for its context, such as np.seterr, stays after its task.
        context = contextvars.copy_context()
        task = self.loop.create_task(self._run(source), context=context)
        try:
            result = self.loop.run_until_complete(task)
        finally:
            for variable, value in context.items():
                variable.set(value)
        error = result.error_before_exec or result.error_in_exec or self.failure
        if error is not None:
            raise error

    async def _run(self, source: str) -> ExecutionResult:
        """Runs a cell in the event loop as Jupyter does, even if it awaits nothing."""
        code, trouble = source, None
        try:
            code = self.transform_cell(source)
        except Exception:
            trouble = sys.exc_info()
        result = await self.run_cell_async(
            source,
            store_history=True,
            transformed_cell=code,
            preprocessing_exc_tuple=trouble,
        )
        self.events.trigger("post_execute")
        self.events.trigger("post_run_cell", result)
        return result

    def transform_cell(self, raw_cell: str) -> str:
        """IPython's own, with the empty first lines, so that lines keep numbers."""
        empty = len(raw_cell) - len(raw_cell.lstrip())
        return "\n" * raw_cell.count("\n", 0, empty) + super().transform_cell(raw_cell)

    def showtraceback(self, exc_tuple: Any = None, *_: Any, **__: Any) -> None:
        """Notes an error that would be shown: the cell has failed."""
        if self.failure is None:
            self.failure = (exc_tuple or sys.exc_info())[1]

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        self.showtraceback()

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def system(self, cmd: str) -> None:
        """Says that the command of a line such as ``!ls`` is not run."""
        print(f"not run here: !{cmd}")

    system_piped = system_raw = system

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        self.system(cmd)
        return SList() if split else ""


# Notebooks find out by this name whether they run in Jupyter, and %config asks for it.
Shell.__name__ = "ZMQInteractiveShell"


def once(timeit: Callable[..., Any]) -> Callable[..., Any]:
    """``%timeit`` that runs its code once, as nobody reads the time, unless told."""

    @functools.wraps(timeit)
    def brief(line: str = "", cell: str | None = None, **scope: Any) -> Any:
        options = re.findall(r"\A(?:\s*-[a-z]\s*\w*)+", line) or [""]
        missing = [f"{o}1" for o in ("-n", "-r") if o not in options[0]]
        return timeit(" ".join([*missing, line]), cell, **scope)

    return brief


def not_run(kind: str, name: str) -> Any:
    """A magic that says that it starts no program."""
    if kind == "line":
        return lambda line: print(f"not run here: %{name} {line}")
    return lambda line, cell: print(f"not run here: %%{name} {line}")
