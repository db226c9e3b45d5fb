"""One column at work, in a process of its own.

No library pays for what another one left in memory or in the model. The other
functions here run in that process, after `load`; only the test has all in one process.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import chapter4
from benchmarks import memory, reference
from benchmarks.columns import MAKERS, Forward
from benchmarks.subjects import SEED, load

PACKAGES = ("torch", "torchvision", "timm", "numpy", "captum", "grad-cam", "torchcam")
LOADED: dict[str, Any] = {}  # column -> it, ready to run
ALONE = False  # nothing else lives in this process: its garbage may be collected


def start(environment: Mapping[str, str]) -> Executor:
    """A process that has these variables from its start, beside ours."""
    process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_alone)
    with patch.dict(os.environ, environment):
        process.submit(os.getpid).result()
    return process


def _alone() -> None:
    global ALONE
    ALONE = True
    os.dup2(2, 1)  # what a library prints does not get into the table


def prepare(column: str, model: str, device: str, threads: int) -> dict[str, str]:
    """Make the model and the column, and answer with versions."""
    torch.set_num_threads(threads)
    LOADED[column] = MAKERS[column](load(model, device))
    if ALONE:
        gc.collect()
        gc.freeze()  # what was loaded is not looked through before every run
    return versions()


def seconds(column: str, task: str, options: dict[str, Any]) -> float:
    """Seconds of one run."""
    torch.manual_seed(SEED)
    if ALONE:
        gc.collect()
    _wait(column)
    start = perf_counter()
    _run(LOADED[column], task, options)
    _wait(column)
    return float(f"{perf_counter() - start:.6g}")


def peak(column: str, task: str, options: dict[str, Any]) -> float:
    """Peak growth of the memory in MiB over what the loaded model takes.

    The process has done nothing but one plain forward pass.
    """
    made = LOADED[column]
    Forward(made.subject).run(task)
    return memory.growth(lambda: _run(made, task, options), made.subject.image.device)


def explain(column: str, task: str, options: dict[str, Any]) -> list[np.ndarray]:
    """The map of one run, and for SmoothGrad the noisy copies that it took."""
    torch.manual_seed(SEED)
    made = LOADED[column]
    if task != "smooth_grad":
        return [_run(made, task, options)]
    recorder = reference.Recorder(made.subject.model)
    watched = type(made)(dataclasses.replace(made.subject, model=recorder))
    found = _run(watched, task, options)
    return [found, torch.cat(recorder.seen).cpu().numpy()]


def compare(
    task: str, n: int, found: list[np.ndarray], printed: bool
) -> dict[str, float]:
    """How far what `explain` gave is from the right map.

    Also how far the right formula is in float32. The printed chapter's sigma is 0.15
    whatever the image: the formula gets the same draws at the size that they should
    have.
    """
    subject, points = LOADED["forward"].subject, None
    if task == "smooth_grad":
        copies = torch.from_numpy(found[1]).to(subject.images)
        if len(copies) != n:
            raise ValueError(f"{len(copies)} noisy copies instead of {n}")
        scale = subject.sigma / 0.15 if printed else 1.0
        points = subject.image + scale * (copies - subject.image)
    right, plain = (
        reference.right_map(subject, task, dtype, n=n, points=points)
        for dtype in (torch.float64, torch.float32)
    )
    return {
        "deviation": reference.deviation(found[0], right),
        "float32": reference.deviation(plain, right),
    }


def versions() -> dict[str, str]:
    """The libraries that are there."""
    found = {"chapter4": chapter4.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found


def _run(column: Any, task: str, options: dict[str, Any]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries' own affair
        return column.run(task, **options)


def _wait(column: str) -> None:
    if LOADED[column].subject.image.is_cuda:
        torch.cuda.synchronize()
