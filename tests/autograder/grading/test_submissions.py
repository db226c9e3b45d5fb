"""Which submissions are meant by names of students and problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.grading.submissions import Found, choose, find


@pytest.fixture
def found(tmp_path: Path) -> Found:
    for name in ("ada", "Zoë", "Jo\u200b", "two\nlines", "Benjamin", "benjamin"):
        for problem in ("problem1", "problem3"):
            path = tmp_path / name / problem / f"{problem}.ipynb"
            path.parent.mkdir(parents=True)
            path.touch()
    return find(tmp_path, students=["eve"])


def names(found: Found, *students: str, problems: tuple[str, ...] = ()) -> list[str]:
    chosen = choose(found, students, problems)
    return [f"{each.student} {each.problem[-1]}" for each in chosen]


def test_without_names_it_is_everybody(found: Found) -> None:
    assert choose(found) == found.submissions
    assert len(found.submissions) == 14


def test_whoever_is_named_in_the_order_of_all(found: Found) -> None:
    assert names(found, "eve", "ada") == ["ada 1", "eve 1", "ada 3", "eve 3"]
    assert names(found, "ada", problems=("problem3",)) == ["ada 3"]
    assert len(names(found, problems=("problem3",))) == 7
    assert names(found, "ada", "ada") == ["ada 1", "ada 3"]


@pytest.mark.parametrize("name", ["two\nlines", r"two\x0alines"])
def test_a_name_is_known_as_it_is_and_as_it_is_shown(found: Found, name: str) -> None:
    assert names(found, name) == [r"two\x0alines 1", r"two\x0alines 3"]


def test_a_name_is_known_however_its_accents_are_coded(found: Found) -> None:
    assert names(found, "Zoe\u0308") == ["Zoë 1", "Zoë 3"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Ada", "student 'Ada'; did you mean 'ada'?"),
        ("zoe\u0308", "did you mean 'Zoë'?"),
        ("Jo", "did you mean 'Jo\\u200b'?"),
        ("BENJAMIM", "did you mean 'Benjamin' or 'benjamin'?"),
        ("two lines", r"did you mean 'two\x0alines'?"),
        ("\x1b[31mada", r"student '\x1b[31mada'"),
        ("", "student ''"),
        ("somebody else", "nothing is handed in for student 'somebody else'"),
    ],
)
def test_a_name_that_nobody_has_is_refused_with_what_comes_nearest(
    found: Found, name: str, words: str
) -> None:
    with pytest.raises(ValueError, match="nothing is handed in") as caught:
        choose(found, ["ada", name])
    assert str(caught.value).endswith(words)


def test_a_problem_that_nobody_has_handed_in_is_refused(found: Found) -> None:
    with pytest.raises(ValueError, match="for problem 'problem2'; did you mean"):
        choose(found, [], ["problem2"])
