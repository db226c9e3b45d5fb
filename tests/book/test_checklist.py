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

from small_books import BOOK, page_text

CHECKLIST = tomllib.loads(
    Path(__file__).with_name("checklist.toml").read_text(encoding="utf-8")
)
ITEMS = CHECKLIST["item"]
KINDS = (
    "front matter|heading|objective|text|quote|diagram|formula|figure|table|code"
    "|requirements|call|claim|observation|answer|reference"
)
STATUS = ("kept", "corrected", "left out")
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


# Kind of place -> the directives whose blocks have it, and the option that names it;
# without an option it stands anywhere in the block.
BLOCKS = {
    "figure": (("code-cell", "figure"), "name"),
    "formula": (("math",), "label"),
    "table": (("table", "list-table", "code-cell"), "name"),
    "listing": (("literalinclude",), "pyobject"),
    "cell": (("code-cell", "code-block"), None),
    "diagram": (("mermaid",), None),
}


def found(page: str, kind: str, wanted: str) -> bool:
    """Whether a page has what an entry of the checklist says it has."""
    if kind in BLOCKS:
        directives, name = BLOCKS[kind]
        blocks = fenced(page, *directives)
        return any(wanted in (option(b, name) if name else b) for b in blocks)
    match kind:
        case "heading":
            lines = source(page).splitlines()
            return wanted in [x.lstrip("# ").strip() for x in lines if x[:1] == "#"]
        case "cite":
            cited = re.findall(r"\{cite:[pt]\}`([^`]+)`", source(page))
            known = (BOOK / "references.bib").read_text(encoding="utf-8")
            return f"{{{wanted}," in known and any(
                wanted in group.split(",") for group in cited
            )
        case "text":
            return wanted in prose(page)
        case "directive":
            return bool(fenced(page, wanted))
    raise AssertionError(f"checklist.toml: no such kind of place: {kind}")


def test_every_line_of_the_printed_chapter_belongs_to_one_item() -> None:
    count = Counter(
        line
        for first, last in [item["lines"] for item in ITEMS] + CHECKLIST["blank"]
        for line in range(first, last + 1)
    )
    assert sorted(count) == list(range(1, CHECKLIST["printed_lines"] + 1))
    assert [line for line, times in count.items() if times > 1] == []


def wrong_with(item: dict) -> list[str]:
    """What the checklist says of an item that isn't so."""
    said = []
    if not re.fullmatch(KINDS, item["kind"]) or item["status"] not in STATUS:
        said.append("no such kind or status")
    if item["status"] != "kept" and len(item["reason"].split()) <= 2:
        said.append("no reason")
    if not item["where"] and item["status"] != "left out":
        said.append("no place")
    pages = [place["page"] for place in item["where"]]
    if item["status"] == "corrected" and "corrections" not in pages:
        said.append("not on the page of corrections")
    for place in item["where"]:
        page, (kind, wanted) = place["page"], [*place.items()][-1]
        if not found(page, kind, wanted):
            said.append(f"book/{page}.md has no {kind} {wanted!r}")
    return said


def test_every_item_is_where_the_checklist_says() -> None:
    wrong = {f"{i['lines']} {i['printed']}": wrong_with(i) for i in ITEMS}
    assert {name: said for name, said in wrong.items() if said} == {}


def test_an_item_that_is_not_so_is_told() -> None:
    place = {"page": "intro", "heading": "No such heading"}
    item = {"kind": "call", "status": "corrected", "reason": "so", "where": [place]}
    assert wrong_with(item) == [
        "no reason",
        "not on the page of corrections",
        "book/intro.md has no heading 'No such heading'",
    ]
    item |= {"kind": "song", "where": [], "reason": "it was not right"}
    assert wrong_with(item) == [
        "no such kind or status",
        "no place",
        "not on the page of corrections",
    ]


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
