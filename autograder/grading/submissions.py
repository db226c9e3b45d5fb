"""What was handed in: the folders ``submitted/<student>/problemN/``.

Students' names may be anything.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.checking.runner import problems_with_checks

# Characters that turn the direction of writing, so that a name reads as another one.
_TURNING = {
    *"\u061c\u200e\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}
_LONGEST = 255  # bytes in a file's name


@dataclass(frozen=True)
class Submission:
    """One student's file for one problem.

    Attributes:
        student: The student's name, as it is shown.
        problem: The problem, such as "problem2".
        path: Where the file must be.
        missing: Why there is nothing to grade, or "".
    """

    student: str
    problem: str
    path: Path
    missing: str = ""

    @property
    def key(self) -> str:
        """A short name that no other submission has."""
        return key_of(self.student, self.problem)


def key_of(student: str, problem: str) -> str:
    """A short name for a student's work on a problem."""
    return hashlib.sha256(f"{student}\0{problem}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Found:
    """All submissions, and notes on them.

    Attributes:
        submissions: The submissions, in the order of problems and then of students.
        notes: What was left out or looks wrong, a line each.
    """

    submissions: list[Submission]
    notes: list[str]


def find(folder: Path, students: Iterable[str] = ()) -> Found:
    """The submissions in a folder.

    Args:
        folder: The folder of all submissions.
        students: Who is expected. Each of them gets a submission for each problem that
            anybody has handed in.

    Returns:
        The submissions, and notes on what was left out.
    """
    notes: list[str] = []
    folders = _student_folders(folder, notes)
    there = {name for path in folders.values() for name in _names_in(path)}
    known = problems_with_checks()
    wanted = [name for name in known if name in there]
    notes += [
        f"left out, because there are no checks for it: {shown(name)}"
        for name in sorted(there.difference(known))
    ]
    for name in students:
        folders.setdefault(shown(name), folder / _file_name(shown(name)))
    notes += _lookalikes(folders)
    submissions = [
        _submission(student, problem, path)
        for problem in wanted
        for student, path in sorted(folders.items())
    ]
    return Found(submissions, notes)


def choose(
    found: Found, students: Iterable[str] = (), problems: Iterable[str] = ()
) -> list[Submission]:
    """The submissions of these students to these problems, of all where none is named.

    Args:
        found: All submissions.
        students: Names of students, as they are shown or as their folders are called.
        problems: Names of problems.

    Raises:
        ValueError: Nobody has this name, or has handed in this problem; the message
            names what comes nearest.
    """
    wanted: dict[str, set[str]] = {}
    for kind, names in (("student", map(shown, students)), ("problem", problems)):
        there = sorted({getattr(each, kind) for each in found.submissions})
        wanted[kind] = {_named(kind, name, there) for name in names} or {*there}
    return [
        each
        for each in found.submissions
        if each.student in wanted["student"] and each.problem in wanted["problem"]
    ]


def _named(kind: str, name: str, there: Sequence[str]) -> str:
    """Which of the names is meant: this one, or the one that is written alike."""
    alike = [known for known in there if _composed(known) == _composed(name)]
    if name in there or len(alike) == 1:
        return name if name in there else alike[0]
    plain: dict[str, list[str]] = {}
    for known in there:
        plain.setdefault(_plain(known), []).append(_quoted(known))
    near = difflib.get_close_matches(_plain(name), plain)
    meant = " or ".join(known for like in near for known in plain[like])
    raise ValueError(
        f"nothing is handed in for {kind} {_quoted(name)}"
        f"{f'; did you mean {meant}?' if meant else ''}"
    )


def _composed(name: str) -> str:
    """The name with ë as one character, which some systems make two."""
    return unicodedata.normalize("NFC", name)


def _quoted(name: str) -> str:
    return f"'{name}'" if name.isprintable() else repr(name)


def _student_folders(folder: Path, notes: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or path.is_symlink()):
            notes.append(
                f"left out, because it is no student's folder: {shown(path.name)}"
            )
            continue
        student, number = shown(path.name), 1
        while student in folders:
            number += 1
            student = f"{shown(path.name)} ({number})"
        folders[student] = path
    return folders


def _names_in(student: Path) -> list[str]:
    """The problems in a student's folder; nothing behind a link is looked at."""
    if student.is_symlink():
        return []
    try:
        return [p.name for p in student.iterdir() if p.is_dir() and p.name[0] != "."]
    except OSError:
        return []


def _submission(student: str, problem: str, folder: Path) -> Submission:
    path = folder / problem / f"{problem}.ipynb"
    return Submission(student, problem, path, _why_missing(folder, path))


def _why_missing(folder: Path, path: Path) -> str:
    """Why there is nothing to grade; "" if there is something, even if unreadable."""
    if folder.is_symlink() or path.parent.is_symlink() or os.path.lexists(path):
        return ""
    if not folder.is_dir():
        return "no folder of this student"
    if not path.parent.is_dir():
        return f"no folder {path.parent.name}"
    others = sorted(shown(p.name) for p in path.parent.glob("*.ipynb"))
    if others:
        return (
            f"no {path.name} in the folder; there is {', '.join(others[:3])}: rename"
            " the right one"
        )
    return f"no {path.name} in the folder"


def shown(name: str) -> str:
    """A folder's name as one line of printable text.

    A character that can't be printed, or turns the direction of writing, is written as
    an escape.
    """
    return "".join(_escaped(c) if _is_odd(c) else c for c in name)


def _is_odd(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or character in _TURNING


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _lookalikes(students: Iterable[str]) -> list[str]:
    seen: dict[str, str] = {}
    notes = []
    for student in sorted(students):
        plain = _plain(student)
        if plain in seen:
            notes.append(
                f"two students whose names look alike: {seen[plain]!a} and {student!a}"
            )
        seen.setdefault(plain, student)
    return notes


def _plain(name: str) -> str:
    """What names that look alike have in common."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in plain if unicodedata.category(c) != "Cf").strip()


def _file_name(student: str) -> str:
    """A student's name as the name of one folder, never a way to another one."""
    plain = student.replace("/", "_").replace(os.sep, "_")
    if plain == student and plain.strip(". ") and len(plain.encode()) <= _LONGEST:
        return plain
    mark = hashlib.sha256(student.encode()).hexdigest()[:12]
    return f"{plain.strip('. ').encode()[:200].decode(errors='ignore')}-{mark}"


def page_of(student: str, problem: str) -> Path:
    """Where a student's page is in the output folder."""
    return Path("feedback") / _file_name(student) / f"{problem}.html"
