"""Section 4.1 as an interactive figure: SmoothGrad, with sliders for its settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import check_count, frozen_eval, gradient_sum
from chapter4.evidence.map_statistics import relative_difference, total_variation
from chapter4.evidence.scoring import chosen_class
from chapter4.explore.pictures import (
    Panel,
    State,
    explorer,
    map_picture,
    one_image,
    photo_picture,
)
from chapter4.explore.sentences import described, number
from chapter4.explore.view import Explorer, Slider
from chapter4.inputs.images import seen_pixels
from chapter4.inputs.models import class_names_of
from chapter4.methods.gradients import noisy_copies, ranges
from chapter4.plots.figures import SALIENCY_CMAP, UNITS, upper_limit

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

SAMPLES = (1, 5, 10, 25, 50, 100)
LEVELS = (0.05, 0.1, 0.15, 0.2, 0.3)

_CAPTION = (
    "SmoothGrad of the class {name}: the first of the noisy copies that the model is"
    " given, and the map from as many copies as the slider says. Each map has a colour"
    " scale of its own, which ends at its 99.5th percentile. Distance is that from the"
    " map of {finest} copies at the same noise level, which has the same first copies,"
    " over the size of that map; roughness is the mean step between neighbouring pixels"
    " over the map's mean."
)


def explore_smoothgrad(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    samples: Sequence[int] = SAMPLES,
    levels: Sequence[float] = LEVELS,
    start: tuple[int, float] = (50, 0.15),
    seed: int = 0,
    chunk_size: int | None = None,
) -> Explorer:
    """SmoothGrad's map under two sliders: how many samples, and how much noise.

    Every map equals that of :func:`chapter4.smooth_grad` with the same arguments, up to
    rounding. One run with the largest number of samples gives all maps of a noise
    level, so that the cost is ``len(levels) * max(samples)`` gradients. In the figure a
    map has 16 shades.

    Args:
        image: One image: a path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, or None for the predicted
            class.
        samples: The numbers of samples to choose from, rising. The last one gives the
            finest map.
        levels: The noise levels to choose from, as fractions of the image's range.
        start: The number of samples and the noise level of the still picture, or the
            nearest of those given.
        seed: The seed of the noise.
        chunk_size: Noisy copies in one pass through the model; None chooses a number
            that suits the device.

    Returns:
        A figure that needs no network.

    Raises:
        ValueError: If ``image`` is not one image, if ``samples`` or ``levels`` is
            empty, if ``samples`` does not rise, or if an argument is out of range.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Smilkov et al. 2017, arXiv:1706.03825.
    """
    counts = [check_count("samples", n) for n in samples]
    if not counts or any(b <= a for a, b in pairwise(counts)) or not levels:
        raise ValueError(
            "explore_smoothgrad needs one level or more, and numbers of samples that"
            " rise"
        )
    x = one_image(image, model)
    target = chosen_class(model, x, target_class)
    with frozen_eval(model):
        runs = {
            level: [
                mean.abs().amax(dim=1)[0].cpu().numpy()
                for mean in running_means(
                    model, x, target, counts, level, seed=seed, chunk_size=chunk_size
                )
            ]
            for level in levels
        }
    name = class_names_of(model)(target)
    states = []
    for level, maps in runs.items():
        noisy, _, _ = next(noisy_copies(x, level * ranges(x), 1, seed))
        copy = photo_picture(seen_pixels(noisy, model), quality=40)
        states += [
            _state(name, n, level, values, maps[-1], counts[-1], copy)
            for n, values in zip(counts, maps, strict=True)
        ]
    n, level = _at(counts, start[0]), _at(levels, start[1])
    return explorer(
        f"SmoothGrad of {name}: number of samples and noise level",
        [
            Slider("level", "Noise level", [f"{e:g}" for e in levels], level),
            Slider("samples", "Samples", [str(e) for e in counts], n),
        ],
        [
            Panel("copy", "One noisy copy"),
            Panel("map", "SmoothGrad", SALIENCY_CMAP, UNITS["smooth_grad"]),
        ],
        states,
        _CAPTION.format(name=name, finest=counts[-1]),
    )


def running_means(
    model: nn.Module,
    x: Tensor,
    target: int,
    counts: Sequence[int],
    level: float,
    *,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Iterator[Tensor]:
    """The mean gradient over the first n noisy copies of x, for each n in ``counts``.

    Call it inside ``frozen_eval``. The copies are those of :func:`chapter4.smooth_grad`
    with this seed. The first n of them do not depend on how many follow.

    Args:
        model: A classifier that gives logits (N, K).
        x: The normalised image (1, 3, H, W).
        target: The class to explain.
        counts: The numbers of copies, rising.
        level: The noise level, a fraction of the image's range.
        seed: The seed of the noise.
        chunk_size: Noisy copies in one pass through the model; None chooses a number
            that suits the device.

    Yields:
        The mean gradient (1, 3, H, W) for each count.
    """
    finest = counts[-1]
    # Each copy has the weight 1 / finest.
    stream = noisy_copies(x, level * ranges(x), finest, seed)
    total, before = torch.zeros_like(x), 0
    for n in counts:
        part = islice(stream, n - before)
        total = total + gradient_sum(model, part, x, [target], chunk_size=chunk_size)
        before = n
        yield total * (finest / n)


def _state(
    name: str,
    n: int,
    level: float,
    values: np.ndarray,
    finest: np.ndarray,
    most: int,
    copy: str,
) -> State:
    limit = upper_limit(values)
    copies = "1 sample" if n == 1 else f"{n} samples"
    made = f"{copies} at noise level {level:g}"
    noisy = f"The picture with noise of level {level:g} added to every value."
    if not values.any():
        measured = "the map is zero everywhere"
    else:
        distance = "this is the finest map"
        if n != most:
            apart = relative_difference(values, finest)
            distance = f"distance from {most} samples {apart:.2f}"
        measured = f"{distance}, roughness {total_variation(values):.2f}"
    return State(
        f"{made}: {measured}.",
        {
            "copy": {"src": copy, "alt": noisy},
            "map": {
                "src": map_picture(values, limit, SALIENCY_CMAP),
                "alt": f"SmoothGrad map of {name} from {made}: {described(values)}.",
            },
            "map-high": {"words": number(limit)},
        },
    )


def _at(values: Sequence[float], wanted: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - wanted))
