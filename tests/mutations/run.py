"""Breaks a copy of the code, one patch at a time: the tests that it names must fail."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
APPLY = ("git", "apply", "-p1", "-C1", "--recount", "--unidiff-zero")
LIST = ("git", "ls-files", "-co", "--exclude-standard", "-z")
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
FAILED, IMPORT_ERROR, TOO_SLOW, PATIENCE = 1, 2, 124, 300  # exit codes, and seconds


@dataclass(frozen=True)
class Mutation:
    """One patch: the tests that must notice it, and how pytest then ends."""

    path: Path
    tests: tuple[str, ...]
    ending: int


def mutations(names: Sequence[str] = ()) -> list[Mutation]:
    """All patches, or those of the names: a sentence, a line of tests, a diff each."""
    found = []
    named = [FOLDER / f"{name}.patch" for name in names]
    for path in named or sorted(FOLDER.glob("*.patch")):
        head = path.read_text(encoding="utf-8").partition("\n--- ")[0]
        (tests,) = re.findall(r"^Tests: (.+)$", head, flags=re.MULTILINE)
        ending = IMPORT_ERROR if "\nExpect: import error" in head else FAILED
        found.append(Mutation(path, tuple(shlex.split(tests)), ending))
    return found


def copy_tree(target: Path) -> None:
    """The working tree without what git ignores; the real one stays as it is."""
    listed = subprocess.run(LIST, cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def ending_of(command: Sequence[str], tree: Path) -> int:
    """The exit code of a command in a copy."""
    env = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    env["GIT_CEILING_DIRECTORIES"] = str(tree.parent)  # the copy is no repository
    hush = subprocess.DEVNULL
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            command, cwd=tree, env=env, timeout=PATIENCE, stdout=hush, stderr=hush
        ).returncode
    return TOO_SLOW


def verdict(mutation: Mutation, tree: Path) -> str:
    """What comes of one patch; the copy is whole again afterwards."""
    start = time.monotonic()
    if ending_of([*APPLY, str(mutation.path)], tree):
        return "does not apply"
    ending = ending_of([*PYTEST, *mutation.tests], tree)
    ending_of([*APPLY, "-R", str(mutation.path)], tree)
    if ending != mutation.ending:
        return f"NOT CAUGHT (pytest ended with {ending})"
    return f"caught in {time.monotonic() - start:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command: 0 if all patches are caught by tests that else pass."""
    parser = argparse.ArgumentParser(description="Break the code on purpose.")
    parser.add_argument("names", nargs="*", help="these patches only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    chosen, caught, trees = mutations(options.names), 0, SimpleQueue[Path]()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        whole = Path(folder).resolve() / "whole"
        copy_tree(whole)
        for i in range(options.jobs):
            trees.put(shutil.copytree(whole, whole.with_name(f"copy{i}")))

        def in_a_copy(task: Callable[[Path], Any]) -> Any:
            tree = trees.get()
            found = task(tree)
            trees.put(tree)
            return found

        lists = list(dict.fromkeys(each.tests for each in chosen))
        plain = [partial(ending_of, [*PYTEST, *tests]) for tests in lists]
        for tests, ending in zip(lists, pool.map(in_a_copy, plain), strict=True):
            if ending:
                print(f"without a patch pytest ends with {ending}: {shlex.join(tests)}")
                return 1
        broken = [partial(verdict, each) for each in chosen]
        for i, said in enumerate(pool.map(in_a_copy, broken)):
            print(f"[{i + 1}/{len(chosen)}] {chosen[i].path.stem}: {said}", flush=True)
            caught += said.startswith("caught")
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
