"""The rooms: few entries in each, and imports that run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST = 14
# Many small files of one kind.
COLLECTIONS = {"hostile", "attacks", "mutations", "_output"}
# The order of chapter4/README.md, what is imported by all first.
FLOORS = [
    "shapes",
    "inputs",
    "core",
    "methods",
    "attention",
    "evidence",
    "plots",
    "reports",
    "explore",
    "study",
    "cli",
]


def folders(top: str) -> Iterator[Path]:
    for folder in [ROOT / top, *sorted((ROOT / top).rglob("*"))]:
        if folder.is_dir() and not {"__pycache__", *COLLECTIONS} & {*folder.parts}:
            yield folder


@pytest.mark.parametrize("top", ["chapter4", "autograder", "tests"])
def test_a_folder_has_few_entries(top: str) -> None:
    for folder in folders(top):
        code = {p.name for p in folder.glob("*.py")} - {"__init__.py"}
        code |= {p.parent.name for p in folder.glob("*/*.py")}
        code |= {p.parents[1].name for p in folder.glob("*/*/*.py")}
        assert len(code - {"__pycache__"}) <= MOST, folder


@cache
def imported_by(path: Path) -> list[str]:
    """The modules of this project that a file imports, wherever in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.startswith(("chapter4.", "autograder."))]


def arrows(package: str) -> set[tuple[str, str]]:
    """(room, room that it imports) of a package's folders and the files beside them."""
    found = set()
    rooms = {p.name for p in (ROOT / package).iterdir() if p.is_dir()}
    rooms |= {p.stem for p in (ROOT / package).glob("*.py")} - {"__init__"}
    for path in sorted((ROOT / package).rglob("*.py")):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for name in imported_by(path):
            start, other = name.split(".")[:2]
            if start == package and other in rooms and room not in (other, "__init__"):
                found.add((room, other))
    return found


def test_the_package_imports_down_its_floors() -> None:
    for room, other in arrows("chapter4"):
        if room in FLOORS:
            assert FLOORS.index(other) < FLOORS.index(room), f"{room} -> {other}"


@pytest.mark.parametrize("package", ["chapter4", "autograder"])
def test_no_rooms_import_each_other_in_a_circle(package: str) -> None:
    left = arrows(package)
    while left:
        ground = {other for _, other in left} - {room for room, _ in left}
        assert ground, f"a circle among {sorted(left)}"
        left = {(room, other) for room, other in left if other not in ground}


def test_nobody_imports_the_grader_into_the_package() -> None:
    for path in (ROOT / "chapter4").rglob("*.py"):
        assert not [n for n in imported_by(path) if n.startswith("autograder.")], path


def test_what_enters_the_sandbox_needs_nothing_else_of_the_grader() -> None:
    inside = ROOT / "autograder" / "sandbox" / "inside"
    for path in inside.glob("*.py"):
        for name in imported_by(path):
            own = name.startswith(("autograder.sandbox.inside.", "chapter4.inputs."))
            assert own, f"{path.name} imports {name}"


def test_nobody_imports_what_students_lack() -> None:
    """The files of the students' bundle do without the instructors' folders."""
    kept = [ROOT / "autograder" / name for name in ("checking", "sandbox")]
    files = [path for folder in kept for path in folder.rglob("*.py")]
    files += (ROOT / "autograder" / "problems").glob("*/*.py")
    for path in files:
        for name in imported_by(path):
            assert ".instructors." not in name, f"{path} imports {name}"
            assert not name.startswith(("autograder.grading", "autograder.course"))
