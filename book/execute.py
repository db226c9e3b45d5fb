"""Execute the pages, several at a time, and only those whose results may differ.

``book/build.py`` runs this before Sphinx. A page's results stay in
``book/_build/executed`` with a digest of each file that its cells used. They are used
again until a cell, one of these files or a required library changes. What was executed
before a failure or an interruption is kept.
"""

from __future__ import annotations

import ast
import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import kernel
import nbformat
from dependencies import code_of_cell, digest, digest_of, everything, libraries, written
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_client import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from myst_nb.core.read import myst_nb_reader_plugin
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

BOOK = Path(__file__).resolve().parent
BUILD = BOOK / "_build"
EXECUTED = BUILD / "executed"
# Where MyST-NB looks for results.
CACHE = BUILD / ".jupyter_cache"
BEGAN = time.time()
# Longer than any cell takes on a busy machine: only what hangs is stopped.
HANGS = 3600
# No page takes more, in bytes.
MEMORY_OF_A_PAGE = 2 * 2**30
FORKS = sys.platform == "linux"
# Nearly every page imports these. On Linux one process does so, and each page's kernel
# is a fork of it.
PRELOADED = (
    "ipykernel.kernelapp",
    "jupytext",
    "matplotlib.pyplot",
    "seaborn",
    "torch._dynamo",
    "torchvision.models",
    "timm",
    "captum.attr",
    "transformers.models.bert.modeling_bert",
    "peft",
)


def say(message: str) -> None:
    """Print one line of progress at once, even when the output goes to a file."""
    print(f"[book] {message}", flush=True)


class Page:
    """A page with cells, and what is kept of it.

    Attributes:
        path: The page's source.
        name: Its name.
        notebook: Its cells, with results once it is executed or found.
        seconds: How long it took when it was executed last, or None.
    """

    def __init__(self, path: Path, facts: Sequence[str]) -> None:
        """Read the page. ``facts`` are what every page depends on."""
        self.path, self.name = path, path.stem
        self.notebook = myst_nb_reader_plugin(str(path))
        self.seconds: float | None = None
        self._cells = [c for c in self.notebook.cells if c.cell_type == "code"]
        self._key = digest_of([*facts, *map(code_of_cell, self._cells)])
        self._kept = EXECUTED / f"{self.name}.json"

    def find(self) -> bool:
        """Take the kept results, and return whether they still hold."""
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        self.seconds = kept["seconds"]
        if kept["key"] != self._key:
            return False
        if any(digest(used) != before for used, before in kept["uses"].items()):
            return False
        self.notebook.metadata = nbformat.from_dict(kept["metadata"])
        for cell, results in zip(self._cells, kept["results"], strict=True):
            cell.update(nbformat.from_dict(results))
        return True

    def keep(self, used: Sequence[str]) -> None:
        """Write the results in one step, with a digest of each file that was used.

        If one was written since the build began, nothing is kept: the cells may have
        seen what was there before.
        """
        if any(written(each) > BEGAN for each in used):
            return
        kept = {
            "key": self._key,
            "uses": {each: digest(each) for each in used},
            "seconds": self.seconds,
            "metadata": self.notebook.metadata,
            "results": [
                {"outputs": cell.outputs, "execution_count": cell.execution_count}
                for cell in self._cells
            ],
        }
        beside = self._kept.with_suffix(".part")
        beside.write_text(json.dumps(kept), encoding="utf-8")
        os.replace(beside, self._kept)


class Forked(LocalProvisioner):
    """Starts kernels as forks of a process that has imported the libraries."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Start the kernel; ``cmd`` is the command that would start it otherwise."""
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        process: Any = Process(arguments, options)
        self.process, self.pid = process, process.pid
        return self.connection_info


class Process:
    """A forked kernel, with the names that ``subprocess.Popen`` has."""

    stdin = stdout = stderr = None

    def __init__(self, arguments: list[str], options: dict[str, Any]) -> None:
        given = (arguments, options["cwd"], options["env"])
        self._process = _forks().Process(target=kernel.run, args=given)
        self._process.start()
        self.pid = self._process.pid
        self.kill, self.terminate = self._process.kill, self._process.terminate

    def poll(self) -> int | None:
        """The exit code, or None while the kernel runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Wait for the end; return the exit code."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel."""
        os.kill(self._process.pid or 0, number)


def _forks() -> Any:
    return multiprocessing.get_context("forkserver")


async def execute(page: Page) -> list[str]:
    """Execute the cells of ``page``; return what they used of the repository."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        manager = AsyncKernelManager(kernel_name="python3")
        if FORKS:
            manager.provisioner = Forked(
                kernel_spec=manager.kernel_spec, parent=manager
            )
        client = NotebookClient(
            page.notebook,
            manager,
            timeout=HANGS,
            startup_timeout=HANGS,
            iopub_timeout=HANGS,
            record_timing=False,  # the cache would take it for a change
            resources={"metadata": {"path": folder}},
        )
        async with client.async_setup_kernel(cleanup_kc=True):
            if sys.platform != "win32":
                # nbclient would end one page's kernel and go on with the others.
                for end in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().remove_signal_handler(end)
            await silently(client, f"__import__('sys').path.insert(0, {str(BOOK)!r})")
            await silently(client, "__import__('kernel').begin()")
            await silently(client, "__import__('sys').path.pop(0)")
            for number, cell in enumerate(page.notebook.cells):
                await client.async_execute_cell(
                    cell, number, execution_count=client.code_cells_executed + 1
                )
            client.set_widgets_metadata()
            used = await silently(client, "__import__('kernel').found()")
    page.seconds = time.monotonic() - start
    return list(ast.literal_eval(used))


async def silently(client: NotebookClient, expression: str) -> str:
    """Evaluate ``expression`` without a trace in the notebook; return its ``repr``."""
    kernel_client: Any = client.kc
    reply = await kernel_client.execute_interactive(
        "", silent=True, user_expressions={"value": expression}
    )
    return str(reply["content"]["user_expressions"]["value"]["data"]["text/plain"])


def workers(pages: int) -> int:
    """How many of ``pages`` to execute at a time."""
    cores = len(os.sched_getaffinity(0)) if FORKS else os.cpu_count() or 1
    most = min(cores, pages)
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = min(most, memory // MEMORY_OF_A_PAGE)
    return max(1, most)


async def execute_all(pages: list[Page], count: int) -> int:
    """Execute ``pages``, ``count`` at a time, and keep each when it is done.

    Returns:
        How many failed.
    """
    # The longest first, so that at the end no core waits for one of them.
    waiting = sorted(
        pages, key=lambda page: (page.seconds or 0, page.path.stat().st_size)
    )
    left = [page.name for page in pages]
    failed = 0

    async def work() -> None:
        nonlocal failed
        while waiting:
            page = waiting.pop()
            try:
                page.keep(await execute(page))
                how = f"{page.name} took {page.seconds:.0f} s"
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                failed += 1
                how = f"ERROR in {page.name}: {error}"
            left.remove(page.name)
            rest = f"; left: {', '.join(left)}" if left else ""
            say(f"{len(pages) - len(left)}/{len(pages)} {how}{rest}")

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(work())
    return failed


def offer(pages: Iterable[Page]) -> None:
    """Give the results of ``pages`` to Sphinx."""
    shutil.rmtree(CACHE, ignore_errors=True)
    cache = get_cache(str(CACHE))
    for page in pages:
        facts = {"execution_seconds": page.seconds}
        bundle = CacheBundleIn(page.notebook, str(page.path), data=facts)
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def main() -> int:
    """Execute what has to be executed; return 0, or 1 if a page failed."""
    EXECUTED.mkdir(parents=True, exist_ok=True)
    # The weights are read by a library that Python's audit does not see.
    facts = [*libraries(), everything("chapter4/weights")]
    pages = [
        Page(path, facts)
        for path in sorted(BOOK.glob("*.md"))
        if "```{code-cell}" in path.read_text(encoding="utf-8")
    ]
    todo = [page for page in pages if not page.find()]
    if todo:
        count = workers(len(todo))
        say(f"executing {len(todo)} of {len(pages)} pages, {count} at a time")
        # Pages fill the cores. Threads of one page would wait for each other, for long
        # on a busy machine, and results would depend on their number.
        os.environ["OMP_NUM_THREADS"] = "1"
        if FORKS:
            # As ipykernel does. matplotlib reads it when it is imported.
            os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
            _forks().set_forkserver_preload(list(PRELOADED))
        if failed := asyncio.run(execute_all(todo, count)):
            say(f"failed pages, see above: {failed}; the others' results are kept")
            return 1
    offer(pages)
    return 0
