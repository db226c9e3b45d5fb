"""What a submission says of itself as lines for people: its errors, with what to do.

Everything here is somebody else's text, which may be of any length and hold anything.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LINE = 300
# What the line of an error begins with -> what a student can make of it.
_NO_NETWORK = "there is no network where notebooks are graded"
REMEDIES = {
    "ModuleNotFoundError": "it is not installed where notebooks are graded",
    "FileNotFoundError": "only the notebook is graded, without files beside it",
    "EOFError": "nobody can answer input() while a notebook is graded",
    "StdinNotImplementedError": "nobody can answer input() while a notebook is graded",
    **dict.fromkeys(("URLError", "gaierror", "ConnectionError"), _NO_NETWORK),
    **dict.fromkeys(("LocalEntryNotFoundError", "OSError: We couldn't"), _NO_NETWORK),
    "RuntimeError: It looks like there is no internet": _NO_NETWORK,  # torch.hub
    "PermissionError: [Errno 1]": (
        "no other process can be started, and there is no network, where notebooks are"
        " graded"
    ),
}


def one_line(text: str, longest: int = MAX_LINE) -> str:
    """Text from a submission as one printable line.

    It has no control characters, no escape sequences, and nothing that changes the
    direction of writing.
    """
    text = text[: 4 * longest]
    kept = "".join(
        " " if unicodedata.category(c)[0] in "CZ" else c
        for c in unicodedata.normalize("NFC", text)
    )
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def raised(name: str, line: str) -> str:
    """What a cell or a function raised: where, the error, and what can be done."""
    place = re.search(r" \((cell \[?\d+\]?), line (\d+)\)$", line[-40:])
    said = one_line(line[: -len(place[0])] if place else line)
    known = [words for begin, words in REMEDIES.items() if said.startswith(begin)]
    if place and place[1] == name:
        told = f"{name}, line {place[2]}: {said}"
    elif place:
        error, colon, message = said.partition(":")
        told = f"{name} raised {error} in {place[1]}, line {place[2]}{colon}{message}"
    else:
        told = f"{name} raised {said}"
    return " ".join([told, *(f"({words})" for words in known)])


def binds(source: str, name: str) -> bool:
    """Whether a cell makes a name, by a look at its text, which need not be Python."""
    for line in source.splitlines() if name in source else ():
        first, _, _ = line.strip().partition(" ")
        if first not in ("import", "from", "def", "async", "class", "with", "for"):
            line = line.partition("=")[0] if "=" in line else ""
        if name in re.findall(r"\w+", line):
            return True
    return False
