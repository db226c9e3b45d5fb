"""One column at work, in a process of its own.

No library pays for what another one left in memory or in the model.

Commands and answers are dictionaries; between processes they are lines of JSON.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NoReturn, Protocol

import numpy as np
import torch

from benchmarks import memory, reference
from benchmarks.columns import MAKERS, Column, Forward
from benchmarks.subjects import SEED, load

RUN = Path(__file__).with_name("run.py")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "captum", "grad-cam", "torchcam")


class Worker:
    """Answers commands in this process.

    ``alone``: nothing else lives in it, so that its garbage may be collected.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone
        self.column: Any = None
        self.clock = perf_counter
        self.kept: dict[Any, np.ndarray] = {}

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to ``command["do"]``.

        {"missing": package} where a library is not there, {"absent": ...} where it does
        not do the task, {"error": ...} where it fails.
        """
        options = {name: value for name, value in command.items() if name != "do"}
        try:
            return getattr(self, f"do_{command['do']}")(**options)
        except ModuleNotFoundError as error:
            return {"missing": error.name}
        except NotImplementedError as error:
            return {"absent": str(error)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """Let go of the model."""
        self.column = None
        self.kept.clear()

    def do_load(
        self, column: str, model: str, device: str, threads: int, clock: str = "wall"
    ) -> dict[str, Any]:
        """Make the model and the column, and answer with versions.

        ``clock``: "wall" or "cpu", the processor's time.
        """
        self.clock = {"wall": perf_counter, "cpu": process_time}[clock]
        torch.set_num_threads(threads)
        self.column = MAKERS[column](load(model, device))
        if self.alone:
            gc.collect()
            gc.freeze()  # what was loaded is not looked through before every run
        return {"versions": versions(), "threads": torch.get_num_threads()}

    def do_time(self, task: str, options: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one run."""
        torch.manual_seed(SEED)
        if self.alone:
            gc.collect()
        self._wait()
        start = self.clock()
        self.column.run(task, **options)
        self._wait()
        return {"seconds": self.clock() - start}

    def do_memory(self, task: str, options: dict[str, Any]) -> dict[str, Any]:
        """Peak growth of the memory in MiB over what the loaded model takes.

        The process has done nothing but one plain forward pass.
        """
        Forward(self.column.subject).run(task)
        with memory.growth(self.column.subject.image.device) as grown:
            self.column.run(task, **options)
        return {"mib": grown.mib}

    def do_map(self, task: str, options: dict[str, Any], file: str) -> dict[str, Any]:
        """Save the map of one run, and for SmoothGrad the noisy copies that it took."""
        torch.manual_seed(SEED)
        column: Column = self.column
        if task != "smooth_grad":
            np.savez(file, map=column.run(task, **options))
            return {"file": file}
        recorder = reference.Recorder(column.subject.model)
        watched = type(column)(dataclasses.replace(column.subject, model=recorder))
        found = watched.run(task, **options)
        np.savez(file, map=found, points=torch.cat(recorder.seen).cpu().numpy())
        return {"file": file}

    def do_compare(
        self, task: str, options: dict[str, Any], file: str, printed_sigma: bool
    ) -> dict[str, Any]:
        """How far a saved map is from the right one.

        Also how far the right formula is in the model's own dtype. ``printed_sigma``:
        whether the saved copies were made with sigma 0.15; the formula then gets the
        same draws, with its own sigma.
        """
        subject, points = self.column.subject, None
        with np.load(file) as saved:
            found = saved["map"]
            if "points" in saved:
                copies = torch.from_numpy(saved["points"]).to(subject.images)
                noise = subject.sigma / 0.15 if printed_sigma else 1.0
                points = subject.image + noise * (copies - subject.image)
        n = options.get("n", 50)
        if points is not None and len(points) != n:
            raise ValueError(f"{len(points)} noisy copies instead of {n}")
        maps = []
        for dtype in (torch.float64, torch.float32):
            key = (task, n, dtype)
            if points is not None or key not in self.kept:
                self.kept[key] = reference.right_map(
                    subject, task, dtype, n=n, points=points
                )
            maps.append(self.kept[key])
        right, plain = maps
        found_deviation = reference.deviation(found, right)
        return {
            # JSON has no nan, which the printed chapter gives for a blank map.
            "deviation": None if np.isnan(found_deviation) else found_deviation,
            "float32": reference.deviation(plain, right),
        }

    def _wait(self) -> None:
        if self.column.subject.image.is_cuda:
            torch.cuda.synchronize()


class Asked(Protocol):
    """Who answers commands: a Worker here, or a Process."""

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Process:
    """A Worker in a process of its own.

    ``environment``: variables that it gets beside ours.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(RUN), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """As Worker.ask; {"error": ...} where the process died.

        It dies of too little memory, for instance.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process ended with {self._process.wait()}"}
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve() -> NoReturn:
    """A Process's other end: commands from stdin, answers to stdout.

    Whatever a library prints goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(alone=True)
    for line in sys.stdin:
        answers.write(json.dumps(worker.ask(json.loads(line))) + "\n")
        answers.flush()
    os._exit(0)  # at once: taking a model apart takes seconds


def versions() -> dict[str, str]:
    """The libraries that are there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    try:
        found["chapter4"] = version("chapter4")
    except PackageNotFoundError:
        found["chapter4"] = "from the sources"
    if torch.cuda.is_available():
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(import_module("torch.backends.cudnn").version())
    return found
