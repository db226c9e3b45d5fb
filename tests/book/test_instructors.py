"""The page for teachers: its commands run in order and give what the page shows."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_books import BOOK
from submissions import lost, student_of

from autograder import cli
from autograder.checking.runner import run_checks
from autograder.course import sample_class
from autograder.problems.problem1.instructors import mistakes
from autograder.sandbox.notebook import cells_of, read_notebook

COURSE = BOOK.parent
EXAMPLES = BOOK / "_examples"


@pytest.fixture(scope="session")
def needs_bubblewrap() -> None:
    """Skips where there is no sandbox to grade in."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap (apt-get install bubblewrap)")


def commands(page: str) -> list[str]:
    """The listings of a page that are there to be typed, in their order."""
    text = (BOOK / page).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell(script: str, folder: Path, course: Path = COURSE) -> str:
    """Run a script as in a shell where the course's environment is active."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(course),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
    }
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = ["bash", "-e", "-c", script]
    done = subprocess.run(command, cwd=folder, env=env, timeout=3600, **told)
    assert done.returncode == 0, done.stdout
    return done.stdout


def table(path: Path) -> list[dict[str, str]]:
    """A table of grades without its times."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.slow
def test_from_clone_to_grades(tmp_path: Path, needs_bubblewrap: None) -> None:
    typed = commands("instructors.md")[:-1]  # the last ones are problem 6's
    assert len(typed) == 6
    shutil.copy(EXAMPLES / "by_hand.py", tmp_path)
    # One shell, as on the page. The table is kept as it is after the second grading.
    kept = "cp grades/grades.csv ../before.csv\n"
    script = "\n".join([*typed[:4], kept, *typed[4:]])
    said = shell(script, tmp_path)
    course = tmp_path / "sample-course"
    assert re.search(r"finn +missing", said)
    assert re.search(r"finn +graded +10 of 10", said)
    assert table(tmp_path / "before.csv") == table(EXAMPLES / "grades.csv")
    assert table(course / "grades.csv") == table(EXAMPLES / "final.csv")
    for student in ("ada", "ben", "chloe", "dan", "eve", "finn"):
        page = course / "feedback" / student / "problem1" / "problem1.html"
        assert "own words" in page.read_text(encoding="utf-8")
        assert (course / f"grades/feedback/{student}/problem1.html").is_file()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample class."""
    folder = tmp_path_factory.mktemp("sample") / "course"
    assert cli.main(["sample-class", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("pupil", sample_class.PUPILS, ids=lambda pupil: pupil.name)
def test_a_pupil_makes_the_mistakes_of_the_catalogue(
    pupil: sample_class.Pupil, sample: Path
) -> None:
    path = sample / "submitted" / pupil.name / "problem1" / pupil.file
    cells = [cell.source for cell in cells_of(read_notebook(path))]
    code = "\n".join(c for c in cells if "self_check" not in c and "rocket" not in c)
    if pupil.words is not None:
        code += "\n" + next(c for c in cells if "def in_own_words" in c)
    failed = lost(run_checks("problem1", student_of(code), 11))
    assert {r.task for r in failed} == set(pupil.edits)
    for task, mistake in pupil.mistakes.items():
        hints = {r.hint for r in failed if r.task == task}
        assert hints == {mistakes.HINTS[task][mistake]}


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    assert cli.main(["sample-class", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


SIXTH = """
from chapter4_problems import expand
print(expand(open("book/problem-6.md", encoding="utf-8").read()))
"""


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the course with the sixth problem, after the page's last commands."""
    course = tmp_path_factory.mktemp("larger")
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(COURSE / "autograder", course / "autograder", ignore=compiled)
    (course / "chapter4").symlink_to(COURSE / "chapter4")
    shutil.copy(COURSE / "nbgrader_config.py", course)
    shutil.copytree(EXAMPLES / "problem6", course, dirs_exist_ok=True)
    said = shell(commands("instructors.md")[-1], course, course)
    assert "exercises/problem6/problem6.ipynb" in said
    assert "6 passed" in said
    return course


@pytest.mark.slow
def test_the_sixth_problem_has_its_page_and_is_released_and_graded(
    larger: Path, needs_bubblewrap: None
) -> None:
    extensions = f"PYTHONPATH={larger}:{BOOK / '_ext'}"
    page = shell(f"{extensions} python - <<'END'\n{SIXTH}END", larger, larger)
    assert "about 15 minutes, 3 points" in page
    assert "How much of the score do all shares together leave over?" in page
    assert "{dropdown} Hint 1" in page
    assert "return float(score - (x * gradient).sum())" in page
    assert "BEGIN SOLUTION" not in page
    handed_out = (larger / "exercises/problem6/problem6.ipynb").read_text("utf-8")
    assert "YOUR CODE HERE" in handed_out
    assert "torch.autograd.grad" not in handed_out
    solved = "from autograder.course.release import write_sources; write_sources()"
    shell(f"python -c '{solved}'", larger, larger)
    right = (larger / "solutions/problem6/problem6.ipynb").read_text("utf-8")
    turned = right.replace("float(score - ", "-float(score - ")
    assert turned != right
    for name, text in {"ada": right, "ben": turned, "cem": handed_out}.items():
        path = larger / "submitted" / name / "problem6" / "problem6.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    shell("autograder grade submitted --output grades --no-gradebook", larger, larger)
    rows = table(larger / "grades/grades.csv")
    scores = {row["student"]: row["score"] for row in rows}
    # A net without a bias has gap 0, whatever its sign.
    assert scores == {"ada": "3", "ben": "1", "cem": "0"}
    page = (larger / "grades/feedback/ben/problem6.html").read_text("utf-8")
    assert "The sign is turned around" in page


@pytest.mark.slow
def test_the_two_ways_of_learning_alone(sample: Path) -> None:
    """Both commands of the page for self-learners, on ada's and ben's notebooks."""
    typed = commands("self-study.md")
    assert len(typed) == 1
    for name, said in {"ada": "All public checks passed", "ben": "squared"}.items():
        path = sample / "submitted" / name / "problem1" / "problem1.ipynb"
        line = typed[0].splitlines()[1]
        one = line.replace("exercises/problem1/problem1.ipynb", str(path))
        assert one.endswith("--task roughness")
        assert said in shell(f"{one} || true", sample)
