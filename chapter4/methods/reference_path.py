"""What Integrated Gradients tend to: the same path in many more steps and in float64, to
measure cheaper rules against.
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
    """Signed Integrated Gradients (3, H, W) of one image by each score, in float64 by the
    midpoint rule.

    The input and the baseline are those that the model itself gets, in its own dtype;
    only the arithmetic is finer. One forward pass serves all scores. The model is copied
    and stays as it was. progress: called with the number of steps done.
    The midpoint rule is the one that suits a gradient that jumps: its error falls as
    1/n_steps whatever the network.
    Raises ValueError for several images; else as `integrated_gradients`.
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
