"""``autograder grade`` for a user who is not root.

Bubblewrap gets its namespaces, and the points are the same.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from accepted import right_submissions
from courses import notebook, submit

from autograder.course import release

NOBODY = 65534
# One function of the sandbox's start that the kernel or a container's profile may
# forbid to ordinary users.
BWRAP = ["bwrap", "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]


def as_nobody() -> dict[str, object]:
    """How subprocess starts a command for an ordinary user; as it is, if we are one."""
    if os.getuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def python_for_all() -> str:
    """A Python that such a user may start.

    It is this one, or the system's of the same version with our packages.
    """
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin")
    for python in filter(None, (sys.executable, system)):
        try:
            done = subprocess.run(
                [python, "-c", "import numpy, torch, nbformat, pytest, jinja2"],
                cwd="/",
                env=environment(Path("/")),
                capture_output=True,
                check=False,
                **as_nobody(),
            )
        except PermissionError:
            continue
        if done.returncode == 0:
            return python
    raise AssertionError(
        f"no Python that user {NOBODY} may start: {sys.executable} lies in a folder"
        " that is closed to others"
    )


def environment(home: Path) -> dict[str, str]:
    packages = [
        p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")
    ]
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(release.COURSE), *packages]),
        "PYTHONSAFEPATH": "1",
    }


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of such a user's own: pytest's are open to nobody else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        yield path


@pytest.mark.slow
def test_the_same_points_for_an_ordinary_user(
    needs_bubblewrap: None, place: Path
) -> None:
    """If the machine forbids the sandbox, the command says so and writes no grades."""
    right = next(iter(right_submissions("problem2").values()))
    looks = "import os\nassert os.getuid() == 65534\nassert not os.path.exists(%r)"
    dies = "import os\ndef smooth_grad(*a): os._exit(1)"
    looking = right + "\n" + looks % str(place)
    for student, source in {"ada": looking, "ben": dies, "cem": "x = 1"}.items():
        submit(place, student, notebook(source))
    allowed = subprocess.run(
        BWRAP, cwd="/", capture_output=True, check=False, **as_nobody()
    )
    command = [python_for_all(), "-m", "autograder", "grade", str(place / "submitted")]
    command += ["--output", str(place / "out"), "--no-gradebook", "--workers", "1"]
    done = subprocess.run(
        command,
        cwd="/",
        env=environment(place),
        capture_output=True,
        text=True,
        check=False,
        **as_nobody(),
    )
    if allowed.returncode != 0:
        assert done.returncode == 1
        assert "CONTRIBUTING.md has the recipes" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (place / "out" / "grades.csv").exists()
        return
    assert done.returncode == 0, done.stdout + done.stderr
    with (place / "out" / "grades.csv").open(encoding="utf-8") as file:
        rows = {r["student"]: (r["status"], r["score"]) for r in csv.DictReader(file)}
    assert rows == {
        "ada": ("graded", "20"),
        "ben": ("crashed", "0"),
        "cem": ("graded", "0"),
    }
    told = json.loads((place / "out" / "grades.json").read_bytes())
    ada = next(s for s in told["submissions"] if s["student"] == "ada")
    assert ada["failed_cells"] == {}, "what its cell looked for was not there"
    assert (place / "out" / "grades.csv").stat().st_uid == (os.getuid() or NOBODY)
