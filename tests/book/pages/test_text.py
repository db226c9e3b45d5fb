"""What the built pages say.

Numbers that a cell computed, numbered figures and formulas, headings in order, short
paragraphs.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

HTML = Path(__file__).resolve().parents[3] / "book" / "_build" / "html"
OWN = {"genindex", "index", "search"}  # Sphinx writes these
PAGES = sorted(p.stem for p in HTML.glob("*.html") if p.stem not in OWN)
# A decimal fraction or a percentage, no version and no arXiv number. Whole numbers
# count things that a reader can count.
NUMBER = re.compile(
    r"(?<![\w.-])[+−-]?(?!\d{4}\.\d{5})(\d+\.\d+|\d+(?= ?(?:%|per cent)))(?![\w.]*\w)"
)
WORDS_IN_A_PARAGRAPH = 90


@pytest.fixture(params=PAGES or ["intro"], scope="module")
def article(request: pytest.FixtureRequest) -> Tag:
    """Each page's own text, without the frame around it."""
    if not PAGES:
        pytest.skip("no built book: run `make book` first")
    text = (HTML / f"{request.param}.html").read_text(encoding="utf-8")
    found = BeautifulSoup(text, "html.parser").select_one("article")
    assert isinstance(found, Tag)
    return found


def running_text(root: Tag) -> list[str]:
    """Paragraphs, list items and table cells.

    Without code, formulas, links, captions of tables and citations, and without the
    docstrings on the reference page, which are read as code.
    """
    copy = BeautifulSoup(str(root), "html.parser")
    for part in copy.select(
        "div.cell, pre, code, .math, a, div.citation, p.page-facts, iframe, script,"
        " dl.py"
    ):
        part.decompose()
    return [p.get_text(" ", strip=True) for p in copy.select("p, li, dd")]


def test_a_number_in_the_text_stands_in_a_cell_or_a_formula(article: Tag) -> None:
    computed = " ".join(
        e.get_text() for e in article.select("div.cell, pre, code, .math")
    )
    numbers = {n.lstrip("0") for n in re.findall(r"\d*\.?\d+", computed)}
    unknown = {
        match[1]
        for text in running_text(article)
        for match in NUMBER.finditer(text)
        if match[1].lstrip("0") not in numbers
    }
    assert unknown == set()


def test_numbers_are_found() -> None:
    text = (
        "a tenth, 0.51 of it, 28 % or 28.5% or 5 per cent, at −1.8 of 1000, "
        "in 4.3.2, figure 4, x1.5, Apache-2.0, arXiv 2009.07896"
    )
    assert [m[1] for m in NUMBER.finditer(text)] == ["0.51", "28", "28.5", "5", "1.8"]


def test_every_figure_of_a_cell_has_a_number_and_a_caption(article: Tag) -> None:
    for image in article.select("div.cell_output img"):
        if image.find_parent("figure", class_="explorer") is not None:
            # A figure to touch has a caption of its own, and no number.
            assert len(str(image["alt"]).split()) > 3
            continue
        figure = image.find_parent("figure")
        assert figure is not None, "give the cell `mystnb: figure:`"
        assert figure.select_one("figcaption .caption-number") is not None
        assert len(figure.select_one("figcaption .caption-text").get_text().split()) > 3
        alt = str(image["alt"])
        assert len(alt.split()) > 5, f"says too little: {alt}"
        assert ".png" not in alt


def test_every_formula_has_a_number(article: Tag) -> None:
    shown = article.select("div.math")
    assert [f.get_text()[:60] for f in shown if f.select_one(".eqno") is None] == []


def test_headings_go_down_one_level_at_a_time(article: Tag) -> None:
    levels = [int(h.name[1]) for h in article.select("h1, h2, h3, h4, h5, h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_paragraphs_are_short(article: Tag) -> None:
    long = [
        text[:80]
        for text in running_text(article)
        if len(text.split()) > WORDS_IN_A_PARAGRAPH
    ]
    assert long == []


def test_colour_maps_are_even_and_readable_by_all(article: Tag) -> None:
    code = " ".join(e.get_text() for e in article.select("div.cell_input"))
    assert re.findall(r"\b(jet|hot|rainbow|RdYlGn|hsv)\b", code) == []
