"""The reference page: every public name, every command, every argument."""

from __future__ import annotations

import inspect
import re

import chapter4_reference as reference
import pytest
from small_books import BOOK

import chapter4

PAGE = (BOOK / "api.md").read_text(encoding="utf-8")


def test_every_public_name_is_there_once() -> None:
    named = re.findall(r"^\.\. auto(class|function):: (\w+)$", PAGE, re.M)
    assert sorted(name for _, name in named) == sorted(chapter4.__all__)
    for kind, name in named:
        assert inspect.isclass(getattr(chapter4, name)) is (kind == "class"), name


def test_every_command_is_there() -> None:
    from autograder.cli import make_parser
    from chapter4 import cli

    for name, parser in {
        "autograder": make_parser(),
        "chapter4": cli._parser(),
    }.items():
        commands = reference.subcommands(parser)
        assert len(commands) >= 4
        for command in commands:
            assert f"```{{command-help}} {name} {command}\n" in PAGE
            shown = reference.help_of(name, command)
            assert f"usage: {name} {command} " in shown
            # A list of choices is one word, which argparse does not cut.
            lines = [line for line in shown.splitlines() if "{" not in line]
            assert max(map(len, lines)) <= int(reference.COLUMNS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("chapter5", "no command 'chapter5'"),
        ("autograder grad", "no command autograder grad"),
    ],
)
def test_a_wrong_command_is_named(words: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        reference.help_of(*words.split())


def test_papers_become_links() -> None:
    lines = ["Simonyan et al. 2013, arXiv:1312.6034."]
    reference.link_papers(None, "function", "f", None, None, lines)
    link = "`arXiv:1312.6034 <https://arxiv.org/abs/1312.6034>`__"
    assert lines == [f"Simonyan et al. 2013, {link}."]


@pytest.mark.parametrize("name", chapter4.__all__)
def test_every_argument_of_a_public_function_is_described(name: str) -> None:
    """In the section Args, in the order of the signature."""
    thing = getattr(chapter4, name)
    functions = [thing] if inspect.isfunction(thing) else []
    if inspect.isclass(thing):
        members = vars(thing).values()
        functions = [m for m in members if inspect.isfunction(m) and m.__doc__]
        functions = [m for m in functions if not m.__name__.startswith("_")]
    for function in functions:
        wanted = [p for p in inspect.signature(function).parameters if p != "self"]
        described = described_arguments(inspect.getdoc(function) or "")
        assert described == wanted, function.__qualname__


def described_arguments(docstring: str) -> list[str]:
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", docstring, re.M)
    lines = section[1].splitlines() if section else []
    return re.findall(r"^ {4}\*{0,2}(\w+)(?: \(.*?\))?:", "\n".join(lines), re.M)
