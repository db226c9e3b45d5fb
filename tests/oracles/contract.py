"""What every method owes its caller.

It keeps to its contract for arguments and result, and it leaves the model and the
global state as they were.
"""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import torch
from measures import (
    EXACT,
    PRECISIONS,
    Method,
    Oracle,
    close,
    refuses,
    runs,
)
from nets import (
    CLASSES,
    SIZE,
    ConvNet,
    DrawsNumbers,
    Explodes,
    Explosion,
    InPlaceFirst,
    NoParameters,
    built,
    image,
    stateful,
)
from torch import Tensor, nn


def unpacks_and_names_its_target(method: Method) -> None:
    net, x = built(ConvNet), image()
    result = method(x, net, 2)
    drawn, target = result
    assert drawn is result.map
    assert target == result.target == 2
    assert type(target) is int
    assert isinstance(result.map, np.ndarray)
    with torch.no_grad():
        logits = net(x)
    close("score is F(x)", result.score, logits[0, 2], EXACT)
    assert method(x, net, None).target == int(logits.argmax())
    for same in (np.int64(2), torch.tensor(2), [2], (np.int32(2),), torch.tensor([2])):
        close("a class by any integer", method(x, net, same).map, drawn, 0)


def one_image_gives_one_map(method: Method) -> None:
    net, x = built(ConvNet), image(2)
    assert method(x[0], net, 1).map.shape == method(x[:1], net, 1).map.shape == SIZE
    close(
        "(3, H, W) equals (1, 3, H, W)",
        method(x[0], net, 1).map,
        method(x[:1], net, 1).map,
        0,
    )
    both = method(x, net, [1, 2])
    assert both.map.shape == (2, *SIZE)
    assert both.target == [1, 2]
    assert len(both.score) == 2


def a_batch_equals_its_images(method: Method) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(3, dtype=dtype)
        # The images' ranges differ, so that anything taken over the whole batch shows.
        x = x * torch.tensor([1.0, 0.1, 3.0], dtype=dtype)[:, None, None, None]
        together, alone = (
            method(x, net, [2, 0, 1]),
            [method(x[i], net, t) for i, t in enumerate([2, 0, 1])],
        )
        close(
            f"batch equals singles, {dtype}",
            together.map,
            np.stack([each.map for each in alone]),
            allowed,
        )
        if hasattr(together, "attributions"):
            # Each image on its own scale: a bright image must not hide a fault in a
            # faint one.
            for row, each in zip(together.attributions, alone, strict=True):
                close(
                    f"batch equals singles, signed, {dtype}",
                    row,
                    each.attributions,
                    allowed,
                )
        chosen = method(x, net, None)
        assert chosen.target == net(x).argmax(dim=1).tolist()


def one_class_for_many_images_is_refused(method: Method) -> None:
    net, x = built(ConvNet), image(3)
    for wrong in (1, [1], [1, 2], [0, 1, 2, 3], torch.tensor(1)):
        message = refuses(ValueError, lambda wrong=wrong: method(x, net, wrong))
        assert "3 images need" in message, message


def a_class_that_is_none_is_refused(method: Method) -> None:
    net, x = built(ConvNet), image()
    for wrong in (CLASSES, -1, 10**6):
        message = refuses(ValueError, lambda wrong=wrong: method(x, net, wrong))
        assert f"class {wrong} is out of range" in message, message
        assert "0 to 3" in message, message
    for kind in (1.0, "cat", True, [0.5], np.array([1.5])):
        assert "integer" in refuses(TypeError, lambda kind=kind: method(x, net, kind))


def the_dtype_is_kept(method: Method) -> None:
    for dtype, name in ((torch.float32, "float32"), (torch.float64, "float64")):
        assert (
            method(image(dtype=dtype), built(ConvNet, dtype=dtype), 1).map.dtype == name
        )


def the_callers_grad_mode_does_not_matter(method: Method) -> None:
    net, x = built(ConvNet), image()
    want = method(x, net, 1).map
    assert want.max() > 0, "a blank map would prove nothing here"
    with torch.no_grad():
        close("in torch.no_grad()", runs(lambda: method(x, net, 1)).map, want, 0)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        close("in torch.inference_mode()", runs(lambda: method(x, net, 1)).map, want, 0)
        close(
            "on an inference tensor",
            runs(lambda: method(x.clone(), net, 1)).map,
            want,
            0,
        )
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def the_callers_tensor_is_untouched(method: Method) -> None:
    net, x = built(ConvNet), image().requires_grad_()
    before = x.detach().clone()
    first, second = method(x, net, 1).map, method(x, net, 1).map
    close("twice on one tensor", second, first, 0)
    close("the caller's values", x, before, 0)
    assert x.requires_grad, "requires_grad of the caller's tensor has changed"
    assert x.grad is None, "a gradient was left on the caller's tensor"
    x.grad = torch.ones_like(x)
    method(x, net, 1)
    close("the caller's gradient", x.grad, torch.ones_like(x), 0)


def a_first_operation_in_place_is_allowed(method: Method) -> None:
    net, x = built(InPlaceFirst), image()
    before = x.clone()

    class Twin(nn.Module):
        """The same function without the in-place operation."""

        def __init__(self) -> None:
            super().__init__()
            self.features = net.features

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("nchw,kchw->nk", self.features(2 * x) ** 2, net.weight)

    close(
        "first operation in place",
        method(x, net, 1).map,
        method(x, Twin().eval(), 1).map,
        EXACT,
    )
    close("the caller's values", x, before, 0)


def a_model_without_parameters_will_do(method: Method) -> None:
    x = image()
    assert method(x, NoParameters(), 1).map.max() > 0
    assert method(x, NoParameters(), None).target == int(
        x.square().sum(dim=(2, 3)).argmax()
    )


def numbers_that_are_none_are_refused(method: Method) -> None:
    net = built(ConvNet)
    for bad in (math.nan, math.inf):
        x = image()
        x[0, 1, 2, 3] = bad
        assert "NaN or infinite" in refuses(ValueError, lambda x=x: method(x, net, 1))
    with torch.no_grad():
        net.head.bias[1] = math.nan
    assert "NaN or infinite" in refuses(ValueError, lambda: method(image(), net, 1))


CONTRACT: list[Oracle] = [
    unpacks_and_names_its_target,
    one_image_gives_one_map,
    a_batch_equals_its_images,
    one_class_for_many_images_is_refused,
    a_class_that_is_none_is_refused,
    the_dtype_is_kept,
    the_callers_grad_mode_does_not_matter,
    the_callers_tensor_is_untouched,
    a_first_operation_in_place_is_allowed,
    a_model_without_parameters_will_do,
    numbers_that_are_none_are_refused,
]


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All of a model and of the global state that an explanation must leave alone."""
    hooks = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    state: dict[str, Any] = {
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "dtype": torch.get_default_dtype(),
        "torch RNG": torch.get_rng_state().clone(),
        "numpy RNG": np.random.get_state()[1].copy(),
        "python RNG": random.getstate(),
    }
    for name, module in model.named_modules():
        state[f"{name}: mode"] = module.training
        state[f"{name}: hooks"] = [len(getattr(module, hook)) for hook in hooks]
    for name, parameter in model.named_parameters():
        state[f"{name}: requires_grad"] = parameter.requires_grad
        state[f"{name}: grad"] = (
            None if parameter.grad is None else parameter.grad.clone()
        )
        state[f"{name}: value"] = parameter.detach().clone()
    for name, buffer in model.named_buffers():
        state[f"{name}: buffer"] = buffer.clone()
    return state


def same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for what, was in before.items():
        now = after[what]
        if isinstance(was, (Tensor, np.ndarray)):
            assert type(now) is type(was), f"{what} has changed"
            assert bool((now == was).all()), f"{what} has changed"
        else:
            assert now == was, f"{what} was {was}, is {now}"


def the_model_is_left_as_it_was(method: Method) -> None:
    net, x = stateful(), image()
    before = snapshot(net)
    first = method(x, net, 1).map
    same_state(before, snapshot(net))
    # The map is that of the model in eval mode: dropout is off, and batch norm uses its
    # running statistics.
    close(
        "mixed modes give the eval map",
        first,
        method(x, copy.deepcopy(net).eval(), 1).map,
        0,
    )
    method(image(2), net, [0, 3])
    same_state(before, snapshot(net))


def also_when_the_model_raises(method: Method) -> None:
    x, seen = image(), 0
    for at in (1, 2, 3):
        net = Explodes(stateful(), at)
        before = snapshot(net)
        try:
            method(x, net, 1)
        except Explosion:
            seen += 1
        same_state(before, snapshot(net))
    assert seen, "the model was never called"


def also_after_bad_input(method: Method) -> None:
    net, x = stateful(), image()
    before = snapshot(net)
    for wrong in (CLASSES, "cat"):
        refuses((ValueError, TypeError), lambda wrong=wrong: method(x, net, wrong))
        same_state(before, snapshot(net))


def random_state_comes_back(method: Method) -> None:
    net, x = built(DrawsNumbers), image()
    # Move to the middle of each sequence of random numbers, where no seed leads
    # directly.
    torch.rand(3), np.random.rand(3), random.random()
    before = snapshot(net)
    method(x, net, 1)
    same_state(before, snapshot(net))


STATE: list[Oracle] = [
    the_model_is_left_as_it_was,
    also_when_the_model_raises,
    also_after_bad_input,
    random_state_comes_back,
]
