"""The instructor's run: it finds a record for each submission, and keeps it.

Only what changed is asked again. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autograder.checking.runner import CheckResult
from autograder.grading.cluster import Where, Workers, opened
from autograder.grading.state import Record, State, basis_of, digest_of, fingerprint
from autograder.grading.submissions import Submission
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.notebook import Unreadable, cells_of, read_notebook
from autograder.sandbox.student import BUDGET_SECONDS, seed_of

Say = Callable[[Record, int, int, float | None], None]
Note = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How a run is done.

    Attributes:
        within: The folder of all submissions.
        seed: Decides the questions, which are the same for everybody.
        sandbox: Whether submissions run in the sandbox.
        hide: Folders that no sandbox may show.
        budget: Seconds of computing that a submission's own code may take in all.
        course: The course's name, or "".
        releases: Problem -> the notebook that was handed out, where there is one.
        chosen: The keys of the submissions that are looked at. The others keep the
            records that they have.
        again: Whether the chosen ones are asked again even if nothing changed.
    """

    within: Path
    seed: int
    sandbox: bool = True
    hide: Sequence[Path] = ()
    budget: float = BUDGET_SECONDS
    course: str = ""
    releases: Mapping[str, Path] = field(default_factory=dict)
    chosen: Collection[str] = ()
    again: bool = False

    def order(
        self, submission: Submission, notebook: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a worker is told of a submission: ``Worker.grade`` takes it."""
        student, problem = submission.student, submission.problem
        release = self.releases.get(problem)
        cells = cells_of(notebook, read_notebook(release) if release else None)
        return {
            "problem": problem,
            "cells": [[cell.name, cell.source] for cell in cells],
            "seed": self.seed,
            "own_seed": seed_of(self.seed, self.course, student, problem),
        }

    def basis(self, problem: str, digest: str) -> dict[str, str]:
        """What decides the result of a notebook: name -> digest."""
        return basis_of(
            problem,
            notebook=digest,
            release=self.releases.get(problem),
            seed=self.seed,
            sandbox=self.sandbox,
            budget=self.budget,
        )

    def settings(self) -> dict[str, Any]:
        """What each worker process is told at its start."""
        return {
            "sandbox": self.sandbox,
            "hide": [str(path.resolve()) for path in self.hide],
            "budget": self.budget,
            "fingerprint": fingerprint(),
        }


def grade_all(
    submissions: Sequence[Submission],
    plan: Plan,
    where: Where,
    state: State,
    say: Say,
    note: Note,
) -> dict[str, Record]:
    """Find a record for each submission.

    Args:
        submissions: Whose records are wanted.
        plan: How the run is done.
        where: Where submissions are graded.
        state: Keeps each record as soon as it is known.
        say: Is called with each new record, with how many are done, how many there are,
            and how many seconds the rest will take, where that is known.
        note: Is called with a line that the user should know.

    Returns:
        Key of a submission -> its record. One that is not chosen and has no record has
        none here either.

    Raises:
        SandboxUnavailable: There is no sandbox here. Once a submission has been graded,
            a sandbox that does not start costs no more than the rows that need it.
        Refused: There is no cluster, or it has gone.
    """
    records: dict[str, Record] = {}
    found: list[tuple[Submission, Record]] = []
    asked: list[Submission] = []
    for submission in submissions:
        saved = state.record(submission.key)
        if submission.key not in plan.chosen:
            if saved is not None:
                records[submission.key] = saved
            continue
        look, _ = _look(submission, plan)
        if look.status:
            found.append((submission, look))
        elif saved is not None and saved.basis == look.basis and not plan.again:
            records[submission.key] = saved
        else:
            asked.append(submission)
    of = len(records) + len(found) + len(asked)
    if records:
        note(f"{len(records)} of {of} rows stay as they were")

    def keep(submission: Submission, record: Record, rest: float | None) -> None:
        if record.status == "grader-error":  # is asked again by the next run
            record = replace(record, basis={})
        state.save(submission.key, record)
        records[submission.key] = record
        say(record, len(records), of, rest)

    for submission, record in found:
        keep(submission, record, None)
    start = time.monotonic()
    for i, (submission, record) in enumerate(_graded(asked, plan, where, note), 1):
        each = (time.monotonic() - start) / i
        keep(submission, record, each * (len(asked) - i))
    return records


def _look(
    submission: Submission, plan: Plan
) -> tuple[Record, Mapping[str, Any] | None]:
    """What is known of a submission before it is graded, and its notebook.

    The status is "" if a worker has to say more.
    """
    student, problem = submission.student, submission.problem
    if submission.missing:
        return Record(student, problem, "missing", submission.missing), None
    try:
        notebook = read_notebook(submission.path, plan.within)
    except Unreadable as error:
        return Record(student, problem, "unreadable", one_line(str(error))), None
    digest = digest_of(notebook)
    basis = plan.basis(problem, digest)
    return Record(student, problem, "", digest=digest, basis=basis), notebook


def _graded(
    submissions: Sequence[Submission], plan: Plan, where: Where, note: Note
) -> Iterator[tuple[Submission, Record]]:
    """The records of submissions that need a worker, in any order."""
    if not submissions:
        return
    with opened(where, plan.settings(), note) as workers:
        starved = []
        for submission, record in _answered(submissions, plan, workers):
            if record.status != "starved":
                yield submission, record
                continue
            starved.append(submission)
            note(
                f"{submission.student} {submission.problem}: {record.message}; it is"
                " asked again alone, at the end"
            )
        for submission in starved:
            for _, record in _answered([submission], plan, workers):
                if record.status == "starved":  # nobody loses points by that
                    record = replace(record, status="grader-error")
                yield submission, record


def _answered(
    submissions: Iterable[Submission], plan: Plan, workers: Workers
) -> Iterator[tuple[Submission, Record]]:
    """What workers find out, a few submissions at a time."""
    asked: dict[str, Record] = {}
    no_more: list[tuple[Submission, Record]] = []  # readable a moment ago

    def asks() -> Iterator[tuple[Submission, dict[str, Any]]]:
        for submission in submissions:
            look, notebook = _look(submission, plan)
            if notebook is None:
                no_more.append((submission, look))
            else:
                asked[submission.key] = look
                yield submission, plan.order(submission, notebook)

    for submission, answer in workers.answers(asks()):
        checks = tuple(CheckResult(**check) for check in answer.pop("checks", ()))
        look = asked.pop(submission.key)
        yield submission, replace(look, checks=checks, **answer)
    yield from no_more


@contextlib.contextmanager
def open_run(state: State, seed: int | None, **more: Any) -> Iterator[dict[str, Any]]:
    """Open a run, new or continued.

    What is known of the run, with what the block adds, is saved at the block's end. The
    block sets "finished"; otherwise the next run continues this one.

    Args:
        state: Where the run is kept.
        seed: The run's seed. None takes the seed of the last run here, or a fresh one.
        **more: What else is to be known of the run.

    Yields:
        What is known of the run.
    """
    with state.locked():
        last = state.run()
        if seed is None:
            seed = last.get("seed")
        run = {
            "seed": seed if isinstance(seed, int) else secrets.randbits(48),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "pages": last.get("pages", []),
            **more,
            "finished": False,
            "resumed": last.get("finished") is False,
        }
        state.save_run(run)
        yield run
        state.save_run(run)
