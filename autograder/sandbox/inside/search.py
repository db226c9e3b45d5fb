"""Looks through everything that can be seen inside the sandbox for what must be hidden.

It runs in the fork server, before any student code.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

# It belongs to the sandbox: processes and devices.
OWN = ("/proc", "/dev")


def first_seen(folders: Sequence[Sequence[int]], file: str, root: str = "/") -> str:
    """The first path that must be hidden and is not, or "".

    A folder is known by its device and number, under whatever path it is shown.

    Args:
        folders: The device and the number of each folder that must be hidden.
        file: The name of a file that must not be seen anywhere.
        root: Where to look.
    """
    known = {tuple(folder) for folder in folders}
    waiting = [root]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name == file:
                    return entry.path
                if not entry.is_dir(follow_symlinks=False) or entry.path in OWN:
                    continue
                found = entry.stat(follow_symlinks=False)
                if (found.st_dev, found.st_ino) in known:
                    return entry.path
                waiting.append(entry.path)
    return ""
