"""Nothing of the course can be seen inside the sandbox, wherever the course lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from autograder.sandbox import mounts
from autograder.sandbox.inside import search

PROJECT = Path(__file__).parents[3]
PREFIX = Path(sys.prefix)
# A submission that reads everything it can: names of ours, and texts that tell a path.
WALK = """
import os

def seen(names, project):
    found = []
    for folder, _, files in os.walk("/"):
        found += [os.path.join(folder, name) for name in files if name in names]
        for name in files:
            if name.startswith("__editable__") or name in ("direct_url.json", "RECORD"):
                with open(os.path.join(folder, name), "rb") as file:
                    text = file.read()
                if project.encode() in text or b"autograder/cli.py" in text:
                    found.append(os.path.join(folder, name))
    return found
"""
GRADE = """
import json, sys
from pathlib import Path
from autograder.sandbox.launcher import Sandbox, SandboxUnavailable
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent

walk, names, project, hide = json.loads(sys.argv[1])
try:
    with (
        Sandbox(2, hide=[*map(Path, hide)]) as sandbox,
        SandboxedStudent(sandbox, [Cell("cell 1", walk)]) as student,
    ):
        print(json.dumps(student.call("seen", names, project)))
except SandboxUnavailable as error:
    print(json.dumps({"refused": str(error)}))
"""
OURS = ["hidden_checks.py", "mutants.py", "mistakes.py", "sample_class.py"]
OURS += [f"problem{n}.md" for n in range(1, 6)]


def seen(
    root: Path, *outer: str, hide: list[Path] | None = None, walk: str = WALK
) -> Any:
    """What a submission finds, where ``root`` is the project's folder.

    Args:
        root: The folder that Python imports the project from.
        *outer: Arguments of a bubblewrap around it all, which arranges the folders.
        hide: Folders of the course.
        walk: The submission's code.
    """
    given = json.dumps([walk, OURS, str(root), list(map(str, hide or []))])
    command = [sys.executable, "-c", GRADE, given]
    if outer:
        command = ["bwrap", "--dev-bind", "/", "/", *outer, *command]
    done = subprocess.run(
        command,
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root),
            "PYTHONSAFEPATH": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bound(place: Path, folder: Path = PROJECT) -> list[str]:
    """Arguments that show a folder in another place, whose parent is then empty."""
    return ["--tmpfs", str(place.parent), "--bind", str(folder), str(place)]


@pytest.mark.parametrize(
    "place",
    [
        Path("/usr/src/app"),
        pytest.param(PREFIX / "include/project", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_project_below_a_folder_that_is_shown(
    needs_bubblewrap: None, place: Path
) -> None:
    assert (PROJECT / "solutions/problem2/problem2.md").is_file()
    assert seen(place, *bound(place)) == []


def test_an_installed_copy_and_its_records(
    needs_bubblewrap: None, tmp_path: Path
) -> None:
    """Packages among other libraries, as a wheel or an editable install leaves them."""
    library = tmp_path / "site-packages"
    for package in ("autograder", "chapter4"):
        shutil.copytree(PROJECT / package, library / package)
    records = library / "a_course-1.0.dist-info"
    records.mkdir()
    (records / "RECORD").write_text("autograder/cli.py,,\n")
    told = json.dumps({"url": f"file://{library}/autograder"})
    (records / "direct_url.json").write_text(told)
    (library / "__editable___a_course_finder.py").write_text(
        f"A = '{library}/chapter4'"
    )
    assert seen(library) == []


@pytest.mark.slow
def test_the_course_and_others_submissions(needs_bubblewrap: None) -> None:
    """Below Python's own folder, and reached there by a second mount."""
    course, again = PREFIX / "include/course", Path("/usr/src/again")
    place = PREFIX / "include/submitted"
    outer = [
        *bound(course, PROJECT / "solutions"),
        *bound(again, PROJECT / "solutions"),
    ]
    hide = [course, place]
    refused = seen(PROJECT, *outer, hide=hide)
    assert set(refused) == {"refused"}, "one of the two places can't be known"
    assert "submissions could read /usr/src/again" in refused["refused"]
    assert "Nothing is graded like this" in refused["refused"]
    outer = [*bound(course, PROJECT / "solutions")]
    outer += bound(mounts.EXCHANGE, PROJECT / "solutions")
    assert seen(PROJECT, *outer, hide=hide) == []


@pytest.mark.slow
def test_a_hidden_file_gives_the_course_away(needs_bubblewrap: None) -> None:
    """A copy, whose folder has another number."""
    checks = PROJECT / "autograder/problems/problem2/instructors/hidden_checks.py"
    copy = "/usr/src/x/hidden_checks.py"
    refused = seen(PROJECT, "--tmpfs", "/usr/src", "--ro-bind", str(checks), copy)
    assert "could read /usr/src/x/hidden_checks.py" in refused["refused"]


def test_a_folder_that_python_needs_cant_be_hidden(
    needs_bubblewrap: None,
) -> None:
    refused = seen(PROJECT, hide=[PREFIX])
    assert f"{PREFIX} can't be hidden from submissions" in refused["refused"]


def test_a_course_may_lie_where_temporary_folders_do(needs_bubblewrap: None) -> None:
    """The sandbox's own folder lies there, too, and is shown."""
    assert seen(PROJECT, hide=[Path(tempfile.gettempdir())]) == []


def test_links_and_the_root_are_nobodys_course(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("/usr/lib")
    looked_for = mounts.canaries([tmp_path, Path("/")], tmp_path / "own")
    assert [*mounts._number(tmp_path)] in looked_for
    assert [*mounts._number(Path("/usr/lib"))] not in looked_for
    assert [*mounts._number(Path("/"))] not in looked_for


def test_shown_in_hidden_in_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parents come first, and only what changes gets a mount of its own."""
    shown = [Path("/a"), Path("/a/p/env"), Path("/a/x"), Path("/q/env")]
    monkeypatch.setattr(mounts, "shown", lambda: shown)
    arguments = " ".join(
        mounts._machine([Path("/a/p"), Path("/a/p/env/y"), Path("/q"), Path("/z")])
    )
    machine = arguments[: arguments.index("--symlink")].split(" --")
    assert machine == [
        "--ro-bind /a /a",
        "size 4096",
        "tmpfs /a/p",
        "ro-bind /a/p/env /a/p/env",
        "size 4096",
        "tmpfs /a/p/env/y",
        "ro-bind /q/env /q/env ",
    ]
    assert arguments.endswith("--remount-ro /a/p --remount-ro /a/p/env/y")


def test_a_second_name_of_a_shown_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "real/course").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    monkeypatch.setattr(mounts, "shown", lambda: [link, tmp_path / "real"])
    found = mounts.hidden(2, [tmp_path / "real/course"])
    assert {tmp_path / "real/course", link / "course"} <= set(found)


def test_the_search_knows_folders_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to("/")
    there = os.stat(tmp_path / "a/b")
    known = [[there.st_dev, there.st_ino]]
    assert search.first_seen(known, "x", str(tmp_path)) == str(tmp_path / "a/b")
    elsewhere = [[there.st_dev + 1, there.st_ino]]
    assert search.first_seen(elsewhere, "x", str(tmp_path)) == ""
    (tmp_path / "a/b/c/x").touch()
    assert search.first_seen([], "x", str(tmp_path)) == str(tmp_path / "a/b/c/x")
