"""Scores of many changed copies of one image, without gradients.

Every test of an explanation asks the model for these.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    CHUNK_SIZE,
    Score,
    check_count,
    check_score,
    choose_targets,
    frozen_eval,
    logits_of,
    select,
)
from chapter4.inputs.images import image_tensor

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


def one_image(image: ImageInput, model: nn.Module) -> Tensor:
    """Convert one image for the model.

    Args:
        image: A path, a PIL image or a normalised tensor (3, H, W) or (1, 3, H, W).
        model: The model that will see it.

    Returns:
        The normalised image, (1, 3, H, W).

    Raises:
        ValueError: For a batch of several images.
    """
    x = image_tensor(image, model)
    if len(x) != 1:
        raise ValueError(
            f"evidence is about one image at a time, not a batch of {len(x)}"
        )
    return x


def score_images(
    model: nn.Module,
    images: Iterable[Tensor],
    target: int,
    *,
    score: Score = "logit",
    chunk_size: int | None = None,
) -> np.ndarray:
    """F of each image: the target's logit or probability.

    The model is left as it was. Only one chunk of images is in memory at a time.

    Args:
        model: A classifier that gives logits (N, K).
        images: Normalised tensors (3, H, W), which may be made one by one.
        target: The index of the class.
        score: "logit" or "probability".
        chunk_size: How many images go through the model at a time; None for the
            default.

    Returns:
        The scores, (N,) in float64.
    """
    size = check_count("chunk_size", CHUNK_SIZE if chunk_size is None else chunk_size)
    stream, found = iter(images), []
    with frozen_eval(model), torch.no_grad():
        while chunk := list(islice(stream, size)):
            logits = logits_of(model, torch.stack(chunk))
            values = select(logits, [target] * len(chunk), check_score(score))
            found.append(values.double().cpu().numpy())
    return np.concatenate(found)


def chosen_class(model: nn.Module, x: Tensor, target_class: Any) -> int:
    """The class to explain for x (1, 3, H, W).

    It is the given class, after a check, or the predicted class for None.
    """
    with frozen_eval(model), torch.no_grad():
        return choose_targets(logits_of(model, x.clone()), target_class)[0]


def predicted_classes(
    model: nn.Module, images: Tensor, *, chunk_size: int = 50
) -> Tensor:
    """The most probable class of each of many normalised images (N, 3, H, W): (N,)."""
    parts = images.split(chunk_size)
    with frozen_eval(model), torch.no_grad():
        found = [logits_of(model, part.clone()).argmax(1).cpu() for part in parts]
    return torch.cat(found)
