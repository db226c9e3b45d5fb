"""A folder of results: figures, raw arrays, and last a manifest that marks it complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_folder(path: Path) -> Path:
    """Make the folder and see that it takes a file, before the work: nobody waits for
    what can't be written.
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
    # The manifest marks a complete folder: an old one must not vouch for what is being
    # written now.
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
    """The manifest of a folder. versions: of packages beside chapter4, numpy and torch,
    such as the one that made the model.
    """
    own = {package: version(package) for package in ("chapter4", "numpy", "torch")}
    facts |= {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": own | dict(versions or {}),
    }
    partial = folder / "manifest.json.partial"
    text = json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    # Last, and at once: whoever sees it finds every file that it names.
    partial.replace(folder / "manifest.json")


def _plain(value: Any) -> Any:
    # What JSON has. It has no NaN: a completeness error without a value becomes null.
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return None
    return (
        value
        if value is None or isinstance(value, (bool, int, float, str))
        else str(value)
    )
