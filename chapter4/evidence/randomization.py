"""The sanity check of saliency maps: does a map depend on the model's weights?

A map that stays the same when the weights are random does not explain the model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import Attribution, seeded
from chapter4.evidence.map_statistics import rank_correlation
from chapter4.inputs.images import nearest

Explain = Callable[[nn.Module], Attribution | np.ndarray]


@dataclass(frozen=True)
class Randomization:
    """How much of a map is left as the model's weights are drawn anew.

    Attributes:
        stages: The parts of the model, from the logits down.
        correlations: Spearman's correlation between ``|map|`` after each stage and that
            of the trained model. NaN where one of the two maps is constant.
        blank: Whether the map after each stage was constant.
        mode: "cascading" if all stages up to this one are random, "independent" if this
            one alone is.
        seed: Seed of the new weights.
    """

    stages: tuple[str, ...]
    correlations: tuple[float, ...]
    blank: tuple[bool, ...]
    mode: str
    seed: int


def randomization_check(
    explain: Explain,
    model: nn.Module,
    stages: Sequence[str | Sequence[str]] | None = None,
    *,
    mode: Literal["cascading", "independent"] = "cascading",
    seed: int = 0,
) -> Randomization:
    """Draw a model's weights anew, stage by stage, and compare the maps.

    The stages run from the logits down, and each map is compared with the trained
    model's. The model that you pass is not changed.

    A low correlation is necessary, but not sufficient: it shows that the map depends on
    the weights, not that it is right. The edges of the image alone can keep the
    correlation above 0.

    Args:
        explain: A function that takes a model and returns its map for one image and one
            fixed class, such as ``lambda m: vanilla_gradients(x, m, 281)``. It gets a
            copy of the model, so name a layer by its dotted name.
        model: The trained model.
        stages: Dotted names of parts of the model; a tuple of names is one stage. None
            for :func:`chapter4.default_stages`.
        mode: "cascading" or "independent": whether the stages before stay random too.
        seed: Seed of the new weights (see :func:`chapter4.randomize_`).

    Returns:
        The correlation with the trained model's map after each stage.

    Raises:
        ValueError: For an unknown mode, for no stage, for an unknown stage or one
            without weights, or if the class or shape of the map changes on the way.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
    """
    if mode not in ("cascading", "independent"):
        raise ValueError(f"mode is 'cascading' or 'independent', not {mode!r}")
    chosen = default_stages(model) if stages is None else stages
    groups = [(stage,) if isinstance(stage, str) else tuple(stage) for stage in chosen]
    if not groups or not all(groups):
        raise ValueError("no stage was named: give at least one part of the model")
    for name in (name for group in groups for name in group):
        _weights(model, name)
    trained = explain(model)
    twin = copy.deepcopy(model)
    correlations, blank = [], []
    for group in groups:
        if mode == "independent":
            twin = copy.deepcopy(model)
        for name in group:
            randomize_(twin, name, seed=seed)
        found: Any = explain(twin)
        if isinstance(trained, Attribution) and trained.target != found.target:
            raise ValueError(
                f"the class changed from {trained.target} to {found.target} with the"
                " weights: give target_class in `explain`, which else is the predicted"
                " one"
            )
        values = _values(found)
        correlations.append(rank_correlation(values, _values(trained)))
        blank.append(bool(np.ptp(np.abs(values)) == 0))
    return Randomization(
        stages=tuple(" + ".join(group) for group in groups),
        correlations=tuple(correlations),
        blank=tuple(blank),
        mode=mode,
        seed=int(seed),
    )


def default_stages(model: nn.Module) -> list[str]:
    """The parts of a model with weights, the last registered first.

    The parts are the model's direct children. An ``nn.Sequential`` or ``nn.ModuleList``
    that holds containers, such as a network's stack of blocks, is replaced by its own
    children. Most models register their parts in the order of the forward pass, but
    none has to: if yours does not, name the stages yourself.

    Args:
        model: Any model.

    Returns:
        The dotted names of the parts.
    """
    return [name for name, _ in reversed(list(_parts(model)))]


def randomize_(model: nn.Module, stage: str, *, seed: int = 0) -> None:
    """Draw the weights of one part of a model anew, IN PLACE.

    Tensors of two axes or more get normal values of variance 2 / fan-in, so that the
    signal keeps its size on its way through. Biases become 0 and other vectors, such as
    the scales of norms, become 1. Running means become 0 and running variances 1.

    Each tensor has its own random stream, from the seed and its place in the model.
    What a stage gets does not depend on the other stages.

    Args:
        model: The model, which is changed.
        stage: The dotted name of the part.
        seed: Seed of the new weights.

    Raises:
        ValueError: If the model has no such part, or the part has no weights.

    References:
        He et al. 2015, arXiv:1502.01852.
    """
    chosen = {id(tensor) for tensor in _weights(model, stage)}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    with torch.no_grad():
        for place, (name, tensor) in enumerate(tensors):
            if id(tensor) in chosen:
                _draw(tensor, name.rpartition(".")[2], seed, place)


def _draw(tensor: Tensor, name: str, seed: int, place: int) -> None:
    if name == "running_mean" or (tensor.ndim < 2 and name.endswith("bias")):
        tensor.zero_()
    elif tensor.ndim < 2:
        tensor.fill_(1)
    else:
        # Mix two integers into one seed, so that different pairs give different seeds.
        mixed = np.random.SeedSequence([int(seed) % 2**64, place]).generate_state(1)
        generator = seeded(int(mixed[0]))
        fan_in = tensor.numel() // tensor.shape[0]
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(drawn * math.sqrt(2 / fan_in))


def _weights(model: nn.Module, stage: str) -> list[Tensor]:
    modules = dict(model.named_modules(remove_duplicate=False))
    if stage not in modules:
        raise ValueError(f"the model has no part {stage!r}{nearest(stage, modules)}")
    found = [p for p in modules[stage].parameters() if p.is_floating_point()]
    if not found:
        raise ValueError(f"the part {stage!r} has no weights to draw anew")
    statistics = ("running_mean", "running_var")
    return found + [
        buffer
        for name, buffer in modules[stage].named_buffers()
        if name.rpartition(".")[2] in statistics
    ]


def _parts(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if not any(p.is_floating_point() for p in child.parameters()):
            continue
        inner = list(child.children())
        stack = isinstance(child, (nn.Sequential, nn.ModuleList)) and len(inner) > 1
        if stack and any(list(part.children()) for part in inner):
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _values(found: Attribution | np.ndarray) -> np.ndarray:
    return np.asarray(found.map if isinstance(found, Attribution) else found, float)
