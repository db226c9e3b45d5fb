"""A folder of results: figures, raw arrays and a manifest.

The manifest is written last and marks the folder as complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chapter4

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_folder(path: Path) -> Path:
    """Make the folder and check that a file can be written to it.

    This happens before the work, so that nobody waits for results that can't be
    written.

    Args:
        path: The folder, which may exist already.

    Returns:
        The same path.

    Raises:
        ValueError: If the path is a file or is below one, or nothing can be written.
    """
    from tempfile import TemporaryFile

    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except (FileExistsError, NotADirectoryError):
        raise ValueError(
            f"the output folder {path} is a file, or is below one"
        ) from None
    except OSError as error:
        raise ValueError(
            f"nothing can be written to the folder {path}: {error.strerror}"
        ) from None
    return path


def begin(folder: Path) -> None:
    # The manifest marks a complete folder. An old one must not make a folder look
    # complete that is being written again.
    (folder / "manifest.json").unlink(missing_ok=True)


def save_figure(figure: Figure, path: Path) -> str:
    figure.savefig(path, dpi=120)
    return path.name


def save_arrays(path: Path, **arrays: Any) -> str:
    import numpy as np

    np.savez_compressed(path, **arrays)
    return path.name


def write_manifest(
    folder: Path, versions: Mapping[str, str] | None = None, **facts: Any
) -> None:
    """Write the manifest of a folder.

    Args:
        folder: The folder.
        versions: Versions of other packages than chapter4, numpy and torch, such as the
            one that made the model.
        **facts: Whatever the manifest records.
    """
    own = {"chapter4": chapter4.__version__}
    own |= {package: version(package) for package in ("numpy", "torch")}
    facts |= {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": own | dict(versions or {}),
    }
    partial = folder / "manifest.json.partial"
    text = json.dumps(plain(facts), indent=2, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    # In one step, after all other files: whoever sees the manifest finds every file
    # that it names.
    partial.replace(folder / "manifest.json")


def plain(value: Any) -> Any:
    """A value as JSON knows it.

    JSON has no NaN, so a completeness error without a value becomes null.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return None
    return (
        value
        if value is None or isinstance(value, (bool, int, float, str))
        else str(value)
    )
