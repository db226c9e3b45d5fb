"""The right maps by short code of their own, in any dtype.

Deviations are measured from the maps in float64. Nothing of chapter4's engine is used.
Formulas and sources: Simonyan et al. 2013 (arXiv:1312.6034), Smilkov et al. 2017
(arXiv:1706.03825), Selvaraju et al. 2017 (arXiv:1610.02391), Chattopadhay et al. 2018
(arXiv:1710.11063), Sundararajan et al. 2017 (arXiv:1703.01365).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Subject

TASKS = (
    "gradient_1",
    "gradient_8",
    "gradcam",
    "gradcam_plus_plus",
    "classes",
    "smooth_grad",
    "integrated_gradients",
)


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
    model = copy.deepcopy(subject.model).to(dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images, targets = subject.images.to(dtype), subject.targets
    if task in ("gradient_1", "gradient_8"):
        count = int(task[-1])
        signed = _gradients(model, images[:count], targets[:count])
        maps = signed.abs().amax(dim=1)
        return (maps[0] if count == 1 else maps).cpu().numpy()
    if task in ("gradcam", "gradcam_plus_plus", "classes"):
        layer = dict(model.named_modules())[subject.layer_name]
        chosen = subject.classes if task == "classes" else targets[:1]
        plus = task == "gradcam_plus_plus"
        cams = [_cam(model, layer, images[:1], target, plus) for target in chosen]
        return (torch.stack(cams) if task == "classes" else cams[0]).cpu().numpy()
    if task == "smooth_grad":
        assert points is not None
        mean = _mean_gradient(
            model, points.to(dtype), [1 / len(points)] * len(points), targets[0]
        )
        return mean.abs().amax(dim=0).cpu().numpy()
    if task == "integrated_gradients":
        start, end = subject.black.to(dtype), images[:1]
        nodes, weights = np.polynomial.legendre.leggauss(n)
        path = torch.cat(
            [start + float(a) * (end - start) for a in (nodes + 1) / 2]
        )  # (n, 3, H, W)
        mean = _mean_gradient(model, path, (weights / 2).tolist(), targets[0])
        return ((end - start)[0] * mean).abs().sum(dim=0).cpu().numpy()
    raise ValueError(f"no reference for {task!r}")


def deviation(found: np.ndarray, right: np.ndarray) -> float:
    """Relative L2: |found - right| / |right|."""
    right = np.asarray(right, float)
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def _gradients(model: nn.Module, x: Tensor, targets: Sequence[int]) -> Tensor:
    leaf = x.clone().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    score = model(leaf)[rows, torch.tensor(targets, device=x.device)].sum()
    return torch.autograd.grad(score, leaf)[0]


def _mean_gradient(
    model: nn.Module, points: Tensor, weights: list[float], target: int
) -> Tensor:
    total = torch.zeros_like(points[0])
    for chunk, share in zip(
        points.split(4), torch.tensor(weights).split(4), strict=True
    ):
        gradients = _gradients(model, chunk, [target] * len(chunk))
        total += (gradients * share.to(gradients).reshape(-1, 1, 1, 1)).sum(dim=0)
    return total


def _cam(
    model: nn.Module, layer: nn.Module, x: Tensor, target: int, plus: bool
) -> Tensor:
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[0].clone()

    handle = layer.register_forward_hook(keep)
    try:
        score = model(x)[0, target]
    finally:
        handle.remove()
    activations = kept[0]
    gradient = torch.autograd.grad(score, activations)[0]
    activations = activations.detach()
    if plus:
        sums = activations.sum(dim=(2, 3), keepdim=True)
        alpha = torch.where(gradient == 0, 0, 1 / (2 + sums * gradient))
        weights = (alpha * gradient.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    else:
        weights = gradient.mean(dim=(2, 3), keepdim=True)
    raw = (weights * activations).sum(dim=1, keepdim=True).clamp(min=0)
    resized = nn.functional.interpolate(
        raw, x.shape[-2:], mode="bilinear", align_corners=False
    )
    peak = resized.max()
    return resized[0, 0] / peak if peak > 0 else resized[0, 0]
