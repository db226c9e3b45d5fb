"""British spelling of what people read: pages, problems, README and docstrings.

Three sources say which words there are: Hunspell's American dictionary (spylls reads
it), codespell's table of British and American pairs, and words.txt beside it with the
words of the field and names. What stands as code is not read.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import codespell_lib
import pytest
from markdown_it import MarkdownIt
from spylls.hunspell import Dictionary

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted(
    [
        *(ROOT / "book").glob("*.md"),
        *ROOT.glob("*.md"),
        *(ROOT / "solutions").glob("*/*.md"),
        *(ROOT / "autograder" / "templates").glob("*.md"),
    ]
)
CODE = sorted(
    path
    for folder in ("autograder", "book", "chapter4")
    for path in (ROOT / folder).rglob("*.py")
    if "_build" not in path.parts
)
# Directives whose content is text; of the others only these options are.
PROSE = {
    "admonition",
    "dropdown",
    "exercise-start",
    "figure",
    "glossary",
    "list-table",
    "note",
    "raw",
    "solution-start",
    "table",
    "tip",
    "warning",
}
READ_OPTIONS = re.compile(r"(?:alt|caption|accTitle|accDescr): *(.*)")
MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
OPTIONS = re.compile(r"\A(?::[\w-]+:.*\n)+")
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
ROLE_OR_TAG = re.compile(r"\{[a-z:-]+\}|<[^>\n]+>|https?://\S+")


@cache
def british_pairs() -> dict[str, str]:
    """British word -> the American one."""
    table = files("codespell_lib") / "data" / "dictionary_en-GB_to_en-US.txt"
    pairs = (line.split("->") for line in table.read_text("utf-8").split())
    return {british: american.rstrip(",") for british, american in pairs}


@cache
def our_words() -> frozenset[str]:
    """Words of the field, and names."""
    lines = (
        Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines()
    )
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def hunspell() -> Dictionary:
    """The American dictionary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it closes no file
        return Dictionary.from_files("en_US")


def fault(word: str) -> str | None:
    """Why a word is wrong, if it is."""
    plain = word.replace("’", "'")
    lower = plain.lower()
    if lower in our_words() or lower.removesuffix("'s") in our_words():
        return None
    if lower in _american():
        return f"American for {_american()[lower]!r}"
    if lower in british_pairs() or hunspell().lookup(plain):
        return None
    return "unknown"


@cache
def _american() -> dict[str, str]:
    """American word -> the British one, where the two differ and neither is both."""
    pairs = british_pairs()
    return {us: gb for gb, us in pairs.items() if us not in pairs}


def words(text: str) -> Iterator[str]:
    """The words of a text that a dictionary can know.

    No names in capitals, paths, numbers or names of code.
    """
    for token in re.split(r"[\s—–…]+", text):
        core = token.strip("\"'“”‘’()[]{}.,:;!?*|&+×→=<>-_·")
        if re.search(r"[^A-Za-zÀ-ÿ'’-]", core):
            continue
        for word in core.split("-"):
            known_form = re.fullmatch(r"[A-Z]?[a-zà-ÿ]+(?:['’][a-z]+)?", word)
            if known_form and len(word) > 2:
                yield word


def text_of(markdown: str) -> str:
    """The running text of a page, with captions and alt texts.

    Without code and formulas.
    """
    lines = []
    body = HEADER.sub("", markdown)
    for token in MarkdownIt("commonmark").enable("table").parse(MATH.sub(" ", body)):
        if token.type == "inline":
            parts = [
                t.content if t.type == "text" else " "
                for t in token.children or []
                if t.type in ("text", "softbreak", "hardbreak", "code_inline")
            ]
            lines.append(ROLE_OR_TAG.sub(" ", "".join(parts)))
        elif token.type == "fence":
            name = re.match(r"\{([\w-]+)\} *(.*)", token.info)
            if name is None:
                continue
            lines += READ_OPTIONS.findall(token.content)
            if name[1] in PROSE:
                content = OPTIONS.sub("", token.content)
                lines += [name[2], text_of(textwrap.dedent(content))]
    return "\n".join(lines)


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a file, without what they set as code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            text = ast.get_docstring(node) or ""
            text = re.sub(r"(:\w+:)?``?[^`]+``?", " ", text)  # code, with a role or not
            text = re.sub(r"^ {4,}\*{0,2}\w+:", " ", text, flags=re.M)  # arguments
            yield ROLE_OR_TAG.sub(" ", text)


def faults(text: str) -> list[str]:
    """The wrong words of a text, each once."""
    found = {word: fault(word) for word in words(text)}
    return [f"{word}: {why}" for word, why in found.items() if why]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_text(path: Path) -> None:
    """Each word of a text is one, and British."""
    assert faults(text_of(path.read_text(encoding="utf-8"))) == []


def test_docstrings() -> None:
    """Each word of a docstring is one, and British."""
    found = {
        path.relative_to(ROOT).as_posix(): faults("\n".join(docstrings(path)))
        for path in CODE
    }
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_common_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    """codespell finds no mistake that is a word elsewhere, in code and comments too."""
    names = [str(path) for path in [*TEXTS, *CODE]]
    ignored = ["--ignore-words-list", "pinter"]  # a name
    assert codespell_lib.main(*ignored, *names) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("The saliancy of a pixel.", ["saliancy: unknown"]),
        ("A colour, in color.", ["color: American for 'colour'"]),
        ("Normalised logits; `normalized_x` is code, and $x_{colr}$ a formula.", []),
        ("```{code-cell}\n:tags: [x]\ncolr = 1\n```", []),
        ('```{code-cell}\n---\nalt: "A dgo."\n---\nx\n```', ["dgo: unknown"]),
        (
            "````{dropdown} Anser\n```{note}\nHiden\n```\n````",
            ["Anser: unknown", "Hiden: unknown"],
        ),
        ("| a | b |\n| --- | --- |\n| tabel | x |", ["tabel: unknown"]),
        ("See {cite:p}`simonyan2013` and [the lnik](lnk.html).", ["lnik: unknown"]),
    ],
)
def test_the_check_reads(text: str, wrong: list[str]) -> None:
    """Mistakes are found where people read, and nowhere else."""
    assert faults(text_of(text)) == wrong
