"""The reference page: what `chapter4` exports, from the docstrings, and what the commands take, from their parsers.

A page says where: `{api-names} gradients gradcam` for the public names of these files,
`{command-help} autograder grade` for what that command's --help prints.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import chapter4

BLOCK = re.compile(r"^```\{(api-names|command-help)\}(.*)\n```\n", re.MULTILINE)
ROOT = Path(__file__).resolve().parents[2]
PARSERS = [*(ROOT / "autograder").rglob("*.py"), ROOT / "chapter4" / "cli.py"]
COLUMNS = "80"  # what a listing has room for
# A line that describes an argument, or the result, or the errors.
ITEM = re.compile(r"\.?[`a-z_][\w`.]*(?:, [`\w.]+)*: ")
CLOSING = re.compile(r"(?:Returns|Raises|Source:|Sources:) ?")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5}|\d{4}\.\d{4})")
DOI = re.compile(r"doi:(10\.\d+/[^\s,]*[^\s,.])")
# Values of an argument, mostly; set as code, as the other values are.
VALUE = re.compile(r"(?<![\w.:/])(\d+\.\d+|\d+ (?:%|per cent))(?![\w/])")
SPECIAL = re.compile(r"([\\*|_`])")


def names_of(files: list[str]) -> str:
    """The directives that document the public names of these files of the package."""
    lines = ["```{eval-rst}"]
    for file in files:
        if file not in chapter4._PUBLIC:
            raise ValueError(f"chapter4 exports nothing from {file}")
        for name in chapter4._PUBLIC[file]:
            thing = getattr(chapter4, name)
            kind = "data"
            if inspect.isclass(thing):
                kind = "class"
            elif callable(thing):
                kind = "function"
            lines += [f".. auto{kind}:: chapter4.{name}", ""]
            if kind == "class":
                lines[-1:] = ["   :members:", ""]
                if thing.__base__ is not object:
                    lines[-1:] = ["   :show-inheritance:", ""]
    return "\n".join(lines) + "```\n"


def help_of(command: str, *path: str) -> str:
    """What `command path... --help` prints, as a listing."""
    from autograder.cli import make_parser
    from chapter4 import cli

    parsers = {"autograder": make_parser, "chapter4": cli._parser}
    if command not in parsers:
        raise ValueError(f"no command {command!r}: choose from {', '.join(parsers)}")
    parser: argparse.ArgumentParser = parsers[command]()
    for step in path:
        choices = _subcommands(parser)
        if step not in choices:
            raise ValueError(f"no command {command} {step}: {', '.join(choices)}")
        parser = choices[step]
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS):
        text = parser.format_help().rstrip()
    return f"```{{code-block}} text\n{text}\n```\n"


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def paragraphs(docstring: list[str]) -> list[str]:
    """A docstring of ours, which is plain text, as reStructuredText: an item for each
    argument, a paragraph for the result, the errors and the source.
    """
    parts: list[list[str]] = []
    before = ""
    for line in docstring:
        fresh = not before or before.endswith((".", ")"))
        if not line:
            parts.append([])
        elif not parts or (fresh and (ITEM.match(line) or CLOSING.match(line))):
            parts.append([line.strip()])
        else:
            parts[-1].append(line.strip())
        before = line.strip()
    lines: list[str] = []
    for text in (piece for part in parts if part for piece in _pieces(" ".join(part))):
        named = ITEM.match(text)
        if named and not CLOSING.match(text):
            name = named[0].removesuffix(": ").replace("`", "")
            lines += [f"* ``{name}``: {_escaped(text[named.end() :])}", ""]
        else:
            lines += [_escaped(text), ""]
    return lines


def _pieces(text: str) -> list[str]:
    """A paragraph cut where the next item begins: short ones stand on one line, such as
    `map: (H, W). score: F(x).`
    """
    return re.split(
        r"(?<=\.) (?=[a-z_]+(?:, [a-z_]+)*: |Returns |Raises |Source: )", text
    )


def _escaped(text: str) -> str:
    """Plain text for docutils: what stands in backticks becomes code, or a link where
    it is a name that the package exports.
    """
    pieces = re.split(r"`+([^`]+)`+", text)
    out = []
    for i, piece in enumerate(pieces):
        if i % 2:
            name = piece.removeprefix("chapter4.")
            known = name in chapter4.__all__
            out.append(
                f":py:obj:`{piece} <chapter4.{name}>`" if known else f"``{piece}``"
            )
        else:
            plain = SPECIAL.sub(r"\\\1", piece)
            plain = VALUE.sub(r"``\1``", plain)
            plain = ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", plain)
            out.append(DOI.sub(r"`doi:\1 <https://doi.org/\1>`__", plain))
    # A role must not touch a letter: an escaped blank parts them and is not shown.
    return "\\ ".join(p for p in out if p)


def plain_docstrings(
    app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Autodoc's hook: our docstrings are plain text."""
    lines[:] = paragraphs(lines)


def plain_signatures(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: Any,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Autodoc's other hook: a dataclass names types by their last part, and a default
    that is made anew by an ellipsis, so that the signature can be set line by line.
    """
    if signature is not None:
        signature = signature.replace("<factory>", "...")
        signature = re.sub(r"~(?:\w+\.)+", "", signature)
    return signature, result


def expand(page: str) -> str:
    """A page's text, with what the blocks of this file stand for in their place."""

    def written(found: re.Match[str]) -> str:
        words = found[2].split()
        return names_of(words) if found[1] == "api-names" else help_of(*words)

    return BLOCK.sub(written, page)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Expand a page when Sphinx reads it; note that it depends on the parsers. Autodoc
    notes the files of the package.
    """
    if BLOCK.search(source[0]) is None:
        return
    for path in PARSERS:
        app.env.note_dependency(str(path))
    try:
        source[0] = expand(source[0])
    except ValueError as error:
        raise ExtensionError(f"{docname}: {error}") from error


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", plain_docstrings)
    app.connect("autodoc-process-signature", plain_signatures)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
