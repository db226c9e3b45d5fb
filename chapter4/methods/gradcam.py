"""Section 4.2: Grad-CAM and Grad-CAM++.

They show which cells of a feature map raise the score of a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
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
    shape_of,
)
from chapter4.core.folding import ForwardContext, folded
from chapter4.inputs.images import image_tensor as to_tensor
from chapter4.inputs.images import nearest

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

# Where 2 + sum(A) g is this near 0, alpha = 1 / (2 + sum(A) g) says nothing. It takes
# negative activations to get there.
SMALLEST_DENOMINATOR = 1e-3
Found = list[tuple[list[int], Tensor]]
"""For each entry that is asked for, the targets of N images and their scores (N,)."""


@dataclass(frozen=True)
class CamAttribution(Attribution):
    """A class activation map. ``.map`` is for drawing; compare maps by ``.raw``.

    The other attributes are those of :class:`chapter4.Attribution`.

    Attributes:
        map: (H, W) or (N, H, W). It is ``.raw`` resized to the input and divided by its
            maximum, and all zeros where ``.blank``.
        raw: (h, w) or (N, h, w) in the target layer's grid, as the formula gives it.
        blank: True where the ReLU left nothing, one per image for a batch.
    """

    raw: np.ndarray = field(default_factory=lambda: np.empty(0))
    blank: bool | list[bool] = False


class GradCAM:
    """Grad-CAM for one layer of a model.

    With A the layer's output and F the score of the class, the map is::

        relu(sum_k w_k A^k),  w_k = the spatial mean of dF_target/dA^k

    The model has hooks only while a map is made, so the ``with`` form is for
    convenience.

    Args:
        model: A classifier that gives logits (N, K).
        target_layer: A module of the model or its dotted name, with output
            (N, K, h, w). Best is the last block with its ReLU, such as ResNet's
            "layer4", and not a convolution before its batch norm.

    Raises:
        ValueError: If the layer is no part of the model.
        TypeError: If ``target_layer`` is neither a module nor a name.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391.
    """

    method = "gradcam"

    def __init__(self, model: nn.Module, target_layer: nn.Module | str) -> None:
        self.model = model
        self.target_layer, path = _find(model, target_layer)
        self.layer_name = path or type(model).__name__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def generate_cam(
        self,
        image_tensor: ImageInput,
        target_class: Any = None,
        *,
        score: Score = "logit",
    ) -> CamAttribution:
        """Make the map of one class, or of one class per image of a batch.

        Args:
            image_tensor: A normalised float tensor (3, H, W) or (N, 3, H, W), a path or
                a PIL image.
            target_class: The index of the class to explain, one per image for a batch,
                or None for the predicted class.
            score: F, the score to explain: "logit", or "probability" for the softmax.

        Returns:
            A result that unpacks to (map, target).

        Raises:
            ValueError: If the layer gives no (N, K, h, w), if the score does not depend
                on it, if an argument is out of range, or if the image can't be used.
            TypeError: If an argument has the wrong type.
            FileNotFoundError: If there is no such image file.
        """
        return self.generate_cams(image_tensor, [target_class], score=score)[0]

    def generate_cams(
        self,
        image_tensor: ImageInput,
        target_classes: Iterable[Any],
        *,
        score: Score = "logit",
    ) -> list[CamAttribution]:
        """Make the maps of several classes, with one pass to the layer.

        Each class then takes one gradient.

        Args:
            image_tensor: A normalised float tensor (3, H, W) or (N, 3, H, W), a path or
                a PIL image.
            target_classes: One entry for each map: the index of a class, None for the
                predicted class, or for a batch a list of N classes.
            score: F, the score to explain: "logit", or "probability" for the softmax.

        Returns:
            One result for each entry, each of which unpacks to (map, target).

        Raises:
            ValueError: If the layer gives no (N, K, h, w), if the score does not depend
                on it, if an argument is out of range, or if the image can't be used.
            TypeError: If an argument has the wrong type.
            FileNotFoundError: If there is no such image file.
        """
        return _maps_of([self], image_tensor, target_classes, score)[0]

    def channel_weights(self, activations: Tensor, gradient: Tensor) -> Tensor:
        """Weigh each channel by the mean of its gradient over the grid.

        The grid is the last two axes, of Z cells::

            alpha_k = 1/Z sum_ij dF/dA^k_ij

        Args:
            activations: The layer's output A, (N, K, h, w).
            gradient: dF/dA, (N, K, h, w) or (classes, N, K, h, w).

        Returns:
            The weights, (N, K, 1, 1) or (classes, N, K, 1, 1).
        """
        return gradient.mean(dim=(-2, -1), keepdim=True)

    def _pass(
        self, image: ImageInput, wanted: Sequence[Any], score: Score
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Found]:
        """Run the model once, and take the gradient of each entry of ``wanted``.

        Gives the images (N, 3, H, W); the activations (N, K, h, w) with their gradients
        (classes, N, K, h, w); and what was found for each entry.
        """
        x = to_tensor(image, self.model)

        def work(
            x: Tensor, forward_context: ForwardContext
        ) -> tuple[tuple[Tensor, Tensor], Found]:
            activations, logits = self._forward(x, forward_context)
            scores = scores_of(logits, score)
            targets = [choose_targets(logits.detach(), each) for each in wanted]
            values = pick(scores.detach(), targets)
            # The weights of the scores: 1 at each target and 0 elsewhere.
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
            return x, *folded(self.model, x, work)

    def _raw_maps(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """``relu(sum_k w_k A^k)`` for each class: (classes, N, h, w)."""
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
        """One result for each entry of ``found``.

        ``raws`` is (classes, N, h, w), ``maps`` is (classes, N, H, W).
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
                raise ValueError(
                    "Grad-CAM needs a layer that gives (N, channels, h, w); "
                    f"{self.layer_name!r} gives {shape_of(output)}"
                )
            # The graph starts here, not at the image. The layer's output is copied
            # twice, one copy to keep and one for the next layer. Otherwise in-place
            # operations (VGG's and DenseNet's ReLU) would overwrite the activations.
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
        # The graph above the layer is kept for the next class. It is freed with the
        # logits.
        gradient = None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(
                scores, activations, chosen, retain_graph=True, allow_unused=True
            )
        if gradient is None:
            raise ValueError(
                f"the score does not depend on the layer {self.layer_name!r}"
            )
        return gradient


class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++ in closed form: only positive gradients count.

    With A the layer's output and g the gradient dF_target/dA::

        w_k = sum_ij alpha^k_ij relu(g^k_ij)
        alpha^k_ij = 1 / (2 + (sum_ab A^k_ab) g^k_ij)

    This is the paper's ``g^2 / (2 g^2 + sum(A) g^3)`` for ``Y = exp(F)``. The second
    derivative of F is taken as 0. The common factor exp(F) is left out, for it drops
    out when the map is scaled. alpha is 0 where g is 0, and where the denominator
    vanishes.

    Args:
        model: A classifier that gives logits (N, K).
        target_layer: A module of the model or its dotted name, with output
            (N, K, h, w). Best is the last block with its ReLU, such as ResNet's
            "layer4", and not a convolution before its batch norm.

    Raises:
        ValueError: If the layer is no part of the model.
        TypeError: If ``target_layer`` is neither a module nor a name.

    References:
        Chattopadhay et al. 2018, arXiv:1710.11063.
    """

    method = "gradcam++"

    def channel_weights(self, activations: Tensor, gradient: Tensor) -> Tensor:
        """Weigh each channel by its positive gradients, each times its alpha.

        Args:
            activations: The layer's output A, (N, K, h, w).
            gradient: dF/dA, (N, K, h, w) or (classes, N, K, h, w).

        Returns:
            The weights, (N, K, 1, 1) or (classes, N, K, 1, 1).
        """
        positive = torch.relu(gradient)
        sums = activations.sum(dim=(-2, -1), keepdim=True)
        # A cell whose g is not positive adds nothing to the sum, whatever alpha is.
        denominator = 2 + sums * positive
        if (sums < 0).any():  # else it is at least 2
            # A cell that is divided by infinity adds nothing either.
            usable = denominator.abs() > SMALLEST_DENOMINATOR
            denominator = denominator.where(usable, torch.inf)
        return (positive / denominator).sum(dim=(-2, -1), keepdim=True)


METHODS = {each.method: each for each in (GradCAM, GradCAMPlusPlus)}


def cams(
    image: ImageInput,
    model: nn.Module,
    target_layer: nn.Module | str,
    target_classes: Iterable[Any] = (None,),
    *,
    methods: Sequence[str] = tuple(METHODS),
    score: Score = "logit",
) -> dict[str, list[CamAttribution]]:
    """Make the Grad-CAM and Grad-CAM++ maps of several classes together.

    Both methods use the same activations and gradients, so that all maps cost little
    more than one forward pass.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: A classifier that gives logits (N, K).
        target_layer: A module of the model or its dotted name, with output
            (N, K, h, w). Best is the last block with its ReLU, such as ResNet's
            "layer4", and not a convolution before its batch norm.
        target_classes: One entry for each map: the index of a class, None for the
            predicted class, or for a batch a list of N classes. The default is the
            predicted class alone.
        methods: The names of the methods, "gradcam" and "gradcam++".
        score: F, the score to explain: "logit", or "probability" for the softmax.

    Returns:
        For each method its maps, in the order of ``target_classes``. Up to rounding
        they equal those of separate calls.

    Raises:
        ValueError: If a method is unknown, if the layer is no part of the model or
            gives no (N, K, h, w), if the score does not depend on it, if another
            argument is out of range, or if the image can't be used.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.
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
    makers = [METHODS[method](model, path) for method in methods]
    found = _maps_of(makers, image, target_classes, score)
    return dict(zip(methods, found, strict=True))


def _maps_of(
    makers: Sequence[GradCAM], image: ImageInput, target_classes: Any, score: Score
) -> list[list[CamAttribution]]:
    """For each maker the maps of all classes, from one pass that all makers share."""
    wanted = _several(target_classes)
    if not makers or not wanted:
        return [[] for _ in makers]
    x, at_layer, found = makers[0]._pass(image, wanted, check_score(score))
    # (makers, classes, N, h, w), and below (makers, classes, N, H, W).
    raws = torch.stack([maker._raw_maps(*at_layer) for maker in makers])
    drawn = scale_map(resize_map(raws.flatten(0, 2), x.shape[-2:]))
    maps = drawn.unflatten(0, raws.shape[:3])
    return [
        maker._results(image, raw, map_, score, found)
        for maker, raw, map_ in zip(makers, raws, maps, strict=True)
    ]


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
    # Two products of small matrices take a fifth of the time that it takes to
    # interpolate each pixel.
    return rows.T @ (raw @ columns)


def scale_map(maps: Tensor) -> Tensor:
    """Divide each map (N, H, W) by its own maximum, in place. 0 keeps its meaning.

    A map without positive values stays zero.
    """
    peak = maps.amax(dim=(1, 2), keepdim=True)
    return maps.div_(peak.where(peak > 0, torch.inf))


def default_target_layer(model: nn.Module, x: Tensor) -> str:
    """The dotted name of the last module whose output is a grid.

    This is the layer to explain where nobody chose one. A model from
    :func:`chapter4.load_classifier` names its own. For any other model one forward pass
    finds the layer. Of the modules with output (N, K, h, w), h and w above 1, it is the
    one that finishes last, pooling left out. ResNet: layer4; VGG: features.

    A Vision Transformer has no grid but that of its patch embedding, its first layer.
    Grad-CAM says little there.

    Args:
        model: A classifier.
        x: Images (N, 3, H, W), for the forward pass.

    Returns:
        The layer's dotted name.

    Raises:
        ValueError: If no module gives a grid.
    """
    own = getattr(model, "target_layer", None)
    if isinstance(own, str):
        return own
    finished: list[str] = []

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        grid = isinstance(output, Tensor) and output.ndim == 4
        if grid and min(output.shape[-2:]) > 1:
            finished.append(name)

    pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)
    handles = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if name and not isinstance(module, pooling)
    ]
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
    # The top of the model first, for the layer to explain is mostly near it. The search
    # stops where the layer is found.
    places, seen = [(model, "")], {model}
    for module, path in places:  # the list grows meanwhile
        if module is layer:
            return layer, path
        for name, child in module._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                places.append((child, f"{path}.{name}" if path else name))
    raise ValueError(
        f"the {type(layer).__name__} given as target layer is not a part of the model"
    )
