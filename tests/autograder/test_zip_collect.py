"""From a zip of Canvas or Moodle to the folders that grading reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from courses import new_course, notebook

from autograder import cli
from autograder.course import release

PAGE = release.COURSE / "book" / "instructors.md"
MOODLE = "assignsubmission_file_"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_course(tmp_path_factory.mktemp("collect") / "course", "problem1")


@pytest.fixture
def course(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "course"))


def typed() -> str:
    """The commands of the page's section 3."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("### 3. Collect") : text.index("### 4. Grade")]
    (block,) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return re.sub(r"^\$ ", "", block, flags=re.MULTILINE)


def collect(
    course: Path, names: list[str], content: str = "", more: str = "", code: int = 0
) -> str:
    """Download a zip of these files, each with its name as its text; collect it."""
    zipped = course.parent / "Downloads" / "submissions.zip"
    zipped.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in names:
            archive.writestr(name, content or name)
    return shell(course, typed().rstrip() + more, code)


def shell(course: Path, script: str, code: int = 0) -> str:
    env = os.environ | {
        "HOME": str(course.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(release.COURSE),
        "PYTHONWARNINGS": "ignore",
    }
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(["bash", "-ec", script], cwd=course, env=env, **told)
    assert done.returncode == code, done.stdout
    return " ".join(done.stdout.split())


def collected(course: Path) -> dict[str, str]:
    """What lies below submitted/, without a timestamp or anything else beside it."""
    folder = course / "submitted"
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_canvas(course: Path) -> None:
    latest = "doejane_LATE_1234_1000000_problem1.ipynb"
    names = [
        latest,
        "doejane_1234_567892_problem1-2.ipynb",
        "doejane_1234_99999_problem1-1.ipynb",
        "müllerjörg_77_567893_Problem1 (1).ipynb",
        "roerich_78_567894_my homework.ipynb",
        "roerich_78_567895_problem10.ipynb",
        "smithjohn_79_567896_problem1.ipynb",
        "smithjohn_80_567897_problem1.ipynb",  # another student of the same name
        "smithjohn_80_567899_scratch.ipynb",
        "noname_81_567898_problem1.pdf",
        # They call their files so.
        "mallory_999_888_1234_567899_problem1.ipynb",
        "mallory_998_889_Jane Doe_1234_assignsubmission_file_problem1.ipynb",
        "eve_997_890_.._.._problem1.ipynb",
    ]
    said = collect(course, names)
    assert collected(course) == {
        "doejane_1234/problem1/problem1.ipynb": latest,
        "müllerjörg_77/problem1/problem1.ipynb": names[3],
        "roerich_78/problem1/problem10.ipynb": names[5],
        "smithjohn_79/problem1/problem1.ipynb": names[6],
        "smithjohn_80/problem1/problem1.ipynb": names[7],
        "mallory_999/problem1/problem1.ipynb": names[10],
        "mallory_998/problem1/problem1.ipynb": names[11],
        "eve_997/problem1/problem1.ipynb": names[12],
    }
    for name in (*names[1:3], names[4], names[8]):
        assert re.search(rf"counts, so this is left out: \S*{name}", said), name
    assert "Invalid submission notebook name 'problem10.ipynb'" in said
    assert re.search(r"Skipped [^:]*: \S*noname_81_567898_problem1.pdf", said)


def test_moodle(course: Path) -> None:
    """With folders and without; both forms may even be in one zip."""
    hers = "Jane Doe_12_" + MOODLE
    names = [
        f"{hers}/problem1.ipynb",
        f"{hers}/problem1 (2).ipynb",
        f"{hers}/.ipynb_checkpoints/problem1-checkpoint.ipynb",
        f"Jane Doe_13_{MOODLE}/part/problem1.ipynb",
        f"Jane Doe_13_{MOODLE}/part/problem1_old.ipynb",
        f"Jörg Ü. O'Neil-Maß_14_{MOODLE}problem1.ipynb",
        f"张伟_15_{MOODLE[:-1]}/problem1.ipynb",
        "Jane Doe_12_assignsubmission_onlinetext_/onlinetext.html",
        # In their own folder they call files so.
        f"Mallory_666_{MOODLE}/{hers}/problem1.ipynb",
        f"Eve_667_{MOODLE}/doejane_1234_567890_problem1.ipynb",
        f"Eva_668_{MOODLE}problem1_12_{hers}problem1.ipynb",
    ]
    said = collect(course, names)
    assert collected(course) == {
        "Jane-Doe_12/problem1/problem1.ipynb": names[1],
        "Jane-Doe_13/problem1/problem1.ipynb": names[3],
        "Jörg-Ü-O-Neil-Maß_14/problem1/problem1.ipynb": names[5],
        "张伟_15/problem1/problem1.ipynb": names[6],
        "Mallory_666/problem1/problem1.ipynb": names[8],
        "Eve_667/problem1/problem1.ipynb": names[9],
        "Eva_668/problem1/problem1.ipynb": names[10],
    }
    assert said.count("so this is left out") == 3
    assert "onlinetext.html" in said
    again = [names[0], f"Jane Doe_13_{MOODLE}problem1.ipynb"]
    collect(course, again, "newer", more=" --force")
    texts = collected(course)
    assert texts["Jane-Doe_12/problem1/problem1.ipynb"] == "newer"
    assert texts["Jane-Doe_13/problem1/problem1.ipynb"] == "newer"


def test_a_zip_leads_nowhere_else_and_a_students_own_stays_packed(
    course: Path,
) -> None:
    names = [
        "../../../submitted/doejane_1234/problem1/problem1.ipynb",
        "/etc/doejane_1234_1_problem1.ipynb",
        "mallory_999_888_doejane_1234_2_problem1.zip",
    ]
    said = collect(course, names)
    assert "problem1.zip" in said, "no error, though it is not even a zip"
    assert collected(course) == {"doejane_1234/problem1/problem1.ipynb": names[1]}
    assert "submitted/doejane_1234" in said
    (course / "downloaded/problem1/archive/submissions.zip").write_bytes(b"PK cut")
    said = shell(course, "nbgrader zip_collect problem1 --force", code=1)
    assert "submissions.zip is no readable zip: download it again" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_grading_and_the_gradebook_know_the_collected_students(
    course: Path, needs_bubblewrap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = json.dumps(notebook("x = 1"))
    collect(course, [f"Jörg Maß_14_{MOODLE}/problem1 (1).ipynb"], empty)
    monkeypatch.chdir(course)
    assert cli.main(["grade", "submitted", "--output", "grades"]) == 0
    shell(course, "nbgrader export")
    for table in ("grades/grades.csv", "grades.csv"):
        text = (course / table).read_text("utf-8")
        assert "Jörg-Maß_14" in text
        assert "missing" not in text
