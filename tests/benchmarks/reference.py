"""The right maps in any dtype, by short code that uses nothing of the engine.

Deviations are measured from the maps in float64. Formulas and sources are in
chapter4/plain.py.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Subject
from chapter4 import plain
from chapter4.study import speed

TASKS = tuple(task for task in speed.TASKS if task != "cams_together")


class Recorder(nn.Module):
    """A model that remembers the inputs of its passes with gradients.

    They show which noisy copies a SmoothGrad really took.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[Tensor] = []
        if hasattr(model, "preprocessing"):
            self.preprocessing = model.preprocessing

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to logits (N, K)."""
        if torch.is_grad_enabled():
            self.seen.append(x.detach().clone(memory_format=torch.contiguous_format))
        return self.model(x)


def right_map(
    subject: Subject, task: str, dtype: torch.dtype, *, n: int, points: Tensor | None
) -> np.ndarray:
    """The map of one task by the right formula with a model and images in ``dtype``.

    ``n``: IG's steps, Gauss-Legendre. ``points``: (n, 3, H, W), the noisy copies to
    average over in SmoothGrad.
    """
    model = copy.deepcopy(subject.model).to(dtype).requires_grad_(False)
    images, target = subject.images.to(dtype), subject.targets[0]
    if task in ("gradient_1", "gradient_8"):
        pairs = list(zip(images, subject.targets, strict=True))[: int(task[-1])]
        found = torch.stack([plain.vanilla_gradients(x, model, t) for x, t in pairs])
    elif task == "smooth_grad":
        assert points is not None
        total = sum(_gradient(x, model, target) for x in points.to(dtype))
        found = (total / len(points)).abs().amax(dim=0)
    elif task == "integrated_gradients":
        start = subject.black[0].to(dtype)
        way, total = images[0] - start, 0
        for node, weight in zip(*np.polynomial.legendre.leggauss(n), strict=True):
            total += weight / 2 * _gradient(start + (node + 1) / 2 * way, model, target)
        found = (way * total).abs().sum(dim=0)
    else:
        cam = {"gradcam": plain.grad_cam, "gradcam_plus_plus": plain.grad_cam_plus_plus}
        layer = model.get_submodule(subject.layer_name)
        raw = cam[task](images[0], model, target, layer)
        found = nn.functional.interpolate(
            raw[None, None], images.shape[-2:], mode="bilinear", align_corners=False
        )
        found = found / found.max()
    return found.cpu().numpy()


def deviation(found: np.ndarray, right: np.ndarray) -> float:
    """Relative L2: |found - right| / |right|."""
    right = np.asarray(right, float)
    difference = np.reshape(found, right.shape) - right
    return float(np.linalg.norm(difference) / np.linalg.norm(right))


def _gradient(x: Tensor, model: nn.Module, target: int) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(model(leaf[None])[0, target], leaf)[0]
