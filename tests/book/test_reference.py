"""The reference page: every public name and every command, and docstrings that stay readable."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import chapter4

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGE = (BOOK / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The extension."""
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    import chapter4_api

    return chapter4_api


def test_every_public_name_is_there_once(api: ModuleType) -> None:
    named = re.findall(r"^\.\. auto\w+:: chapter4\.(\w+)$", api.expand(PAGE), re.M)
    assert sorted(named) == sorted(chapter4.__all__)


def test_every_command_is_there(api: ModuleType) -> None:
    from autograder.cli import make_parser
    from chapter4 import cli

    for name, parser in {
        "autograder": make_parser(),
        "chapter4": cli._parser(),
    }.items():
        commands = api._subcommands(parser)
        assert len(commands) >= 4
        for command in commands:
            assert f"```{{command-help}} {name} {command}\n" in PAGE
            shown = api.help_of(name, command)
            assert f"usage: {name} {command} " in shown
            # A list of choices is one word, which argparse does not cut.
            lines = [line for line in shown.splitlines() if "{" not in line]
            assert max(map(len, lines)) <= int(api.COLUMNS)


def test_a_docstring_keeps_its_lines(api: ModuleType) -> None:
    given = [
        "The |gradient| of `model`, as in `smooth_grad`.",
        "",
        "image: (3, H, W), such as a photo of",
        "width: any.",
        "map: (H, W). score: F(x) * 2, at most 0.05.",
        "Raises ValueError. Source: A 2013, arXiv:1312.6034.",
    ]
    assert [line for line in api.paragraphs(given) if line] == [
        (
            "The \\|gradient\\| of \\ ``model``\\ , as in "
            "\\ :py:obj:`smooth_grad <chapter4.smooth_grad>`\\ ."
        ),
        "* ``image``: (3, H, W), such as a photo of width: any.",
        "* ``map``: (H, W).",
        "* ``score``: F(x) \\* 2, at most ``0.05``.",
        "Raises ValueError.",
        "Source: A 2013, `arXiv:1312.6034 <https://arxiv.org/abs/1312.6034>`__.",
    ]
    # A sentence that begins with a method's name is no argument.
    assert api.paragraphs(["SmoothGrad: the mean."]) == ["SmoothGrad: the mean.", ""]


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("api-names} nothing", "exports nothing from nothing"),
        ("command-help} chapter5", "no command 'chapter5'"),
        ("command-help} autograder grad", "no command autograder grad"),
    ],
)
def test_a_wrong_block_is_named(api: ModuleType, block: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        api.expand(f"```{{{block}\n```\n")
