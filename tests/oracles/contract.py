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
from measures import EXACT, PRECISIONS, Method, Oracle, close, refuses, runs
from nets import (
    CLASSES,
    SIZE,
    ConvNet,
    DrawsNumbers,
    Explodes,
    Explosion,
    InPlaceFirst,
    NoParameters,
    Power,
    Watched,
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
    alone, in_a_batch = method(x[0], net, 1).map, method(x[:1], net, 1).map
    assert alone.shape == SIZE
    close("(3, H, W) equals (1, 3, H, W)", alone, in_a_batch, 0)
    both = method(x, net, [1, 2])
    assert both.map.shape == (2, *SIZE)
    assert both.target == [1, 2]
    assert len(both.score) == 2


def a_batch_equals_its_images(method: Method) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(3, dtype=dtype)
        # The images' ranges differ, so that anything taken over the whole batch shows.
        x = x * torch.tensor([1.0, 0.1, 3.0], dtype=dtype)[:, None, None, None]
        together = method(x, net, [2, 0, 1])
        for i, target in enumerate([2, 0, 1]):
            # Each image on its own scale: a bright image must not hide a fault in a
            # faint one.
            alone, name = method(x[i], net, target), f"batch equals singles, {dtype}"
            close(name, together.map[i], alone.map, allowed)
            if hasattr(together, "attributions"):
                signed = together.attributions[i]
                close(f"{name}, signed", signed, alone.attributions, allowed)
        chosen = method(x, net, None)
        assert chosen.target == net(x).argmax(dim=1).tolist()


def one_class_for_many_images_is_refused(method: Method) -> None:
    net, x = built(ConvNet), image(3)
    for wrong in (1, [1], [1, 2], [0, 1, 2, 3], torch.tensor(1)):
        message = refuses(ValueError, lambda wrong=wrong: method(x, net, wrong))
        assert "3 images need" in message, message


def a_class_that_is_none_is_refused_and_nothing_stays(method: Method) -> None:
    net, x = stateful(), image()
    before = snapshot(net)
    for wrong in (CLASSES, -1, 10**6):
        message = refuses(ValueError, lambda wrong=wrong: method(x, net, wrong))
        assert f"class {wrong} is out of range" in message, message
        assert "0 to 3" in message, message
    for kind in (1.0, "cat", True, [0.5], np.array([1.5])):
        assert "integer" in refuses(TypeError, lambda kind=kind: method(x, net, kind))
    same_state(before, snapshot(net))


def the_dtype_is_kept(method: Method) -> None:
    for dtype, name in ((torch.float32, "float32"), (torch.float64, "float64")):
        found = method(image(dtype=dtype), built(ConvNet, dtype=dtype), 1)
        assert found.map.dtype == name


def the_callers_grad_mode_does_not_matter(method: Method) -> None:
    net, x = built(ConvNet), image()
    want = method(x, net, 1).map
    assert want.max() > 0, "a blank map would prove nothing here"
    with torch.no_grad():
        close("in torch.no_grad()", runs(lambda: method(x, net, 1)).map, want, 0)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        close("in torch.inference_mode()", runs(lambda: method(x, net, 1)).map, want, 0)
        found = runs(lambda: method(x.clone(), net, 1))
        close("on an inference tensor", found.map, want, 0)
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
    net, twin, x = built(InPlaceFirst), built(Power, 2), image()
    before = x.clone()
    with torch.no_grad():
        twin.weight.copy_(4 * net.weight)
        twin.bias.zero_()
    got = runs(lambda: method(x, net, 1))
    close("first operation in place", got.map, method(x, twin, 1).map, EXACT)
    close("the caller's values", x, before, 0)


def a_model_without_parameters_will_do(method: Method) -> None:
    x = image()
    assert runs(lambda: method(x, NoParameters(), 1)).map.max() > 0
    best = int(x.square().sum(dim=(2, 3)).argmax())
    assert method(x, NoParameters(), None).target == best


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
    a_class_that_is_none_is_refused_and_nothing_stays,
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
        gradient = parameter.grad
        state[f"{name}: grad"] = None if gradient is None else gradient.clone()
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
    in_eval = method(x, copy.deepcopy(net).eval(), 1).map
    close("mixed modes give the eval map", first, in_eval, 0)
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
    random_state_comes_back,
]


def the_same_in_chunks(method: Method) -> None:
    """Whatever the chunk size; and by itself memory doesn't grow with n.

    Args:
        method: ``(image, model, target_class, n, **options) -> result``, with n samples
            or steps. Methods that take none have no such oracle.
    """
    net, x = built(ConvNet), image(2)
    want = method(x, net, [1, 2], 7).attributions
    for chunk_size in (1, 2, 3, 100):
        watched = Watched(net)
        got = method(x, watched, [1, 2], 7, chunk_size=chunk_size).attributions
        close("whatever the chunk size", got, want, EXACT)
        largest = watched.largest
        assert largest <= max(chunk_size, len(x)), f"{largest} images at once"
    few, many = Watched(net), Watched(net)
    method(x[:1], few, 1, 40)
    method(x[:1], many, 1, 80)
    assert few.largest == many.largest < 40, f"up to {many.largest} images at once"
