"""A very accurate Integrated Gradients, to measure cheaper rules against.

It takes the same path in many more steps and in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    Score,
    check_count,
    check_finite,
    check_score,
    choose_targets,
    chunk_of,
    frozen_eval,
    logits_of,
    select,
)
from chapter4.inputs.images import image_tensor
from chapter4.methods.integrated_gradients import make_baseline, quadrature

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

REFERENCE_STEPS = 1000


def reference_attributions(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    baseline: str | Tensor = "black",
    scores: Sequence[Score] = ("logit", "probability"),
    n_steps: int = REFERENCE_STEPS,
    chunk_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Signed Integrated Gradients of one image by each score, in float64.

    The input and the baseline are those that the model itself gets, in its own dtype;
    only the arithmetic is finer. One forward pass serves all scores. The model is
    copied and stays as it was.

    The midpoint rule is the one that suits a gradient that jumps: its error falls as
    1/n_steps, whatever the network.

    Args:
        image: One image: a path, a PIL image, or a normalised float tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, or None for the predicted
            class.
        baseline: "black", "white", "random", "blur" or "mean" (see
            :func:`chapter4.make_baseline`), or a normalised tensor of the image's
            shape.
        scores: The scores to explain, "logit" and "probability".
        n_steps: Steps of the midpoint rule.
        chunk_size: Steps in one pass through the model; None chooses a number that
            suits the device.
        progress: Called with the number of steps done.

    Returns:
        For each score the attributions, (3, H, W), signed.

    Raises:
        ValueError: If there are several images, if an argument is out of range, if the
            image can't be used, or if the model gives no finite logits (N, K) or no
            finite gradient.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.
    """
    n_steps = check_count("n_steps", n_steps)
    x = image_tensor(image, model)
    chunk = chunk_of(chunk_size, x)
    if len(x) != 1:
        raise ValueError(f"a reference is made for one image, not {len(x)}")
    start = make_baseline(baseline, x, model) if isinstance(baseline, str) else baseline
    start = start.reshape(x.shape).to(x)
    with frozen_eval(model), torch.no_grad():
        (target,) = choose_targets(logits_of(model, x.clone()), target_class)
    exact = deepcopy(model).double()
    x, start = x.double(), start.double()
    totals = {check_score(score): torch.zeros_like(x[0]) for score in scores}
    alphas = torch.tensor(quadrature("riemann_middle", n_steps)[0], dtype=x.dtype)
    with frozen_eval(exact):
        for i in range(0, n_steps, chunk):
            steps = alphas[i : i + chunk].to(x).reshape(-1, 1, 1, 1)
            points = (start + steps * (x - start)).requires_grad_()
            logits = logits_of(exact, points.clone())
            for score, total in totals.items():
                value = select(logits, [target] * len(points), score).sum()
                (gradient,) = torch.autograd.grad(value, points, retain_graph=True)
                check_finite(gradient)
                total += gradient.sum(dim=0)
            if progress:
                progress(min(i + chunk, n_steps))
    scale = (x - start)[0] / n_steps
    return {score: (scale * total).cpu().numpy() for score, total in totals.items()}
