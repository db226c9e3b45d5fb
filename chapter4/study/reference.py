"""How far Integrated Gradients are from their limit, by rule and number of steps."""

from __future__ import annotations

import os
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chapter4.evidence.map_statistics import relative_difference
from chapter4.evidence.passes import count_passes
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.methods.reference_path import reference_attributions
from chapter4.study.photo_items import classifier, seen
from chapter4.study.recipe import REFERENCE, SAMPLES

# Name -> options of `integrated_gradients`. Captum's default is 50 steps of
# Gauss-Legendre. The printed chapter uses the right Riemann sum.
RULES: dict[str, dict[str, Any]] = {
    "gausslegendre_50": {"n_steps": SAMPLES},
    "riemann_right_50": {"n_steps": SAMPLES, "rule": "riemann_right"},
    "riemann_middle_50": {"n_steps": SAMPLES, "rule": "riemann_middle"},
    "gausslegendre_25": {"n_steps": 25},
    "gausslegendre_100": {"n_steps": 100},
    "adaptive": {"n_steps": 200, "tolerance": REFERENCE["tolerance"]},
    **{
        f"adaptive_{tolerance}": {"n_steps": 200, "tolerance": tolerance}
        for tolerance in REFERENCE["tolerances"]
    },
}


def reference_map(photo: str, folder: Path | None = None) -> dict[str, np.ndarray]:
    """The float64 Integrated Gradients of a photo's predicted class.

    They come from 1000 steps or more.

    Args:
        photo: The name of a sample photo.
        folder: Where the arrays are kept between runs. They are too large for the
            repository. None keeps none.

    Returns:
        The name of each score, with an array (3, 224, 224).
    """
    x, target = seen(photo)
    name = f"{photo}-{REFERENCE['baseline']}-{REFERENCE['steps']}.npz"
    if folder is not None and (kept := _kept(folder / name, target)):
        return kept
    # In float64 the device makes no visible difference here except in time.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = reference_attributions(
        x.to(device),
        deepcopy(classifier()).to(device),
        target,
        baseline=REFERENCE["baseline"],
        scores=REFERENCE["scores"],
        n_steps=REFERENCE["steps"],
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{name}.{os.getpid()}.part.npz"
        arrays: dict[str, Any] = {"target": target, **made}
        np.savez_compressed(beside, **arrays)
        os.replace(beside, folder / name)
    return made


def measure_reference(photo: str, folder: Path | None = None) -> dict[str, Any]:
    """Errors and costs of Integrated Gradients for each score and rule.

    Args:
        photo: The name of a sample photo.
        folder: Where the arrays of ``reference_map`` are kept between runs.

    Returns:
        For each score and rule: the relative L2 error of the signed attributions,
        delta, and the images that went forward and backward.
    """
    x, target = seen(photo)
    exact, found = reference_map(photo, folder), {}
    for score, reference in exact.items():
        found[score] = {"sum": float(reference.sum())} | {
            name: _against(reference, x, target, score, options)
            for name, options in RULES.items()
        }
    return found


def _against(
    reference: np.ndarray, x: Any, target: int, score: Any, options: dict[str, Any]
) -> dict[str, Any]:
    with count_passes(classifier()) as passes:
        result = integrated_gradients(
            x, classifier(), target, REFERENCE["baseline"], score=score, **options
        )
    return {
        "error": relative_difference(result.attributions, reference),
        "delta": result.delta,
        "images_forward": passes.forward,
        "images_backward": passes.backward,
    }


def _kept(path: Path, target: int) -> dict[str, np.ndarray]:
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if int(arrays["target"]) == target:
                return {score: arrays[score] for score in REFERENCE["scores"]}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # not there yet or damaged: it is made again
    return {}
