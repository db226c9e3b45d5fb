"""Known mistakes, runnable. Each function here is a plain second implementation of a method; `wrong` names the one mistake
that it makes, and "" makes none. The tables at the end say which oracle must catch which mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chapter4.attribution import choose_targets, is_single, undisturbed
from chapter4.images import Preprocessing, image_tensor, preprocessing_of


class Result(SimpleNamespace):
    """Unpacks as the real results do."""

    def __iter__(self) -> Iterator[Any]:
        yield self.map
        yield self.target


@contextmanager
def _guarded(model: nn.Module, wrong: str) -> Iterator[None]:
    """chapter4's guard, or the usual ways to do without it."""
    if wrong == "model left in another mode":
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            yield
    elif wrong == "modes of the submodules lost":
        training = model.training
        with undisturbed(model):
            yield
        model.train(training)
    elif wrong == "not put back after an exception":
        modes = {module: module.training for module in model.modules()}
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            yield
        for module, training in modes.items():
            module.training = training
    elif wrong == "training mode while explaining":
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
            yield
            for buffer, was in buffers:
                buffer.data.copy_(was)
    elif wrong == "gradients frozen for good":
        with undisturbed(model):
            yield
        model.requires_grad_(False)
    elif wrong == "random state moved":
        state = torch.get_rng_state()
        with undisturbed(model):
            yield
        torch.set_rng_state(state)
        torch.rand(1)
    elif wrong == "the caller's grad mode kept":
        grad = torch.is_grad_enabled()
        with undisturbed(model), torch.set_grad_enabled(grad):
            yield
    elif wrong == "parameter gradients accumulate":
        wanted = [p for p in model.parameters() if p.requires_grad]
        with undisturbed(model):
            for parameter in wanted:
                parameter.requires_grad_(True)
            yield
    else:
        with undisturbed(model):
            yield


GUARD = {
    "model left in another mode": "the_model_is_left_as_it_was",
    "modes of the submodules lost": "the_model_is_left_as_it_was",
    "not put back after an exception": "also_when_the_model_raises",
    "training mode while explaining": "the_model_is_left_as_it_was",
    "gradients frozen for good": "the_model_is_left_as_it_was",
    "random state moved": "random_state_comes_back",
    "parameter gradients accumulate": "the_model_is_left_as_it_was",
}


def _targets(logits: Tensor, target_class: Any, wrong: str) -> list[int]:
    if not logits.isfinite().all():
        raise ValueError("NaN or infinite scores")
    if wrong == "one class for a whole batch" and not isinstance(target_class, (list, tuple, Tensor, np.ndarray)):
        target_class = None if target_class is None else [target_class] * len(logits)
    if wrong == "class of the first image for all":
        return [choose_targets(logits, target_class)[0]] * len(logits)
    targets = choose_targets(logits, target_class)
    if wrong == "gradient of the wrong class":
        return [(target + 1) % logits.shape[1] for target in targets]
    return targets


def _score(logits: Tensor, targets: Any, score: str, wrong: str) -> Tensor:
    if wrong == "softmax instead of logit":
        score = "probability"
    if wrong == "log-softmax instead of logit":
        values = logits.log_softmax(dim=1)
    elif wrong == "logit, though the probability was asked for":
        values = logits
    else:
        values = logits.softmax(dim=1) if score == "probability" else logits
    return values[torch.arange(len(logits)), torch.as_tensor(targets)]


def _result(image: Any, signed: Tensor, drawn: Tensor, targets: list[int], values: Tensor, **more: Any) -> Result:
    single = is_single(image)
    parts = {"map": drawn.detach().numpy(), "attributions": signed.detach().numpy(), "score": values.tolist(), **more}
    named = {"target": targets} | parts
    return Result(**{key: value[0] if single else value for key, value in named.items()})


def _gradient(model: nn.Module, x: Tensor, targets: Any, score: str, wrong: str) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    values = _score(model(leaf.clone()), targets, score, wrong)
    if wrong == "parameter gradients accumulate":
        values.sum().backward()
        return leaf.grad  # type: ignore[return-value]
    return torch.autograd.grad(values.sum(), leaf)[0]


# --- 4.1 ------------------------------------------------------------------------------------------------------------


def gradients(wrong: str = "", *, times_input: bool = False) -> Callable[..., Result]:
    """`vanilla_gradients`, or `gradient_input`."""

    def method(image: Any, model: nn.Module, target_class: Any = None, *, score: str = "logit") -> Result:
        x = image_tensor(image, model)
        with _guarded(model, wrong):
            logits = model(x.clone()).detach()
            targets = _targets(logits, target_class, wrong)
            if wrong == ".grad accumulates on the caller's tensor":
                owner = image if isinstance(image, Tensor) and image.is_leaf and not image.is_inference() else x.clone()
                owner.requires_grad_()
                _score(model(owner.reshape(x.shape).clone()), targets, score, wrong).sum().backward()
                gradient = owner.grad.reshape(x.shape).clone()  # type: ignore[union-attr]
            else:
                gradient = _gradient(model, x, targets, score, wrong)
        if wrong == "gradient of the absolute score":
            gradient = gradient * _score(logits, targets, score, "").sign()[:, None, None, None]
        if times_input:
            if wrong == "times the pixel, not the normalised input":
                gradient = gradient * preprocessing_of(model).denormalize(x)
            elif wrong == "absolute values multiplied":
                gradient = (x * gradient).abs()
            elif wrong != "the input forgotten":
                gradient = x * gradient
        drawn = gradient.abs().amax(dim=1)
        if wrong == "sum over channels, signed":
            drawn = gradient.sum(dim=1)
        elif wrong == "maximum without the absolute value":
            drawn = gradient.amax(dim=1)
        elif wrong == "mean over channels":
            drawn = gradient.abs().mean(dim=1)
        elif wrong == "map scaled to 1":
            drawn = drawn / drawn.amax(dim=(1, 2), keepdim=True)
        elif wrong == "rows and columns swapped":
            drawn = drawn.mT.reshape(drawn.shape)
        return _result(image, gradient, drawn, targets, _score(logits, targets, score, ""))

    return method


VANILLA = GUARD | {
    ".grad accumulates on the caller's tensor": "the_callers_tensor_is_untouched",
    "the caller's grad mode kept": "the_callers_grad_mode_does_not_matter",
    "softmax instead of logit": "gradient_of_a_sure_model",
    "log-softmax instead of logit": "gradient_of_powers",
    "logit, though the probability was asked for": "gradient_of_the_probability",
    "gradient of the wrong class": "gradient_of_powers",
    "gradient of the absolute score": "gradient_of_powers",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "class of the first image for all": "a_batch_equals_its_images",
    "sum over channels, signed": "gradient_of_powers",
    "maximum without the absolute value": "gradient_of_powers",
    "mean over channels": "gradient_of_powers",
    "map scaled to 1": "gradient_of_powers",
    "rows and columns swapped": "gradient_of_powers",
}
GRADIENT_INPUT = GUARD | {
    "times the pixel, not the normalised input": "product_of_powers",
    "absolute values multiplied": "product_of_powers",
    "the input forgotten": "products_sum_to_a_homogeneous_score",
    "sum over channels, signed": "product_of_powers",
    "softmax instead of logit": "product_against_captum",
    "gradient of the wrong class": "product_of_powers",
}


def smooth_grad(wrong: str = "") -> Callable[..., Result]:
    """`smooth_grad`, one image after the other."""

    def method(
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
        x = image_tensor(image, model)
        if wrong == "global seed set":
            torch.manual_seed(seed)
        chunk = 10**6 if wrong == "all samples in one batch" else chunk_size
        with _guarded(model, wrong):
            logits = model(x.clone()).detach()
            targets = _targets(logits, target_class, wrong)
            means, drawn = [], []
            for i, target in enumerate(targets):
                points = _noisy(x, i, n_samples, noise_level, seed, chunk_size, wrong)
                signed = []
                for start in range(0, len(points), chunk):
                    some = points[start : start + chunk]
                    chosen = [target] * len(some)
                    if wrong == "class chosen anew for every sample" and target_class is None:
                        chosen = model(some.clone()).argmax(dim=1).tolist()
                    signed.append(_gradient(model, some, chosen, score, wrong))
                each = torch.cat(signed)
                if wrong == ".grad accumulates from sample to sample":
                    each = each.cumsum(dim=0)
                mean = each.mean(dim=0)
                if wrong == "divided by n - 1":
                    mean = each.sum(dim=0) / max(n_samples - 1, 1)
                if wrong == "absolute values inside the mean":
                    mean = each.abs().mean(dim=0)
                elif wrong == "squares inside the mean":
                    mean = each.square().mean(dim=0)
                means.append(mean)
                before = wrong == "maximum over channels before the mean"
                drawn.append(each.abs().amax(dim=1).mean(dim=0) if before else mean.abs().amax(dim=0))
        if wrong == "input changed in place" and isinstance(image, Tensor) and not image.is_inference():
            image.detach().add_(torch.randn_like(image) * 1e-3)
        return _result(image, torch.stack(means), torch.stack(drawn), targets, _score(logits, targets, score, ""))

    return method


def _noisy(x: Tensor, i: int, n: int, level: float, seed: int, chunk_size: int, wrong: str) -> Tensor:
    """The noisy copies of image i, (n, 3, H, W)."""
    sigma = level * (x[i].max() - x[i].min())
    if wrong == "sigma absolute":
        sigma = torch.tensor(level, dtype=x.dtype)
    elif wrong == "sigma divided by the range":
        sigma = level / (x[i].max() - x[i].min())
    elif wrong == "range over the batch":
        sigma = level * (x.max() - x.min())
    elif wrong == "sigma from the standard deviation":
        sigma = level * x[i].std()
    elif wrong == "sigma is a variance":
        sigma = sigma.sqrt()
    generator = torch.Generator().manual_seed(seed)
    if wrong == "the seed forgotten":
        generator.seed()
    count = max(n - 1, 1) if wrong in ("n - 1 samples", "clean image counted as a sample") else n
    noise = torch.stack([torch.randn(x.shape[1:], generator=generator, dtype=x.dtype) for _ in range(count)])
    if wrong == "noise depends on the chunk size":
        noise = noise.roll(chunk_size, dims=-1) if chunk_size != 8 else noise
    elif wrong == "noise drawn once and reused":
        noise = noise[:1].expand_as(noise)
    elif wrong == "uniform noise":
        noise = 2 * torch.rand(noise.shape, generator=generator, dtype=x.dtype) - 1
    elif wrong == "noise that is never negative":
        noise = noise.abs()
    elif wrong == "the same noise for all channels":
        noise = noise[:, :1].expand_as(noise)
    points = x[i] + sigma * noise
    if wrong == "clean image counted as a sample":
        points = torch.cat([x[i : i + 1], points])
    return points


SMOOTH_GRAD = GUARD | {
    "absolute values inside the mean": "no_noise_is_the_plain_gradient",
    "squares inside the mean": "no_noise_is_the_plain_gradient",
    "maximum over channels before the mean": "mean_first_then_absolute",
    "sigma absolute": "noise_has_the_right_size",
    "sigma divided by the range": "noise_has_the_right_size",
    "sigma from the standard deviation": "noise_has_the_right_size",
    "sigma is a variance": "noise_has_the_right_size",
    "range over the batch": "sigma_is_each_images_own",
    "noise drawn once and reused": "noise_has_the_right_size",
    "noise that is never negative": "noise_has_the_right_size",
    "uniform noise": "noise_has_the_right_size",
    "the same noise for all channels": "noise_is_independent_everywhere",
    ".grad accumulates from sample to sample": "no_noise_is_the_plain_gradient",
    "n - 1 samples": "n_different_samples_are_taken",
    "divided by n - 1": "no_noise_is_the_plain_gradient",
    "clean image counted as a sample": "noise_has_the_right_size",
    "input changed in place": "the_callers_tensor_is_untouched",
    "softmax instead of logit": "no_noise_is_the_plain_gradient",
    "logit, though the probability was asked for": "smooth_probability",
    "gradient of the wrong class": "relu_under_noise",
    "class chosen anew for every sample": "the_class_is_chosen_on_the_clean_image",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "noise depends on the chunk size": "chunks_change_nothing",
    "all samples in one batch": "memory_does_not_grow_with_samples",
    "the seed forgotten": "the_seed_decides",
    "global seed set": "random_state_comes_back",
}


# --- 4.2 ------------------------------------------------------------------------------------------------------------


def grad_cam(wrong: str = "", *, plus: bool = False) -> type:
    """`GradCAM` or `GradCAMPlusPlus` as a class."""

    class Cam:
        def __init__(self, model: nn.Module, target_layer: nn.Module | str) -> None:
            self.model = model
            self.layer = model.get_submodule(target_layer) if isinstance(target_layer, str) else target_layer
            self.blank_map: Tensor | None = None

        def __enter__(self) -> Cam:
            return self

        def __exit__(self, *error: Any) -> None:
            return None

        def generate_cam(self, image: Any, target_class: Any = None, *, score: str = "logit") -> Result:
            x = image_tensor(image, self.model)
            with _guarded(self.model, wrong):
                grid, logits = self.forward(x)
                targets = _targets(logits.detach(), target_class, wrong)
                values = _score(logits, targets, score, wrong)
                if wrong == "parameter gradients accumulate":
                    grid.retain_grad()
                    values.sum().backward()
                    gradient = grid.grad
                else:
                    (gradient,) = torch.autograd.grad(values.sum(), grid)
            grid = self.stored(grid).detach()
            weights = (plus_weights if plus else mean_weights)(grid, gradient, wrong)  # type: ignore[arg-type]
            raw = combine(weights, grid, wrong)
            blank = (raw.amax(dim=(1, 2)) <= 0).tolist()
            drawn = draw(raw, x.shape[-2:], wrong)
            if wrong == "raw map scaled, so two classes can't be compared":
                raw = raw / raw.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
            if wrong == "blank not said":
                blank = [False] * len(blank)
            values = _score(logits.detach(), targets, score, "")
            return _result(image, grid, drawn, targets, values, raw=raw.numpy(), blank=blank)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            kept: list[Tensor] = []

            def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
                if wrong == "hook keeps what an in-place ReLU overwrites":
                    # The graph remembers the right tensor, the stored values do not.
                    own = output.detach().clone().requires_grad_()
                    passed = own.clone()
                    kept[:], self.overwritten = [own], passed
                    return passed
                kept[:] = [output.detach().clone().requires_grad_()]
                return kept[0].clone()

            handle = self.layer.register_forward_hook(keep)
            try:
                logits = self.model(x.clone())
            except BaseException:
                if wrong != "hook left behind after an exception":
                    handle.remove()
                raise
            if wrong != "hook left behind":
                handle.remove()
            return kept[0], logits

        def stored(self, grid: Tensor) -> Tensor:
            return self.overwritten if wrong == "hook keeps what an in-place ReLU overwrites" else grid

    return Cam


def mean_weights(grid: Tensor, gradient: Tensor, wrong: str) -> Tensor:
    if wrong == "sum of the gradients instead of the mean":
        return gradient.sum(dim=(2, 3), keepdim=True)
    if wrong == "mean over the whole batch":
        return gradient.mean(dim=(0, 2, 3), keepdim=True).expand(len(grid), -1, 1, 1)
    if wrong == "positive gradients only":
        return gradient.relu().mean(dim=(2, 3), keepdim=True)
    if wrong == "weights made absolute":
        return gradient.mean(dim=(2, 3), keepdim=True).abs()
    if wrong == "no pooling of the gradient":
        return gradient
    return gradient.mean(dim=(2, 3), keepdim=True)


def plus_weights(grid: Tensor, gradient: Tensor, wrong: str) -> Tensor:
    total = grid.sum(dim=(2, 3), keepdim=True)
    slope = gradient.relu()
    if wrong == "sum of the cubed gradients":
        return slope.pow(3).sum(dim=(2, 3), keepdim=True)
    if wrong == "1e-6 in a denominator of 1e-7":
        alpha = gradient.square() / (2 * gradient.square() + total * gradient.pow(3) + 1e-6)
        return (alpha * slope).sum(dim=(2, 3), keepdim=True)
    if wrong == "activation of the cell, not of the map":
        total = grid
    elif wrong == "sum over all channels":
        total = grid.sum(dim=(1, 2, 3), keepdim=True)
    elif wrong == "mean of the activations":
        total = grid.mean(dim=(2, 3), keepdim=True)
    elif wrong == "gradient taken for the activation":
        total = gradient.sum(dim=(2, 3), keepdim=True)
    elif wrong == "negative gradients counted":
        slope = gradient
    denominator = 2 + total * gradient
    if wrong == "1 + in the denominator":
        denominator = denominator - 1
    usable = denominator.abs() > 1e-3
    if wrong == "denominator not guarded":
        denominator = denominator + 1e-12
    else:
        denominator = denominator.where(usable, torch.full_like(denominator, torch.inf))
    weights = (slope / denominator).sum(dim=(2, 3), keepdim=True)
    return weights / gradient[0, 0].numel() if wrong == "mean over the cells" else weights


def combine(weights: Tensor, grid: Tensor, wrong: str) -> Tensor:
    if wrong == "ReLU before the channel sum":
        return (weights * grid).relu().sum(dim=1)
    if wrong == "ReLU forgotten":
        return (weights * grid).sum(dim=1)
    if wrong == "absolute value instead of the ReLU":
        return (weights * grid).sum(dim=1).abs()
    if wrong == "mean over channels":
        return (weights * grid).mean(dim=1).relu()
    return (weights * grid).sum(dim=1).relu()


def draw(raw: Tensor, size: Any, wrong: str) -> Tensor:
    if wrong == "minimum subtracted after the ReLU":
        raw = raw - raw.amin(dim=(1, 2), keepdim=True)
    if wrong == "one scale for the whole batch":
        peak = raw.max()
    corners = wrong == "corners aligned"
    mode = "nearest" if wrong == "nearest cell" else "bilinear"
    more = {} if mode == "nearest" else {"align_corners": corners}
    drawn = F.interpolate(raw[:, None], size=size, mode=mode, **more)[:, 0]  # type: ignore[arg-type]
    if wrong == "map not scaled":
        return drawn
    if wrong != "one scale for the whole batch":
        peak = drawn.amax(dim=(1, 2), keepdim=True)
    if wrong == "NaN on a blank map":
        return drawn / peak
    return drawn / peak.where(peak > 0, torch.ones_like(peak))


CAM = GUARD | {
    "hook left behind": "the_model_is_left_as_it_was",
    "hook left behind after an exception": "also_when_the_model_raises",
    "NaN on a blank map": "blank_maps_are_zeros_and_said",
    "blank not said": "blank_maps_are_zeros_and_said",
    "one scale for the whole batch": "a_batch_equals_its_images",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "the caller's grad mode kept": "the_callers_grad_mode_does_not_matter",
}
GRAD_CAM = CAM | {
    "hook keeps what an in-place ReLU overwrites": "cam_before_an_in_place_relu",
    "minimum subtracted after the ReLU": "cam_by_hand",
    "corners aligned": "cam_of_pooling_and_linear_head",
    "nearest cell": "cam_of_pooling_and_linear_head",
    "map not scaled": "cam_by_hand",
    "raw map scaled, so two classes can't be compared": "cam_by_hand",
    "ReLU before the channel sum": "cam_by_hand",
    "ReLU forgotten": "cam_by_hand",
    "absolute value instead of the ReLU": "blank_maps_are_zeros_and_said",
    "mean over channels": "cam_by_hand",
    "sum of the gradients instead of the mean": "cam_of_pooling_and_linear_head",
    "mean over the whole batch": "a_batch_equals_its_images",
    "positive gradients only": "cam_by_hand",
    "weights made absolute": "cam_by_hand",
    "no pooling of the gradient": "cam_by_hand",
    "softmax instead of logit": "cam_of_pooling_and_linear_head",
    "logit, though the probability was asked for": "cam_of_the_probability",
    "gradient of the wrong class": "cam_by_hand",
    "class of the first image for all": "cam_of_pooling_and_linear_head",
}
GRAD_CAM_PLUS = CAM | {
    "sum of the cubed gradients": "cam_plus_by_hand",
    "1e-6 in a denominator of 1e-7": "cam_plus_of_small_gradients",
    "activation of the cell, not of the map": "cam_plus_by_hand",
    "sum over all channels": "cam_plus_by_hand",
    "mean of the activations": "cam_plus_by_hand",
    "gradient taken for the activation": "cam_plus_against_derivatives_of_the_exponential",
    "negative gradients counted": "cam_plus_by_hand",
    "1 + in the denominator": "cam_plus_by_hand",
    "denominator not guarded": "cam_plus_where_the_denominator_vanishes",
    "mean over the cells": "cam_plus_by_hand",
    "ReLU forgotten": "cam_plus_where_negative_activations_meet",
    "minimum subtracted after the ReLU": "cam_plus_by_hand",
}


# --- 4.3 ------------------------------------------------------------------------------------------------------------


def integrated_gradients(wrong: str = "") -> Callable[..., Result]:
    """`integrated_gradients`, one image after the other."""

    def method(
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
        x = image_tensor(image, model)
        start = baseline.reshape(x.shape) if isinstance(baseline, Tensor) else named(baseline, x, model, seed, wrong)
        alphas, weights = steps(rule, n_steps, wrong)
        chunk = 10**6 if wrong == "all steps in one batch" else chunk_size
        with _guarded(model, wrong):
            logits, start_logits = model(x.clone()).detach(), model(start.clone()).detach()
            at = start_logits if wrong == "class chosen at the baseline" else logits
            targets = _targets(at, target_class, wrong)
            means = []
            for i, target in enumerate(targets):
                points = torch.stack([start[i] + alpha * (x[i] - start[i]) for alpha in alphas])
                total = torch.zeros_like(x[i])
                for at_step in range(0, n_steps, chunk):
                    some = points[at_step : at_step + chunk]
                    chosen = [target] * len(some)
                    if wrong == "class chosen anew at every step" and target_class is None:
                        chosen = model(some.clone()).argmax(dim=1).tolist()
                    each = _gradient(model, some, chosen, score, wrong)
                    if wrong == "absolute gradients summed":
                        each = each.abs()
                    share = torch.tensor(weights[at_step : at_step + chunk], dtype=x.dtype)[:, None, None, None]
                    if wrong == "last chunk left out" and at_step + chunk >= n_steps > chunk:
                        continue
                    total += (share * each).sum(dim=0)
                means.append(total)
        factor = x - start
        if wrong == "(x - x') missing":
            factor = torch.ones_like(x)
        elif wrong == "x instead of (x - x')":
            factor = x
        signed = factor * torch.stack(means)
        values, start_values = (_score(each, targets, score, "") for each in (logits, start_logits))
        return _result(
            image,
            signed,
            draw_ig(signed, wrong),
            targets,
            values,
            baseline_score=start_values.tolist(),
            delta=delta(signed, logits, start_logits, targets, score, wrong),
        )

    return method


def steps(rule: str, n: int, wrong: str) -> tuple[list[float], list[float]]:
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        scale = 1 if wrong == "weights of [-1, 1]" else 2
        return ((nodes + 1) / 2).tolist(), (weights / scale).tolist()
    if rule == "riemann_trapezoid":
        ends = np.ones(n)
        ends[[0, -1]] = 0.5
        return np.linspace(0, 1, n).tolist(), (ends / (n if wrong == "trapezoid weights sum to (n - 1) / n" else n - 1)).tolist()
    first = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    if wrong == "left and right swapped" and rule != "riemann_middle":
        first = 1 - first
    if wrong == "both ends, divided by n":
        return np.linspace(0, 1, n).tolist(), [1 / n] * n
    if wrong == "one step too far":
        return ((np.arange(n) + first + 1) / n).tolist(), [1 / n] * n
    if wrong == "divided by n + 1":
        return ((np.arange(n) + first) / n).tolist(), [1 / (n + 1)] * n
    return ((np.arange(n) + first) / n).tolist(), [1 / n] * n


def delta(signed: Tensor, logits: Tensor, start: Tensor, targets: list[int], score: str, wrong: str) -> list[float]:
    if wrong == "delta after scaling the map":
        signed = signed / signed.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    if wrong == "delta of another output than the one differentiated":
        score = "logit" if score == "probability" else "probability"
    if wrong == "delta of another class":
        targets = [(target + 1) % logits.shape[1] for target in targets]
    change = _score(logits, targets, score, "") - _score(start, targets, score, "")
    if wrong == "delta without the baseline's score":
        change = _score(logits, targets, score, "")
    error = (signed.sum(dim=(1, 2, 3)) - change).abs()
    if wrong == "delta of the absolute values":
        error = (signed.abs().sum(dim=(1, 2, 3)) - change).abs()
    if wrong == "delta absolute":
        return error.tolist()
    if wrong == "delta infinite where nothing changes":
        return (error / change.abs().clamp(min=1e-12)).tolist()
    return torch.where(change == 0, torch.nan, error / change.abs()).tolist()


def draw_ig(signed: Tensor, wrong: str) -> Tensor:
    if wrong == "maximum over channels in the map":
        return signed.abs().amax(dim=1)
    if wrong == "signs cancel in the map":
        return signed.sum(dim=1).abs()
    return signed.abs().sum(dim=1)


def named(name: str, x: Tensor, model: nn.Module, seed: int, wrong: str, sigma: float | None = None) -> Tensor:
    """A named baseline for x (N, 3, H, W), normalised."""
    space = preprocessing_of(model)
    if wrong == "ImageNet's mean and std for every model":
        space = Preprocessing()
    elif wrong == "mean and std of 0.5 for every model":
        space = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    if wrong == "zeros called black" and name == "black":
        return torch.zeros_like(x)
    if wrong == "ones called white" and name == "white":
        return torch.ones_like(x)
    if wrong == "-1 called black" and name == "black":
        return torch.full_like(x, -1)
    if wrong == "black called mean" and name == "mean":
        name = "black"
    if name == "mean":
        return torch.zeros_like(x)
    if name in ("black", "white"):
        return space.normalize(torch.full_like(x, float(name == "white")))
    if name == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(x.shape[1:], generator=generator, dtype=x.dtype)
        if wrong == "Gaussian noise in normalised space":
            return torch.randn(x.shape, generator=generator, dtype=x.dtype)
        if wrong == "uniform noise in normalised space":
            return noise.expand_as(x).clone()
        if wrong == "one grey for all channels":
            noise = noise[:1].expand_as(noise)
        if wrong == "the seed forgotten":
            noise = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(len(x)), dtype=x.dtype)
        if wrong == "another noise for each image of a batch":
            noise = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        return space.normalize(noise.expand_as(x))
    return _blur(x, space, sigma, wrong)


def _blur(x: Tensor, space: Preprocessing, sigma: float | None, wrong: str) -> Tensor:
    short = min(x.shape[-2:])
    sigma = 0.09 * short if sigma is None or wrong == "sigma of the blur ignored" else sigma
    radius = min(round(3 * sigma), short - 1)
    at = torch.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = torch.exp(-(at**2) / (sigma if wrong == "sigma of the blur is its variance" else 2 * sigma**2))
    if wrong == "box instead of a Gaussian":
        kernel = torch.ones_like(kernel)
    kernel = kernel / kernel.sum()
    # In normalised space a blur differs only where something that is not the image comes in: the border's zeros.
    inside = wrong == "blurred in normalised space, zeros at the border"
    values = x if inside else space.denormalize(x)
    mode = "constant" if inside or wrong == "black border under the blur" else "reflect"
    values = F.pad(values, [radius] * 4, mode=mode)
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        values = F.conv2d(values, kernel.reshape(shape).expand(3, 1, *kernel.reshape(shape).shape[2:]), groups=3)
    if wrong == "blur clipped to [0, 1]":
        values = values.clamp(0, 1)
    return values if inside else space.normalize(values)


def make_baseline(wrong: str = "") -> Callable[..., Tensor]:
    """`make_baseline`."""

    def method(name: str, image: Any, model: Any = None, *, seed: int = 0, blur_sigma: float | None = None) -> Tensor:
        carrier = nn.Identity() if model is None else model
        x = image_tensor(image, carrier)
        made = named(name, x, carrier, seed, wrong, blur_sigma)
        if wrong == "always float32":
            made = made.float()
        return made if wrong == "always a batch" else made.reshape(image.shape)

    return method


BASELINES = {
    "zeros called black": "baselines_under_imagenet",
    "ones called white": "baselines_under_imagenet",
    "-1 called black": "baselines_under_imagenet",
    "black called mean": "baselines_under_imagenet",
    "ImageNet's mean and std for every model": "baselines_in_pixel_space",
    "mean and std of 0.5 for every model": "baselines_under_imagenet",
    "Gaussian noise in normalised space": "baselines_in_pixel_space",
    "uniform noise in normalised space": "baselines_in_pixel_space",
    "one grey for all channels": "baselines_in_pixel_space",
    "the seed forgotten": "baselines_keep_shape_and_seed",
    "sigma of the blur ignored": "blur_by_any_sigma",
    "sigma of the blur is its variance": "blur_by_any_sigma",
    "box instead of a Gaussian": "blur_by_any_sigma",
    "blurred in normalised space, zeros at the border": "baselines_in_pixel_space",
    "black border under the blur": "baselines_in_pixel_space",
    "blur clipped to [0, 1]": "baselines_in_pixel_space",
    "always float32": "baselines_keep_shape_and_seed",
    "always a batch": "baselines_keep_shape_and_seed",
}
INTEGRATED_GRADIENTS = GUARD | {
    "zeros called black": "baselines_inside_ig",
    "ones called white": "baselines_inside_ig",
    "ImageNet's mean and std for every model": "baselines_inside_ig",
    "mean and std of 0.5 for every model": "baselines_inside_ig",
    "Gaussian noise in normalised space": "baselines_inside_ig",
    "uniform noise in normalised space": "baselines_inside_ig",
    "blurred in normalised space, zeros at the border": "baselines_inside_ig",
    "another noise for each image of a batch": "baselines_inside_ig",
    "(x - x') missing": "sums_of_every_rule",
    "x instead of (x - x')": "sums_of_every_rule",
    "absolute gradients summed": "sums_of_every_rule",
    "left and right swapped": "sums_of_every_rule",
    "both ends, divided by n": "sums_of_every_rule",
    "one step too far": "sums_of_every_rule",
    "divided by n + 1": "sums_of_every_rule",
    "trapezoid weights sum to (n - 1) / n": "sums_of_every_rule",
    "weights of [-1, 1]": "completeness",
    "delta after scaling the map": "delta_is_relative_and_true",
    "delta of another output than the one differentiated": "delta_is_relative_and_true",
    "delta of another class": "delta_is_relative_and_true",
    "delta without the baseline's score": "delta_is_relative_and_true",
    "delta of the absolute values": "delta_is_relative_and_true",
    "delta absolute": "delta_is_relative_and_true",
    "delta infinite where nothing changes": "no_change_has_no_delta",
    "maximum over channels in the map": "sums_of_every_rule",
    "signs cancel in the map": "sums_of_every_rule",
    "softmax instead of logit": "completeness",
    "logit, though the probability was asked for": "completeness",
    "gradient of the wrong class": "completeness",
    "class chosen at the baseline": "the_class_is_chosen_at_the_image",
    "class chosen anew at every step": "the_class_is_chosen_at_the_image",
    "one class for a whole batch": "one_class_for_many_images_is_refused",
    "all steps in one batch": "memory_does_not_grow_with_steps",
    "last chunk left out": "ig_in_chunks",
}


# --- the photo ------------------------------------------------------------------------------------------------------


def photo_tensor(wrong: str = "") -> Callable[[Any, nn.Module], Tensor]:
    """`image_tensor` for a path or PIL image."""

    def method(image: Any, model: nn.Module) -> Tensor:
        from PIL import Image, ImageOps

        photo = image if isinstance(image, Image.Image) else Image.open(image)
        space = preprocessing_of(model)
        if wrong != "EXIF ignored":
            photo = ImageOps.exif_transpose(photo)
        if photo.has_transparency_data and wrong != "transparency dropped":
            photo = photo.convert("RGBA")
            fill = "black" if wrong == "transparency on black" else "white"
            photo = Image.alpha_composite(Image.new("RGBA", photo.size, fill), photo)
        photo = photo.convert("RGB")
        if wrong == "whole photo squashed, no crop":
            photo = photo.resize(space.crop[::-1])
        elif wrong == "crop before the resize":
            short = min(photo.size)
            left, top = (photo.width - short) // 2, (photo.height - short) // 2
            photo = photo.crop((left, top, left + short, top + short)).resize(space.crop[::-1])
        elif wrong == "corner crop":
            photo = Preprocessing(space.resize, (10**4, 10**4), resample=space.resample).crop_image(photo)
            photo = photo.crop(photo.getbbox()).crop((0, 0, *space.crop[::-1]))
        elif wrong == "nearest neighbour":
            photo = Preprocessing(space.resize, space.crop, resample="nearest").crop_image(photo)
        elif wrong == "always bilinear":
            photo = Preprocessing(space.resize, space.crop).crop_image(photo)
        else:
            photo = space.crop_image(photo)
        values = torch.from_numpy(np.array(photo, dtype=np.float32)).permute(2, 0, 1)[None]
        if wrong == "blue and red swapped":
            values = values.flip(1)
        scaled = values / (256 if wrong == "divided by 256" else 255)
        if wrong == "left in [0, 1]":
            return scaled
        if wrong == "ImageNet's mean and std for every model":
            space = Preprocessing()
        if wrong == "divided by the variance":
            return space.normalize(scaled) / torch.tensor(space.std).reshape(3, 1, 1)
        return space.normalize(scaled)

    return method


PHOTO = {
    "EXIF ignored": "photos_are_turned_as_exif_says",
    "transparency dropped": "transparency_lies_on_white",
    "transparency on black": "transparency_lies_on_white",
    "whole photo squashed, no crop": "photos_as_torchvision_presets",
    "crop before the resize": "photos_as_torchvision_presets",
    "corner crop": "photos_as_torchvision_presets",
    "nearest neighbour": "photos_as_torchvision_presets",
    "always bilinear": "photos_as_torchvision_presets",
    "blue and red swapped": "photos_as_torchvision_presets",
    "divided by 256": "photos_as_torchvision_presets",
    "left in [0, 1]": "photos_as_torchvision_presets",
    "ImageNet's mean and std for every model": "photos_as_torchvision_presets",
    "divided by the variance": "photos_as_torchvision_presets",
}


# Method -> (maker of variants, mistake -> the oracle that must catch it).
MISTAKES: dict[str, tuple[Callable[[str], Any], dict[str, str]]] = {
    "vanilla_gradients": (gradients, VANILLA),
    "gradient_input": (lambda wrong: gradients(wrong, times_input=True), GRADIENT_INPUT),
    "smooth_grad": (smooth_grad, SMOOTH_GRAD),
    "GradCAM": (grad_cam, GRAD_CAM),
    "GradCAMPlusPlus": (lambda wrong: grad_cam(wrong, plus=True), GRAD_CAM_PLUS),
    "integrated_gradients": (integrated_gradients, INTEGRATED_GRADIENTS),
    "make_baseline": (make_baseline, BASELINES),
    "image_tensor": (photo_tensor, PHOTO),
}
