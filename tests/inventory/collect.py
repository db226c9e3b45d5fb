"""What the project gives to its users, as JSON: ``python tests/inventory/collect.py``.

A move or a clean-up may change files, not this. Of code the names count that a folder
of Python files defines, of data the content, so that neither a path nor a layout
matters.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
LISTED = (
    "git ls-files -co --exclude-standard -z"
    " chapter4 autograder pyproject.toml README.md LICENSE LICENSE-TEXT"
)
PIP_WHEEL = "-m pip wheel -q --no-deps --no-build-isolation --disable-pip-version-check"


def public_names() -> dict[str, Any]:
    """Each public name with its signature, a class with its public members too."""
    import chapter4

    found: dict[str, Any] = {}
    for name in chapter4.__all__:
        thing = getattr(chapter4, name)
        found[name] = signature_of(thing)
        if inspect.isclass(thing):
            members = {m: inspect.getattr_static(thing, m) for m in dir(thing)}
            found[name] = {
                member: signature_of(value)
                for member, value in members.items()
                if not member.startswith("_") or member == "__init__"
            }
    return found


def signature_of(thing: Any) -> str:
    """Names, kinds and defaults of the parameters; what is no function by its type."""
    function = getattr(thing, "__func__", thing)
    if not callable(function):
        return type(thing).__name__
    try:
        signature = inspect.signature(function)
    except ValueError:
        return "no signature"
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(plain))


def commands() -> dict[str, str]:
    """What --help prints, of both commands and of each of their subcommands."""
    import autograder.cli
    import chapter4.cli

    found: dict[str, str] = {}

    def note(name: str, parser: argparse.ArgumentParser) -> None:
        found[name] = parser.format_help()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for step, inner in action.choices.items():
                    note(f"{name} {step}", inner)

    with mock.patch.dict(os.environ, COLUMNS="80"):
        note("chapter4", chapter4.cli._parser())
        note("autograder", autograder.cli.make_parser())
    return found


def checks() -> dict[str, list[Any]]:
    """Each problem's checks in order: id, points, title, whether students run it."""
    problems = sorted(p.name for p in (ROOT / "solutions").iterdir())
    return {
        problem: [
            [c.id, c.points, c.title, c.public] for c in _runner().checks_of(problem)
        ]
        for problem in problems
    }


def wheel() -> dict[str, Any]:
    """What an installed copy holds."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        tracked = subprocess.run(
            LISTED.split(),
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        for name in filter(None, tracked.split("\0")):
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes((ROOT / name).read_bytes())
        subprocess.run(
            [sys.executable, *PIP_WHEEL.split(), "-w", str(out), str(source)],
            check=True,
        )
        with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
            names = [n for n in archive.namelist() if ".dist-info/" not in n]
            return held((name, archive.read(name)) for name in names)


def student_bundle() -> dict[str, Any]:
    """What the zip for students holds, its book aside."""
    members = _bundle().members(ROOT)
    return held(
        (name, content)
        for name, content in members.items()
        if not name.startswith("book/")
    )


def sandboxes() -> dict[str, Any]:
    """For each problem what the sandbox shows of this project."""
    found = {}
    for problem in range(1, 6):
        with tempfile.TemporaryDirectory() as folder:
            _launcher().bubblewrap(problem, Path(folder))
            files = [p for p in Path(folder).rglob("*") if p.is_file()]
            found[f"problem{problem}"] = held(
                (path.relative_to(folder).as_posix(), path.read_bytes())
                for path in files
                if b"is not there while problem" not in path.read_bytes()
            )
    return found


def held(files: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Top-level definitions of the Python files, and name and digest of all others."""
    defined: set[str] = set()
    data: dict[str, str] = {}
    for name, content in files:
        if name.endswith(".py"):
            defined |= definitions(content)
        elif not name.endswith(("README.md", "pyproject.toml")):
            data[Path(name).name] = hashlib.sha256(content).hexdigest()[:16]
    return {"defined": sorted(defined), "data": dict(sorted(data.items()))}


def definitions(content: bytes) -> set[str]:
    """The functions and classes that a file defines for others."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = {node.name for node in ast.parse(content).body if isinstance(node, kinds)}
    return {name for name in names if not name.startswith("_")}


def _runner() -> Any:
    from autograder.checking import runner

    return runner


def _bundle() -> Any:
    from autograder.course import student_bundle

    return student_bundle


def _launcher() -> Any:
    from autograder.sandbox import launcher

    return launcher


PARTS: dict[str, Callable[[], Any]] = {
    "public names": public_names,
    "commands": commands,
    "checks": checks,
    "wheel": wheel,
    "student bundle": student_bundle,
    "sandboxes": sandboxes,
}

if __name__ == "__main__":
    print(json.dumps({name: part() for name, part in PARTS.items()}, indent=1))
