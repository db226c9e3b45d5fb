"""How far Integrated Gradients are from their limit, by rule and number of steps."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

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


def measure_reference(photo: str) -> dict[str, Any]:
    """Errors and costs of Integrated Gradients for each score and rule.

    The reference is the float64 map of the predicted class, of 1000 steps or more.

    Args:
        photo: The name of a sample photo.

    Returns:
        For each score and rule: the relative L2 error of the signed attributions,
        delta, and the images that went forward and backward.
    """
    x, target = seen(photo)
    # In float64 the device makes no visible difference here except in time.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    baseline = REFERENCE["baseline"]
    references: dict[Any, Any] = reference_attributions(
        x.to(device),
        deepcopy(classifier()).to(device),
        target,
        baseline=baseline,
        scores=REFERENCE["scores"],
        n_steps=REFERENCE["steps"],
    )
    found: dict[str, Any] = {}
    for score, reference in references.items():
        found[score] = {"sum": float(reference.sum())}
        for name, options in RULES.items():
            with count_passes(classifier()) as passes:
                result = integrated_gradients(
                    x, classifier(), target, baseline, score=score, **options
                )
            found[score][name] = {
                "error": relative_difference(result.attributions, reference),
                "delta": result.delta,
                "images_forward": passes.forward,
                "images_backward": passes.backward,
            }
    return found
