"""Which tasks are finished: kept between sessions, on one page, and for export.

Each check of a task leaves one small file in a folder of its user. Nothing else reads
it, and nothing is sent anywhere.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from autograder.checking.runner import CheckResult, points_of, problems_with_checks

FINISHED, BEGUN, LEFT = "finished", "begun", "not begun"
KEYS = ("problem", "task", "name", "state", "passed", "checks", "when")
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: auto;
  padding: 1rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; }
progress { width: 100%; accent-color: #0b57a4; }
"""


@dataclass(frozen=True)
class Task:
    """One task, as it was checked last.

    Attributes:
        problem: The problem, such as "problem2".
        task: The task's number, from 1.
        name: The graded cell's name.
        state: "finished" if all public checks passed, "begun" or "not begun".
        passed: How many public checks passed.
        checks: How many public checks there are, 0 if they never ran.
        when: The day and minute of the check, in local time, or "".
    """

    problem: str
    task: int
    name: str
    state: str
    passed: int
    checks: int
    when: str


def folder() -> Path:
    """Where results are kept: ``CHAPTER4_PROGRESS``, or a folder of the user's own."""
    chosen = os.environ.get("CHAPTER4_PROGRESS")
    return Path(chosen) if chosen else Path.home() / ".chapter4" / "progress"


def remember(results: Sequence[CheckResult], problem: str) -> None:
    """Keep the results of one task's public checks.

    Raises:
        OSError: The folder can't be written.
    """
    place = folder() / problem / f"{results[0].task}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "passed": sum(r.status == "passed" for r in results),
        "checks": len(results),
        "when": datetime.now().isoformat(" ", "minutes"),
    }
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, delete=False, encoding="utf-8"
    ) as file:
        json.dump(kept, file)
    os.replace(file.name, place)  # whole or not at all


def forget() -> None:
    """Delete all results."""
    for problem in problems_with_checks():
        shutil.rmtree(folder() / problem, ignore_errors=True)


class Progress:
    """All tasks, as they were checked last; a notebook shows them as a table."""

    def __init__(self) -> None:
        self.tasks = [
            _read(problem, number, name)
            for problem in problems_with_checks()
            for number, name in enumerate(points_of(problem), start=1)
        ]

    def finished(self, problem: str = "") -> tuple[int, int]:
        """How many tasks are finished, and how many there are."""
        own = [t for t in self.tasks if problem in ("", t.problem)]
        return sum(t.state == FINISHED for t in own), len(own)

    def __str__(self) -> str:
        lines = []
        for problem in dict.fromkeys(t.problem for t in self.tasks):
            lines.append(f"{_heading(problem)}: {_of(self.finished(problem))}")
            lines += [
                f"  task {t.task}  {t.name:21} {_said(t):32} {t.when}".rstrip()
                for t in self.tasks
                if t.problem == problem
            ]
        return "\n".join([*lines, self._last_line()])

    def _last_line(self) -> str:
        left = next((t for t in self.tasks if t.state != FINISHED), None)
        then = f"next: {_heading(left.problem)}, task {left.task}" if left else "done"
        return f"All problems: {_of(self.finished())}; {then}."

    def _repr_html_(self) -> str:
        parts = []
        for problem in dict.fromkeys(t.problem for t in self.tasks):
            done, of = self.finished(problem)
            rows = "".join(
                f"<tr><th scope='row'>{t.task}</th><td>{escape(t.name)}</td>"
                f"<td>{_said(t)}</td><td>{escape(t.when)}</td></tr>"
                for t in self.tasks
                if t.problem == problem
            )
            title = f"{_heading(problem)}: {_of((done, of))}"
            parts.append(
                f"<h2>{title}</h2><progress value='{done}' max='{of}'"
                f" aria-label='{title}'></progress><table><thead><tr>"
                "<th scope='col'>Task</th><th scope='col'>Name</th>"
                "<th scope='col'>Public checks</th><th scope='col'>Last checked</th>"
                f"</tr></thead><tbody>{rows}</tbody></table>"
            )
        return "".join(parts) + f"<p>{self._last_line()}</p>"

    def export(self, suffix: str) -> str:
        """The tasks as the text of a file: a table, data or a page, by its suffix.

        Raises:
            ValueError: The suffix is another one.
        """
        rows = [asdict(task) for task in self.tasks]
        if suffix == ".json":
            return json.dumps(rows, indent=2) + "\n"
        if suffix == ".csv":
            text = io.StringIO()
            table = csv.DictWriter(text, KEYS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            return text.getvalue()
        if suffix == ".html":
            return (
                "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
                "<meta name='viewport' content='width=device-width, initial-scale=1'>"
                f"<title>My progress</title><style>{STYLE}</style></head>"
                f"<body><main><h1>My progress</h1>{self._repr_html_()}</main></body>"
                "</html>\n"
            )
        raise ValueError(f"a .csv, .json or .html file can be written, not {suffix!r}")


def _read(problem: str, number: int, name: str) -> Task:
    try:
        text = (folder() / problem / f"{name}.json").read_text(encoding="utf-8")
        kept = json.loads(text)
        passed, checks, when = (kept[key] for key in ("passed", "checks", "when"))
        datetime.fromisoformat(when)
        known = 0 <= int(passed) <= int(checks)
    except (OSError, ValueError, TypeError, KeyError):
        known = False
    if not known:
        return Task(problem, number, name, LEFT, 0, 0, "")
    state = FINISHED if passed == checks else BEGUN
    return Task(problem, number, name, state, int(passed), int(checks), when)


def _heading(problem: str) -> str:
    return problem.replace("problem", "Problem ")


def _of(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]} tasks finished"


def _said(task: Task) -> str:
    if task.state != BEGUN:
        return task.state
    return f"begun, {task.passed} of {task.checks} checks pass"
