"""What a run has found out so far, on disk after each submission.

A run can be killed at any moment, and later goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import autograder
import chapter4
from autograder.checking.runner import CheckResult
from autograder.grading.submissions import key_of

# Points are sums of fractions. They are rounded to this many digits where they are
# shown, so that 0.1 + 0.2 is 0.3.
DIGITS = 6
DISTRIBUTION = "interpreting-deep-learning-models"
# What decides a result -> what it is called where it has changed.
PARTS = {
    "notebook": "the notebook",
    "release": "the release",
    "checks": "the checks",
    "chapter4": "chapter4",
    "libraries": "the libraries",
    "sandbox": "the sandbox",
    "seed": "the seed",
    "budget": "the time limit",
}
_OURS = Path(autograder.__file__).parent
_SANDBOX = (_OURS / "sandbox", _OURS / "grading" / "worker.py")


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
        basis: A part of what decided the result -> what stands for it.
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
    basis: Mapping[str, str] = field(default_factory=dict)
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
    """A record from the JSON of its file.

    Raises:
        ValueError, TypeError, KeyError: We have not written this, or not in this form.
    """
    content = _unsealed(data)
    checks = tuple(CheckResult(**check) for check in content["checks"])
    return Record(**{**content, "checks": checks})


def digest_of(content: Mapping[str, Any]) -> str:
    """A digest of a notebook or other JSON, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def basis_of(
    problem: str,
    *,
    notebook: str,
    release: Path | None,
    seed: int,
    sandbox: bool,
    budget: float,
) -> dict[str, str]:
    """Everything that decides a result: the name of a part -> what stands for it.

    Args:
        problem: The problem, such as "problem2".
        notebook: The digest of the notebook.
        release: What was handed out, or None.
        seed: Decides the questions.
        sandbox: Whether submissions run in the sandbox.
        budget: Seconds that a submission's own code may take in all.
    """
    problems = _OURS / "problems"
    shared = sorted(path for path in problems.iterdir() if path.is_file())
    walls = [sandbox, bubblewrap() if sandbox else "", text_of(*_SANDBOX)]
    return {
        "notebook": notebook,
        "release": _short(release.read_bytes()) if release is not None else "",
        "checks": text_of(_OURS / "checking", *shared, problems / problem),
        "chapter4": text_of(Path(chapter4.__file__).parent),
        "libraries": _short(json.dumps(libraries()).encode()),
        "sandbox": _short(json.dumps(walls).encode()),
        "seed": str(seed),
        "budget": f"{budget:g}",
    }


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The parts that differ between what decided two results, in plain words."""
    return [word for part, word in PARTS.items() if old.get(part) != new.get(part)]


def fingerprint() -> dict[str, Any]:
    """What another machine must have as it is here before it may grade.

    The values are plain and can be sent.
    """
    return {
        "checks": text_of(_OURS / "checking", _OURS / "problems"),
        "sandbox": text_of(*_SANDBOX),
        "chapter4": text_of(Path(chapter4.__file__).parent),
        "libraries": libraries(),
    }


def unlike(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """In what two machines' fingerprints differ, as one sentence; "" if in nothing."""
    found = []
    own, other = here["libraries"], there.get("libraries", {})
    for name in sorted({*own, *other}):
        if own.get(name) != other.get(name):
            ours, theirs = own.get(name, "none"), other.get(name, "none")
            found.append(f"{name} {ours} here, {theirs} there")
    said = [f"libraries: {', '.join(found)}"] if found else []
    said += [
        f"the text of {PARTS[part]} differs"
        for part in ("checks", "sandbox", "chapter4")
        if here[part] != there.get(part)
    ]
    return "; ".join(said)


@cache
def text_of(*places: Path) -> str:
    """A digest of files, and of all files in folders, by their names and bytes.

    What Python and editors leave there (``__pycache__``, names with a dot) is left out.
    It is read once: a process goes on with the code that it has begun with.
    """
    total = hashlib.sha256()
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            name = path.relative_to(place.parent)
            odd = any(part[0] == "." or part == "__pycache__" for part in name.parts)
            if path.is_file() and not odd:
                total.update(f"{name.as_posix()}\0{_short(path.read_bytes())}".encode())
    return total.hexdigest()[:16]


@cache
def libraries() -> dict[str, str]:
    """The versions of Python and of what a result may depend on."""
    names = {"IPython", "numpy", "scipy", "torch", "transformers"}
    with contextlib.suppress(metadata.PackageNotFoundError):
        wanted = metadata.requires(DISTRIBUTION) or []
        names |= {re.split(r"[^\w.-]", w)[0] for w in wanted if "extra ==" not in w}
    return {"python": platform.python_version(), **_installed(*sorted(names))}


def _installed(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@cache
def bubblewrap() -> str:
    """The version of bubblewrap, "" if there is none."""
    try:
        told = subprocess.run(["bwrap", "--version"], capture_output=True, check=False)
    except OSError:
        return ""
    return told.stdout.decode(errors="replace").strip()


def versions() -> dict[str, str]:
    """The versions that ``grades.json`` tells."""
    return {"chapter4": chapter4.__version__, **libraries(), **_installed("nbgrader")}


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
        # Nothing is written to it, wherever it may lead.
        with open(self._folder / "lock", "a") as file:
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
        try:
            return _unsealed(_json(self._folder / "run.json"))
        except (ValueError, TypeError, KeyError):
            return {}

    def save_run(self, run: Mapping[str, Any]) -> None:
        write_whole(self._folder / "run.json", _sealed(run))

    def record(self, key: str) -> Record | None:
        """A submission's record, if there is one that we have written whole."""
        try:
            record = record_of(_json(self._folder / f"{key}.json"))
        except (ValueError, TypeError, KeyError):
            return None
        return record if key_of(record.student, record.problem) == key else None

    def save(self, key: str, record: Record) -> None:
        write_whole(self._folder / f"{key}.json", _sealed(asdict(record)))

    def forget(self, but: Collection[str] = ()) -> None:
        """Drop all records except these, and what a run that was killed has left."""
        for path in self._folder.glob("*.json"):
            if path.stem not in ("run", *but):
                path.unlink()
        for path in self._folder.glob(".*.tmp"):
            path.unlink()


def _sealed(content: Mapping[str, Any]) -> str:
    """A file's text, with a digest by which it is known as ours and as whole."""
    return json.dumps({"seal": digest_of(content), **content}, indent=1)


def _unsealed(data: Any) -> dict[str, Any]:
    content = dict(data)
    if content.pop("seal") != digest_of(content):
        raise ValueError("this is not what we have written")
    return content


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
