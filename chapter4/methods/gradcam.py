"""Section 4.2: which cells of a feature map raise the score of a class. Grad-CAM and
Grad-CAM++.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    Attribution,
    Score,
    as_array,
    check_finite,
    check_score,
    choose_targets,
    frozen_eval,
    is_single,
    logits_of,
    pick,
    scores_of,
)
from chapter4.core.folding import ForwardContext, folded
from chapter4.inputs.images import image_tensor as to_tensor
from chapter4.inputs.images import nearest

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

# Where 2 + sum(A) g is this near 0, which needs negative activations, alpha = 1 / (2 +
# sum(A) g) says nothing.
SMALLEST_DENOMINATOR = 1e-3
Found = list[tuple[list[int], Tensor]]
"""For each class that is asked for, the targets of N images and their scores (N,)."""


@dataclass(frozen=True)
class CamAttribution(Attribution):
    """A class activation map. `.map` is for drawing; compare maps by `.raw`.

    map: (H, W) or (N, H, W), `.raw` resized to the input and divided by its maximum,
    all zeros where `.blank`.
    raw: (h, w) or (N, h, w) in the target layer's grid, as the formula gives it. blank:
    the ReLU left nothing.
    """

    raw: np.ndarray = field(default_factory=lambda: np.empty(0))
    blank: bool | list[bool] = False


class GradCAM:
    """Grad-CAM for one layer: relu(sum_k w_k A^k) with w_k the spatial mean of
    dF_target/dA^k.

    model: a classifier that gives logits (N, K). target_layer: a module of it or its
    dotted name, with output (N, K, h, w); best the last block with its ReLU, such as
    ResNet's "layer4", and not a convolution before its batch norm. Hooks are there only
    while a map is made, so the `with` form is for convenience.
    Raises ValueError for an unknown layer. Source: Selvaraju et al. 2017,
    arXiv:1610.02391.
    """

    method = "gradcam"

    def __init__(self, model: nn.Module, target_layer: nn.Module | str) -> None:
        self.model = model
        self.target_layer, path = _find(model, target_layer)
        self.layer_name = path or type(model).__name__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def generate_cam(
        self,
        image_tensor: ImageInput,
        target_class: Any = None,
        *,
        score: Score = "logit",
    ) -> CamAttribution:
        """The map of one class, or of one class per image of a batch.

        image_tensor: a normalised float tensor (3, H, W) or (N, 3, H, W), or a path or
        PIL image.
        target_class: class index, one per image for a batch, or None for the predicted
        class.
        score: "logit" or "probability". Returns a result that unpacks to (map, target).
        Raises ValueError for a layer that gives no (N, K, h, w) or that the score does
        not depend on, and for bad input.
        """
        return self.generate_cams(image_tensor, [target_class], score=score)[0]

    def generate_cams(
        self,
        image_tensor: ImageInput,
        target_classes: Iterable[Any],
        *,
        score: Score = "logit",
    ) -> list[CamAttribution]:
        """The maps of several classes, from one pass to the layer and one gradient each.

        target_classes: one entry for each map wanted, each as in `generate_cam`: a
        class, None, or for a batch a list of N classes. Other arguments, results and
        errors as there.
        """
        wanted = _several(target_classes)
        if not wanted:
            return []
        x, at_layer, found = self._pass(image_tensor, wanted, check_score(score))
        raws = self._raw_maps(*at_layer)
        maps = _drawable(raws, x)
        return self._results(image_tensor, raws, maps, score, found)

    def channel_weights(self, activations: Tensor, gradient: Tensor) -> Tensor:
        """Weight of each channel, (N, K, 1, 1): alpha_k = 1/Z sum_ij dF/dA^k_ij. Both
        arguments are (N, K, h, w), the gradient also (classes, N, K, h, w): the grid is
        the last two axes.
        """
        return gradient.mean(dim=(-2, -1), keepdim=True)

    def _pass(
        self, image: ImageInput, wanted: Sequence[Any], score: Score
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Found]:
        """Image (N, 3, H, W), activations (N, K, h, w) with their gradients (classes,
        N, K, h, w), and what was found for each entry of `wanted`.
        """
        x = to_tensor(image, self.model)

        def work(
            x: Tensor, forward_context: ForwardContext
        ) -> tuple[tuple[Tensor, Tensor], Found]:
            activations, logits = self._forward(x, forward_context)
            scores = scores_of(logits, score)
            targets = [choose_targets(logits.detach(), each) for each in wanted]
            values = pick(scores.detach(), targets)
            # 1 at each target and 0 elsewhere: what the scores are weighted by.
            chosen = scores.new_zeros(len(wanted), *scores.shape)
            index = torch.as_tensor(targets, device=chosen.device)
            chosen.scatter_(2, index[..., None], 1)
            gradients = torch.stack(
                [self._gradient(scores, each, activations) for each in chosen]
            )
            check_finite(gradients)
            found = list(zip(targets, values, strict=True))
            return (activations.detach(), gradients), found

        with frozen_eval(self.model):
            if isinstance(self.target_layer, nn.Conv2d):
                # Its own output is wanted, which a folded pass does not have.
                return x, *work(x, nullcontext)
            return x, *folded(self.model, x, work)

    def _raw_maps(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """relu(sum_k w_k A^k) for each class: (classes, N, h, w)."""
        weights = self.channel_weights(activations, gradients)[..., 0, 0]
        products = weights.transpose(0, 1) @ activations.flatten(2)
        return torch.relu(products).transpose(0, 1).unflatten(2, activations.shape[2:])

    def _results(
        self,
        image: ImageInput,
        raws: Tensor,
        maps: Tensor,
        score: Score,
        found: Found,
    ) -> list[CamAttribution]:
        """One result for each entry of `found`; raws: (classes, N, h, w), maps:
        (classes, N, H, W).
        """
        blanks = (raws.amax(dim=(2, 3)) == 0).tolist()
        # The first image where there is only one, else all.
        which = 0 if is_single(image) else slice(None)
        return [
            CamAttribution(
                map=map_[which],
                target=targets[which],
                score=values.tolist()[which],
                method=self.method,
                settings={"score": score, "target_layer": self.layer_name},
                raw=raw[which],
                blank=blank[which],
            )
            for (targets, values), map_, raw, blank in zip(
                found, as_array(maps), as_array(raws), blanks, strict=True
            )
        ]

    def _forward(
        self, x: Tensor, forward_context: ForwardContext
    ) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor) or output.ndim != 4:
                shape = (
                    tuple(output.shape)
                    if isinstance(output, Tensor)
                    else type(output).__name__
                )
                raise ValueError(
                    "Grad-CAM needs a layer that gives (N, channels, h, w); "
                    f"{self.layer_name!r} gives {shape}"
                )
            # The graph starts here, not at the image. A copy is kept and a copy goes
            # on: later in-place operations (VGG's and DenseNet's ReLU) would otherwise
            # overwrite the activations.
            kept[:] = [output.detach().clone().requires_grad_()]
            return kept[0].clone()

        handle = self.target_layer.register_forward_hook(keep)
        try:
            with forward_context():
                logits = logits_of(self.model, x.clone())
        finally:
            handle.remove()
        if not kept:
            raise ValueError(
                f"the model's forward pass does not call the layer {self.layer_name!r}"
            )
        return kept[0], logits

    def _gradient(self, scores: Tensor, chosen: Tensor, activations: Tensor) -> Tensor:
        # The graph above the layer is kept for the next class; it goes with the logits.
        gradient = (
            torch.autograd.grad(
                scores, activations, chosen, retain_graph=True, allow_unused=True
            )[0]
            if scores.requires_grad
            else None
        )
        if gradient is None:
            raise ValueError(
                f"the score does not depend on the layer {self.layer_name!r}"
            )
        return gradient


class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++ in closed form, a weighting that counts positive gradients only.

    w_k = sum_ij alpha^k_ij relu(g^k_ij) with g = dF_target/dA and alpha^k_ij = 1 / (2 +
    (sum_ab A^k_ab) g^k_ij). This is the paper's g^2 / (2 g^2 + sum(A) g^3) for Y =
    exp(F), with the second derivative of F taken as 0 and the common factor exp(F) left
    out: it drops out on scaling. alpha is 0 where g is 0, and where the denominator
    vanishes.
    Arguments, result and errors as for GradCAM. Source: Chattopadhay et al. 2018,
    arXiv:1710.11063.
    """

    method = "gradcam++"

    def channel_weights(self, activations: Tensor, gradient: Tensor) -> Tensor:
        """Weight of each channel, (N, K, 1, 1), from activations and gradient, both (N,
        K, h, w), the gradient also (classes, N, K, h, w).
        """
        positive = torch.relu(gradient)
        sums = activations.sum(dim=(-2, -1), keepdim=True)
        # Where g is not positive its cell has no part in the sum, whatever alpha is.
        denominator = 2 + sums * positive
        if (sums < 0).any():  # else it is at least 2
            # Divided by infinity, a cell has no part either.
            usable = denominator.abs() > SMALLEST_DENOMINATOR
            denominator = denominator.where(usable, torch.inf)
        return (positive / denominator).sum(dim=(-2, -1), keepdim=True)


METHODS: dict[str, type[GradCAM]] = {
    each.method: each for each in (GradCAM, GradCAMPlusPlus)
}


def cams(
    image: ImageInput,
    model: nn.Module,
    target_layer: nn.Module | str,
    target_classes: Iterable[Any] = (None,),
    *,
    methods: Sequence[str] = tuple(METHODS),
    score: Score = "logit",
) -> dict[str, list[CamAttribution]]:
    """Grad-CAM and Grad-CAM++ of several classes, together for little more than one
    forward pass: both methods are made from the same activations and gradients.

    target_classes: as in `GradCAM.generate_cams`; default the predicted class alone.
    methods: "gradcam", "gradcam++". Returns for each method the maps in the order of
    target_classes, up to rounding those of separate calls. Errors as for GradCAM, and
    ValueError for an unknown method.
    """
    if isinstance(methods, str):
        raise TypeError(f"methods is a list of names, not the text {methods!r}")
    for method in methods:
        if method not in METHODS:
            raise ValueError(
                f"no method {method!r}{nearest(str(method), METHODS)}; there are "
                f"{', '.join(METHODS)}"
            )
    _, path = _find(model, target_layer)
    makers = {method: METHODS[method](model, path) for method in methods}
    wanted = _several(target_classes)
    if not makers or not wanted:
        return {method: [] for method in makers}
    first = next(iter(makers.values()))
    x, at_layer, found = first._pass(image, wanted, check_score(score))
    raws = torch.stack([maker._raw_maps(*at_layer) for maker in makers.values()])
    maps = _drawable(raws, x)
    return {
        method: maker._results(image, raw, map_, score, found)
        for (method, maker), raw, map_ in zip(makers.items(), raws, maps, strict=True)
    }


def _drawable(raws: Tensor, x: Tensor) -> Tensor:
    """Maps (..., h, w) as they are drawn on images x (N, 3, H, W): (..., H, W)."""
    cells = raws.flatten(0, -3)
    return scale_map(resize_map(cells, x.shape[-2:])).unflatten(0, raws.shape[:-2])


def resize_map(raw: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(N, h, w) to (N, H, W), bilinear between the centres of the cells."""
    rows, columns = (
        nn.functional.interpolate(
            torch.eye(cells, dtype=raw.dtype, device=raw.device)[None],
            size=pixels,
            mode="linear",
            align_corners=False,
        )[0]
        for cells, pixels in zip(raw.shape[-2:], size, strict=True)
    )
    # Two products of small matrices take a fifth of the time of interpolating each pixel.
    return rows.T @ (raw @ columns)


def scale_map(maps: Tensor) -> Tensor:
    """Each map (N, H, W) divided by its own maximum, in place; a map without positive
    values stays zero. 0 keeps its meaning.
    """
    peak = maps.amax(dim=(1, 2), keepdim=True)
    return maps.div_(peak.where(peak > 0, torch.inf))


def default_target_layer(model: nn.Module, x: Tensor) -> str:
    """The dotted name of the last module whose output is a grid: the layer to explain
    where nobody chose one.

    A model from `load_classifier` names its own. Else one forward pass on x (N, 3, H,
    W) tells: of the modules with output (N, K, h, w), h and w above 1, the one that
    finishes last, pooling left out. ResNet: layer4; VGG: features. A Vision Transformer
    has no grid but that of its patch embedding, its first layer: Grad-CAM says little
    there.
    Raises ValueError where no module gives a grid.
    """
    own = getattr(model, "target_layer", None)
    if isinstance(own, str):
        return own
    finished: list[str] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if (
                isinstance(output, Tensor)
                and output.ndim == 4
                and min(output.shape[-2:]) > 1
            ):
                finished.append(name)

        return hook

    pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)
    modules = [
        (name, m)
        for name, m in model.named_modules()
        if name and not isinstance(m, pooling)
    ]
    handles = [module.register_forward_hook(note(name)) for name, module in modules]
    try:
        with frozen_eval(model), torch.no_grad():
            model(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    if not finished:
        raise ValueError(
            f"{type(model).__name__} has no layer that gives a grid (N, channels, h, w)"
            " for Grad-CAM"
        )
    return finished[-1]


def _several(target_classes: Any) -> list[Any]:
    try:
        return list(target_classes)
    except TypeError:
        raise TypeError(
            f"target_classes is a list, one entry for each map, not {target_classes!r}"
        ) from None


def _find(model: nn.Module, layer: nn.Module | str) -> tuple[nn.Module, str]:
    if isinstance(layer, str):
        try:
            return model.get_submodule(layer), layer
        except AttributeError:
            names = dict(model.named_modules(remove_duplicate=False))
            raise ValueError(
                f"the model has no layer {layer!r}{nearest(layer, names)}"
            ) from None
    if not isinstance(layer, nn.Module):
        raise TypeError(
            "target_layer is a module of the model or its dotted name, not"
            f" {type(layer).__name__}"
        )
    # Nearest first, and only so far: the layer to explain is mostly near the top.
    places, seen = [(model, "")], {model}
    for module, path in places:  # which grows meanwhile
        if module is layer:
            return layer, path
        for name, child in module._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                places.append((child, f"{path}.{name}" if path else name))
    raise ValueError(
        f"the {type(layer).__name__} given as target layer is not a part of the model"
    )
