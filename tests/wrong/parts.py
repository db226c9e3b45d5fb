"""What the wrong variants share: the model's guard, the class, score and result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import choose_targets, frozen_eval, is_single


class Result(SimpleNamespace):
    """Unpacks as the real results do."""

    def __iter__(self) -> Iterator[Any]:
        yield self.map
        yield self.target


@contextmanager
def guarded(model: nn.Module, wrong: str) -> Iterator[None]:
    """chapter4's guard of the model, or the usual wrong ways to replace it."""
    if wrong == "model left in another mode":
        model.eval()
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            yield
    elif wrong == "modes of the submodules lost":
        training = model.training
        with frozen_eval(model):
            yield
        model.train(training)
    elif wrong == "not put back after an exception":
        modes = {module: module.training for module in model.modules()}
        model.eval()
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            yield
        for module, training in modes.items():
            module.training = training
    elif wrong == "training mode while explaining":
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
            yield
            for buffer, was in buffers:
                buffer.data.copy_(was)
    elif wrong == "gradients frozen for good":
        with frozen_eval(model):
            yield
        model.requires_grad_(False)
    elif wrong == "random state moved":
        state = torch.get_rng_state()
        with frozen_eval(model):
            yield
        torch.set_rng_state(state)
        torch.rand(1)
    elif wrong == "the caller's grad mode kept":
        grad = torch.is_grad_enabled()
        with frozen_eval(model), torch.set_grad_enabled(grad):
            yield
    elif wrong == "parameter gradients accumulate":
        wanted = [p for p in model.parameters() if p.requires_grad]
        with frozen_eval(model):
            for parameter in wanted:
                parameter.requires_grad_(True)
            yield
    else:
        with frozen_eval(model):
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


def targets_of(logits: Tensor, target_class: Any, wrong: str) -> list[int]:
    if not logits.isfinite().all():
        raise ValueError("NaN or infinite scores")
    if wrong == "one class for a whole batch" and not isinstance(
        target_class, (list, tuple, Tensor, np.ndarray)
    ):
        target_class = None if target_class is None else [target_class] * len(logits)
    if wrong == "class of the first image for all":
        return [choose_targets(logits, target_class)[0]] * len(logits)
    targets = choose_targets(logits, target_class)
    if wrong == "gradient of the wrong class":
        return [(target + 1) % logits.shape[1] for target in targets]
    return targets


def score_of(logits: Tensor, targets: Any, score: str, wrong: str) -> Tensor:
    if wrong == "softmax instead of logit":
        score = "probability"
    if wrong == "log-softmax instead of logit":
        values = logits.log_softmax(dim=1)
    elif wrong == "logit, though the probability was asked for":
        values = logits
    else:
        values = logits.softmax(dim=1) if score == "probability" else logits
    return values[torch.arange(len(logits)), torch.as_tensor(targets)]


def result_of(
    image: Any,
    signed: Tensor,
    drawn: Tensor,
    targets: list[int],
    values: Tensor,
    **more: Any,
) -> Result:
    single = is_single(image)
    parts = {
        "map": drawn.detach().numpy(),
        "attributions": signed.detach().numpy(),
        "score": values.tolist(),
        **more,
    }
    named = {"target": targets} | parts
    return Result(
        **{key: value[0] if single else value for key, value in named.items()}
    )


def gradient_at(
    model: nn.Module, x: Tensor, targets: Any, score: str, wrong: str
) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    values = score_of(model(leaf.clone()), targets, score, wrong)
    if wrong == "parameter gradients accumulate":
        values.sum().backward()
        return leaf.grad
    return torch.autograd.grad(values.sum(), leaf)[0]
