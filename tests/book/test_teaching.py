"""Each section's learning aids, the glossary, the notation, and the reader's marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from small_books import BOOK

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECTIONS = ("gradients", "gradcam", "integrated-gradients", "attention", "practice")
MARK = ".reading-progress button >> nth=0"
FORGET = ".reading-progress button >> nth=1"
TICKS = "#pst-primary-sidebar .page-read"
# What a reader sees and what a screen reader says, in one text.
TICK = " ✓ (read)"


def source(page: str) -> str:
    """The page as it was written."""
    return (BOOK / f"{page}.md").read_text(encoding="utf-8")


def part(page: str, label: str) -> str:
    """A page from a label to the next heading of the same level, or a higher one."""
    found = re.search(rf"^\({label}\)=\n(#+) .*\n", source(page), re.MULTILINE)
    assert found, f"{page}: no heading with the label {label}"
    rest = source(page)[found.end() :]
    return re.split(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("page", SECTIONS)
def test_a_section_has_every_part(page: str) -> None:
    """One of its figures shows where the method misleads; what to read is cited."""
    text = source(page)
    parts = {
        "a schematic": "```{mermaid}",
        "a labelled formula": "```{math}\n:label:",
        "code of the package": "```{literalinclude} ../chapter4/",
        "a cell": "```{code-cell}",
        "a figure": "  figure:\n",
        "what to remember": "\n## What to remember\n",
    }
    assert [what for what, mark in parts.items() if mark not in text] == []
    assert "  figure:\n    name: fig-" in part(page, f"{page}-misleads")
    following = text.split("\n## What to read next\n")[1]
    cited = re.findall(r"\{cite:[tp]\}`([\w,]+)`", following)
    assert len(cited) >= 3
    listed = (BOOK / "references.bib").read_text(encoding="utf-8")
    assert [key for key in cited if f"{{{key}," not in listed] == []


@pytest.mark.parametrize("page", SECTIONS)
def test_a_quiz_has_folded_answers_that_say_why(page: str) -> None:
    """One answer is right, and the answer speaks of each option.

    It says why the option is tempting, or why it is wrong.
    """
    quiz = part(page, f"quiz-{page}")
    questions = re.split(r"^\*\*(\d+)\.\*\* ", quiz, flags=re.MULTILINE)[1:]
    numbers, bodies = questions[::2], questions[1::2]
    assert 4 <= len(numbers) <= 6
    assert numbers == [str(n + 1) for n in range(len(numbers))]
    right = []
    for number, body in zip(numbers, bodies, strict=True):
        asked, answer = body.split(f"```{{dropdown}} Answer to question {number}\n")
        assert asked.split("\n\n")[0].endswith("?")
        options = re.findall(r"^- \*\*(\w)\*\* \S", asked, re.MULTILINE)
        assert options == ["a", "b", "c"]
        assert ":open:" not in answer
        chosen = re.match(r"\*\*([abc])\.\*\* ", answer)
        assert chosen, f"{page}, question {number}: the answer names no option"
        right.append(chosen[1])
        for option in set(options) - {chosen[1]}:
            assert f"**{option}**" in answer, f"{page}, question {number}: {option}?"
        assert re.search(r"\*\*[abc]\*\*\s+tempts,\s+because", answer)
        assert answer.rstrip().endswith("```")
    assert len(set(right)) == 3, "the right answer is always the same letter"


def symbols(formula: str) -> set[str]:
    """Letters and named signs of a formula, without layout, numbers and punctuation."""
    layout = (
        "begin|end|left|right|frac|sqrt|sum|int|partial|cdot|cdots|quad|qquad|in|le|"
        "approx|gathered|max|min|bar|hat|Big|big|bigl|bigr|label|sim"
    )
    formula = re.sub(r"\\(?:begin|end)\{\w+\}|:label: .*", " ", formula)
    # A name in letters is one symbol, whatever its font.
    named = re.findall(r"\\(?:mathrm|text)\{(\w+)\}|\\(exp)\b", formula)
    formula = re.sub(r"\\(?:mathrm|text)\{\w+\}|\\exp\b", " ", formula)
    signs = set(re.findall(r"\\([A-Za-z]+)", formula)) - set(layout.split("|"))
    letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))
    return signs | letters | {first or second for first, second in named}


def test_symbols_are_found() -> None:
    assert symbols(r"\alpha_k^c = \frac{1}{Z} \sum_{i=1}^{h} \mathrm{ReLU}(A)") == (
        {"alpha", "k", "c", "Z", "i", "h", "ReLU", "A"}
    )


@pytest.mark.parametrize("page", SECTIONS)
def test_the_notation_names_every_symbol(page: str) -> None:
    """Each symbol of a section's formulas is in its table or in the general one."""
    short = {"integrated-gradients": "ig"}.get(page, page)
    known: set[str] = set()
    for name in ("tab-notation", f"tab-notation-{short}"):
        table = source("notation").split(f":name: {name}\n")[1].split("\n```")[0]
        for formula in re.findall(r"\$([^$]+)\$", table):
            known |= symbols(formula)
    formulas = re.findall(r"^```\{math\}\n(.*?)^```", source(page), re.M | re.S)
    assert formulas
    used = set().union(*map(symbols, formulas)) - {"d"}  # of an integral
    assert used - known == set()


def test_the_glossary_explains_the_words_that_pages_link() -> None:
    """A term is explained once, and every section links some."""
    glossary = source("glossary").split("```{glossary}\n")[1].split("\n```")[0]
    terms = re.findall(r"^(?! |:)(\S.*)$", glossary, re.MULTILINE)
    assert len(terms) == len(set(terms)) >= 40
    for page in SECTIONS:
        linked = re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", source(page))
        assert len(set(linked)) >= 3, page
        assert set(linked) <= set(terms), page


def test_the_cheat_sheet_leads_to_every_failure() -> None:
    table = source("cheat-sheet")
    assert [p for p in SECTIONS if f"{{ref}}`{p}-misleads`" not in table] == []


def test_pages_are_marked_read_until_the_reader_forgets(
    home: str, visit: Callable[..., Page]
) -> None:
    """By keyboard alone; the ticks show on other pages, and at the next visit too."""
    page = visit("gradcam.html")
    assert page.locator(TICKS).count() == 0
    assert not page.locator(FORGET).is_visible()
    page.locator(MARK).press("Enter")
    assert page.locator(MARK).inner_text() == "Mark this page as not read"
    status = page.locator(".reading-progress [role=status]").inner_text()
    assert status.startswith("1 of ")
    page.goto(home + "attention.html")
    link = page.locator("#pst-primary-sidebar nav a", has=page.locator(".page-read"))
    assert link.get_attribute("href") == "gradcam.html"
    assert link.text_content().endswith(TICK)
    assert page.locator(MARK).inner_text() == "Mark this page as read"
    page.locator(MARK).click()
    assert page.locator(TICKS).count() == 2
    page.locator(FORGET).click()
    assert page.locator(TICKS).count() == 0
    assert page.evaluate("localStorage.getItem('chapter4.pages-read')") is None
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "Mark this page as read"


def test_whatever_is_stored_does_not_break_a_page(visit: Callable[..., Page]) -> None:
    page = visit("gradcam.html")
    for kept in ("", "{", "null", '"gradients"', "[1, null]", '{"gradients": true}'):
        page.evaluate("kept => localStorage.setItem('chapter4.pages-read', kept)", kept)
        page.reload()
        assert page.locator(MARK).inner_text() == "Mark this page as read", kept


def test_without_storage_there_is_no_button(
    home: str, new_page: Callable[..., Page]
) -> None:
    """A browser that forbids storage shows the page as it was.

    The theme's own scripts complain, ours does not.
    """
    page = new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error.stack)))
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', "
        "{get() { throw new DOMException('no', 'SecurityError'); }})"
    )
    page.goto(home + "gradcam.html")
    page.wait_for_function("window.chapter4Drawn !== undefined")
    assert [stack for stack in errors if "progress.js" in stack] == []
    assert page.locator(".reading-progress").count() == 0
    assert page.locator("article h1").count() == 1
