"""Where a repository lies at GitHub, and where GitHub Pages shows its book.

``book/publish.py`` needs this too, on machines that have nothing but Python.
"""

from __future__ import annotations

import re

REPOSITORY = re.compile(
    r"(?:https://(?:[^/@]+@)?github\.com/"
    r"|(?:ssh://)?git@(?:ssh\.)?github\.com(?::\d+)?[:/])"
    r"([\w-]+)/([\w.-]+?)(?:\.git)?/?",
    re.IGNORECASE,
)


def repository_of(address: str) -> str | None:
    """The address https://github.com/NAME/REPOSITORY of what git clones or pushes to.

    It is None if the address leads to another host.
    """
    found = REPOSITORY.fullmatch(address)
    return f"https://github.com/{found[1]}/{found[2]}" if found else None


def pages_of(repository: str) -> str:
    """Where GitHub Pages shows what belongs to https://github.com/NAME/REPOSITORY."""
    owner, name = repository.split("/")[-2:]
    home = f"{owner.lower()}.github.io"
    return f"https://{home}/" if name.lower() == home else f"https://{home}/{name}/"
