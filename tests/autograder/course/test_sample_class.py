"""The sample class: each pupil makes the mistakes of the catalogue that are meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from submissions import lost, student_of

from autograder import cli
from autograder.checking.runner import run_checks
from autograder.course import sample_class
from autograder.problems.problem1.instructors import mistakes
from autograder.sandbox.notebook import cells_of, read_notebook


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
