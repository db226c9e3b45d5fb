"""Nothing of the printed chapter is missing.

Each of its lines belongs to an item of checklist.toml, and each item is found on the
page that the checklist names, or is left out for a reason.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from problem_pages import page_text

BOOK = Path(__file__).resolve().parents[2] / "book"
CHECKLIST = tomllib.loads(
    Path(__file__).with_name("checklist.toml").read_text(encoding="utf-8")
)
ITEMS = CHECKLIST["item"]
KINDS = {
    "front matter",
    "heading",
    "objective",
    "text",
    "quote",
    "diagram",
    "formula",
    "figure",
    "table",
    "code",
    "requirements",
    "call",
    "claim",
    "observation",
    "answer",
    "reference",
}
FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<head>[^\n]*)\n(?P<body>.*?)^(?P=fence)\s*$",
    re.M | re.S,
)


@cache
def source(page: str) -> str:
    """The page's MyST source, without its front matter, with the problems' parts."""
    return re.sub(r"\A---\n.*?\n---\n", "", page_text(page), flags=re.S)


def fenced(page: str, *directives: str) -> list[str]:
    """The fenced blocks of these directives, options and all."""
    blocks = FENCE.finditer(source(page))
    return [
        b.group(0)
        for b in blocks
        if b["head"].startswith(tuple(f"{{{d}}}" for d in directives))
    ]


def option(block: str, name: str) -> list[str]:
    """The values of one option of a block, in either spelling of MyST."""
    return [
        v.strip().strip("\"'")
        for v in re.findall(rf"^\s*:?{name}: *(.+)$", block, re.M)
    ]


def prose(page: str) -> str:
    """The page without its code cells."""
    return FENCE.sub(
        lambda b: "" if b["head"].startswith("{code-cell}") else b[0], source(page)
    )


def found(page: str, kind: str, wanted: str) -> bool:
    """Whether a page has what an entry of the checklist says it has."""
    match kind:
        case "heading":
            return any(
                wanted == line.lstrip("# ").strip()
                for line in source(page).splitlines()
                if line.startswith("#")
            )
        case "figure":
            blocks = fenced(page, "code-cell", "figure")
            return any(wanted in option(block, "name") for block in blocks)
        case "formula":
            return any(
                wanted in option(block, "label") for block in fenced(page, "math")
            )
        case "table":
            blocks = fenced(page, "table", "list-table", "code-cell")
            return any(wanted in option(block, "name") for block in blocks)
        case "listing":
            return any(
                wanted in option(block, "pyobject")
                for block in fenced(page, "literalinclude")
            )
        case "cell":
            return any(
                wanted in block for block in fenced(page, "code-cell", "code-block")
            )
        case "diagram":
            return any(wanted in block for block in fenced(page, "mermaid"))
        case "cite":
            cited = re.findall(r"\{cite:[pt]\}`([^`]+)`", source(page))
            known = f"{{{wanted}," in (BOOK / "references.bib").read_text(
                encoding="utf-8"
            )
            return known and any(wanted in group.split(",") for group in cited)
        case "text":
            return wanted in prose(page)
        case "directive":
            return bool(fenced(page, wanted))
    raise AssertionError(f"checklist.toml: no such kind of place: {kind}")


def name_of(item: dict) -> str:
    """What a failing test is called."""
    first, last = item["lines"]
    return f"{first}-{last} {item['kind']}: {item['printed'][:50]}"


def test_every_line_of_the_printed_chapter_belongs_to_one_item() -> None:
    count = Counter(
        line
        for first, last in [item["lines"] for item in ITEMS] + CHECKLIST["blank"]
        for line in range(first, last + 1)
    )
    assert sorted(count) == list(range(1, CHECKLIST["printed_lines"] + 1))
    assert [line for line, times in count.items() if times > 1] == []


@pytest.mark.parametrize("item", ITEMS, ids=name_of)
def test_an_item_is_where_the_checklist_says(item: dict) -> None:
    assert item["kind"] in KINDS
    assert item["status"] in ("kept", "corrected", "left out")
    if item["status"] != "kept":
        assert len(item["reason"].split()) > 2, "say why"
    assert item["where"] or item["status"] == "left out"
    for place in item["where"]:
        page, (kind, wanted) = (
            place["page"],
            *[p for p in place.items() if p[0] != "page"],
        )
        assert found(page, kind, wanted), f"book/{page}.md has no {kind} {wanted!r}"


@pytest.mark.parametrize(
    "item", [i for i in ITEMS if i["status"] == "corrected"], ids=name_of
)
def test_what_was_corrected_stands_on_the_page_of_corrections(item: dict) -> None:
    assert any(place["page"] == "corrections" for place in item["where"])


def test_the_checks_can_fail() -> None:
    places = {
        "heading": "Vanilla gradients",
        "figure": "fig-vanilla",
        "formula": "saliency",
        "listing": "vanilla_gradients",
        "cell": "vanilla_gradients(",
        "diagram": "accDescr",
        "cite": "simonyan2013",
        "text": "logit",
        "directive": "mermaid",
    }
    for kind, wanted in places.items():
        assert found("gradients", kind, wanted), kind
        assert not found("gradients", kind, f"no {wanted}"), kind
    assert not found("references", "text", "logit")
