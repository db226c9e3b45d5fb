"""Reads a problem's source: statement, tasks, hints, rubrics and the sample answer.

The notebook is made from the same file (``release.py``), and the book's pages show
these parts. So there is only one text of a problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, SimpleNamespace

from autograder.course.release import COURSE, source_notebook

FACTS = re.compile(r"(Easy|Medium|Hard)\. About (\d+) minutes\. (\d+) points: ")
MARKS = re.compile(r"^ *### (?:BEGIN|END) SOLUTION\n?", re.MULTILINE)
# Only a person who gives points reads this.
MARK_SCHEME = re.compile(r"=== BEGIN MARK SCHEME ===.*?=== END MARK SCHEME ===", re.S)
# The cell that puts all functions to work; it defines nothing.
STUDY = "study"


@dataclass(frozen=True)
class Part:
    """A cell that a reader sees.

    Attributes:
        kind: One of ``text``, ``given`` (code that the notebook brings along),
            ``answer`` (code whose body the student writes, without nbgrader's marks)
            and ``rubric``.
        name: The cell's grade_id without the ending ``-code``. Given code and text may
            have none: then it is "".
        content: The text or the code.
    """

    kind: str
    name: str
    content: str


@dataclass(frozen=True)
class Problem:
    """What the source of a problem says.

    Attributes:
        name: The problem's name, such as "problem2".
        title: The problem's title.
        difficulty: Easy, Medium or Hard.
        minutes: About how long the problem takes.
        points: The points of the whole problem.
        by_hand: Those points that a person gives.
        statement: The text before the tasks.
        parts: The other cells in their order, without check cells.
    """

    name: str
    title: str
    difficulty: str
    minutes: int
    points: int
    by_hand: int
    statement: str
    parts: tuple[Part, ...]

    def answer(self, task: str) -> str:
        """The sample answer of a task.

        Args:
            task: The task's name, such as ``smooth-grad``.

        Returns:
            The answer as code.

        Raises:
            ValueError: The task has no sample answer.
        """
        answers = {p.name: p.content for p in self.parts if p.kind == "answer"}
        if task not in answers:
            raise ValueError(
                f"{self.name} has no sample answer {task!r}: choose from"
                f" {', '.join(answers)}"
            )
        return answers[task]


def read_problem(problem: str, course: Path = COURSE) -> Problem:
    """Read ``solutions/problemN/problemN.md``.

    Args:
        problem: The problem's name, such as "problem2".
        course: The course's folder.

    Returns:
        What the source says.

    Raises:
        ValueError: There is no such source, or its first cell does not begin with a
            title and the line of difficulty, minutes and points.
    """
    path = course / "solutions" / problem / f"{problem}.md"
    if not path.is_file():
        raise ValueError(f"no source of {problem} in solutions/")
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, changed: int) -> Problem:
    first, *cells = source_notebook(path).cells
    title, facts, *paragraphs = first.source.split("\n\n")
    found = FACTS.match(facts.replace("\n", " "))
    if not title.startswith("# ") or found is None:
        raise ValueError(
            f"{path.name} must begin with a title and a line such as"
            " 'Medium. About 60 minutes. 20 points: 12 for ...'"
        )
    # From this paragraph on, the first cell is about the notebook and its checks.
    turn = next(
        i for i, p in enumerate(paragraphs) if p.startswith("The cell under each task")
    )
    ours = [c.metadata.get("nbgrader", {}) for c in cells]
    return Problem(
        name=path.stem,
        title=title.removeprefix("# "),
        difficulty=found[1],
        minutes=int(found[2]),
        points=int(found[3]),
        by_hand=sum(o["points"] for o in ours if o.get("task")),
        statement="\n\n".join(paragraphs[:turn]),
        parts=tuple(
            _part(cell.cell_type, cell.source, mark)
            for cell, mark in zip(cells, ours, strict=True)
            if not (mark.get("grade") and mark.get("locked"))
        ),
    )


def _part(cell_type: str, source: str, mark: dict[str, object]) -> Part:
    name = str(mark.get("grade_id", "")).removesuffix("-code")
    if mark.get("task"):
        return Part("rubric", name, MARK_SCHEME.sub("", source).strip())
    if cell_type == "markdown":
        return Part("text", name, source)
    kind = "answer" if mark.get("solution") else "given"
    return Part(kind, name, MARKS.sub("", source).strip())


def sample_answer(problem: int) -> SimpleNamespace:
    """The functions of the sample answer of a problem, ready to call.

    ``sample_answer(2).smooth_grad`` is the listing on the page of problem 2, and
    ``sample_answer(2).run_study()`` runs the cell that puts all of them to work.

    Args:
        problem: 1 to 5.

    Returns:
        The functions and ``run_study``, as attributes.

    Raises:
        ValueError: There is no such problem.
    """
    source = read_problem(f"problem{problem}")
    names: dict[str, object] = {"__name__": f"sample_answer_of_{source.name}"}
    cells = [part for part in source.parts if part.kind in ("given", "answer")]

    def run(wanted: bool) -> None:
        for part in cells:
            if (part.name == STUDY) == wanted:
                exec(compile(part.content, f"{source.name}.md", "exec"), names)

    run(wanted=False)
    functions = {n: f for n, f in names.items() if isinstance(f, FunctionType)}
    return SimpleNamespace(**functions, run_study=lambda: run(wanted=True))
