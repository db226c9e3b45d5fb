"""The result of an attribution method, and the code that takes input gradients.

Input gradients are taken here, and the model is always put back as it was.
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

# One image at a time is slower. So are chunks whose largest activation is over 32 MiB,
# as it is for seven images of 224 pixels in EfficientNet-Lite0: glibc gives such a
# block back to the system after each use.
CHUNK_SIZE = 6
# A GPU is hardly busy with six.
GPU_CHUNK_SIZE = 64


@dataclass(frozen=True)
class Attribution:
    """A map and what it was made with.

    It unpacks to (map, target), as in the chapter::

        saliency, target = vanilla_gradients(...)

    Attributes:
        map: (H, W), or (N, H, W) for a batch, in the input's dtype. It is never scaled
            for drawing, except by Grad-CAM.
        target: The explained class, one per image for a batch.
        score: F(x), the logit or probability that was explained, one per image for a
            batch.
        method: The name of the method, such as "vanilla_gradients".
        settings: The arguments that the map was made with.
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
    """An attribution with a signed value for every input number.

    The other attributes are those of :class:`chapter4.Attribution`.

    Attributes:
        attributions: The signed values, (C, H, W) or (N, C, H, W).
    """

    attributions: np.ndarray = field(default_factory=lambda: np.empty(0))


@contextmanager
def frozen_eval(model: nn.Module) -> Iterator[None]:
    """Run ``model`` in eval mode without parameter gradients, then put all back.

    Modes, requires_grad and the state of the random numbers are put back whatever
    happens. ``.grad`` fields are never written.

    Args:
        model: The model to run.

    Yields:
        Nothing. Inside, gradients are on, even where the caller has turned them off.

    Raises:
        ValueError: If the model was made in ``torch.inference_mode()``.
    """
    modes, parameters, devices = [], [], set()
    for module in every_module(model):
        modes.append((module, module.training))
        # model.parameters() would take as much time as a small layer.
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
            # Set directly, not by model.eval(): a module may override train(), and its
            # mode must be put back as it was.
            for module, training in modes:
                if training:  # setting it takes time, so it is set only where needed
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
    """No TF32 inside: all of float32's bits count.

    By default CUDA's convolutions round float32 to 10 bits, which moves a saliency map
    by several percent.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    try:
        convolutions.allow_tf32 = products.allow_tf32 = False
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's logits (N, K) for images, from an output object too.

    Args:
        model: A classifier. Its output is the logits, or has them as ``.logits``.
        x: Images (N, 3, H, W).

    Returns:
        The logits, (N, K).

    Raises:
        ValueError: If the model gives another shape.
        TypeError: If x has another dtype than the model's weights.
    """
    check_dtype(x, model)
    output = model(x)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        raise ValueError(
            f"a classifier gives logits (N, classes) for {len(x)} images, not"
            f" {shape_of(logits)}"
        )
    return logits


def shape_of(output: Any) -> tuple[int, ...] | str:
    """What a module gave, for a message: the shape of a tensor, else the type."""
    return tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__


def select(logits: Tensor, targets: Sequence[int], score: Score) -> Tensor:
    """F for each row: the logit of its target class, or its softmax probability.

    Args:
        logits: (N, K).
        targets: N classes.
        score: Which of the two F is.

    Returns:
        F, (N,).

    Raises:
        ValueError: If a score is not finite.
    """
    return pick(scores_of(logits, score), [targets])[0]


def scores_of(logits: Tensor, score: Score) -> Tensor:
    """F of every class: (N, K) to (N, K)."""
    return logits.softmax(dim=1) if score == "probability" else logits


def pick(scores: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Pick scores, once for each list of targets.

    Args:
        scores: (N, K).
        targets: Lists of N classes.

    Returns:
        The scores of those classes, (lists, N).

    Raises:
        ValueError: If one of them is not finite.
    """
    index = torch.as_tensor(targets, device=scores.device)
    chosen = scores.T.gather(0, index)
    if not chosen.isfinite().all():
        raise ValueError("the model gives NaN or infinite scores for this input")
    return chosen


def choose_targets(logits: Tensor, target_class: Any) -> list[int]:
    """Choose one class per row: the given ones, checked, or the predicted ones.

    Args:
        logits: (N, K).
        target_class: One class for one row, N classes, or None for the predicted ones.

    Returns:
        N classes.

    Raises:
        TypeError: If a class is no integer.
        ValueError: If a class is out of range, or if the number of classes is not N.
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
    """dF/dx of each image for its own target. Call it inside ``frozen_eval``.

    Args:
        model: A classifier that gives logits (N, K).
        x: Normalised images (N, 3, H, W).
        target_class: N classes, one class for one image, or None for the predicted
            ones.
        score: F: "logit" or "probability".

    Returns:
        The gradients (N, 3, H, W), the scores (N,) and the N targets.

    Raises:
        ValueError: If the score does not depend on the image, or if scores or gradients
            are not finite.
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
        gradient = None
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
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
    """The weighted sum of input gradients for each image.

    Memory holds one chunk and never all points. A text's embeddings, (T, D) and
    (1, T, D), go the same way. Call it inside ``frozen_eval``.

    Args:
        model: A classifier that gives logits (N, K).
        points: For each point the point itself, (3, H, W), the index i of its image,
            and its weight. They are made when they are needed.
        like: A tensor of the result's shape, (N, 3, H, W), dtype and device.
        targets: The class of each image.
        score: F: "logit" or "probability".
        chunk_size: Points in one pass through the model; None chooses a number that
            suits the device.

    Returns:
        For image i the sum over its points of weight times dF_target(i)/dx at the
        point, (N, 3, H, W).
    """
    total = torch.zeros_like(like)
    stream = iter(points)
    size = chunk_of(chunk_size, like)
    while chunk := list(islice(stream, size)):
        batch, images, weights = zip(*chunk, strict=True)
        gradient, _, _ = input_gradient(
            model, torch.stack(batch), [targets[i] for i in images], score
        )
        weight = torch.tensor(weights, dtype=like.dtype, device=like.device)
        weight = weight.reshape(-1, *[1] * (like.ndim - 1))
        total.index_add_(0, torch.tensor(images, device=like.device), gradient * weight)
    return total


def chunk_of(chunk_size: Any, x: Tensor) -> int:
    """How many images go through the model at a time.

    This is the given number, checked, or for None what suits the device of x.
    """
    if chunk_size is None:
        return GPU_CHUNK_SIZE if x.is_cuda else CHUNK_SIZE
    return check_count("chunk_size", chunk_size)


def check_count(name: str, value: Any) -> int:
    """Return an integer of at least 1, or raise TypeError or ValueError.

    The message calls the argument by ``name``.
    """
    value = _index(value, name)
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
    return value


def check_finite(gradient: Tensor) -> None:
    """Raise ValueError for a gradient with NaN or infinite values.

    The gradient of a square root at 0 is one.
    """
    if not all_finite(gradient):
        raise ValueError(
            "the gradient of the score holds NaN or infinite values for this input"
        )


def seeded(seed: Any) -> torch.Generator:
    """A random generator of its own, on the CPU.

    Args:
        seed: The seed, an integer.

    Returns:
        The generator.

    Raises:
        TypeError: If the seed is no integer.
        ValueError: If it has more than 64 bits.
    """
    number = _index(seed, "seed")
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"seed is an integer of at most 64 bits, not {number}")
    return torch.Generator().manual_seed(number)


def check_score(score: str) -> Score:
    """Return 'logit' or 'probability', or raise ValueError."""
    if score not in ("logit", "probability"):
        raise ValueError(f"score is 'logit' or 'probability', not {score!r}")
    return score  # type: ignore[return-value]  # checked above


def one_or_all(values: list[Any], image: Any) -> Any:
    """The only value where ``image`` is a single one, else the list."""
    return values[0] if is_single(image) else values


def unbatch(values: Tensor, image: Any) -> np.ndarray:
    """(N, ...) to numpy, without the first axis where ``image`` is a single one."""
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
