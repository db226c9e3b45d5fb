"""Numbers that the book's pages show and that take too long for a page."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch

from chapter4.evidence.map_statistics import (
    noise_to_signal,
    relative_difference,
    total_variation,
)
from chapter4.methods.gradients import smooth_grad, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients, make_baseline
from chapter4.study.photo_items import classifier, seen
from chapter4.study.recipe import CLAIMS, NOISE, PATH


def measure_noise(photo: str) -> dict[str, Any]:
    """SmoothGrad's noise at several numbers of samples, for the page on gradients.

    Args:
        photo: The name of a sample photo.

    Returns:
        ``noise_to_signal`` for each of the recipe's counts; ``norm``, that of the mean
        of all samples; and ``cosine``, between this mean and the plain gradient.
    """
    x, target = seen(photo)
    runs = _runs(photo, NOISE)
    mean, plain = np.mean(runs, axis=0), vanilla_gradients(x, classifier(), target)
    norms = np.linalg.norm(mean), np.linalg.norm(plain.attributions)
    return {
        "noise_to_signal": [_noise(runs, n, NOISE) for n in NOISE["counts"]],
        "norm": norms[0],
        "cosine": float((mean * plain.attributions).sum() / np.prod(norms)),
    }


def measure_path(photo: str) -> dict[str, Any]:
    """The score along the path from black, and two rules by their number of steps.

    They are for the page on Integrated Gradients.

    Args:
        photo: The name of a sample photo.

    Returns:
        ``scores`` and ``slopes``, F and its derivative along the path at equal steps;
        ``early_slopes``, finer at its beginning; and for each rule and each of the
        recipe's counts the completeness error and the distance of the attributions
        from those of the most Gauss-Legendre points.
    """
    x, target = seen(photo)
    baseline = make_baseline("black", x, classifier())
    fine, early = PATH["steps"], PATH["early"]
    scores, slopes = _along(x, target, baseline, torch.arange(1, fine + 1) / fine)
    _, first = _along(
        x, target, baseline, torch.arange(1, early + 1) / early * PATH["early_end"]
    )
    found: dict[str, Any] = {"scores": scores, "slopes": slopes, "early_slopes": first}
    for rule in PATH["rules"]:
        made = [
            integrated_gradients(x, classifier(), target, "black", n, rule=rule)
            for n in PATH["counts"]
        ]
        if rule == PATH["rules"][0]:
            reference = made[-1].attributions
        found[rule] = [
            {
                "delta": each.delta,
                "distance": relative_difference(each.attributions, reference),
            }
            for each in made
        ]
    return found


def measure_claims(photo: str) -> dict[str, Any]:
    """What decides claims of the printed chapter, for the page of corrections.

    Args:
        photo: The name of a sample photo.

    Returns:
        ``noise_to_signal`` of SmoothGrad for each of the recipe's counts; ``seeds``,
        the difference of two maps of 50 samples; ``roughness`` at 50 and 100 samples;
        ``deleted``, the logit without the tenth of the pixels that each baseline's map
        ranks first; and ``least_correlation``, the smallest of two baselines' maps.
    """
    x, target = seen(photo)
    runs = _runs(photo, CLAIMS)
    half = len(runs) // 2
    halves = [_saliency(runs[:half]), _saliency(runs[half:])]
    maps = {
        kind: integrated_gradients(x, classifier(), target, kind, CLAIMS["steps"]).map
        for kind in CLAIMS["baselines"]
    }
    return {
        "noise_to_signal": [_noise(runs, n, CLAIMS) for n in CLAIMS["counts"]],
        "seeds": relative_difference(*halves),
        "roughness": [total_variation(m) for m in (halves[0], _saliency(runs))],
        "deleted": {kind: _without(x, target, m) for kind, m in maps.items()},
        "least_correlation": min(
            np.corrcoef(a.ravel(), b.ravel())[0, 1]
            for a, b in combinations(maps.values(), 2)
        ),
    }


def _runs(photo: str, settings: dict[str, Any]) -> list[np.ndarray]:
    """Independent estimates by SmoothGrad, a seed each."""
    x, target = seen(photo)
    first = settings["seed"]
    return [
        smooth_grad(
            x, classifier(), target, settings["samples"], seed=seed
        ).attributions
        for seed in range(first, first + settings["runs"])
    ]


def _noise(runs: list[np.ndarray], samples: int, settings: dict[str, Any]) -> float:
    """Noise to signal of estimates with ``samples``, joined from disjoint runs."""
    size = samples // settings["samples"]
    starts = range(0, len(runs) - size + 1, size)
    return noise_to_signal([np.mean(runs[i : i + size], axis=0) for i in starts])


def _saliency(runs: list[np.ndarray]) -> np.ndarray:
    values: np.ndarray = np.abs(np.mean(runs, axis=0)).max(axis=0)
    return values


def _along(
    x: torch.Tensor, target: int, baseline: torch.Tensor, alphas: torch.Tensor
) -> tuple[list[float], list[float]]:
    """F and its derivative along the path at each alpha."""
    scores: list[float] = []
    slopes: list[float] = []
    for part in alphas.split(8):
        points = baseline + part.reshape(-1, 1, 1, 1) * (x - baseline)
        found = vanilla_gradients(points, classifier(), [target] * len(part))
        scores += np.atleast_1d(found.score).tolist()
        distance = (x - baseline)[0].numpy()
        slopes += np.tensordot(found.attributions, distance, 3).tolist()
    return scores, slopes


@torch.no_grad()
def _without(x: torch.Tensor, target: int, values: np.ndarray) -> float:
    """The logit once the highest values' pixels have the image's mean colour."""
    count = round(CLAIMS["deleted"] * values.size)
    pixels = np.argsort(-values.ravel())[:count].copy()
    changed = x.clone()
    changed.view(3, -1)[:, pixels] = x.mean(dim=(2, 3))[0, :, None]
    return float(classifier()(changed)[0, target])
