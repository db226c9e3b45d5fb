"""How fast classes are graded, and whether load changes a grade.

nbgrader: the same notebooks by plain `nbgrader autograde` and by ours, in turn. Both
ask the same checks with the same seed; plain nbgrader asks them in the student's
kernel, as hidden tests.

many: one class of right answers, known mistakes, cheats and files that are no notebooks
by ours, and once more under other names by other workers.

questions: processor seconds of a solved notebook of each problem, for its own cells and
for what it is asked.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    # The repository first: tests/ has folders of the same names as the packages.
    _, tests, root = Path(__file__).resolve().parents[:3]
    sys.path[:1] = [str(root), str(tests), str(tests / "support")]

import courses
import nbformat
import psutil
import torch
from nbgrader.api import Gradebook
from targets import TARGETS

from autograder.checking.runner import run_checks
from autograder.course.release import COURSE
from autograder.grading.export import number
from autograder.grading.state import versions
from autograder.sandbox.launcher import Ending, Sandbox
from autograder.sandbox.notebook import read_cells
from autograder.sandbox.student import SandboxedStudent, StudentError
from benchmarks import classes
from chapter4.study import store

QUESTIONS = 1.0  # processor seconds that a problem's questions may cost
GOAL = 5.0  # times as many submissions a minute as plain nbgrader
KINDS = ("flawed", "right", "right", "untouched")
PLAIN = """\
c = get_config()
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
"""
TESTS = """\
from autograder.checking.runner import run_checks
from autograder.sandbox.student import LocalStudent
### BEGIN HIDDEN TESTS
results = run_checks({!r}, LocalStudent(globals()), {!r}, task={!r})
round(sum(result.earned for result in results), 6)
### END HIDDEN TESTS
"""
HEAD = """\
                               a  seconds    processor seconds   most MiB, most MiB,
                 submissions  minute   by clock   in all    each  workers      all"""


@dataclass
class Run:
    """One grading of a class.

    ``code``: the command's exit code. ``workers`` and ``everybody``: the most MiB that
    the run and its workers had, and that they had with all processes below them, the
    students' too.
    """

    name: str
    done: int = 0
    code: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    workers: float = 0.0
    everybody: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measures the block, with the processes that it starts and waits for."""
        start, before = time.monotonic(), _processor()
        yield
        self.seconds = time.monotonic() - start
        self.processor = _processor() - before

    def watch(self, pid: int, ended: threading.Event) -> None:
        """Look at the memory, and every minute say how far the run is."""
        for look in itertools.count(1):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                workers = _mebibytes([process, *process.children()])
                everybody = _mebibytes([process, *process.children(recursive=True)])
                self.workers = max(self.workers, workers)
                self.everybody = max(self.everybody, everybody)
                if look % 12 == 0:
                    say(f"  {self.name}: {self.done} done, {workers:.0f} MiB")
            if ended.wait(5):
                return


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _mebibytes(processes: Sequence[psutil.Process]) -> float:
    """What they have in memory; what several share counts once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 2**20


def say(text: str) -> None:
    """One line of progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def ours(name: str, folder: Path, *options: str) -> Run:
    """Grade ``folder/submitted`` by our command; results are in ``folder/name``."""
    command = [sys.executable, "-m", "autograder", "grade", str(folder / "submitted")]
    command += ["--output", str(folder / name), "--seed", str(classes.SEED), *options]
    run, ended = Run(f"ours, {name}"), threading.Event()
    with (
        run.timed(),
        subprocess.Popen(
            command, cwd=COURSE, stdout=subprocess.PIPE, text=True
        ) as made,
    ):
        watch = threading.Thread(target=run.watch, args=[made.pid, ended], daemon=True)
        watch.start()
        assert made.stdout is not None
        for line in made.stdout:
            if found := re.match(r"\[ *(\d+)/", line):
                run.done = int(found[1])
        ended.set()
        watch.join()
    run.code = made.returncode
    run.done = len(classes.table(folder / name))
    return run


def report(*runs: Run) -> None:
    """A line for each run."""
    print(HEAD)
    for run in runs:
        minute, each = 60 * run.done / run.seconds, run.processor / run.done
        print(
            f"{run.name:22}{run.done:6}{minute:10.1f}{run.seconds:9.1f}"
            f"{run.processor:11.1f}{each:8.2f}{run.workers:9.0f}{run.everybody:9.0f}"
        )


def beside_nbgrader(count: int, folder: Path) -> bool:
    """Both on the same notebooks; whether ours is fast enough, and the points equal."""
    handed_in = [
        classes.HandedIn(f"s{i:04}", problem, kind, "", classes.whole(problem, kind))
        for problem in TARGETS
        for i, kind in zip(range(count // 5), itertools.cycle(KINDS), strict=False)
    ]
    own, other = folder / "own", folder / "plain"
    for folder in (own, other):
        say(f"makes the course {folder.name}")
        _make_course(folder)
        classes.hand_in(handed_in, folder)
    course = ("--course", str(own))
    first = ours("first", own, "--no-gradebook", *course)
    say(f"  {first.name}: {first.seconds:.0f} s; now nbgrader")
    plain = Run("plain nbgrader", done=len(handed_in))
    with plain.timed():
        for problem in TARGETS:
            courses.nbgrader(other, "autograde", problem)
    again = ours("again", own, "--no-gradebook", *course)
    runs = [first, plain, again, ours("gradebook", own, *course)]
    report(*runs)
    times = plain.seconds / max(first.seconds, again.seconds)
    print(f"times nbgrader's a minute, at least: {times:.1f}")
    rows, points = classes.table(own / "first"), _by_nbgrader(other)
    differ = [k for k, r in rows.items() if r["auto_score"] != points.get(k)]
    print(f"points that differ: {differ or 'none'}")
    return times >= GOAL and not differ and not any(run.code for run in runs)


def _make_course(folder: Path) -> None:
    """A course that knows all problems: plain nbgrader's, or like the repository's."""
    folder.mkdir()
    config, plain = folder / "nbgrader_config.py", folder.name == "plain"
    ours = (COURSE / config.name).read_text(encoding="utf-8")
    config.write_text(PLAIN if plain else ours, encoding="utf-8")
    for problem in TARGETS:
        source = classes.source(problem)
        for cell in source.cells if plain else ():
            if "self_check(" in cell.source:
                cell.source = TESTS.format(problem, classes.SEED, cell.id)
        path = folder / "solutions" / problem / f"{problem}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(source, path)
        courses.from_here(folder, "generate_assignment", problem)


def _by_nbgrader(course: Path) -> dict[tuple[str, str], str]:
    """The points of the checks, from nbgrader's gradebook, by student and problem."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            (each.student.id, assignment.name): number(
                sum(g.auto_score or 0 for n in each.notebooks for g in n.grades)
            )
            for assignment in book.assignments
            for each in assignment.submissions
        }


def very_many(count: int, folder: Path) -> bool:
    """One class twice; whether everybody got what is due, and twice the same."""
    first = classes.class_of(count, folder / "secret.txt")
    # In the other order, so that each meets a sandbox with another past.
    turned = [replace(s, student=f"t{count - int(s.student[1:]):04}") for s in first]
    plans = {"first": (first, "2"), "turned": (turned, "3")}
    if count > 1000:  # what the memory is compared with
        few = classes.class_of(100, folder / "secret.txt")
        plans = {"few": (few, "2"), **plans}
    runs, rows, wrong = [], {}, []

    def grade(name: str, words: str) -> None:
        options = ("--no-gradebook", "--budget", classes.BUDGET)
        options += ("--workers", plans[name][1])
        runs.append(replace(ours("grades", folder / name, *options), name=words))
        rows[name] = classes.table(folder / name / "grades")

    for name, (handed_in, workers) in plans.items():
        classes.hand_in(handed_in, folder / name)
        grade(name, f"{name}, {workers} workers")
        wrong += classes.unfair(handed_in, rows[name])
    before = rows["first"]
    grade("first", "first, once more")
    report(*runs)
    wrong += [f"{run.name}: exit code {run.code}" for run in runs if run.code]
    if rows["first"] != before:  # the seconds of each row, too
        wrong.append("what had not changed was graded again")
    for one, other in zip(first, turned, strict=True):
        points = [
            rows[name][each.student, each.problem]["auto_score"]
            for name, each in (("first", one), ("turned", other))
        ]
        if points[0] != points[1]:
            wrong.append(f"{one.problem} {one.kind} {one.name}: {points}")
    print(*wrong or ["all as they must be, and twice the same"], sep="\n")
    return not wrong


class Counted(SandboxedStudent):
    """Counts the processor seconds of its processes."""

    seconds = 0.0

    def _end(self) -> Ending | None:
        ending = super()._end()
        self.seconds += ending.cpu_seconds if ending else 0.0
        return ending


def what_questions_cost(count: int, folder: Path) -> bool:
    """Whether the questions of each problem cost a second at most."""
    torch.set_num_threads(1)  # as a worker has it
    print("processor seconds     cells  questions: answered   asked and judged")
    fine = True
    for problem in TARGETS:
        path = COURSE / "solutions" / problem / f"{problem}.ipynb"
        cells, rows = read_cells(path, within=COURSE), []
        with Sandbox(int(problem.removeprefix("problem"))) as sandbox:
            for seed in range(count):
                with Counted(sandbox, cells) as alone, suppress(StudentError):
                    alone.call("no_such_function")
                start = time.process_time()
                with Counted(sandbox, cells) as asked:
                    run_checks(problem, asked, seed)
                spent = time.process_time() - start
                rows.append((alone.seconds, asked.seconds - alone.seconds, spent))
        own, answered, judged = map(median, zip(*rows, strict=True))
        fine = fine and answered + judged <= QUESTIONS
        print(f"{problem:17} {own:9.2f} {answered:20.2f} {judged:18.2f}")
    return fine


PARTS = {
    "nbgrader": (beside_nbgrader, 60),
    "many": (very_many, 5000),
    "questions": (what_questions_cost, 5),
}


def main() -> int:
    """The command's exit code: 1 where a grade or the speed is not what it must be."""
    parser = argparse.ArgumentParser(
        prog="grading.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python tests/benchmarks/grading.py many 200\n"
        "Exit code: 1 if a grade is wrong, ours is not 5 times as fast, or a problem's"
        " questions cost over a second.",
    )
    add = parser.add_argument
    add("part", choices=PARTS)
    add("count", type=int, nargs="?", help="submissions, a multiple of 5 (60; 5000; 5)")
    add("--folder", type=Path, help="a new folder for classes and grades, which stays")
    args = parser.parse_args()
    part, usual = PARTS[args.part]
    count = usual if args.count is None else args.count
    if count % 5 or count < 5:
        parser.error(f"the count is a multiple of 5, not {count}")
    machine = store.machine() | versions()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    with tempfile.TemporaryDirectory() as beside:
        folder = args.folder or Path(beside)
        folder.mkdir(exist_ok=True)
        return int(not part(count, folder.resolve()))


if __name__ == "__main__":
    raise SystemExit(main())
