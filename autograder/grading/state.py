"""What a run has found out so far, on disk after each submission.

A run can be killed at any moment, and later goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import autograder
import chapter4
from autograder.checking.runner import CheckResult

# Points are sums of fractions. They are rounded to this many digits where they are
# shown, so that 0.1 + 0.2 is 0.3.
DIGITS = 6


@dataclass(frozen=True)
class Record:
    """The result of one submission.

    Attributes:
        student: The student's name, as it is shown.
        problem: The problem, such as "problem2".
        status: One of graded, timed-out, crashed, unreadable, missing and grader-error.
        message: Why, in one line or as a traceback.
        seconds: How long it took, without the start of the sandbox.
        digest: Stands for the notebook that was graded.
        basis: Stands for everything that decided the result.
        checks: The verdicts of all checks.
        failed_cells: A cell's name -> why it failed.
        warnings: What cells have set for all code, a line each.
    """

    student: str
    problem: str
    status: str
    message: str = ""
    seconds: float = 0.0
    digest: str = ""
    basis: str = ""
    checks: tuple[CheckResult, ...] = ()
    failed_cells: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def auto_score(self) -> float | None:
        """The checks' points; None where nobody has judged the work."""
        if self.status in ("missing", "unreadable", "grader-error"):
            return None
        return round(sum(check.earned for check in self.checks), DIGITS)


def record_of(data: Mapping[str, Any]) -> Record:
    """A record from its JSON.

    Raises:
        ValueError, TypeError, KeyError: The JSON is not a record's.
    """
    checks = tuple(CheckResult(**check) for check in data["checks"])
    return Record(**{**data, "checks": checks})


def digest_of(notebook: Mapping[str, Any]) -> str:
    """A digest of a notebook's content, however its JSON is laid out."""
    return hashlib.sha256(json.dumps(notebook, sort_keys=True).encode()).hexdigest()


def basis_of(digest: str, problem: str, seed: int, sandbox: bool, budget: float) -> str:
    """A digest of everything that decides a result.

    That is the notebook, the problem, the seed, the time limit, the checks, the
    libraries, and whether there is a sandbox.
    """
    whole = [digest, problem, seed, sandbox, budget, code(), versions()]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


@cache
def code() -> str:
    """A digest of the autograder's own source."""
    total = hashlib.sha256()
    for path in sorted(Path(autograder.__file__).parent.rglob("*.py")):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


@cache
def versions() -> dict[str, str]:
    """The versions of what a result may depend on."""
    found = {"python": platform.python_version(), "chapter4": chapter4.__version__}
    for name in ("numpy", "scipy", "torch", "transformers", "nbgrader"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody, at any moment, finds only a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with open(beside, "x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


class Refused(RuntimeError):
    """The run can't be done as things are; the message says what to do."""


class Busy(Refused):
    """Another run works on this output folder."""


class State:
    """The folder ``DIR/state``: ``run.json``, and one file per graded submission."""

    def __init__(self, output: Path) -> None:
        self._folder = output / "state"
        self._folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs off this folder meanwhile.

        The lock ends with the process, however that ends. There is none on Windows.

        Raises:
            Busy: Another run works on this folder.
        """
        with open(self._folder / "lock", "w") as file:
            try:
                import fcntl
            except ModuleNotFoundError:  # Windows
                yield
                return
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy(
                    f"another run is writing to {self._folder.parent}: wait for it, or"
                    " take another --output"
                ) from None
            yield

    def run(self) -> dict[str, Any]:
        """What is known of the last run, ``{}`` if nothing."""
        run = _json(self._folder / "run.json")
        return run if isinstance(run, dict) else {}

    def save_run(self, run: Mapping[str, Any]) -> None:
        write_whole(self._folder / "run.json", json.dumps(run, indent=1))

    def record(self, key: str) -> Record | None:
        """A submission's record, if there is one that can be read."""
        try:
            return record_of(_json(self._folder / f"{key}.json"))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def save(self, key: str, record: Record) -> None:
        write_whole(self._folder / f"{key}.json", json.dumps(asdict(record), indent=1))

    def forget(self) -> None:
        """Drop all records, for a new run."""
        for path in self._folder.glob("*.json"):
            if path.name != "run.json":
                path.unlink()
        for path in self._folder.glob(".*.tmp"):  # left by a run that was killed
            path.unlink()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
