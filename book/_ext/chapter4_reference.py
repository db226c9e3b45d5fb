"""What the reference page needs beside autodoc: ``--help``, and links to papers.

``{command-help} autograder grade`` shows what that command's ``--help`` prints.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PARSERS = [*(ROOT / "autograder").rglob("*.py"), ROOT / "chapter4" / "cli.py"]
COLUMNS = "80"  # the width of a listing
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class CommandHelp(SphinxDirective):
    """The directive ``command-help``."""

    required_arguments = 1
    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Return the listing, and note that the page depends on the parsers."""
        for path in PARSERS:
            self.env.note_dependency(str(path))
        try:
            text = help_of(*self.arguments)
        except ValueError as error:
            raise self.error(str(error)) from error
        return [nodes.literal_block(text, text, language="text")]


def help_of(command: str, *path: str) -> str:
    """What ``command path... --help`` prints."""
    from autograder.cli import make_parser
    from chapter4 import cli

    parsers = {"autograder": make_parser, "chapter4": cli._parser}
    if command not in parsers:
        raise ValueError(f"no command {command!r}: choose from {', '.join(parsers)}")
    parser: argparse.ArgumentParser = parsers[command]()
    for step in path:
        choices = subcommands(parser)
        if step not in choices:
            raise ValueError(f"no command {command} {step}: {', '.join(choices)}")
        parser = choices[step]
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS):
        return parser.format_help().rstrip()


def subcommands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Name -> parser of each command below this one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def link_papers(
    app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Autodoc's hook: the number of a paper becomes a link to it."""
    lines[:] = [
        ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", line) for line in lines
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", link_papers)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
