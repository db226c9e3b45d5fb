"""``python tests/benchmarks/run.py``: measure, save each cell, print the table.

It measures what is not there yet, and prints the targets too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import memory, report, store, subjects, targets
from benchmarks.columns import CHUNKED, COLUMNS, TASKS
from benchmarks.reference import TASKS as REFERENCES
from benchmarks.rounds import in_turn
from benchmarks.worker import Asked, Process, Worker, serve, versions

ROOT = Path(__file__).resolve().parents[2]
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
MALLOC_TASKS = ("gradient_1", "gradient_8", "gradcam", *CHUNKED)


class FailedRunError(RuntimeError):
    """A run that was timed failed; `run` is the one."""

    def __init__(self, words: str, run: Callable[[], float]) -> None:
        super().__init__(words)
        self.run = run


class Benchmark:
    """One call of the command.

    Each part fills its cells of the store; ``say`` prints progress.
    """

    def __init__(self, args: argparse.Namespace, kept: store.Store) -> None:
        self.args = args
        self.store = kept
        self.told: set[str] = set()

    def say(self, text: str) -> None:
        """One line of progress, to stderr."""
        print(text, file=sys.stderr, flush=True)

    def tell_once(self, text: str) -> None:
        """Progress that would otherwise come again and again."""
        if text not in self.told:
            self.told.add(text)
            self.say(text)

    def workers(
        self,
        columns: Sequence[str],
        model: str,
        threads: int,
        environments: dict[str, dict[str, str]] | None = None,
    ) -> dict[str, Asked]:
        """One loaded worker per column that can be had here.

        ``environments``: name suffix to variables.
        """
        made: dict[str, Asked] = {}
        for suffix, variables in (environments or {"": {}}).items():
            for column in columns:
                made[column + suffix] = (
                    Worker()
                    if self.args.in_process
                    else self.process(variables, threads)
                )
        usable: dict[str, Asked] = {}
        for name, worker in made.items():
            answer = worker.ask(
                {
                    "do": "load",
                    "column": name.split("+")[0],
                    "model": model,
                    "device": self.args.device,
                    "threads": threads,
                    "clock": self.args.clock,
                }
            )
            if "versions" in answer:
                self.store.data["versions"] |= answer["versions"]
                usable[name] = worker
                continue
            title = COLUMNS[name.split("+")[0]]
            reason = answer.get("missing") or answer.get("error")
            what = "is not installed" if "missing" in answer else "says"
            self.tell_once(f"{title} stays empty for {model}: {reason} {what}")
            worker.close()
        return usable

    def process(self, variables: dict[str, str], threads: int) -> Process:
        """A process whose OpenMP has the number of threads from the start."""
        return Process({"OMP_NUM_THREADS": str(threads), **variables})

    def options(self, task: str, column: str, chunks: dict[str, int]) -> dict[str, Any]:
        """The options of a task in a column; chunks: Captum's best, by task."""
        if task in CHUNKED:
            chunk = {"chunk": chunks[task]} if column == "captum_best" else {}
            return {"n": self.args.n, **chunk}
        if task == "interpret" and column == "captum_best":
            return {
                "chunk": chunks["smooth_grad"],
                "chunk_ig": chunks["integrated_gradients"],
            }
        return {}

    # --- times

    def times(self) -> None:
        """Every task, every column, in turn."""
        for model in self.args.models:
            for threads in self.args.threads:
                key = f"{model}/{threads}"
                wanted = [
                    t
                    for t in self.args.tasks
                    if not self.store.has("times", f"{key}/{t}")
                ]
                if not wanted:
                    continue
                workers = self.workers(self.args.columns, model, threads)
                for task in wanted if workers else []:
                    cell = self.row(workers, key, task)
                    if cell["seconds"]:
                        self.store.put("times", f"{key}/{task}", cell)
                for worker in workers.values():
                    worker.close()

    def row(self, workers: dict[str, Asked], key: str, task: str) -> dict[str, Any]:
        """One task's seconds by column, and Captum's by chunk size."""
        usable = self.warm(workers, task)
        chunks = {
            each: cell["best"]
            for each in CHUNKED
            if (cell := self.store.data["times"].get(f"{key}/{each}"))
            and "best" in cell
        }
        cell: dict[str, Any] = {}
        if task in CHUNKED and "captum_best" in usable:
            cell = self.best_chunk(usable["captum_best"], task)
            chunks[task] = cell["best"]
        if task not in CHUNKED and (task != "interpret" or len(chunks) < len(CHUNKED)):
            usable.pop("captum_best", None)
        runs = {
            name: timed(worker, task, self.options(task, name, chunks))
            for name, worker in usable.items()
        }
        seconds = self.rounds(runs)
        shown = ", ".join(
            f"{COLUMNS[name]} {report.duration(values)}"
            for name, values in seconds.items()
        )
        self.say(f"{key} {TASKS[task]}: {shown}")
        return {"seconds": seconds, **cell}

    def rounds(self, runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """All of them in turn.

        A column that fails on the way, for example from too little memory, is left out
        and named.
        """
        left = dict(runs)
        while left:
            try:
                return in_turn(left, self.args.rounds, self.args.seconds)
            except FailedRunError as failure:
                failed = [name for name, run in left.items() if run is failure.run]
                self.say(f"{', '.join(failed)} left out: {failure}")
                left = {name: left[name] for name in left if name not in failed}
        return {}

    def warm(self, workers: dict[str, Asked], task: str) -> dict[str, Asked]:
        """Run a task once, short, in every worker; the workers that can."""
        usable = {}
        for name, worker in workers.items():
            column = name.split("+")[0]
            if column == "captum_best" and task not in (*CHUNKED, "interpret"):
                continue
            options = {"n": min(8, self.args.n)} if task in CHUNKED else {}
            answer = worker.ask({"do": "time", "task": task, "options": options})
            if "seconds" in answer:
                usable[name] = worker
            elif "absent" not in answer:
                reason = answer.get("error") or f"{answer.get('missing')} is missing"
                self.tell_once(f"{COLUMNS[column]}, {TASKS[task]}: {reason}")
        return usable

    def best_chunk(self, worker: Asked, task: str) -> dict[str, Any]:
        """Captum's seconds at every chunk size, in two rounds, and the quickest."""
        n = self.args.n
        sizes = [chunk for chunk in CHUNKS if chunk < n] + [n]
        runs = {
            str(chunk): timed(worker, task, {"n": n, "chunk": chunk}) for chunk in sizes
        }
        found = in_turn(runs, 2)
        best = min(sizes, key=lambda chunk: min(found[str(chunk)]))
        return {"chunks": found, "best": best}

    # --- deviation

    def deviation(self) -> None:
        """How far each column's map is from the right one."""
        for model in self.args.models:
            tasks = [t for t in self.args.tasks if t in REFERENCES]
            columns = [
                c
                for c in self.args.columns
                if c not in ("forward", "separate", "captum_best")
            ]
            wanted = [
                (t, c)
                for t in tasks
                for c in columns
                if not self.store.has("deviation", f"{model}/{t}/{c}")
            ]
            if not wanted:
                continue
            threads = self.args.threads[-1]
            workers = self.workers(
                ["forward", *dict.fromkeys(c for _, c in wanted)], model, threads
            )
            with tempfile.TemporaryDirectory() as folder:
                for task, column in wanted:
                    if {"forward", column} <= workers.keys():
                        self.compare(workers, model, task, column, Path(folder))
            for worker in workers.values():
                worker.close()

    def compare(
        self,
        workers: dict[str, Asked],
        model: str,
        task: str,
        column: str,
        folder: Path,
    ) -> None:
        """One deviation."""
        options = self.options(task, column, {})
        command = {"task": task, "options": options}
        file = str(folder / f"{task}-{column}.npz")
        answer = workers[column].ask({"do": "map", "file": file, **command})
        if "file" in answer:
            # The printed chapter's sigma is 0.15 whatever the image: the right formula
            # gets the same draws at the size that they should have.
            printed = column == "printed"
            answer = workers["forward"].ask(
                {"do": "compare", "file": file, "printed_sigma": printed, **command}
            )
            Path(file).unlink()
        if "deviation" in answer:
            self.store.put("deviation", f"{model}/{task}/{column}", answer)
            self.say(
                f"{model} {TASKS[task]}: {COLUMNS[column]} deviates by"
                f" {report.deviation(answer)}, float32 by {answer['float32']:.1e}"
            )
        elif "absent" in answer:
            self.store.put("deviation", f"{model}/{task}/{column}", None)
        else:
            self.tell_once(f"{COLUMNS[column]}, {TASKS[task]}: {answer}")

    # --- memory

    def memory(self) -> None:
        """The peak of every cell in a fresh process.

        SmoothGrad and IG are measured with more and with fewer samples and steps as
        well. On a CPU twice: as the allocator has it, and what is in use of it.
        """
        for model in self.args.models:
            for task in self.args.tasks:
                for column in self.args.columns:
                    if column in ("forward", "separate"):
                        continue
                    if column == "captum_best" and task not in CHUNKED:
                        continue
                    if self.args.quick and (task, column) != ("smooth_grad", "ours"):
                        continue
                    for n in self.counts(task, column):
                        self.peak(model, task, column, n)
                        if self.args.device == "cpu" and not self.args.in_process:
                            self.peak(model, task, column + store.IN_USE, n)

    def counts(self, task: str, column: str) -> list[int]:
        """Samples or steps to measure.

        The largest number is left out for what keeps all of them in memory.
        """
        if task not in CHUNKED:
            return [0]
        few, many = max(1, self.args.n // 5), 4 * self.args.n
        if self.args.quick:
            return [few]
        flat = column in ("ours", "captum_best")
        return [few, self.args.n, *([many] if flat else [])]

    def peak(self, model: str, task: str, column: str, n: int) -> None:
        """One cell."""
        key = f"{model}/{task}/{column}" + (f"/{n}" if n else "")
        if self.store.has("memory", key):
            return
        threads = self.args.threads[0]
        chunk = (
            self.store.data["times"].get(f"{model}/{threads}/{task}", {}).get("best", 8)
        )
        name, _, in_use = column.partition("+")
        options = self.options(task, name, {task: chunk})
        if n:
            options["n"] = n
            smaller = self.store.data["memory"].get(
                f"{model}/{task}/{column}/{max(1, self.args.n // 5)}"
            )
            expected = 5 * smaller if n == self.args.n and smaller else 0
            if expected > memory.available_mib() / 2:
                self.say(f"{key}: not run, about {expected:.0f} MiB expected")
                return
        worker = self.process(GIVE_BACK if in_use else {}, threads)
        answer = worker.ask(
            {
                "do": "load",
                "column": name,
                "model": model,
                "device": self.args.device,
                "threads": threads,
            }
        )
        if "versions" in answer:
            answer = worker.ask({"do": "memory", "task": task, "options": options})
        worker.close()
        if "mib" in answer:
            self.store.put("memory", key, round(answer["mib"], 1))
            self.say(f"{key}: {answer['mib']:.0f} MiB")
        elif "absent" in answer:
            self.store.put("memory", key, None)
        elif "missing" not in answer:
            self.tell_once(f"{key}: {answer}")

    # --- scaling

    def scaling(self) -> None:
        """The cost of this package's methods against samples, steps and images."""
        threads = self.args.threads[0]
        for model in self.args.models:
            for what, (task, points) in SCALING.items():
                key = f"{model}/{what}"
                if self.store.has("scaling", key):
                    continue
                workers = self.workers(["ours"], model, threads)
                if not workers:
                    break
                worker = workers["ours"]
                if self.args.quick:
                    points = points[:2]
                runs = {str(n): timed(worker, task, {"n": n}) for n in points}
                for run in runs.values():
                    run()
                seconds = in_turn(runs, self.args.rounds, self.args.seconds)
                worker.close()
                self.store.put("scaling", key, {"threads": threads, "seconds": seconds})
                shown = ", ".join(
                    f"{n}: {report.duration(s)}" for n, s in seconds.items()
                )
                self.say(f"{model}, {what}: {shown}")

    # --- malloc

    def malloc(self) -> None:
        """The same work with an allocator that keeps what was freed."""
        threads = self.args.threads[0]
        for model in self.args.models:
            tasks = [
                t
                for t in MALLOC_TASKS
                if t in self.args.tasks and not self.store.has("malloc", f"{model}/{t}")
            ]
            if not tasks:
                continue
            columns = [c for c in self.args.columns if c != "separate"]
            workers = self.workers(columns, model, threads, {"": {}, "+malloc": MALLOC})
            for task in tasks if workers else []:
                usable = self.warm(workers, task)
                n = min(16, self.args.n)
                best = {t: min(8, n) for t in CHUNKED}
                runs = {}
                for name, worker in usable.items():
                    options = self.options(task, name.split("+")[0], best)
                    if task in CHUNKED:
                        options["n"] = n
                    runs[name] = timed(worker, task, options)
                seconds = self.rounds(runs)
                self.store.put(
                    "malloc",
                    f"{model}/{task}",
                    {"threads": threads, "seconds": seconds},
                )
                self.say(
                    f"{model}, {task} with MALLOC_*: {report.malloc_line(seconds)}"
                )
            for worker in workers.values():
                worker.close()


def timed(worker: Asked, task: str, options: dict[str, Any]) -> Callable[[], float]:
    """A function that runs a task once and gives its seconds.

    It raises FailedRunError if the task fails.
    """

    def run() -> float:
        answer = worker.ask({"do": "time", "task": task, "options": options})
        if "seconds" not in answer:
            raise FailedRunError(f"{task} with {options} failed: {answer}", run)
        return answer["seconds"]

    return run


def main(argv: Sequence[str] | None = None) -> int:
    """The command's exit code.

    0 when it is through, whatever the targets say; 1 where nothing could be measured.
    """
    args = parse(argv)
    if args.worker:
        serve()
    settings = {
        name: getattr(args, name)
        for name in ("n", "rounds", "seconds", "clock", "in_process")
    } | {"seed": subjects.SEED}
    head = store.head(args.device, settings, versions())
    kept = store.Store(args.output, head, fresh=args.fresh, keep=args.keep)
    benchmark = Benchmark(args, kept)
    try:
        for part in args.parts:
            getattr(benchmark, part)()
    except KeyboardInterrupt:
        benchmark.say(f"stopped; the same command goes on from {args.output}")
        return 1
    kept.data["targets"] = targets.evaluate(kept.data)
    kept.save()
    print(report.text(kept.data))
    return 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    add = parser.add_argument
    add("--device", default="cpu", help="cpu (default), cuda or mps")
    add("--models", nargs="+", choices=subjects.NAMES, help="default: the first two")
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    add("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    add("--parts", nargs="+", choices=store.PARTS, default=list(store.PARTS))
    add("--threads", nargs="+", type=int, help="default on a CPU: 1 and all")
    add("--rounds", type=int, default=5, help="rounds at least (default 5)")
    add("--seconds", type=float, default=8, help="go on with quick rows so long")
    add(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: the processor's time, for one thread on a machine that others use",
    )
    add("--n", type=int, default=50, help="samples and steps (default 50)")
    add("--output", type=Path, help="default chapter4/study/benchmark-DEVICE.json")
    add("--fresh", action="store_true", help="forget what was measured before")
    add("--keep", action="store_true", help="keep cells of other code or settings")
    add("--in-process", action="store_true", help="no process per column")
    add("--quick", action="store_true", help="a tiny model and a few rounds: a test")
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.models = args.models or (
        ["shapes"] if args.quick else list(subjects.NAMES[:2])
    )
    if args.quick:
        args.rounds, args.seconds, args.n, args.in_process = 2, 0.0, 2, True
        args.threads = args.threads or [1]
        args.tasks = [task for task in args.tasks if "interpret" not in task]
    every = store.cores()
    args.threads = args.threads or (
        sorted({1, every}) if args.device == "cpu" else [every]
    )
    if args.in_process:  # its allocator was set up when it started
        args.parts = [part for part in args.parts if part != "malloc"]
    args.output = (
        args.output or ROOT / "chapter4" / "study" / f"benchmark-{args.device}.json"
    )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return args
