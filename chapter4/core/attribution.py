"""The result of an attribution method, and the one engine that takes input gradients
and puts the model back.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.folding import ForwardContext, every_module, folded
from chapter4.inputs.images import all_finite, check_dtype

Score = Literal["logit", "probability"]

# One at a time is slower, and so are chunks whose largest activation passes 32 MiB, as
# seven images of 224 pixels do in EfficientNet-Lite0: glibc gives such a block back to
# the system after each use. A GPU is hardly busy with so few.
CHUNK_SIZE = 6
GPU_CHUNK_SIZE = 64


@dataclass(frozen=True)
class Attribution:
    """A map and what it was made with. Unpacks as the chapter does: `saliency, target =
    vanilla_gradients(...)`.

    map: (H, W), or (N, H, W) for a batch, in the input's dtype and never scaled for
    drawing, except by Grad-CAM.
    target: the explained class, one per image for a batch. score: F(x), the logit or
    probability that was explained.
    """

    map: np.ndarray
    target: int | list[int]
    score: float | list[float]
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        yield self.map
        yield self.target


@dataclass(frozen=True)
class GradientAttribution(Attribution):
    """An attribution with a signed value for every input number: `attributions`, (C, H,
    W) or (N, C, H, W).
    """

    attributions: np.ndarray = field(default_factory=lambda: np.empty(0))


@contextmanager
def frozen_eval(model: nn.Module) -> Iterator[None]:
    """Run `model` in eval mode without parameter gradients; put modes, requires_grad
    and RNG back, whatever happens.

    .grad fields are never written. Gradients are on inside, also when the caller has
    turned them off.
    """
    modes, parameters, devices = [], [], set()
    for module in every_module(model):
        modes.append((module, module.training))
        # model.parameters() takes as long as a small layer.
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            if parameter.is_inference():
                raise ValueError(
                    "the model was made in torch.inference_mode(), which forbids"
                    " gradients: make it outside"
                )
            if parameter.is_cuda:
                devices.add(parameter.get_device())
            if parameter.requires_grad and parameter.is_leaf:
                parameters.append(parameter)
    try:
        with (
            torch.random.fork_rng(sorted(devices)),
            torch.inference_mode(False),
            torch.enable_grad(),
            _whole_float32() if devices else nullcontext(),
        ):
            # Directly, not by model.eval(): a module may override train(), and it must
            # come back as it was.
            for module, training in modes:
                if training:  # setting it takes long enough to leave it out
                    module.training = False
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
    finally:
        for module, training in modes:
            if module.training != training:
                module.training = training
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """No TF32 inside: by default CUDA's convolutions round float32 to 10 bits, which
    moves a saliency map by several percent.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    try:
        convolutions.allow_tf32 = products.allow_tf32 = False
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's logits (N, K) for x (N, 3, H, W), `.logits` of an output object too.
    ValueError for other shapes.
    """
    check_dtype(x, model)
    output = model(x)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        shape = (
            tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        )
        raise ValueError(
            f"a classifier gives logits (N, classes) for {len(x)} images, not {shape}"
        )
    return logits


def select(logits: Tensor, targets: Sequence[int], score: Score) -> Tensor:
    """F for each row: the logit of its target class, or its softmax probability. (N, K)
    to (N,).
    """
    return pick(scores_of(logits, score), [targets])[0]


def scores_of(logits: Tensor, score: Score) -> Tensor:
    """F of every class: (N, K) to (N, K)."""
    return logits.softmax(dim=1) if score == "probability" else logits


def pick(scores: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """The scores (N, K) of each list of N targets: (lists, N). ValueError where one is
    not finite.
    """
    index = torch.as_tensor(targets, device=scores.device)
    chosen = scores.T.gather(0, index)
    if not chosen.isfinite().all():
        raise ValueError("the model gives NaN or infinite scores for this input")
    return chosen


def choose_targets(logits: Tensor, target_class: Any) -> list[int]:
    """One class per row of logits (N, K): the given ones, checked, or the predicted
    ones for None.

    Raises TypeError for what is no integer, ValueError for a class out of range or one
    int for several images.
    """
    count, classes = logits.shape
    if target_class is None:
        return logits.argmax(dim=1).tolist()
    if isinstance(target_class, (Tensor, np.ndarray)):
        target_class = target_class.tolist()
    if isinstance(target_class, (list, tuple)):
        targets = [_index(target) for target in target_class]
        if len(targets) != count:
            raise ValueError(
                f"{count} images need {count} target classes, not {len(targets)}"
            )
    else:
        targets = [_index(target_class)]
        if count > 1:
            raise ValueError(
                f"{count} images need one target class each: a list of {count}, or None"
                " for the predicted ones"
            )
    for target in targets:
        if not 0 <= target < classes:
            raise ValueError(
                f"target class {target} is out of range: the model has classes 0 to"
                f" {classes - 1}"
            )
    return targets


def input_gradient(
    model: nn.Module, x: Tensor, target_class: Any, score: Score = "logit"
) -> tuple[Tensor, Tensor, list[int]]:
    """dF/dx of each image for its own target: gradients (N, 3, H, W), scores (N,) and
    targets. Call inside `frozen_eval`.
    """

    def work(
        x: Tensor, forward_context: ForwardContext
    ) -> tuple[Tensor, Tensor, list[int]]:
        leaf = x.detach().clone().requires_grad_()
        with forward_context():
            # The model gets a copy: its first operation may work in place, which a leaf
            # does not allow.
            logits = logits_of(model, leaf.clone())
        targets = choose_targets(logits.detach(), target_class)
        values = select(logits, targets, score)
        # Rows do not see each other in eval mode, so the gradient of the sum holds each
        # row's own.
        gradient = (
            torch.autograd.grad(values.sum(), leaf, allow_unused=True)[0]
            if values.requires_grad
            else None
        )
        if gradient is None:
            raise ValueError(
                "the score does not depend on the image: no gradient reaches the input"
            )
        check_finite(gradient)
        return gradient.contiguous(), values.detach(), targets

    return folded(model, x, work)


def gradient_sum(
    model: nn.Module,
    points: Iterable[tuple[Tensor, int, float]],
    like: Tensor,
    targets: Sequence[int],
    *,
    score: Score = "logit",
    chunk_size: int | None = None,
) -> Tensor:
    """Weighted sum of input gradients per image, in memory that holds one chunk and
    never all points.

    points: (point (3, H, W), index i of its image, weight), made when needed. like: (N,
    3, H, W), the result's shape.
    Returns sum over the points of image i of weight x dF_target(i)/dx at the point: (N,
    3, H, W). Call inside `frozen_eval`. A text's embeddings, (T, D) and (1, T, D), go
    the same way.
    """
    total = torch.zeros_like(like)
    stream = iter(points)
    size = chunk_of(chunk_size, like)
    while chunk := list(islice(stream, size)):
        batch, images, weights = zip(*chunk, strict=True)
        gradient, _, _ = input_gradient(
            model, torch.stack(batch), [targets[i] for i in images], score
        )
        weight = torch.tensor(weights, dtype=like.dtype, device=like.device).reshape(
            -1, *[1] * (like.ndim - 1)
        )
        total.index_add_(0, torch.tensor(images, device=like.device), gradient * weight)
    return total


def chunk_of(chunk_size: Any, x: Tensor) -> int:
    """How many images go through the model at a time: the given number, checked, or what
    suits the device of x for None.
    """
    if chunk_size is None:
        return GPU_CHUNK_SIZE if x.is_cuda else CHUNK_SIZE
    return check_count("chunk_size", chunk_size)


def check_count(name: str, value: Any) -> int:
    """An integer of at least 1, or TypeError or ValueError in the name of the argument."""
    value = _index(value, name)
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
    return value


def check_finite(gradient: Tensor) -> None:
    """ValueError for a gradient with NaN or infinite values, such as that of a square
    root at 0.
    """
    if not all_finite(gradient):
        raise ValueError(
            "the gradient of the score holds NaN or infinite values for this input"
        )


def seeded(seed: Any) -> torch.Generator:
    """A random generator of its own, on the CPU. TypeError for a seed that is no
    integer, ValueError for a long one.
    """
    number = _index(seed, "seed")
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"seed is an integer of at most 64 bits, not {number}")
    return torch.Generator().manual_seed(number)


def check_score(score: str) -> Score:
    """'logit' or 'probability', or ValueError."""
    if score not in ("logit", "probability"):
        raise ValueError(f"score is 'logit' or 'probability', not {score!r}")
    return score  # type: ignore[return-value]


def unbatch(values: Tensor, image: Any) -> np.ndarray:
    """(N, ...) to numpy; without the first axis where `image` was a single one."""
    array = as_array(values)
    return array[0] if is_single(image) else array


def as_array(values: Tensor) -> np.ndarray:
    """On the CPU and contiguous, without gradients."""
    return values.detach().cpu().contiguous().numpy()


def is_single(image: Any) -> bool:
    """True for a path, a PIL image, (3, H, W) and (1, 3, H, W)."""
    return not isinstance(image, Tensor) or image.ndim == 3 or len(image) == 1


def _index(value: Any, name: str = "target_class") -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {value!r}") from None
