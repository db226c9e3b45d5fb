"""One method on one photo: its cost, noise, completeness and faithfulness.

One item measures what happens to the map when the weights are random.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import Attribution, GradientAttribution
from chapter4.evidence.completeness import completeness
from chapter4.evidence.deletion_insertion import (
    DeletionInsertion,
    Faithfulness,
    deletion_insertion,
)
from chapter4.evidence.map_statistics import (
    relative_difference,
    repeatability,
    total_variation,
)
from chapter4.evidence.passes import count_passes
from chapter4.evidence.randomization import randomization_check
from chapter4.inputs.images import (
    image_tensor,
    preprocessing_of,
    sample_photo,
    sample_photos,
)
from chapter4.inputs.models import load_classifier
from chapter4.study import recipe
from chapter4.study.recipe import PHOTOS, RANDOMIZATION, methods

# Pairs of a fill and the side of the cells in pixels.
Fills = Sequence[Sequence[Any]]


@cache
def classifier() -> nn.Module:
    """EfficientNet-Lite0; it is loaded only once."""
    return load_classifier()


@cache
def seen(photo: str) -> tuple[Tensor, int]:
    """What the classifier sees of a photo, (1, 3, 224, 224), and the class it predicts.

    Every method explains this class.
    """
    x = image_tensor(sample_photo(photo), classifier())
    with torch.no_grad():
        return x, int(classifier()(x).argmax())


@lru_cache(maxsize=4)
def explained(photo: str, name: str, seed: int = PHOTOS["seed"]) -> Attribution:
    """A method's map of a photo; several measurements of one item need the same."""
    x, target = seen(photo)
    return methods()[name](x, classifier(), target, PHOTOS["samples"], seed)


def measure_cost(photo: str, name: str) -> dict[str, Any]:
    """The processor time of one map over that of one vanilla gradient.

    The two are measured in turn.

    Args:
        photo: The name of a sample photo.
        name: The name of a method.

    Returns:
        ``gradients_of_time``, the median time of the rounds for the method over the
        median time of a vanilla gradient.
    """
    x, target = seen(photo)
    rounds = 1 if name == "smooth_grad" or name.startswith("ig_") else 3
    gradients, own = [_seconds("vanilla_gradients", x, target)], []
    for _ in range(rounds):
        own.append(_seconds(name, x, target))
        gradients += [_seconds("vanilla_gradients", x, target) for _ in range(2)]
    return {"gradients_of_time": float(np.median(own) / np.median(gradients))}


def measure_map(photo: str, name: str) -> dict[str, Any]:
    """How many images go through the model for one map, and the map's own numbers.

    Args:
        photo: The name of a sample photo.
        name: The name of a method.

    Returns:
        The measured numbers. ``images_forward`` and ``images_backward`` count images
        that went through the model. ``delta`` is null for a method that does not claim
        that its attributions add up.
    """
    x, target = seen(photo)
    explained.cache_clear()  # its passes have to be counted
    with count_passes(classifier()) as passes:
        result = explained(photo, name)
    found: dict[str, Any] = {
        "images_forward": passes.forward,
        "images_backward": passes.backward,
        "score": result.score,
        "delta": None,
        "blank": bool(getattr(result, "blank", not result.map.any())),
        "total_variation": total_variation(result.map),
    }
    if isinstance(result, GradientAttribution) and name in recipe.SUMS:
        found["delta"] = completeness(
            result.attributions,
            x,
            classifier(),
            target,
            baseline=recipe.SUMS[name],
            seed=PHOTOS["seed"],
        ).delta
    return found


def measure_stability(photo: str, name: str, *, repeat: bool) -> dict[str, Any]:
    """How far a map moves with one grey level in the photo, and with the seed.

    Args:
        photo: The name of a sample photo.
        name: The name of a method.
        repeat: Whether to repeat a method that uses randomness with other seeds, see
            :func:`chapter4.repeatability`.

    Returns:
        The measured numbers. ``grey_level`` is the relative L2 difference of the map
        (for Grad-CAM, of its raw grid) when every value of the photo moves by -1, 0 or
        1 of its 255 levels.
    """
    x, target = seen(photo)
    steps = torch.randint(-1, 2, x.shape, generator=torch.Generator().manual_seed(0))
    std = torch.tensor(preprocessing_of(classifier()).std).reshape(3, 1, 1)
    moved = methods()[name](
        x + steps / 255 / std, classifier(), target, PHOTOS["samples"], PHOTOS["seed"]
    )
    found: dict[str, Any] = {
        "grey_level": relative_difference(_grid(moved), _grid(explained(photo, name)))
    }
    if repeat and name in recipe.RANDOM_METHODS:
        others = [explained(photo, name, s) for s in range(1, PHOTOS["repeat_seeds"])]
        again = repeatability([explained(photo, name), *others])
        found |= {
            "repeat_rank_correlation": again.rank_correlation,
            "repeat_noise_to_signal": again.noise_to_signal,
        }
    return found


def measure_faithfulness(
    photo: str, name: str, fills: Fills = PHOTOS["fills"]
) -> dict[str, Any]:
    """Areas under the deletion and insertion curves, by fill and side of the cells."""
    x, target = seen(photo)
    values = explained(photo, name).map
    found: dict[str, Any] = {}
    for fill, cell in fills:
        curves = _faithfulness({name: values}, x, target, fill, cell)
        found |= _areas(curves.maps[name], f"{fill}_{cell}")
    return found


def measure_controls(photo: str, fills: Fills = PHOTOS["fills"]) -> dict[str, Any]:
    """Areas under the curves of two controls, and what the classifier says of a photo.

    The curves are those of deletion and insertion. The controls change pixels in random
    order (mean and spread over seeds), and from the centre outwards.
    """
    x, target = seen(photo)
    with torch.no_grad():
        probability = classifier()(x).softmax(1)[0, target].item()
    shown = sample_photos()[photo]
    found: dict[str, Any] = {
        "target": target,
        "probability": probability,
        "right": target in (shown.label, *shown.accept),
    }
    for fill, cell in fills:
        curves, which = _faithfulness({}, x, target, fill, cell), f"{fill}_{cell}"
        for what in ("deletion", "insertion"):
            mean, spread = curves.random_area(what)
            found |= {
                f"random_{what}_{which}": mean,
                f"random_{what}_{which}_spread": spread,
            }
        assert curves.centre is not None
        centre = _areas(curves.centre, which)
        found |= {f"centre_{key}": area for key, area in centre.items()}
    return found


def measure_randomization(photo: str, name: str) -> dict[str, Any]:
    """Rank correlation of ``|map|`` after each stage of randomisation.

    It is Spearman's. The randomisation is cascading: a stage adds to those before it.
    """
    x, target = seen(photo)
    method, samples = methods()[name], RANDOMIZATION["samples"]
    seed = RANDOMIZATION["seed"]
    found = randomization_check(
        lambda model: method(x, model, target, samples, seed),
        classifier(),
        RANDOMIZATION["stages"],
        seed=seed,
    )
    return {"correlations": list(found.correlations), "blank": list(found.blank)}


def _seconds(name: str, x: Tensor, target: int) -> float:
    settings = recipe.COST["samples"], recipe.COST["seed"]
    start = time.process_time()
    methods()[name](x, classifier(), target, *settings)
    return time.process_time() - start


def _faithfulness(
    maps: dict[str, np.ndarray], x: Tensor, target: int, fill: str, cell: int
) -> Faithfulness:
    return deletion_insertion(
        maps,
        x,
        classifier(),
        target,
        fill=fill,
        n_points=PHOTOS["points"],
        score=PHOTOS["score"],
        cell=cell,
        controls=not maps,
        random_seeds=range(PHOTOS["random_orders"]),
        seed=PHOTOS["seed"],
    )


def _areas(curves: DeletionInsertion, which: str) -> dict[str, float]:
    return {
        f"deletion_{which}": curves.deletion.area,
        f"insertion_{which}": curves.insertion.area,
    }


def _grid(result: Attribution) -> np.ndarray:
    raw: np.ndarray = getattr(result, "raw", result.map)
    return raw
