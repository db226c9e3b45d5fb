"""Puts the problems on the pages, from their one source in solutions/.

A page says where, with one of these directives in a fenced block of its own:
``{problem-facts} 2``, ``{problem-statement} 2``, ``{problem-tasks} 2``,
``{problem-answer} 2 smooth-grad``, ``{problem-table}``. The text is there before MyST
reads the page, so that headings, folded hints and tables are parsed like those of the
page itself.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from autograder.course.release import COURSE, problems
from autograder.course.source import STUDY, Part, Problem, read_problem

BLOCK = re.compile(r"^```\{(problem-\w+)\}(.*)\n```\n", re.MULTILINE)
HINT = re.compile(r"<details><summary>(.*?)</summary>\n\n(.*?)\n\n</details>", re.S)
RUBRIC = re.compile(r"\*\*(.+?)\*\* \((.+?)\)\. (.*)", re.S)
TABLE = re.compile(r"^\|.*\|\n\|[-|]+\|\n(?:\|.*\|(?:\n|\Z))+", re.MULTILINE)
# A phone has room for so many columns. With more, the cells are one below the other.
COLUMNS_ON_A_PHONE = 2


def facts(problem: Problem) -> str:
    """The line under a page's title."""
    return (
        f"```{{page-facts}}\n:difficulty: {problem.difficulty}\n"
        f":tasks: about {problem.minutes} minutes, {problem.points} points\n```\n"
    )


def tasks(problem: Problem) -> str:
    """The tasks with their hints folded, the code that is given, and the rubric.

    Of the cell that puts everything together only the text is shown, because the answer
    on the page has its code.
    """
    name = problem.name
    opening = (
        f"These are the tasks of the notebook `exercises/{name}/{name}.ipynb`;"
        " {doc}`exercises` says how to open it and how to check what you write."
    )
    begin = "It begins with these imports:"
    shown = [_shown(p) for p in problem.parts if p.kind != "answer" and p.name != STUDY]
    return "\n\n".join([opening, begin, *shown]) + "\n"


def answer(problem: Problem, task: str) -> str:
    """The listing of a task's sample answer."""
    return _listing(problem.answer(task)) + "\n"


def table() -> str:
    """Difficulty, minutes and points of all problems."""
    lines = [
        (
            "````{list-table} The notebooks: minutes, points from the checks, points by"
            " hand."
        ),
        ":name: tab-exercises\n:header-rows: 1\n:widths: auto\n",
        "* - No.\n  - Difficulty\n  - Minutes\n  - Checks\n  - By hand",
    ]
    for problem in map(read_problem, problems()):
        number = problem.name[-1]
        lines.append(
            f"* - {{doc}}`{number} <problem-{number}>`\n  - {problem.difficulty}\n"
            f"  - {problem.minutes}\n  - {problem.points - problem.by_hand}\n"
            f"  - {problem.by_hand}"
        )
    return "\n".join(lines) + "\n````\n"


def _shown(part: Part) -> str:
    if part.kind == "given":
        return _listing(part.content)
    if part.kind == "rubric":
        found = RUBRIC.match(part.content)
        if found is None:
            raise ValueError(f"{part.name}: a rubric begins with **title** (points).")
        title, points, rest = found.groups()
        return f":::::{{dropdown}} {title} ({points})\n{_mend_tables(rest)}\n:::::"
    text = HINT.sub(r":::::{dropdown} \1\n\2\n:::::\n", part.content)
    return _mend_tables(text)


def _listing(code: str) -> str:
    return f"```{{code-block}} python\n{code}\n```"


def _mend_tables(text: str) -> str:
    """Give wide tables the class that makes them fit on a phone."""

    def mended(found: re.Match[str]) -> str:
        columns = found[0].split("\n", 1)[0].count("|") - 1
        if columns <= COLUMNS_ON_A_PHONE:
            return found[0]
        return f"````{{table}}\n:class: stacked\n\n{found[0].rstrip()}\n````\n"

    return TABLE.sub(mended, text)


def written(directive: str, *arguments: str) -> str:
    """The MyST text for a block such as ``{problem-answer} 2 smooth-grad``."""
    if directive == "problem-table":
        return table()
    number, *task = arguments
    problem = read_problem(f"problem{number}")
    match directive, *task:
        case ("problem-facts",):
            return facts(problem)
        case ("problem-statement",):
            return problem.statement + "\n"
        case ("problem-tasks",):
            return tasks(problem)
        case "problem-answer", name:
            return answer(problem, name)
    raise ValueError(f"no such part: {{{directive}}} {' '.join(arguments)}")


def expand(page: str) -> str:
    """A page's text, with each block replaced by its text."""
    return BLOCK.sub(lambda found: written(found[1], *found[2].split()), page)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Expand a page when Sphinx reads it; note that it depends on the sources."""
    if BLOCK.search(source[0]) is None:
        return
    for name in problems():
        path = COURSE / "solutions" / name / f"{name}.md"
        app.env.note_dependency(str(path))
    try:
        source[0] = expand(source[0])
    except ValueError as error:
        raise ExtensionError(f"{docname}: {error}") from error


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("source-read", read)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
