"""What the study measures, and with which settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from chapter4.core.attribution import Attribution
from chapter4.inputs.images import sample_photos
from chapter4.methods.gradcam import GradCAM, GradCAMPlusPlus
from chapter4.methods.gradients import gradient_input, smooth_grad, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients

SEED = 0
# SmoothGrad's noisy copies and Integrated Gradients' steps, as in the printed chapter.
SAMPLES = 50
BASELINES = ("black", "white", "mean", "blur", "random")
# On the photos two baselines and the random one are enough, because each costs 50
# gradients a photo.
PHOTO_METHODS = (
    "vanilla_gradients",
    "gradient_input",
    "smooth_grad",
    "gradcam",
    "gradcam++",
    "ig_black",
    "ig_blur",
    "ig_random",
)
RANDOM_METHODS = ("smooth_grad", "ig_random")
RANDOMIZED_METHODS = tuple(m for m in PHOTO_METHODS if m != "ig_random")

COST: dict[str, Any] = {"seed": SEED, "samples": SAMPLES, "photos": 8}
PHOTOS: dict[str, Any] = {
    "seed": SEED,
    "samples": SAMPLES,
    # Fill and side of the cells. Each fill is the baseline of some method and may
    # favour that method's maps. That is why there are two.
    "fills": [["blur", 1], ["blur", 16], ["mean", 16]],
    "points": 14,
    "score": "probability",
    "random_orders": 3,
    "repeat_photos": 8,
    "repeat_seeds": 3,
}
# The same as in the keys of the saved numbers: "blur_16".
FILLS = tuple(f"{fill}_{cell}" for fill, cell in PHOTOS["fills"])
RANDOMIZATION: dict[str, Any] = {
    "seed": SEED,
    "photos": 5,
    "samples": 10,
    # From the logits down, by the dotted names of EfficientNet-Lite0.
    "stages": [
        ["classifier"],
        ["bn2", "conv_head"],
        ["blocks.6", "blocks.5"],
        ["blocks.4", "blocks.3"],
        ["blocks.2", "blocks.1", "blocks.0", "bn1", "conv_stem"],
    ],
}
KNOWN: dict[str, Any] = {
    "seed": SEED,
    "samples": SAMPLES,
    "cases": 200,
    # In px, as in the recipes of the two models: a hit is within 3 px of the logo, or
    # on the object.
    "tolerance": {"logo_mistakes": 3, "off_centre_shapes": 0},
}
REFERENCE: dict[str, Any] = {
    "steps": 1000,
    "baseline": "black",
    "photos": 12,  # the first ones
    "scores": ["logit", "probability"],
    "tolerance": 0.05,
    # More of them, to find what the adaptive rule needs for another rule's error.
    "tolerances": [0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.035],
}
# What pages show: section 4.1, section 4.3 and the corrections.
NOISE: dict[str, Any] = {
    "photos": ["cat"],
    "samples": 10,
    "seed": 1,  # of the first run; each further one adds 1
    "runs": 40,
    "counts": [10, 20, 50, 100, 200],
}
PATH: dict[str, Any] = {
    "photos": ["cat"],
    "steps": 200,
    "early": 40,
    "early_end": 0.1,
    # The last count of the first rule is what the others are compared with.
    "rules": ["gausslegendre", "riemann_right"],
    "counts": [10, 25, 50, 100, 200],
}
CLAIMS: dict[str, Any] = {
    "photos": ["cat", "dog", "panda", "lemur", "jaguar", "coffee"],
    "samples": 10,
    "seed": SEED,
    "runs": 10,
    "counts": [10, 20, 50],
    "steps": 25,
    "baselines": ["black", "white", "blur"],
    "deleted": 0.1,
}
RECIPES = {
    "cost": COST,
    "photo": PHOTOS,
    "controls": PHOTOS,
    "randomization": RANDOMIZATION,
    "known": KNOWN,
    "reference": REFERENCE,
    "noise": NOISE,
    "path": PATH,
    "claims": CLAIMS,
}


# Method -> the name of the baseline x' in the sum that the attributions claim to give.
SUMS = {
    "gradient_input": "mean",
    **{f"ig_{baseline}": baseline for baseline in BASELINES},
}


def methods() -> dict[str, Callable[..., Attribution]]:
    """Every method of the study by name.

    Each takes image, model, target, samples and seed. The map of a batch is (N, H, W).
    """
    return {
        "vanilla_gradients": lambda x, m, t, n, seed: vanilla_gradients(x, m, t),
        "gradient_input": lambda x, m, t, n, seed: gradient_input(x, m, t),
        "smooth_grad": lambda x, m, t, n, seed: smooth_grad(x, m, t, n, seed=seed),
        "gradcam": lambda x, m, t, n, seed: _cam(GradCAM, x, m, t),
        "gradcam++": lambda x, m, t, n, seed: _cam(GradCAMPlusPlus, x, m, t),
        **{f"ig_{baseline}": partial(_ig, baseline) for baseline in BASELINES},
    }


def photo_names() -> list[str]:
    """The sample photos that show one of ImageNet's classes."""
    return [name for name, photo in sample_photos().items() if photo.label is not None]


def digest(key: str) -> str:
    """A short hash of the recipe of a key such as "photo/cat/gradcam".

    Saved numbers with another hash are measured again.
    """
    text = json.dumps(RECIPES[key.partition("/")[0]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cam(kind: type[GradCAM], x: Tensor, model: nn.Module, target: Any) -> Attribution:
    layer: Any = model.target_layer
    return kind(model, layer).generate_cam(x, target)


def _ig(
    baseline: str, x: Tensor, model: nn.Module, target: Any, n: int, seed: int
) -> Attribution:
    return integrated_gradients(x, model, target, baseline, n, seed=seed)
