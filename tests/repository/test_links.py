"""Links in the repository's texts lead to files and headings that exist, or https."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "autograder" / "templates").glob("*.md"),
        *(ROOT / "chapter4").rglob("*.md"),
        *(ROOT / "solutions").glob("*/*.md"),
    ]
)
OUTSIDE = re.compile(r"https://[\w-]+(\.[\w-]+)+(/[^\s<>]*)?")


def links(text: str) -> list[str]:
    """Where a Markdown text links to, pictures included; code is no link."""
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    inline = (t for t in MarkdownIt("commonmark").enable("table").parse(body))
    parts = [part for token in inline for part in token.children or []]
    found = [part.attrGet("href") or part.attrGet("src") for part in parts]
    return [str(address) for address in found if address]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them, and its own labels."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.strip().lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain} | set(
        re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)
    )


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link or link.startswith("mailto:"):
            good = OUTSIDE.fullmatch(link) is not None
        else:
            good = target.exists() and (not anchor or anchor in anchors(target))
        found += [] if good else [link]
    return found


@pytest.mark.parametrize("page", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    """No link leads nowhere."""
    assert dead(page) == []


def test_dead_links_are_seen(tmp_path: Path) -> None:
    """A missing file, a missing heading, plain http and a mistyped address."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, here\n\n[a](page.md#a-title-here) [b](#a-title-here) `[c](c.md)`"
        " [d](d.md) [e](#e)\n[f](http://example.org) [g](https://example)"
        " [h](https://example.org/h) ![i](i.png)\n"
    )
    assert dead(page) == [
        "d.md",
        "#e",
        "http://example.org",
        "https://example",
        "i.png",
    ]
