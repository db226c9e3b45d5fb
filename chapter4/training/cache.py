"""The folder that keeps generated data and checkpoints between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chapter4.shapes.drawing import make_shape


def cache_folder() -> Path:
    """The training cache, which is made if it does not exist.

    It is $CHAPTER4_TRAINING_CACHE, or else ~/.cache/chapter4-training.
    """
    chosen = os.environ.get("CHAPTER4_TRAINING_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "chapter4-training"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(recipe: dict[str, Any]) -> str:
    """Eight characters that change with a recipe.

    They keep the files of one recipe from being used for another.
    """
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


def digest(tensors: Iterable[torch.Tensor]) -> str:
    """A digest of tensors' values, for keys: equal values give equal digests."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        total.update(tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


def pictures(
    n: int, *, seed: int, logo_probability: float = 0.0, logo_class: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw n pictures once, and read them from the cache afterwards.

    Args:
        n: The number of pictures.
        seed: The seed of the drawing.
        logo_probability: As in ``chapter4.shapes.drawing.make_shape``.
        logo_class: As in ``chapter4.shapes.drawing.make_shape``.

    Returns:
        The pictures as a uint8 tensor (N, 3, 64, 64), and their labels as int64 (N,).
    """
    from chapter4.shapes import drawing

    # The drawing code is part of the key, so that changed code never gets old pictures.
    drawn_by = hashlib.sha256(Path(drawing.__file__).read_bytes()).hexdigest()
    key = fingerprint(
        {
            "n": n,
            "seed": seed,
            "probability": logo_probability,
            "class": logo_class,
            "code": drawn_by,
        }
    )
    path = cache_folder() / f"pictures-{key}.npz"
    if not path.exists():
        samples = [
            make_shape(
                i, seed=seed, logo_probability=logo_probability, logo_class=logo_class
            )
            for i in range(n)
        ]
        images = np.stack([s.image for s in samples]).transpose(0, 3, 1, 2)
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, images=images, labels=np.array([s.label for s in samples]))
        unfinished.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return (
            torch.from_numpy(stored["images"]),
            torch.from_numpy(stored["labels"]).long(),
        )


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint.

    A run that is cut off in the middle leaves the checkpoint before it.
    """
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint of ``save_checkpoint``, or return None if there is none."""
    return torch.load(path, weights_only=True) if path.exists() else None
