"""Known mistakes in Grad-CAM and Grad-CAM++."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chapter4.inputs.images import image_tensor
from wrong.parts import GUARD, Result, guarded, result_of, score_of, targets_of


def grad_cam(wrong: str = "", *, plus: bool = False) -> type:
    """``GradCAM`` or ``GradCAMPlusPlus`` as a class."""

    class Cam:
        def __init__(self, model: nn.Module, target_layer: nn.Module | str) -> None:
            self.model = model
            self.layer = (
                model.get_submodule(target_layer)
                if isinstance(target_layer, str)
                else target_layer
            )
            self.blank_map: Tensor | None = None

        def __enter__(self) -> Cam:
            return self

        def __exit__(self, *error: Any) -> None:
            return None

        def generate_cam(
            self, image: Any, target_class: Any = None, *, score: str = "logit"
        ) -> Result:
            x = image_tensor(image, self.model)
            with guarded(self.model, wrong):
                grid, logits = self.forward(x)
                targets = targets_of(logits.detach(), target_class, wrong)
                values = score_of(logits, targets, score, wrong)
                if wrong == "parameter gradients accumulate":
                    grid.retain_grad()
                    values.sum().backward()
                    gradient = grid.grad
                else:
                    (gradient,) = torch.autograd.grad(values.sum(), grid)
            grid = self.stored(grid).detach()
            weights = (plus_weights if plus else mean_weights)(grid, gradient, wrong)
            raw = combine(weights, grid, wrong)
            blank = (raw.amax(dim=(1, 2)) <= 0).tolist()
            drawn = draw(raw, x.shape[-2:], wrong)
            if wrong == "raw map scaled, so two classes can't be compared":
                raw = raw / raw.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
            if wrong == "blank not said":
                blank = [False] * len(blank)
            values = score_of(logits.detach(), targets, score, "")
            return result_of(
                image, grid, drawn, targets, values, raw=raw.numpy(), blank=blank
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            kept: list[Tensor] = []

            def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
                if wrong == "hook keeps what an in-place ReLU overwrites":
                    # The graph keeps the right tensor, and the stored values are wrong.
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
            return (
                self.overwritten
                if wrong == "hook keeps what an in-place ReLU overwrites"
                else grid
            )

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
        alpha = gradient.square() / (
            2 * gradient.square() + total * gradient.pow(3) + 1e-6
        )
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
    return (
        weights / gradient[0, 0].numel() if wrong == "mean over the cells" else weights
    )


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
    drawn = F.interpolate(raw[:, None], size=size, mode=mode, **more)[:, 0]
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
    "ReLU forgotten": "blank_maps_are_zeros_and_said",
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
    "gradient taken for the activation": (
        "cam_plus_against_derivatives_of_the_exponential"
    ),
    "negative gradients counted": "cam_plus_by_hand",
    "1 + in the denominator": "cam_plus_by_hand",
    "denominator not guarded": "cam_plus_where_the_denominator_vanishes",
    "mean over the cells": "cam_plus_by_hand",
    "ReLU forgotten": "cam_plus_where_negative_activations_meet",
    "minimum subtracted after the ReLU": "cam_plus_by_hand",
}
