"""Invented classes for tests of load, and what each submission in them may get.

A submission is small: the cells that measure or draw are left out.
"""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import math
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile
from accepted import right_submissions
from courses import notebook
from targets import TARGETS, Target

from autograder.checking.runner import points_of
from autograder.course import release

SEED = 20  # decides what is asked, so that two runs can be compared
BUDGET = "25"  # seconds of --budget: cheats that hang take no longer
# What ten students hand in to a problem; the first is the flawed one.
KINDS = (*("mutant", "right") * 4, "hostile", "odd")
GRADED = {"graded", "needs-hand-grading"}
# Mistakes that cost nothing.
FREE = {"input changed in place", "model left in eval mode"}
# Name -> the file's text, and what a row says of it. No file for None.
ODD: dict[str, tuple[str | None, str]] = {
    "no cell": (json.dumps(notebook()), "graded"),
    "an empty cell": (json.dumps(notebook("")), "graded"),
    "an empty file": ("", "unreadable"),
    "broken JSON": ('{"cells": [', "unreadable"),
    "no notebook": ('["cells"]', "unreadable"),
    "no file": (None, "missing"),
}


@dataclass(frozen=True)
class HandedIn:
    """One submission.

    ``kind``: one of KINDS, or flawed. ``text``: the file's; None if there is none.
    ``due``: of a cheat the part of the flawed one's points that it may get; of an odd
    one its status.
    """

    student: str
    problem: str
    kind: str
    name: str
    text: str | None
    due: Any = None


def class_of(number: int, secret: Path) -> list[HandedIn]:
    """A class of so many submissions, a multiple of 5, in all five problems.

    Args:
        number: How many. In 5,000 is everything: each right answer and known mistake
            of each problem, and each cheat.
        secret: A file of the grader's, which cheats would like to read.
    """
    students = math.ceil(number / len(TARGETS))
    return [
        HandedIn(f"s{i:04}", problem, *what)
        for problem in TARGETS
        for i, what in zip(range(students), _mixed(problem, secret), strict=False)
    ]


def _mixed(problem: str, secret: Path) -> Iterator[tuple[Any, ...]]:
    """Endlessly: kind, name, text and due of a submission to a problem."""
    piles = {}
    for kind, cards in decks(problem, secret).items():
        random.Random(SEED).shuffle(cards)
        # Elsewhere in each problem, so that few cheats are different ones.
        start = [*TARGETS].index(problem) * len(cards) // len(TARGETS)
        piles[kind] = itertools.cycle(cards[start:] + cards[:start])
    yield "flawed", "", _text(TARGETS[problem].flawed)
    for kind in itertools.islice(itertools.cycle(KINDS), 1, None):
        yield kind, *next(piles[kind])


def decks(problem: str, secret: Path) -> dict[str, list[Any]]:
    """Kind -> all submissions of it to a problem: name, text and perhaps due."""
    target, points = TARGETS[problem], points_of(problem)
    known = importlib.import_module(
        f"autograder.problems.{problem}.instructors.mistakes"
    )
    right = right_submissions(problem) | {"solution": target.solution}
    mutants = [
        (f"{task}: {name}", _text(known.wrong_submission(task, name)))
        for table in (known.HINTS, known.TOLD)
        for task, names in table.items()
        for name in {*names} - FREE
        if points[task]
    ]
    return {
        "right": [(name, _text(source)) for name, source in right.items()],
        "mutant": sorted(mutants),
        "hostile": [_cheat(attack, target, secret) for attack in hostile.attacks()],
        "odd": [(name, *told) for name, told in ODD.items()],
    }


def _text(*sources: str) -> str:
    return json.dumps(notebook(*sources))


def _cheat(attack: hostile.Attack, target: Target, secret: Path) -> tuple[Any, ...]:
    cells = attack.cells(
        target.function, target.flawed, secret=secret, port=_free_port()
    )
    sources = [cell.source for cell in cells]
    if attack.honest == "no":
        sources.append(" = ".join([*target.others, target.function]))
    return attack.name, _text(*sources), float(attack.honest != "no")


def _free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def hand_in(submissions: Sequence[HandedIn], folder: Path) -> None:
    """Write them into the folder ``submitted`` of a folder."""
    for each in submissions:
        path = (
            folder / "submitted" / each.student / each.problem / f"{each.problem}.ipynb"
        )
        path.parent.mkdir(parents=True)
        if each.text is not None:
            path.write_text(each.text, encoding="utf-8")


def table(output: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of ``grades.csv`` by student and problem; none is there twice."""
    with (output / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["student"], row["problem"]): row for row in rows}
    assert len(found) == len(rows), "a row twice"
    return found


def unfair(
    submissions: Sequence[HandedIn], rows: Mapping[tuple[str, str], dict[str, str]]
) -> list[str]:
    """Which rows are not what they have to be, a line each."""
    assert {(s.student, s.problem) for s in submissions} == {*rows}, "other rows"
    flawed = {
        s.problem: float(rows[s.student, s.problem]["auto_score"] or "nan")
        for s in submissions
        if s.kind == "flawed"
    }
    lines = []
    for each in submissions:
        row = rows[each.student, each.problem]
        if not _fair(each, row, flawed[each.problem]):
            told = f"{row['status']}, {row['auto_score']} of {row['auto_max']}"
            lines.append(
                f"{each.student} {each.problem} {each.kind} {each.name}: {told}"
            )
    return lines


def _fair(each: HandedIn, row: Mapping[str, str], flawed: float) -> bool:
    status, full = row["status"], float(row["auto_max"])
    score = float(row["auto_score"] or 0)
    match each.kind:
        case "right":
            return status in GRADED and score == full
        case "flawed":
            return status in GRADED and 0 < score < full
        case "mutant":
            return status in GRADED and score < full
        case "hostile":
            # What stands beside a cheat is flawed, so that a repaired answer shows.
            fates = {*GRADED, "timed-out", "crashed"}
            return status in fates and score <= each.due * flawed
    return score == 0 and status in (GRADED if each.due == "graded" else {each.due})


def whole(problem: str, kind: str) -> str:
    """A notebook in the form of the release: right, flawed or untouched."""
    target = TARGETS[problem]
    if kind == "untouched":
        path = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
        found = json.loads(path.read_text(encoding="utf-8"))
    else:
        found = source(problem)
    for cell in found["cells"]:
        if kind == "flawed" and f"def {target.function}(" in cell["source"]:
            cell["source"] += target.flawed.removeprefix(target.solution)
    found["cells"] = [cell for cell in found["cells"] if cell["id"] != "study"]
    return json.dumps(found)


def source(problem: str) -> Any:
    """A problem's source as a notebook, without the cell that measures."""
    path = release.COURSE / "solutions" / problem / f"{problem}.md"
    found = release.source_notebook(path)
    found.cells = [cell for cell in found.cells if cell.id != "study"]
    return found
