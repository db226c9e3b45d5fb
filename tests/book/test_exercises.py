"""The problems' pages say what their notebooks say: both come from one source."""

from __future__ import annotations

import ast
import copy
import re
import shutil
from functools import cache

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag
from chapter4_problems import expand
from markdown_it import MarkdownIt
from small_books import BOOK, build_book, page_text

from autograder.checking.runner import points_of
from autograder.course import release
from autograder.course.source import read_problem, sample_answer
from autograder.grading.export import hand_points

PROBLEMS = release.problems()
PAGES = ["exercises", *(f"problem-{name[-1]}" for name in PROBLEMS)]
# Of the first cell: what a page, which has no cells under its tasks, doesn't say.
OF_THE_NOTEBOOK = "The cell under each task runs the public checks"
# By the study or by another function of the same answer, which a page calls.
CALLED_BY_OTHERS = {"change_under", "error_curve", "grad_cam", "integrated_gradients"}
IN_WORDS = {"statements", "in_own_words", "explanation"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tag]:
    """The problems' pages, built from their present sources; nothing is executed."""
    folder = tmp_path_factory.mktemp("book")
    for name in PAGES:
        shutil.copy(BOOK / f"{name}.md", folder)
    settings = {
        "extensions": ["sphinx_design", "myst_nb", "sphinx_exercise", "chapter4_book"],
        "myst_enable_extensions": ["amsmath", "colon_fence", "dollarmath"],
        "nb_execution_mode": "off",
        "root_doc": "exercises",
        "smartquotes": False,
        # A list of its own: MyST-NB would add to Sphinx's default list, and later
        # builds share that.
        "source_suffix": {".md": "myst-nb"},
    }
    build_book(folder, folder, settings)
    pages = {}
    for name in PAGES:
        html = (folder / "out" / f"{name}.html").read_text(encoding="utf-8")
        pages[name] = BeautifulSoup(html, "html.parser").select_one("div.body")
    return pages


@pytest.fixture(params=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> str:
    """The name of each problem."""
    return request.param


def page_of(problem: str) -> str:
    return f"problem-{problem[-1]}"


@pytest.fixture
def page(problem: str, built: dict[str, Tag]) -> Tag:
    """The problem's page."""
    return built[page_of(problem)]


@cache
def cells(problem: str) -> list[nbformat.NotebookNode]:
    """The cells of the source, as jupytext reads them."""
    path = release.COURSE / "solutions" / problem / f"{problem}.md"
    return release.source_notebook(path).cells


@cache
def notebook(problem: str) -> nbformat.NotebookNode:
    path = release.COURSE / "exercises" / problem / f"{problem}.ipynb"
    return nbformat.read(path, 4)


def words(element: Tag) -> str:
    """An element's own text, without the blocks in it, which count by themselves."""
    own = copy.copy(element)
    for inner in own.select("li, table, details, .column-name, a.headerlink"):
        inner.extract()
    for inner in own.select("p"):
        inner.unwrap()
    return " ".join(own.get_text().split())


def blocks(root: Tag) -> list[str]:
    """Headings, paragraphs, list items and table cells."""
    found = root.select("h1, h2, h3, p, li, td, th, summary")
    return [words(e) for e in found if "column-name" not in e.get("class", [])]


def rendered(markdown: str) -> list[str]:
    """The blocks of a Markdown text by a parser that knows nothing of Sphinx."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return [b for b in blocks(BeautifulSoup(html, "html.parser")) if b]


def told(problem: str) -> list[str]:
    """All that the source tells a reader of the page, without the mark scheme."""
    texts = [c.source for c in cells(problem) if c.cell_type == "markdown"]
    _, facts, *paragraphs = texts[0].split("\n\n")
    turn = next(i for i, p in enumerate(paragraphs) if p.startswith(OF_THE_NOTEBOOK))
    statement = "\n\n".join(paragraphs[:turn])
    assert facts.count(" points: ") == 1
    text = "\n\n".join([statement, *texts[1:]])
    return rendered(
        re.sub(r"=== BEGIN MARK.*?END MARK SCHEME ===", "", text, flags=re.S)
    )


def without_marks(code: str) -> str:
    return "\n".join(line for line in code.split("\n") if "### " not in line).strip()


def test_the_page_has_every_word_of_the_source(problem: str, page: Tag) -> None:
    """Statement, tasks, hints and rubric, in order and outside the answer.

    The hints are folded, each under its task.
    """
    page = copy.copy(page)
    for answer in page.select("div.solution"):
        answer.decompose()
    shown = blocks(page)
    wanted = told(problem)
    assert len(wanted) > 20
    # A rubric's first line is the title of the fold on the page.
    wanted = [w for w in wanted if not w.startswith("Rubric for task")]
    following = iter(shown)
    assert [text for text in wanted if text not in following] == []
    headings = [w for w in wanted if w.startswith("Task ")]
    assert [s for s in shown if s.startswith("Task ")] == headings
    rubrics = [c for c in cells(problem) if "**Rubric" in c.source]
    assert len(rubrics) == len(page.select("details table"))
    assert not page.find(string=re.compile("MARK SCHEME|BEGIN SOLUTION|self_check"))
    assert "<details><summary>" not in page.get_text()
    folds = page.select("details")
    assert [fold for fold in folds if "open" in fold.attrs] == []
    titles = [words(fold.summary) for fold in folds]
    hints = [w for w in wanted if w.startswith("Hint")]
    assert [title for title in titles if title.startswith("Hint")] == hints
    assert len(hints) > 4


def test_given_code_is_on_the_page_and_every_sample_answer_inside_the_fold(
    problem: str, page: Tag
) -> None:
    """Students get the pages without what is inside the fold. No check is there."""
    (fold,) = page.select("div.solution")
    assert "dropdown" in fold["class"]
    inside = [e.get_text().strip() for e in fold.select("pre")]
    shown = [e.get_text().strip() for e in page.select("pre")]
    code = [c for c in cells(problem) if c.cell_type == "code"]
    answers = [without_marks(c.source) for c in code if "BEGIN SOLUTION" in c.source]
    assert len(answers) > 3
    for answer in answers:
        assert (inside.count(answer), shown.count(answer)) == (1, 1), answer
    given = [c.source.strip() for c in code if "nbgrader" not in c.metadata]
    assert given
    assert [text for text in given if text not in shown] == []
    assert "self_check" not in page.get_text()


def test_the_page_runs_the_answer_and_has_no_other(problem: str) -> None:
    """The sample answer has every function that a student writes."""
    asked = {
        node.name
        for cell in notebook(problem).cells
        if cell.cell_type == "code" and "YOUR CODE HERE" in cell.source
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(asked) > 2
    functions = set(vars(sample_answer(int(problem[-1]))))
    assert asked <= functions
    text = (BOOK / f"{page_of(problem)}.md").read_text(encoding="utf-8")
    own = re.findall(r"^```\{code-cell\}.*?\n(.*?)^```$", text, re.M | re.S)
    code = "\n".join(re.sub(r"\A---\n.*?^---\n", "", c, flags=re.M | re.S) for c in own)
    defined = {
        n.name for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef)
    }
    assert defined & functions == set()
    assert f"answer = sample_answer({problem[-1]})" in code
    called = set(re.findall(r"\banswer\.(\w+)\(", code))
    assert asked - called <= CALLED_BY_OTHERS | IN_WORDS


def test_sample_answers_are_the_sources_code() -> None:
    """By value: 1 / sqrt(n) is at most a quarter from 16 samples on."""
    answer = sample_answer(2)
    assert answer.samples_needed([1.0, 0.5], [1, 4], 0.25) == 16
    with pytest.raises(ValueError, match="no source of problem9"):
        sample_answer(9)
    with pytest.raises(ValueError, match="no sample answer 'x': choose from smooth-"):
        read_problem("problem2").answer("x")


def test_title_difficulty_minutes_and_points_are_the_checks_and_the_sources(
    problem: str, page: Tag, built: dict[str, Tag]
) -> None:
    title = cells(problem)[0].source.split("\n")[0].removeprefix("# ")
    assert words(page.h1) == title
    box = page.select_one("div.exercise p.admonition-title")
    assert words(box).endswith(f"({title.partition(': ')[2]})")
    automatic = sum(points_of(problem).values())
    by_hand = hand_points(release.COURSE / "exercises" / problem / f"{problem}.ipynb")
    first = notebook(problem).cells[0].source
    difficulty, minutes, total = re.search(
        r"^(Easy|Medium|Hard)\. About (\d+) minutes\. (\d+) points: ",
        first.replace("\n", " ").split("  ", 1)[1],
    ).groups()
    assert float(total) == automatic + by_hand
    facts = words(page.select_one("p.page-facts"))
    assert facts.startswith(
        f"Difficulty: {difficulty} · Tasks: about {minutes} minutes, {total} points · "
    )
    rows = built["exercises"].select("table tbody tr")
    row = [words(cell) for cell in rows[PROBLEMS.index(problem)].select("td")]
    assert row == [problem[-1], difficulty, minutes, f"{automatic:g}", f"{by_hand:g}"]


def test_the_release_has_statements_and_hints_and_no_line_of_an_answer(
    problem: str,
) -> None:
    texts = [c.source for c in notebook(problem).cells if c.cell_type == "markdown"]
    given = "\n\n".join(texts)
    assert OF_THE_NOTEBOOK in texts[0]
    shown = rendered(given)
    assert [block for block in told(problem) if block not in shown] == []
    source = "\n".join(c.source for c in cells(problem))
    outside = re.sub(r"### BEGIN SOLUTION.*?### END SOLUTION", "", source, flags=re.S)
    released = "\n".join(c.source for c in notebook(problem).cells)
    inside = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", source, re.S)
    lines = {line.strip() for body in inside for line in body.split("\n")}
    own = {line for line in lines if len(line) > 12 and line not in outside}
    assert len(own) > 5
    assert {line for line in own if line in released} == set()


def test_a_wrong_block_is_refused() -> None:
    for block in ("problem-answer} 2 smooth", "problem-nothing} 2", "problem-tasks} 7"):
        with pytest.raises(ValueError, match="no "):
            expand(f"```{{{block}\n```\n")


def test_pages_without_a_problem_stay_as_they_are() -> None:
    text = (BOOK / "gradients.md").read_text(encoding="utf-8")
    assert page_text("gradients") == text
