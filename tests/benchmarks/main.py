"""Measure what is missing, and print the table.

Each number is saved at once: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

import chapter4
from benchmarks import reference, report, subjects, targets, worker
from benchmarks.columns import COLUMNS, TASKS, does
from benchmarks.rounds import in_turn
from chapter4.study import speed, store
from chapter4.study.speed import IN_USE, SAMPLED

PARTS = ("times", "deviation", "memory", "scaling", "malloc")
CHUNKS = (1, 2, 4, 8, 16, 50)
SCALING = {
    "samples": ("smooth_grad", (5, 10, 25, 50, 100)),
    "steps": ("integrated_gradients", (5, 10, 25, 50, 100)),
    "images": ("images", (1, 2, 4, 8, 16)),
}
# Memory that is freed is kept: glibc's allocator otherwise gives back a long free end
# of it, and the system has to fill it with zeros anew. Before glibc 2.35 a block of
# more than 32 MiB can't come from what was kept, and a larger first number is ignored.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
# The opposite: every large block goes back when it is freed, so that the resident set
# is what is in use, without the holes that glibc keeps between blocks.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**17)}
MALLOC_TASKS = ("gradient_1", "gradient_8", "gradcam", *SAMPLED)
# Models, samples and steps, rounds at least, and how long quick rows go on.
FULL = (tuple(speed.MODELS), 50, 5, 8.0)
QUICK = (("shapes",), 2, 2, 0.0)
# What only judges and shows cells, or is about grading, needs no new measurement.
SHOWING = ("report.py", "targets.py", "test_benchmark.py", "classes.py", "grading.py")

Item = Callable[[], Any]


class Benchmark:
    """One call of the command: what it measures, and the workers that do it."""

    def __init__(self, args: argparse.Namespace, data: dict[str, Any]) -> None:
        self.args = args
        self.data = data
        self.setting: Any = None
        self.workers: dict[str, Executor] = {}

    def items(self) -> dict[str, Item]:
        """Everything that is measured, by key; each entry measures when it is called.

        A key is a part and a key in that part: "times/resnet50/1/gradcam".
        """
        found: dict[str, Item] = {}
        for model in self.args.models:
            for threads, task in product(self.args.threads, self.args.tasks):
                key = f"times/{model}/{threads}/{task}"
                found[key] = partial(self.times, model, threads, task)
            for task, column in product(reference.TASKS, COLUMNS):
                if column not in ("forward", "captum_best") and does(column, task):
                    key = f"deviation/{model}/{task}/{column}"
                    found[key] = partial(self.deviation, model, task, column)
            for task, column, end in product(TASKS, COLUMNS, self.args.memories):
                if column in ("forward", "separate") or not does(column, task):
                    continue
                for n in self.counts(task, column):
                    key = f"memory/{model}/{task}/{column}{end}{f'/{n}' if n else ''}"
                    found[key] = partial(self.memory, model, task, column, end, n)
            for what in SCALING:
                found[f"scaling/{model}/{what}"] = partial(self.scaling, model, what)
            for task in MALLOC_TASKS if IN_USE in self.args.memories else ():
                found[f"malloc/{model}/{task}"] = partial(self.malloc, model, task)
        return found

    def counts(self, task: str, column: str) -> list[int]:
        """Samples or steps to measure the memory of.

        The largest number is left out for what keeps all of them in memory.
        """
        if task not in SAMPLED:
            return [0]
        n, flat = self.args.n, column in ("ours", "captum_best")
        return [max(1, n // 5), n, *([4 * n] if flat else [])]

    def ready(
        self,
        columns: tuple[str, ...],
        model: str,
        threads: int,
        environments: Mapping[str, Mapping[str, str]] | None = None,
    ) -> dict[str, Executor]:
        """A worker with its model for each column that can be had here.

        Those of the last call are used again where nothing is different.
        ``environments``: what a name gets at its end -> variables of the process.
        """
        alone = environments is not None or not self.args.quick
        setting = (columns, model, threads, environments)
        if setting != self.setting:
            self.close()
            self.setting = setting
            for end, variables in (environments or {"": {}}).items():
                for column in columns:
                    # OpenMP has the number of threads from the start.
                    own = {"OMP_NUM_THREADS": str(threads), **variables}
                    made = worker.start(own) if alone else ThreadPoolExecutor(1)
                    order = (column, model, self.args.device, threads)
                    versions = tried(column, model, call(made, worker.prepare, *order))
                    if versions is None:
                        made.shutdown()
                    else:
                        self.data["versions"] |= versions
                        self.workers[column + end] = made
        return self.workers

    def close(self) -> None:
        """End all workers."""
        for made in self.workers.values():
            made.shutdown()
        self.setting, self.workers = None, {}

    def rounds(
        self, workers: Mapping[str, Executor], task: str, n: int, chunk: int
    ) -> dict[str, list[float]]:
        """Seconds of a task in every column that can do it, in turn.

        Each runs once before, and is left out if it fails, for example from too little
        memory. ``chunk``: that of Captum's column with the best one.
        """
        runs = {}
        for name, made in workers.items():
            column = name.partition("+")[0]
            if does(column, task):
                options = {"n": n} if task in SAMPLED else {}
                if column == "captum_best":
                    options["chunk"] = chunk
                run = call(made, worker.seconds, column, task, options)
                if tried(column, task, run) is not None:
                    runs[name] = run
        return in_turn(runs, self.args.rounds, self.args.seconds)

    def times(self, model: str, threads: int, task: str) -> dict[str, Any] | None:
        """One task's seconds by column, and Captum's by chunk size, in two rounds."""
        workers = self.ready(tuple(COLUMNS), model, threads)
        n, cell = self.args.n, {}
        if task in SAMPLED and "captum_best" in workers:
            order = (workers["captum_best"], worker.seconds, "captum_best", task)
            sizes = [*(size for size in CHUNKS if size < n), n]
            runs = {str(size): call(*order, {"n": n, "chunk": size}) for size in sizes}
            cell["chunks"] = in_turn(runs, 2)
            cell["best"] = int(min(runs, key=lambda size: min(cell["chunks"][size])))
        found = self.rounds(workers, task, n, cell.get("best", n))
        for name, seconds in found.items():
            say(f"  {COLUMNS[name]}: {report.duration(seconds)}")
        return {"seconds": found, **cell} if found else None

    def deviation(self, model: str, task: str, column: str) -> dict[str, Any] | None:
        """How far a column's map is from the right one."""
        workers = self.ready(tuple(COLUMNS), model, self.args.threads[-1])
        if not {"forward", column} <= workers.keys():
            return None
        n, options = self.args.n, {"n": self.args.n} if task in SAMPLED else {}

        def compared() -> dict[str, float]:
            found = call(workers[column], worker.explain, column, task, options)()
            order = (task, n, found, column == "printed")
            return call(workers["forward"], worker.compare, *order)()

        return tried(column, task, compared)

    def memory(
        self, model: str, task: str, column: str, end: str, n: int
    ) -> float | None:
        """The peak of a task in a fresh process, which nobody else has grown.

        On a CPU it is measured twice: as the allocator has it, and what is in use.
        """
        threads = self.args.threads[0]
        workers = self.ready(
            (column,), model, threads, {"": GIVE_BACK if end == IN_USE else {}}
        )
        options = {"n": n} if n else {}
        if column == "captum_best":
            times = self.data["times"].get(f"{model}/{threads}/{task}", {})
            options["chunk"] = times.get("best", 8)
        found = None
        for made in workers.values():  # the one, or none
            order = (worker.peak, column, task, options)
            found = tried(column, task, call(made, *order))
        self.close()  # nobody measures in it again
        return found

    def scaling(self, model: str, what: str) -> dict[str, Any] | None:
        """The cost of this package's methods against samples, steps or images."""
        threads = self.args.threads[0]
        workers = self.ready(("ours",), model, threads)
        if not workers:
            return None
        task, points = SCALING[what]
        runs = {
            str(n): call(workers["ours"], worker.seconds, "ours", task, {"n": n})
            for n in (points[:2] if self.args.quick else points)
        }
        for run in runs.values():
            run()
        seconds = in_turn(runs, self.args.rounds, self.args.seconds)
        return {"threads": threads, "seconds": seconds}

    def malloc(self, model: str, task: str) -> dict[str, Any] | None:
        """The same work with an allocator that keeps what was freed."""
        threads, n = self.args.threads[0], min(16, self.args.n)
        columns = tuple(column for column in COLUMNS if column != "separate")
        workers = self.ready(columns, model, threads, {"": {}, "+malloc": MALLOC})
        seconds = self.rounds(workers, task, n, min(8, n))
        return {"threads": threads, "seconds": seconds} if seconds else None


def call(made: Executor, *order: Any) -> Item:
    """A function that lets a worker do something, and gives its answer."""
    return lambda: made.submit(*order).result()


def tried(column: str, what: str, run: Item) -> Any:
    """The answer of a column's worker; None where it fails, which is said."""
    try:
        return run()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        say(f"{COLUMNS[column]}, {what} is left out: {reason}")
        return None


def say(text: str) -> None:
    """One line of progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def opened(args: argparse.Namespace) -> dict[str, Any]:
    """What the file of results has, and above it where and how that is measured.

    What was measured with other code, settings or another machine is not in it.
    """
    names = ("n", "rounds", "seconds", "quick")
    head = {
        "code": fingerprint([Path(chapter4.__file__).parent, Path(__file__).parent]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": args.device,
        "machine": machine(args.device),
        "settings": {name: getattr(args, name) for name in names}
        | {"seed": subjects.SEED},
        "versions": worker.versions(),
    }
    old = store.saved(args.output)
    if all(old.get(name) == head[name] for name in ("code", "machine", "settings")):
        return head | {part: old[part] for part in PARTS}
    return head | {part: {} for part in PARTS}


def machine(device: str) -> dict[str, Any]:
    """Processor, cores, system, Python; with CUDA the GPU."""
    found = store.machine()
    found["processor"] = found.pop("cpu")
    del found["threads"]  # a key says it
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
        found["tf32_convolutions"] = torch.backends.cudnn.allow_tf32
    return found


def fingerprint(folders: Sequence[Path]) -> str:
    """A digest of the package's code and of what measures it."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            if file.name not in SHOWING and file.parent.name != "study":
                digest.update(str(file.relative_to(folder)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def main(argv: Sequence[str] | None = None) -> int:
    """The command's exit code.

    0 when it is through, whatever the targets say; 130 where it was stopped.
    """
    args = parse(argv)
    data = opened(args)
    benchmark = Benchmark(args, data)

    def keep(key: str, found: Any) -> None:
        part, _, place = key.partition("/")
        data[part][place] = found
        store.save(data, args.output, PARTS)

    missing = {}
    for key, item in benchmark.items().items():
        part, _, place = key.partition("/")
        if key.startswith(args.only) and (args.fresh or place not in data[part]):
            missing[key] = item
    try:
        store.measure(missing, keep, say)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on from {args.output}")
        return 130
    finally:
        benchmark.close()
    data["targets"] = targets.evaluate(data)
    store.save(data, args.output, PARTS)
    print(report.text(data))
    return 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command, and the settings that follow from them."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=__doc__,
        epilog=(
            "Example: python tests/benchmarks/run.py --only times/resnet50/1. The exit"
            " code is 0 when all is measured, whatever the targets say; 130 when you"
            " stop it."
        ),
    )
    add = parser.add_argument
    add("--device", default="cpu", help="cpu (default) or cuda")
    only = "items whose key begins with this, such as times/resnet50 (default: all)"
    add("--only", default="", metavar="KEY", help=only)
    add("--fresh", action="store_true", help="measure them again")
    output = "the JSON file to complete, saved after each item (default:"
    output += " chapter4/study/benchmark-DEVICE.json)"
    add("--output", type=Path, metavar="FILE", help=output)
    add("--quick", action="store_true", help="a tiny model and a few rounds: a test")
    args = parser.parse_args(argv)
    args.output = args.output or speed.HERE / f"benchmark-{args.device}.json"
    every = 1 if args.quick else torch.get_num_threads()
    args.threads = sorted({1, every}) if args.device == "cpu" else [every]
    # A GPU has one measure of memory alone; the quick run starts no process.
    args.memories = (
        () if args.quick else ("", IN_USE) if args.device == "cpu" else ("",)
    )
    args.tasks = tuple(speed.TASKS) if args.quick else tuple(TASKS)
    settings = QUICK if args.quick else FULL
    args.models, args.n, args.rounds, args.seconds = settings
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return args
