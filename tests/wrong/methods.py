"""A second, plain implementation of the image methods, for mutants.py to break.

It is right as it stands. Each method takes what chapter4's own takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chapter4.core.attribution import choose_targets, is_single
from chapter4.inputs import images

__all__ = ["nullcontext", "replace"]  # for mutants only


class Result(SimpleNamespace):
    """Unpacks as the real results do."""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.map, self.target))


def result(image: Any, **parts: Any) -> Result:
    """What a method returns: one value for one image, lists and arrays for several."""
    for name, values in parts.items():
        if isinstance(values, Tensor):
            values = values.detach().numpy()
        parts[name] = values[0] if is_single(image) else values
    return Result(**parts)


@contextmanager
def guarded(model: nn.Module) -> Iterator[None]:
    """In eval mode, without gradients of the weights; afterwards all is as it was."""
    modes = {module: module.training for module in model.modules()}
    wanted = {weight: weight.requires_grad for weight in model.parameters()}
    with torch.random.fork_rng([]), torch.inference_mode(False):
        model.eval()
        model.requires_grad_(False)
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for weight, was in wanted.items():
                weight.requires_grad_(was)


def targets_of(logits: Tensor, target_class: Any) -> list[int]:
    if not logits.isfinite().all():
        raise ValueError("NaN or infinite scores")
    return choose_targets(logits, target_class)


def score_of(logits: Tensor, targets: list[int], score: str) -> Tensor:
    values = logits.softmax(dim=1) if score == "probability" else logits
    return values[torch.arange(len(logits)), torch.tensor(targets)]


def explain(
    image: Any,
    model: nn.Module,
    target_class: Any,
    score: str,
    paths: Sequence[tuple[Tensor, Tensor]],
    chunk_size: int = 8,
) -> dict[str, Any]:
    """Each image's sum of weighted gradients along its path of points, its class, F."""
    x, means = images.image_tensor(image, model), []
    with guarded(model):
        logits = model(x.clone()).detach()
        targets = targets_of(logits, target_class)
        for (points, weights), target in zip(paths, targets, strict=True):
            total = torch.zeros_like(points[0])
            for start in range(0, len(points), chunk_size):
                some = points[start : start + chunk_size].clone().requires_grad_()
                chosen = [target] * len(some)
                score_of(model(some.clone()), chosen, score).sum().backward()
                gradient = some.grad
                share = weights[start : start + chunk_size, None, None, None]
                total += (share * gradient).sum(dim=0)
            means.append(total)
    scores = score_of(logits, targets, score).tolist()
    return {"attributions": torch.stack(means), "target": targets, "score": scores}


def itself(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Paths of one point each: the image."""
    return [(each[None], torch.ones(1, dtype=x.dtype)) for each in x]


def vanilla_gradients(
    image: Any, model: nn.Module, target_class: Any = None, *, score: str = "logit"
) -> Result:
    x = images.image_tensor(image, model)
    found = explain(image, model, target_class, score, itself(x))
    saliency = found["attributions"].abs().amax(dim=1)
    return result(image, map=saliency, **found)


def gradient_input(
    image: Any, model: nn.Module, target_class: Any = None, *, score: str = "logit"
) -> Result:
    x = images.image_tensor(image, model)
    found = explain(image, model, target_class, score, itself(x))
    found["attributions"] = x * found["attributions"]
    drawn = found["attributions"].abs().amax(dim=1)
    return result(image, map=drawn, **found)


def smooth_grad(
    image: Any,
    model: nn.Module,
    target_class: Any = None,
    n_samples: int = 50,
    noise_level: float = 0.15,
    *,
    seed: int = 0,
    chunk_size: int = 8,
    score: str = "logit",
) -> Result:
    x, paths = images.image_tensor(image, model), []
    for each in x:
        sigma = noise_level * (each.max() - each.min())
        generator, size = torch.Generator().manual_seed(seed), (n_samples, *each.shape)
        noise = torch.randn(size, generator=generator, dtype=x.dtype)
        parts = torch.full((n_samples,), 1 / n_samples, dtype=x.dtype)
        paths.append((each + sigma * noise, parts))
    found = explain(image, model, target_class, score, paths, chunk_size)
    drawn = found["attributions"].abs().amax(dim=1)
    return result(image, map=drawn, **found)


class GradCAM:
    def __init__(self, model: nn.Module, layer: nn.Module | str) -> None:
        named = isinstance(layer, str)
        self.model, self.layer = model, model.get_submodule(layer) if named else layer

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def keep(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        self.grid = output.detach().clone().requires_grad_()
        return self.grid.clone()  # a later in-place ReLU changes the clone

    def generate_cam(
        self, image: Any, target_class: Any = None, *, score: str = "logit"
    ) -> Result:
        x = images.image_tensor(image, self.model)
        with guarded(self.model):
            handle = self.layer.register_forward_hook(self.keep)
            try:
                logits = self.model(x.clone())
            finally:
                handle.remove()
            targets = targets_of(logits, target_class)
            scores = score_of(logits, targets, score)
            (gradient,) = torch.autograd.grad(scores.sum(), self.grid)
        grid = self.grid.detach()
        raw = (self.weights(grid, gradient) * grid).sum(dim=1).relu()
        drawn = F.interpolate(raw[:, None], size=x.shape[-2:], mode="bilinear")[:, 0]
        peak = drawn.amax(dim=(1, 2), keepdim=True)
        drawn = drawn / peak.where(peak > 0, torch.ones_like(peak))
        blank = (peak == 0).flatten().tolist()
        scores = scores.tolist()
        return result(
            image, map=drawn, raw=raw, target=targets, score=scores, blank=blank
        )

    def weights(self, grid: Tensor, gradient: Tensor) -> Tensor:
        return gradient.mean(dim=(2, 3), keepdim=True)


class GradCAMPlusPlus(GradCAM):
    def weights(self, grid: Tensor, gradient: Tensor) -> Tensor:
        total = grid.sum(dim=(2, 3), keepdim=True)
        below = 2 + total * gradient
        alpha = (1 / below).where(below.abs() > 1e-3, torch.zeros_like(below))
        return (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)


def steps(rule: str, n: int) -> tuple[Any, Any]:
    """The points on [0, 1] and their weights."""
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        return (nodes + 1) / 2, weights / 2
    if rule == "riemann_trapezoid":
        ends = np.ones(n) / (n - 1)
        ends[[0, -1]] /= 2
        return np.linspace(0, 1, n), ends
    first = {"riemann_left": 0, "riemann_middle": 0.5, "riemann_right": 1}[rule]
    return (np.arange(n) + first) / n, np.ones(n) / n


def integrated_gradients(
    image: Any,
    model: nn.Module,
    target_class: Any = None,
    baseline: Any = "black",
    n_steps: int = 50,
    *,
    seed: int = 0,
    chunk_size: int = 8,
    score: str = "logit",
    rule: str = "gausslegendre",
) -> Result:
    x = images.image_tensor(image, model)
    given = isinstance(baseline, Tensor)
    start = baseline if given else make_baseline(baseline, x, model, seed=seed)
    start = start.reshape(x.shape)
    alphas, weights = (
        torch.tensor(each, dtype=x.dtype) for each in steps(rule, n_steps)
    )
    way = alphas[:, None, None, None]
    paths = [(x0 + way * (x1 - x0), weights) for x0, x1 in zip(start, x, strict=True)]
    found = explain(image, model, target_class, score, paths, chunk_size)
    signed = found["attributions"] = (x - start) * found["attributions"]
    drawn = signed.abs().sum(dim=1)
    with guarded(model):
        before = score_of(model(start.clone()), found["target"], score).detach()
    change = torch.tensor(found["score"], dtype=x.dtype) - before
    delta = (signed.sum(dim=(1, 2, 3)) - change).abs() / change.abs()
    delta = torch.where(change == 0, torch.nan, delta).tolist()
    return result(image, map=drawn, baseline_score=before, delta=delta, **found)


def make_baseline(
    name: str,
    image: Any,
    model: Any = None,
    *,
    seed: int = 0,
    blur_sigma: float | None = None,
) -> Tensor:
    carrier = nn.Identity() if model is None else model
    x, space = images.image_tensor(image, carrier), images.preprocessing_of(carrier)
    if name == "mean":
        made = torch.zeros_like(x)
    elif name == "black":
        made = space.normalize(torch.zeros_like(x))
    elif name == "white":
        made = space.normalize(torch.ones_like(x))
    elif name == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(x.shape[1:], generator=generator, dtype=x.dtype)
        made = space.normalize(noise.expand_as(x))
    else:
        made = space.normalize(blurred(space.denormalize(x), blur_sigma))
    return made.reshape(image.shape)


def blurred(pixels: Tensor, sigma: float | None) -> Tensor:
    short = min(pixels.shape[-2:])
    sigma = 0.09 * short if sigma is None else sigma
    radius = min(round(3 * sigma), short - 1)
    at = torch.arange(-radius, radius + 1, dtype=pixels.dtype)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    pixels = F.pad(pixels, [radius] * 4, mode="reflect")
    for line in (kernel[:, None], kernel[None]):
        pixels = F.conv2d(pixels, line.expand(3, 1, *line.shape), groups=3)
    return pixels


def image_tensor(image: Any, model: nn.Module) -> Tensor:
    """A photo as the model takes it."""
    from PIL import Image, ImageOps

    space = images.preprocessing_of(model)
    photo = ImageOps.exif_transpose(image)
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        white = Image.new("RGBA", photo.size, "white")
        photo = Image.alpha_composite(white, photo)
    photo = space.crop_image(photo.convert("RGB"))
    values = torch.from_numpy(np.array(photo, dtype=np.float32)).permute(2, 0, 1)[None]
    return space.normalize(values / 255)
