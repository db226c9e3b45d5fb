"""Scores of many changed copies of one image, without gradients: what every test of an
explanation asks of the model.
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
    """The image as (1, 3, H, W), normalised. ValueError for a batch of several."""
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
    """F of each image: the target's logit or probability, (N,) in float64.

    images: normalised tensors (3, H, W), made when needed; memory is that of one chunk.
    The model is left as it was.
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
    """The class to explain for x (1, 3, H, W): the given one, checked, or the predicted
    one for None.
    """
    with frozen_eval(model), torch.no_grad():
        return choose_targets(logits_of(model, x.clone()), target_class)[0]


def predicted_classes(
    model: nn.Module, images: Tensor, *, chunk_size: int = 50
) -> Tensor:
    """The most probable class of each of many normalised images (N, 3, H, W): (N,)."""
    with frozen_eval(model), torch.no_grad():
        return torch.cat(
            [
                logits_of(model, part.clone()).argmax(1).cpu()
                for part in images.split(chunk_size)
            ]
        )
