"""What the book says of the notebooks is what they are: points, minutes, difficulty, functions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

from autograder import release
from autograder.checking import points_of
from autograder.results import hand_points

BOOK = Path(__file__).resolve().parents[2] / "book"
PROBLEMS = release.problems()


def table() -> dict[str, list[str]]:
    """Problem -> difficulty, minutes, points from checks, points by hand."""
    text = (BOOK / "exercises.md").read_text(encoding="utf-8")
    _, _, text = text.partition(":name: tab-exercises")
    body, _, _ = text.partition("```")
    rows = re.findall(
        r"^\* - \{doc\}`(\d) <problem-\1>`\n((?:  - .*\n)+)", body, re.MULTILINE
    )
    return {f"problem{n}": re.findall(r"  - (.*)\n", cells) for n, cells in rows}


def page(problem: str) -> str:
    return (BOOK / f"problem-{problem[-1]}.md").read_text(encoding="utf-8")


def notebook(problem: str) -> nbformat.NotebookNode:
    path = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
    return nbformat.read(path, 4)


def test_the_table_has_every_problem() -> None:
    assert list(table()) == PROBLEMS


@pytest.mark.parametrize("problem", PROBLEMS)
def test_points_are_those_of_the_checks_and_of_the_notebook(problem: str) -> None:
    _, _, automatic, by_hand = table()[problem]
    assert float(automatic) == sum(points_of(problem).values())
    assert float(by_hand) == hand_points(problem, [release.COURSE])
    total = float(automatic) + float(by_hand)
    assert f" {total:g} points" in notebook(problem).cells[0].source


@pytest.mark.parametrize("problem", PROBLEMS)
def test_difficulty_and_minutes_are_one_everywhere(problem: str) -> None:
    difficulty, minutes, *_ = table()[problem]
    first = notebook(problem).cells[0].source
    assert f"\n{difficulty}. About {minutes} minutes." in first
    assert f":difficulty: {difficulty}\n" in page(problem)
    assert f"\nAbout {minutes} minutes." in page(problem)
    listed = (BOOK / "exercises.md").read_text(encoding="utf-8")
    assert f"*{difficulty}.* {{doc}}`problem-{problem[-1]}`" in listed


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_page_names_its_notebook_and_every_function_in_it(problem: str) -> None:
    told = re.search(
        rf"`exercises/{problem}/{problem}\.ipynb`, in which you write (.*?);",
        page(problem),
        re.DOTALL,
    )
    assert told is not None
    asked = [
        node.name
        for cell in notebook(problem).cells
        if cell.cell_type == "code" and "YOUR CODE HERE" in cell.source
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert re.findall(r"`(\w+)`", told[1]) == asked
