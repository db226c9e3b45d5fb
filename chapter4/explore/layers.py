"""Section 4.2 as an interactive figure: Grad-CAM with a choice of layer and class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from chapter4.evidence.randomization import default_stages
from chapter4.explore.pictures import (
    Panel,
    State,
    explorer,
    grey,
    map_picture,
    one_image,
    photo_picture,
)
from chapter4.explore.sentences import described, number
from chapter4.explore.view import Choice, Explorer, Slider
from chapter4.inputs.images import image_tensor, seen_pixels
from chapter4.inputs.models import class_index, class_names_of
from chapter4.methods.gradcam import GradCAM, default_target_layer, resize_map
from chapter4.plots.figures import CAM_CMAP, OVERLAY_ALPHA
from chapter4.reports.image import predict

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput
    from chapter4.methods.gradcam import CamAttribution

# Shades of the enlarged map: with few shades, contours appear that are not there.
SMOOTH = 64
# How many of the most probable classes are shown; a class that the picture does not
# show follows them.
TOP = 5

_CAPTION = (
    "Grad-CAM over the picture that the model saw, in grey, and the raw map in the"
    " cells of the layer. The slider goes from the first layers to the last. One layer"
    " has one colour scale, the same for all of its classes; it ends at the largest"
    " cell of any of them. Compare classes within a layer, and not layers with each"
    " other."
)


def explore_gradcam(
    image: ImageInput,
    model: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    absent: int | str | None = None,
) -> Explorer:
    """Grad-CAM's map for each stage of a network and for each of a few classes.

    The figure starts at the last layer and the predicted class. In it the colours go
    from 0 to the largest raw value of any of the classes at that layer.

    Args:
        image: One image: a path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K).
        layers: Dotted names of layers in the order of the forward pass. None for
            ``grid_stages(model, image)``: the network's stages up to the layer that
            :class:`chapter4.GradCAM` explains by default.
        absent: A class that the picture does not show, by index or name, beside the
            five most probable ones. None for the least probable class.

    Returns:
        A figure that needs no network.

    Raises:
        ValueError: If ``image`` is not one image, if ``layers`` is empty, if a layer or
            a class is unknown, or if a layer gives no map.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391.
    """
    x = one_image(image, model)
    stages = grid_stages(model, x) if layers is None else list(layers)
    if not stages:
        raise ValueError("no layer was named: give at least one part of the model")
    order, probabilities = predict(model, x)
    other = int(order[-1]) if absent is None else class_index(model, absent)
    classes = list(dict.fromkeys([*order[:TOP].tolist(), other]))
    chance = dict(zip(order.tolist(), probabilities.tolist(), strict=True))
    names = [class_names_of(model)(each) for each in classes]
    ground = photo_picture(grey(seen_pixels(x[0], model)))
    states = []
    for stage in stages:
        found = GradCAM(model, stage).generate_cams(x, classes)
        limit = max(float(each.raw.max()) for each in found)
        states += [
            _state(each, stage, name, chance[index], limit, x.shape[-2:], ground)
            for each, name, index in zip(found, names, classes, strict=True)
        ]
    words = [
        f"{n} ({_percent(chance[i])})" for n, i in zip(names, classes, strict=True)
    ]
    return explorer(
        "Grad-CAM: layer and class",
        [
            Slider("layer", "Layer", stages, len(stages) - 1),
            Choice("class", "Class and its probability", words),
        ],
        [
            Panel("map", "Over the picture"),
            Panel(
                "cells", "Raw map", CAM_CMAP, "weighted sum of activations", cells=True
            ),
        ],
        states,
        _CAPTION,
    )


def grid_stages(model: nn.Module, image: ImageInput) -> list[str]:
    """The stages up to Grad-CAM's default layer, in the order of the forward pass.

    They are those of :func:`chapter4.default_stages` without single convolutions,
    because the rest of the network does not see the output of a convolution directly.
    """
    last = default_target_layer(model, image_tensor(image, model))
    stages = default_stages(model)[::-1]
    stages = stages[: stages.index(last)] if last in stages else []
    kept = [s for s in stages if not isinstance(model.get_submodule(s), nn.Conv2d)]
    return [*kept, last]


def _state(
    found: CamAttribution,
    stage: str,
    name: str,
    chance: float,
    limit: float,
    size: torch.Size,
    ground: str,
) -> State:
    rows, columns = found.raw.shape
    large = resize_map(torch.from_numpy(found.raw)[None], size)[0].numpy()
    where = (
        f"{stage}, {rows} × {columns} cells, {name} (probability {_percent(chance)})"
    )
    zero = f"{(found.raw == 0).sum():,} of {found.raw.size:,} cells are zero"
    said = f"{where}: blank, no cell speaks for the class."
    if not found.blank:
        largest = number(float(found.raw.max()))
        spread = described(found.raw, "cells")
        said = f"{where}: largest cell {largest}; {zero}; {spread}."
    shown = f"Grad-CAM of {name} at the layer {stage}"
    return State(
        said,
        {
            "map": {
                "src": map_picture(large, limit, CAM_CMAP, SMOOTH),
                "ground": ground,
                "opacity": OVERLAY_ALPHA,
                "alt": f"{shown} over the picture in grey: {described(large)}.",
            },
            "cells": {
                "src": map_picture(found.raw, limit, CAM_CMAP),
                "alt": (
                    f"{shown} as {rows} by {columns} cells:"
                    f" {_compared(found.raw, limit)}."
                ),
            },
            "cells-high": {"words": number(limit)},
        },
    )


def _compared(raw: np.ndarray, limit: float) -> str:
    if not raw.any():
        return described(raw)
    return (
        f"{described(raw, 'cells')}, the largest at {raw.max() / limit:.0%} of the"
        " colour scale"
    )


def _percent(chance: float) -> str:
    return f"{chance:.0%}" if chance >= 0.01 else "below 1%"
