"""What the project gives to its users, as JSON.

A clean-up may change files, not this. Where a change is meant, write it down:
``python tests/inventory/collect.py > tests/inventory/what_users_have.json``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import autograder.cli
import chapter4
import chapter4.cli
from autograder.checking import runner

ROOT = Path(__file__).resolve().parents[2]
LISTED = (
    "git ls-files -co --exclude-standard -z"
    " chapter4 autograder pyproject.toml README.md LICENSE LICENSE-TEXT"
)
PIP_WHEEL = "-m pip wheel -q --no-deps --no-build-isolation --disable-pip-version-check"


def public_names() -> dict[str, Any]:
    """Each public name with its signature, a class with its public members too."""
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
    return {
        problem: [
            [c.id, c.points, c.title, c.public] for c in runner.checks_of(problem)
        ]
        for problem in runner.problems_with_checks()
    }


def wheel_data() -> list[str]:
    """The names of all files of an installed copy that are no code."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        listed = subprocess.run(
            LISTED.split(), cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes((ROOT / name).read_bytes())
        subprocess.run(
            [sys.executable, *PIP_WHEEL.split(), "-w", str(out), str(source)],
            check=True,
        )
        with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
            return sorted(
                name
                for name in archive.namelist()
                if ".dist-info/" not in name and not name.endswith(".py")
            )


PARTS: dict[str, Callable[[], Any]] = {
    "public names": public_names,
    "commands": commands,
    "checks": checks,
    "wheel data": wheel_data,
}

if __name__ == "__main__":
    print(json.dumps({name: part() for name, part in PARTS.items()}, indent=1))
