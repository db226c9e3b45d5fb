"""What each image method must give, by value. An oracle takes an implementation and raises AssertionError where it is wrong.

The implementation has the signature of chapter4's own. The lists at the end say which oracles hold for which method;
test_*.py hold chapter4 to them, and test_wrong_variants.py shows that known mistakes fail them.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from nets import (
    CLASSES,
    SIZE,
    ByHand,
    ConvNet,
    DrawsNumbers,
    Explodes,
    InPlaceAfter,
    InPlaceFirst,
    NoParameters,
    Power,
    ReluOfDot,
    Watched,
    built,
    image,
    stateful,
)
from torch import Tensor, nn

Impl = Callable[..., Any]
Method = Callable[..., Any]  # (image, model, target_class=None) -> result
Oracle = Callable[[Impl], None]

EXACT = 1e-10  # float64, deterministic
FLOAT32 = 1e-5  # of the map's maximum
DIFFERENCES = 1e-6  # finite differences in float64
STANDARD_ERRORS = 4.0  # Monte Carlo
PRECISIONS = ((torch.float64, EXACT), (torch.float32, FLOAT32))

# Oracle -> (largest deviation seen, what is allowed). Relative to the largest value, or in standard errors.
DEVIATIONS: dict[str, tuple[float, float]] = {}
_recording = True


def record(name: str, deviation: float, allowed: float) -> None:
    """Remember the largest deviation seen under a name, for the summary after the tests."""
    if _recording:
        DEVIATIONS[name] = (max(deviation, DEVIATIONS.get(name, (0.0, 0.0))[0]), allowed)


@contextmanager
def unrecorded() -> Iterator[None]:
    """For implementations that are wrong on purpose: what they deviate by is not our figure."""
    global _recording
    _recording = False
    try:
        yield
    finally:
        _recording = True


def close(name: str, got: Any, want: Any, allowed: float) -> None:
    """The largest difference over the largest wanted value is at most `allowed`."""
    got, want = (_float64(values) for values in (got, want))
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, not {tuple(want.shape)}"
    assert got.isfinite().all(), f"{name}: NaN or infinite values"
    deviation = ((got - want).abs().max() / (want.abs().max() or 1)).item()
    assert deviation <= allowed, f"{name}: off by {deviation:.2g} of the maximum, {allowed:g} is allowed"
    record(name, deviation, allowed)


def within(name: str, got: float, want: float, standard_error: float) -> None:
    """A Monte Carlo figure is within 4 standard errors of its expectation."""
    deviation = abs(got - want) / standard_error
    assert deviation <= STANDARD_ERRORS, f"{name}: {got:.4g}, expected {want:.4g}; {deviation:.1f} standard errors off"
    record(f"{name} (standard errors)", deviation, STANDARD_ERRORS)


def relative_l2(got: Any, want: Any) -> float:
    """|got - want| / |want|, the measure for maps of real networks."""
    got, want = (_float64(values) for values in (got, want))
    assert got.shape == want.shape
    return ((got - want).norm() / want.norm()).item()


def _float64(values: Any) -> Tensor:
    return values.detach().double() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))


def refuses(kinds: type[Exception] | tuple[type[Exception], ...], call: Callable[[], Any]) -> str:
    """The message with which `call` refuses its input; AssertionError where it does not."""
    try:
        call()
    except kinds as error:
        return str(error)
    raise AssertionError("bad input was accepted")


def differences(score: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of score, (n, 3, H, W) -> (n,), at the one image x, (1, 3, H, W)."""
    moves = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    with torch.no_grad():
        return ((score(x + moves) - score(x - moves)) / (2 * step)).reshape(x.shape)


def probability(model: nn.Module, target: int) -> Callable[[Tensor], Tensor]:
    return lambda x: model(x).softmax(dim=1)[:, target]


def logit(model: nn.Module, target: int) -> Callable[[Tensor], Tensor]:
    return lambda x: model(x)[:, target]


def saliency(gradient: Tensor) -> Tensor:
    """(C, H, W) or (N, C, H, W) to the maximum over channels of the absolute value."""
    return gradient.abs().amax(dim=-3)


# --- what every method owes its caller -----------------------------------------------------------------------------


def unpacks_and_names_its_target(method: Method) -> None:
    net, x = built(ConvNet), image()
    result = method(x, net, 2)
    drawn, target = result
    assert drawn is result.map and target == result.target == 2 and type(target) is int
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
    close("(3, H, W) equals (1, 3, H, W)", method(x[0], net, 1).map, method(x[:1], net, 1).map, 0)
    both = method(x, net, [1, 2])
    assert both.map.shape == (2, *SIZE) and both.target == [1, 2] and len(both.score) == 2


def a_batch_equals_its_images(method: Method) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(3, dtype=dtype)
        # Different ranges, so that nothing taken over the whole batch goes unseen.
        x = x * torch.tensor([1.0, 0.1, 3.0], dtype=dtype)[:, None, None, None]
        together, alone = method(x, net, [2, 0, 1]), [method(x[i], net, t) for i, t in enumerate([2, 0, 1])]
        close(f"batch equals singles, {dtype}", together.map, np.stack([each.map for each in alone]), allowed)
        if hasattr(together, "attributions"):
            # Each image on its own scale: a fault in the faint one must not hide behind the bright one.
            for row, each in zip(together.attributions, alone, strict=True):
                close(f"batch equals singles, signed, {dtype}", row, each.attributions, allowed)
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
        assert f"class {wrong} is out of range" in message and "0 to 3" in message, message
    for kind in (1.0, "cat", True, [0.5], np.array([1.5])):
        assert "integer" in refuses(TypeError, lambda kind=kind: method(x, net, kind))


def the_dtype_is_kept(method: Method) -> None:
    for dtype, name in ((torch.float32, "float32"), (torch.float64, "float64")):
        assert method(image(dtype=dtype), built(ConvNet, dtype=dtype), 1).map.dtype == name


def the_callers_grad_mode_does_not_matter(method: Method) -> None:
    net, x = built(ConvNet), image()
    want = method(x, net, 1).map
    assert want.max() > 0, "a blank map would prove nothing here"
    with torch.no_grad():
        close("in torch.no_grad()", method(x, net, 1).map, want, 0)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        close("in torch.inference_mode()", method(x, net, 1).map, want, 0)
        close("on an inference tensor", method(x.clone(), net, 1).map, want, 0)
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def the_callers_tensor_is_untouched(method: Method) -> None:
    net, x = built(ConvNet), image().requires_grad_()
    before = x.detach().clone()
    first, second = method(x, net, 1).map, method(x, net, 1).map
    close("twice on one tensor", second, first, 0)
    close("the caller's values", x, before, 0)
    assert x.requires_grad and x.grad is None, "a gradient was left on the caller's tensor"
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

    close("first operation in place", method(x, net, 1).map, method(x, Twin().eval(), 1).map, EXACT)
    close("the caller's values", x, before, 0)


def a_model_without_parameters_will_do(method: Method) -> None:
    x = image()
    assert method(x, NoParameters(), 1).map.max() > 0
    assert method(x, NoParameters(), None).target == int(x.square().sum(dim=(2, 3)).argmax())


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


# --- the model and the world are left as they were ------------------------------------------------------------------


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything about a model and the global state that an explanation must leave alone."""
    hooks = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    state: dict[str, Any] = {
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "dtype": torch.get_default_dtype(),
        "torch RNG": torch.get_rng_state().clone(),
        "numpy RNG": np.random.get_state()[1].copy(),  # type: ignore[index]
        "python RNG": random.getstate(),
    }
    for name, module in model.named_modules():
        state[f"{name}: mode"] = module.training
        state[f"{name}: hooks"] = [len(getattr(module, hook)) for hook in hooks]
    for name, parameter in model.named_parameters():
        state[f"{name}: requires_grad"] = parameter.requires_grad
        state[f"{name}: grad"] = None if parameter.grad is None else parameter.grad.clone()
        state[f"{name}: value"] = parameter.detach().clone()
    for name, buffer in model.named_buffers():
        state[f"{name}: buffer"] = buffer.clone()
    return state


def same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for what, was in before.items():
        now = after[what]
        if isinstance(was, (Tensor, np.ndarray)):
            assert type(now) is type(was) and bool((now == was).all()), f"{what} has changed"
        else:
            assert now == was, f"{what} was {was}, is {now}"


def the_model_is_left_as_it_was(method: Method) -> None:
    net, x = stateful(), image()
    before = snapshot(net)
    first = method(x, net, 1).map
    same_state(before, snapshot(net))
    # The map is that of the model in eval mode, dropout off and batch norm on its running statistics.
    close("mixed modes give the eval map", first, method(x, copy.deepcopy(net).eval(), 1).map, 0)
    method(image(2), net, [0, 3])
    same_state(before, snapshot(net))


def also_when_the_model_raises(method: Method) -> None:
    x, seen = image(), 0
    for at in (1, 2, 3):
        net = Explodes(stateful(), at)
        before = snapshot(net)
        try:
            method(x, net, 1)
        except RuntimeError as error:
            assert str(error) == "boom"
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
    before = snapshot(net)
    method(x, net, 1)
    same_state(before, snapshot(net))


STATE: list[Oracle] = [
    the_model_is_left_as_it_was,
    also_when_the_model_raises,
    also_after_bad_input,
    random_state_comes_back,
]


# --- vanilla gradients ----------------------------------------------------------------------------------------------


def gradient_of_powers(vanilla: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2, 3):
            net, x = built(Power, power, dtype=dtype), image(2, dtype=dtype)
            result, want = vanilla(x, net, [3, 1]), torch.stack([net.gradient(x[0], 3), net.gradient(x[1], 1)])
            close(f"vanilla: powers, {dtype}", result.attributions, want, allowed)
            close(f"vanilla: powers, map, {dtype}", result.map, saliency(want), allowed)


def gradient_against_differences(vanilla: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    close("vanilla: finite differences", vanilla(x, net, 2).attributions, differences(logit(net, 2), x)[0], DIFFERENCES)


def gradient_of_the_probability(vanilla: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    got = vanilla(x, net, 2, score="probability")
    want = differences(probability(net, 2), x)[0]
    close("vanilla: finite differences of the softmax", got.attributions, want, DIFFERENCES)
    close("score is the softmax", got.score, probability(net, 2)(x)[0], EXACT)


def gradient_of_a_sure_model(vanilla: Impl) -> None:
    """At p = 1 in floating point the softmax has no gradient left; the logit has all of its own."""
    net, x = built(Power, 1), image()
    with torch.no_grad():
        net.bias[2] += 1000
    close("vanilla: a model that is sure", vanilla(x, net).attributions, net.weight[2], EXACT)


def saliency_against_captum(vanilla: Impl) -> None:
    from captum.attr import Saliency

    for make in (ConvNet, InPlaceAfter):
        for dtype, allowed in PRECISIONS:
            net, x = built(make, dtype=dtype), image(dtype=dtype)
            want = Saliency(net).attribute(x.clone().requires_grad_(), 2, abs=True).amax(dim=1)[0]
            close(f"vanilla: Captum's Saliency, {dtype}", vanilla(x, net, 2).map, want, allowed)


VANILLA: list[Oracle] = [
    gradient_of_powers,
    gradient_against_differences,
    gradient_of_the_probability,
    gradient_of_a_sure_model,
    saliency_against_captum,
]


# --- Gradient x Input -----------------------------------------------------------------------------------------------


def product_of_powers(gradient_input: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        for power in (1, 2):
            net, x = built(Power, power, dtype=dtype), image(dtype=dtype)
            result, want = gradient_input(x, net, 2), x[0] * net.gradient(x[0], 2)
            close(f"Gradient x Input: powers, {dtype}", result.attributions, want, allowed)
            close(f"Gradient x Input: powers, map, {dtype}", result.map, saliency(want), allowed)


def products_sum_to_a_homogeneous_score(gradient_input: Impl) -> None:
    net, x = built(ConvNet, bias=False), image()
    total = gradient_input(x, net, 2).attributions.sum()
    close("Gradient x Input: sums to F of a bias-free ReLU net", total, net(x)[0, 2], EXACT)


def product_against_captum(gradient_input: Impl) -> None:
    from captum.attr import InputXGradient

    for make in (ConvNet, InPlaceAfter):
        net, x = built(make), image()
        want = InputXGradient(net).attribute(x.clone().requires_grad_(), 2)[0]
        close("Gradient x Input: Captum", gradient_input(x, net, 2).attributions, want, EXACT)


GRADIENT_INPUT: list[Oracle] = [product_of_powers, products_sum_to_a_homogeneous_score, product_against_captum]


# --- SmoothGrad -----------------------------------------------------------------------------------------------------


def noise_has_the_right_size(smooth: Impl) -> None:
    """For F = sum a x^2 the mean gradient is 2a (x + mean noise): it shows the noise, whose variance is sigma^2 / n."""
    net, x = built(Power, 2), image()
    x = x * 3 + 2
    sigma = 0.2 * (x.max() - x.min()).item()
    for n in (1, 2, 4):
        means = []
        for seed in range(8):
            signed = torch.from_numpy(smooth(x, net, 1, n, 0.2, seed=seed).attributions)
            means.append(signed / (2 * net.weight[1].detach()) - x[0])
        noise = torch.stack(means)
        variance, count = sigma**2 / n, noise.numel()
        within("SmoothGrad: variance of the mean noise", noise.square().mean().item(), variance, variance * (2 / count) ** 0.5)
        within("SmoothGrad: mean of the noise", noise.mean().item(), 0.0, (variance / count) ** 0.5)


def sigma_is_each_images_own(smooth: Impl) -> None:
    net, x = built(Power, 2), image(2)
    x[1] *= 0.01
    for i, signed in enumerate(torch.from_numpy(smooth(x, net, [1, 1], 4, 0.2).attributions)):
        noise = signed / (2 * net.weight[1].detach()) - x[i]
        variance = (0.2 * (x[i].max() - x[i].min()).item()) ** 2 / 4
        name = "SmoothGrad: variance in a batch"
        within(name, noise.square().mean().item(), variance, variance * (2 / noise.numel()) ** 0.5)


def noise_is_independent_everywhere(smooth: Impl) -> None:
    """No two channels, pixels or samples share their noise: products of different values average to 0."""
    net, x = built(Power, 2), image()
    sigma = 0.2 * (x.max() - x.min()).item()
    means = [torch.from_numpy(smooth(x, net, 1, 2, 0.2, seed=s).attributions) for s in range(8)]
    noise = torch.stack(means) / (2 * net.weight[1].detach()) - x[0]
    for axis, name in ((1, "channels"), (2, "rows"), (3, "columns")):
        product = noise * noise.roll(1, dims=axis)
        standard_error = sigma**2 / 2 / product.numel() ** 0.5
        within(f"SmoothGrad: covariance of neighbouring {name}", product.mean().item(), 0.0, standard_error)


def relu_under_noise(smooth: Impl) -> None:
    """E[grad] = w Phi(w.x / (sigma |w|)); the share of samples on the active side is binomial."""
    net = built(ReluOfDot)
    for seed, target in ((0, 0), (1, 1), (2, 2)):
        x, w, n = image(seed=seed), net.weight[target].detach(), 4000
        # Close to the kink, where the noise decides.
        x = x - (w * x).sum() / w.square().sum() * w + (0.1 + 0.3 * seed) * w / w.norm()
        sigma = 0.1 * (x.max() - x.min()).item()
        active = 0.5 * (1 + math.erf((w * x).sum().item() / (sigma * w.norm().item()) / 2**0.5))
        result = smooth(x, net, target, n, 0.1, chunk_size=500)
        signed = torch.from_numpy(result.attributions)
        share = ((signed * w).sum() / w.square().sum()).item()
        within("SmoothGrad: ReLU under Gaussian noise", share, active, (active * (1 - active) / n) ** 0.5)
        close("SmoothGrad: ReLU under noise, direction", signed, share * w, EXACT)
        close("SmoothGrad: ReLU under noise, map", result.map, saliency(share * w), EXACT)


def mean_first_then_absolute(smooth: Impl) -> None:
    """Where gradients of both signs meet, they cancel: |mean| and mean || are far apart."""
    net, x = built(Power, 2), image() * 0.05
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.0, -2.0
    result = smooth(x, net, 1, 64, 0.2)
    signed = torch.from_numpy(result.attributions)
    close("SmoothGrad: map of the signed mean", result.map, saliency(signed), EXACT)
    noise = signed / (2 * net.weight[1].detach()) - x[0]
    within("SmoothGrad: signed mean", noise.mean().item(), 0.0, 0.2 * 4 / (64 * noise.numel()) ** 0.5)


def no_noise_is_the_plain_gradient(smooth: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, dtype=dtype), image(dtype=dtype).requires_grad_()
        want = torch.autograd.grad(net(x)[0, 2], x)[0][0]
        result = smooth(x.detach(), net, 2, 3, 0.0)
        close(f"SmoothGrad: no noise, {dtype}", result.attributions, want, allowed)
        close(f"SmoothGrad: no noise, map, {dtype}", result.map, saliency(want), allowed)


def n_different_samples_are_taken(smooth: Impl) -> None:
    x = image()
    for n in (1, 5):
        net = Watched(built(Power, 2))
        smooth(x, net, 1, n, 0.2)
        points = net.gradient_points
        assert len(points) == n, f"{len(points)} gradients for {n} samples"
        assert len({tuple(p.flatten().tolist()) for p in points}) == n, "a sample was used twice"
        assert not (points == x).all(dim=(1, 2, 3)).any(), "the clean image was used as a sample"


def the_class_is_chosen_on_the_clean_image(smooth: Impl) -> None:
    net, x = built(Power, 1), image()
    with torch.no_grad():
        # Nearly a tie, so that the noisy copies would choose differently.
        logits = net(x)[0]
        net.bias += logits.max() - logits
        net.bias[3] += 1e-3
    result = smooth(x, net, None, 8, 0.3)
    assert result.target == 3
    close("SmoothGrad: class of the clean image", result.attributions, net.weight[3], EXACT)


def chunks_change_nothing(smooth: Impl) -> None:
    net, x = built(ConvNet), image(2)
    want = smooth(x, net, [1, 2], 7, 0.2, seed=5)
    for chunk_size in (1, 2, 3, 100):
        watched = Watched(net)
        got = smooth(x, watched, [1, 2], 7, 0.2, seed=5, chunk_size=chunk_size)
        close("SmoothGrad: whatever the chunk size", got.attributions, want.attributions, EXACT)
        largest = max(len(b) for b in watched.batches)
        assert largest <= max(chunk_size, len(x)), f"{largest} images at once, with chunks of {chunk_size}"


def memory_does_not_grow_with_samples(smooth: Impl) -> None:
    largest = []
    for n in (40, 80):
        net = Watched(built(ConvNet))
        smooth(image(), net, 1, n)
        largest.append(max(len(b) for b in net.batches))
    assert largest[0] == largest[1] < 40, f"batches of {largest} images for 40 and 80 samples"


def the_seed_decides(smooth: Impl) -> None:
    net, x = built(Power, 2), image()
    first = smooth(x, net, 1, 3, seed=1)
    torch.randn(5)
    close("SmoothGrad: the same seed", smooth(x, net, 1, 3, seed=1).map, first.map, 0)
    assert not np.array_equal(smooth(x, net, 1, 3, seed=2).map, first.map), "another seed gives the same map"


def smooth_probability(smooth: Impl) -> None:
    net, x = built(ConvNet, activation=nn.Tanh), image()
    got = smooth(x, net, 2, 2, 0.0, score="probability")
    want = differences(probability(net, 2), x)[0]
    close("SmoothGrad: finite differences of the softmax", got.attributions, want, DIFFERENCES)
    close("score is the softmax", got.score, probability(net, 2)(x)[0], EXACT)


SMOOTH_GRAD: list[Oracle] = [
    noise_has_the_right_size,
    sigma_is_each_images_own,
    noise_is_independent_everywhere,
    relu_under_noise,
    mean_first_then_absolute,
    no_noise_is_the_plain_gradient,
    n_different_samples_are_taken,
    the_class_is_chosen_on_the_clean_image,
    chunks_change_nothing,
    memory_does_not_grow_with_samples,
    the_seed_decides,
    smooth_probability,
]


# --- Grad-CAM and Grad-CAM++ ----------------------------------------------------------------------------------------

# Three channels of 2 x 2, and the gradients of four classes on them, for pencil and paper.
CHANNELS = torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [0, 1]], [[2, 0], [0, 0]]], dtype=torch.float64)
SLOPES = torch.tensor(
    [
        [[[1.0, 0], [0, 1]], [[-2, 0], [0, -2]], [[0, 0], [0, 4]]],
        [[[2.0, 2], [2, 2]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]],
        [[[-1.0, -1], [-1, -1]], [[0, 0], [0, 0]], [[0, 0], [0, -1]]],
        [[[0.0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]],
    ],
    dtype=torch.float64,
)


def resized(raw: Any, size: tuple[int, int]) -> np.ndarray:
    """Bilinear between cell centres, written out: pixel i of n lies at (i + 0.5) cells / n - 0.5."""
    values = _float64(raw).numpy()
    for axis, n in enumerate(size):
        cells = values.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * cells / n - 0.5, 0, cells - 1)
        low = np.floor(at).astype(int)
        high, part = np.minimum(low + 1, cells - 1), at - low
        part = part[:, None] if axis == 0 else part
        values = np.take(values, low, axis) * (1 - part) + np.take(values, high, axis) * part
    return values


def head_weights(net: nn.Module) -> Tensor:
    return net.head.weight.detach()  # type: ignore[union-attr, return-value]


def cam_by_hand(cam: Impl) -> None:
    # Channel means of class 0: 0.5, -1, 1. 0.5 [[1,2],[3,4]] - [[0,1],[0,1]] + [[2,0],[0,0]] = [[2.5,0],[1.5,1]].
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 0)
    close("Grad-CAM: by hand", got.raw, [[2.5, 0], [1.5, 1]], EXACT)
    close("Grad-CAM: by hand, map", got.map, [[1, 0], [0.6, 0.4]], EXACT)
    # No cell of class 1 is 0, and the least one must not become it.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 1)
    close("Grad-CAM: by hand", got.raw, [[2, 4], [6, 8]], EXACT)
    close("Grad-CAM: by hand, map", got.map, [[0.25, 0.5], [0.75, 1]], EXACT)


def cam_plus_by_hand(cam: Impl) -> None:
    # Class 0, alpha = 1 / (2 + sum(A) g): channel 0 twice 1 / 12, channel 2 once 1 / 10, channel 1 has no positive slope.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 0)
    close("Grad-CAM++: by hand", got.raw, [[1 / 6 + 0.8, 1 / 3], [0.5, 2 / 3]], EXACT)
    # Class 1: four times 2 / (2 + 20) on channel 0.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 1)
    close("Grad-CAM++: by hand", got.raw, (CHANNELS[0] * 8 / 22), EXACT)
    close("Grad-CAM++: by hand, map", got.map, [[0.25, 0.5], [0.75, 1]], EXACT)


def blank_maps_are_zeros_and_said(cam: Impl) -> None:
    for target in (2, 3):
        got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, target)
        close("blank map", got.map, np.zeros((2, 2)), 0)
        close("blank map, raw", got.raw, np.zeros((2, 2)), 0)
        assert got.blank is True
    got = cam(ByHand(SLOPES), "features").generate_cam(torch.stack([CHANNELS, CHANNELS]), [3, 1])
    assert got.blank == [True, False]
    close("blank map beside another", got.map, [[[0, 0], [0, 0]], [[0.25, 0.5], [0.75, 1]]], EXACT)


def cam_of_pooling_and_linear_head(cam: Impl) -> None:
    """Zhou et al.'s CAM over Z: relu(sum_k w_k A^k) / (h w)."""
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, pool=True, dtype=dtype), image(2, dtype=dtype)
        grid = net.features(x).detach()
        got, seen = cam(net, net.features).generate_cam(x, [0, 3]), 0
        for i, target in enumerate([0, 3]):
            want = torch.einsum("k,khw->hw", head_weights(net)[target], grid[i]).relu() / 12
            close(f"Grad-CAM: GAP + linear head, {dtype}", got.raw[i], want, allowed)
            if want.max() > 0:
                drawn = resized(want, SIZE)
                close(f"Grad-CAM: GAP + linear head, map, {dtype}", got.map[i], drawn / drawn.max(), allowed)
                seen += 1
        assert seen, "both maps are blank and prove nothing"


def cam_of_the_probability(cam: Impl) -> None:
    """dp_t/dF_j = p_t ((t = j) - p_j), through the same head."""
    net, x = built(ConvNet, pool=True), image()
    grid, p = net.features(x).detach()[0], net(x).detach().softmax(dim=1)[0]
    for target in range(CLASSES):
        slope = p[target] * (head_weights(net)[target] - p @ head_weights(net)) / 12
        got = cam(net, net.features).generate_cam(x, target, score="probability")
        close("Grad-CAM: probability", got.raw, torch.einsum("k,khw->hw", slope, grid).relu(), EXACT)


def cam_before_an_in_place_relu(cam: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(InPlaceAfter, dtype=dtype), image(dtype=dtype)
        grid = net.features(x).detach()[0]
        assert (grid < 0).any()
        for target in range(CLASSES):
            slope = head_weights(net)[target] * (grid > 0).to(dtype).mean(dim=(1, 2)) / 12
            want = torch.einsum("k,khw->hw", slope, grid).relu()
            got = cam(net, net.features).generate_cam(x, target)
            close(f"Grad-CAM: in-place ReLU after the layer, {dtype}", got.raw, want, allowed)


def cam_against_captum(cam: Impl) -> None:
    from captum.attr import LayerGradCam

    for make in (ConvNet, InPlaceAfter):
        for dtype, allowed in PRECISIONS:
            net, x = built(make, dtype=dtype), image(dtype=dtype)
            for target in range(CLASSES):
                want = LayerGradCam(net, net.features).attribute(x, target, relu_attributions=True).detach()[0, 0]
                got = cam(net, net.features).generate_cam(x, target)
                close(f"Grad-CAM: Captum's LayerGradCam, {dtype}", got.raw, want, allowed)


def layers_by_name_and_by_module(cam: Impl) -> None:
    net, x = built(ConvNet), image()
    by_name = cam(net, "features.0").generate_cam(x, 1)
    with cam(net, net.features[0]) as explainer:
        close("a layer by name or module", explainer.generate_cam(x, 1).raw, by_name.raw, 0)
    assert by_name.raw.shape == (4, 3)
    # An explainer keeps no map: another image and class give what a new explainer gives.
    explainer = cam(net, "features")
    explainer.generate_cam(image(seed=1), 2)
    close("an explainer used twice", explainer.generate_cam(x, 1).raw, cam(net, "features").generate_cam(x, 1).raw, 0)


def cam_plus_against_derivatives_of_the_exponential(cam: Impl) -> None:
    """The paper's own formula: alpha = Y'' / (2 Y'' + sum(A) Y'''), Y = exp(S), every derivative by autograd."""
    net, x = built(ConvNet), image()
    for target in range(CLASSES):
        grid = net.features(x).detach()[0].requires_grad_()
        y = net.head(grid.flatten()[None])[0, target].exp()
        first, second, third = [], [], []
        (g1,) = torch.autograd.grad(y, grid, create_graph=True)
        for value in g1.flatten():
            first.append(value.detach())
            (g2,) = torch.autograd.grad(value, grid, create_graph=True)
            own = g2.flatten()[len(second)]
            second.append(own.detach())
            third.append(torch.autograd.grad(own, grid, retain_graph=True)[0].flatten()[len(third)])
        d1, d2, d3 = (torch.stack(each).reshape(grid.shape) for each in (first, second, third))
        alpha = d2 / (2 * d2 + grid.detach().sum(dim=(1, 2), keepdim=True) * d3)
        weights = (alpha * d1.relu()).sum(dim=(1, 2))
        want = torch.einsum("k,khw->hw", weights, grid.detach()).relu()
        got = cam(net, net.features).generate_cam(x, target)
        # exp(S) is the common factor that the closed form leaves out.
        close("Grad-CAM++: derivatives of exp(S)", got.raw, want / y.detach(), EXACT)


def cam_plus_of_small_gradients(cam: Impl) -> None:
    """Real networks have gradients of 1e-4: a constant added to the denominator then decides the map."""
    for factor in (1e-3, 1e-5):
        got = cam(ByHand(SLOPES * factor), "features").generate_cam(CHANNELS, 0)
        first, last = 2 * factor / (2 + 10 * factor), 4 * factor / (2 + 2 * 4 * factor)
        close("Grad-CAM++: small gradients", got.raw, first * CHANNELS[0] + last * CHANNELS[2], EXACT)


def cam_plus_where_the_denominator_vanishes(cam: Impl) -> None:
    """Before a ReLU activations may be negative: sum(A) g = -2 is possible, and must not decide the map."""
    grid = CHANNELS.clone()
    grid[0] = torch.tensor([[-1.0, 0], [-1, 0]])
    got = cam(ByHand(SLOPES), "features").generate_cam(grid, 0)
    # Channel 0: sum(A) = -2, g = 1, so 2 + sum(A) g = 0; only channel 2 counts, with 0.4.
    close("Grad-CAM++: a vanishing denominator", got.raw, 0.4 * CHANNELS[2], EXACT)


def cam_plus_where_negative_activations_meet(cam: Impl) -> None:
    """Before a ReLU the weighted sum may be negative, and the map is 0 there."""
    grid = CHANNELS.clone()
    grid[0, 0, 0] = -1
    # Class 1: sum(A) = 8, g = 2 in four cells, so the weight is four times 2 / (2 + 16).
    got = cam(ByHand(SLOPES), "features").generate_cam(grid, 1)
    close("Grad-CAM++: negative activations", got.raw, [[0, 16 / 18], [24 / 18, 32 / 18]], EXACT)


CAM: list[Oracle] = [blank_maps_are_zeros_and_said, layers_by_name_and_by_module]
GRAD_CAM: list[Oracle] = [
    *CAM,
    cam_by_hand,
    cam_of_pooling_and_linear_head,
    cam_of_the_probability,
    cam_before_an_in_place_relu,
    cam_against_captum,
]
GRAD_CAM_PLUS: list[Oracle] = [
    *CAM,
    cam_plus_by_hand,
    cam_plus_against_derivatives_of_the_exponential,
    cam_plus_of_small_gradients,
    cam_plus_where_the_denominator_vanishes,
    cam_plus_where_negative_activations_meet,
]


# --- Integrated Gradients -------------------------------------------------------------------------------------------

IMAGENET_BLACK = (-2.117904, -2.035714, -1.804444)
IMAGENET_WHITE = (2.248908, 2.428571, 2.640000)


def moments(rule: str, n: int) -> tuple[float, float]:
    """sum of w alpha and of w alpha^2 of each rule, by the formulas for sums of integers and their squares."""
    if rule == "riemann_right":
        return (n + 1) / (2 * n), (n + 1) * (2 * n + 1) / (6 * n**2)
    if rule == "riemann_left":
        return (n - 1) / (2 * n), (n - 1) * (2 * n - 1) / (6 * n**2)
    if rule == "riemann_middle":
        return 0.5, 1 / 3 - 1 / (12 * n**2)
    if rule == "riemann_trapezoid":
        return 0.5, 1 / 3 + 1 / (6 * (n - 1) ** 2)
    return 0.5, 1 / 3  # two Gauss-Legendre points integrate a cubic exactly


def sums_of_every_rule(ig: Impl) -> None:
    """F = sum a x^3 has dF/dx = 3a (x'^2 + 2 alpha x' d + alpha^2 d^2) on the path: two moments give IG."""
    for dtype, allowed in PRECISIONS:
        net, x, start = built(Power, 3, dtype=dtype), image(dtype=dtype), image(seed=1, dtype=dtype)
        d, a = x - start, net.weight[2].detach()
        for rule in ("gausslegendre", "riemann_middle", "riemann_right", "riemann_left", "riemann_trapezoid"):
            for n in (2, 5):
                m1, m2 = moments(rule, n)
                want = 3 * a * d * (start**2 + 2 * m1 * start * d + m2 * d**2)
                got = ig(x, net, 2, start, n, rule=rule)
                close(f"IG: sums of {rule}, {dtype}", got.attributions, want[0], allowed)
                close(f"IG: map, {dtype}", got.map, want[0].abs().sum(dim=0), allowed)


def bias_free_net_from_zero(ig: Impl) -> None:
    """The gradient is the same on the whole open path: IG is Gradient x Input, and sums to F, by any such rule."""
    net, x = built(ConvNet, bias=False), image().requires_grad_()
    want = (x * torch.autograd.grad(net(x)[0, 2], x)[0])[0]
    for rule, n in (("gausslegendre", 1), ("gausslegendre", 8), ("riemann_middle", 3), ("riemann_right", 2)):
        got = ig(x.detach(), net, 2, torch.zeros_like(x), n, rule=rule)
        close("IG: bias-free ReLU net", got.attributions, want, EXACT)
        close("IG: bias-free ReLU net, sum", got.attributions.sum(), net(x)[0, 2], EXACT)
        assert got.delta < EXACT


def completeness(ig: Impl) -> None:
    net, x, start = built(ConvNet, activation=nn.Tanh), image(2), image(2, seed=1)
    for score, at in (("logit", logit), ("probability", probability)):
        for i, target in enumerate((1, 3)):
            f = at(net, target)
            change = (f(x) - f(start))[i].item()
            got = ig(x[i], net, target, start[i], 50, score=score)
            close(f"IG: completeness, {score}", got.attributions.sum(), change, EXACT)
            close("IG: F(x)", got.score, f(x)[i], EXACT)
            close("IG: F(x')", got.baseline_score, f(start)[i], EXACT)


def delta_is_relative_and_true(ig: Impl) -> None:
    net, x, start = built(ConvNet), image(2) * 3, image(2, seed=1)
    for score, at in (("logit", logit), ("probability", probability)):
        both = ig(x, net, [1, 3], start, 2, rule="riemann_right", score=score)
        for i, target in enumerate((1, 3)):
            change = (at(net, target)(x) - at(net, target)(start))[i].item()
            want = abs(both.attributions[i].sum() - change) / abs(change)
            assert want > 1e-3, "two steps are too good here to prove anything"
            close("IG: delta", both.delta[i], want, 1e-9)


def no_change_has_no_delta(ig: Impl) -> None:
    net, x = built(ConvNet), image()
    got = ig(x, net, 1, x.clone(), 4)
    assert math.isnan(got.delta)
    close("IG: baseline is the image", got.attributions, np.zeros((3, *SIZE)), 0)


def blind_to_the_baseline_colour(ig: Impl) -> None:
    net, x, start = built(ConvNet), image(), image(seed=1)
    start[..., 2:4, 1:5] = x[..., 2:4, 1:5]
    got = ig(x, net, 1, start, 4)
    assert (got.attributions[:, 2:4, 1:5] == 0).all() and (got.map[2:4, 1:5] == 0).all()
    assert (got.map > 0).sum() > 8


def the_class_is_chosen_at_the_image(ig: Impl) -> None:
    net, x, start = built(Power, 1), image(), image(seed=1)
    with torch.no_grad():
        # Class 0 wins at the baseline and most of the way, class 3 only at the image.
        net.bias[:] = torch.tensor([1000.0, -1e6, -1e6, 0], dtype=x.dtype)
        net.bias[3] += net(x)[0, 0] - net(x)[0, 3] + 1e-3
        net.weight[3] += (x - start)[0]
        net.bias[3] += net(x)[0, 0] - net(x)[0, 3] + 1e-3
        assert net(start).argmax() == 0
    got = ig(x, net, None, start, 4)
    assert got.target == 3
    close("IG: class at the image", got.attributions, ((x - start) * net.weight[3])[0], EXACT)


def ig_in_chunks(ig: Impl) -> None:
    net, x, start = built(ConvNet), image(2), image(2, seed=1)
    want = ig(x, net, [1, 2], start, 7)
    for chunk_size in (1, 2, 3, 100):
        watched = Watched(net)
        got = ig(x, watched, [1, 2], start, 7, chunk_size=chunk_size)
        close("IG: whatever the chunk size", got.attributions, want.attributions, EXACT)
        largest = max(len(b) for b in watched.batches)
        assert largest <= max(chunk_size, len(x)), f"{largest} images at once, with chunks of {chunk_size}"


def memory_does_not_grow_with_steps(ig: Impl) -> None:
    largest = []
    for n in (40, 80):
        net = Watched(built(ConvNet))
        ig(image(), net, 1, "black", n)
        largest.append(max(len(b) for b in net.batches))
    assert largest[0] == largest[1] < 40, f"batches of {largest} images for 40 and 80 steps"


def ig_against_captum(ig: Impl) -> None:
    """Captum rounds its weights to float32, in float64 too: hence the wider tolerance."""
    from captum.attr import IntegratedGradients

    for make in (ConvNet, InPlaceAfter):
        net, x, start = built(make), image(2), image(2, seed=1)
        for rule in ("gausslegendre", "riemann_middle", "riemann_right", "riemann_left"):
            want = IntegratedGradients(net).attribute(x, start, torch.tensor([1, 2]), n_steps=9, method=rule)
            close("IG: Captum", ig(x, net, [1, 2], start, 9, rule=rule).attributions, want, FLOAT32)


def captum_within(ig: Impl) -> None:
    """The other backend gives the same numbers, in chunks of any size."""
    net, x, start = built(InPlaceAfter), image(2), image(2, seed=1)
    for rule in ("gausslegendre", "riemann_middle", "riemann_right", "riemann_left"):
        for score in ("logit", "probability"):
            own = ig(x, net, [1, 2], start, 6, rule=rule, score=score)
            for chunk_size in (None, 2, 5):
                settings = {"rule": rule, "score": score, "chunk_size": chunk_size, "backend": "captum"}
                got = ig(x, net, [1, 2], start, 6, **settings)
                close("IG: backend captum", got.attributions, own.attributions, FLOAT32)


def baselines_inside_ig(ig: Impl) -> None:
    """With a linear F, x' = x - IG / w: every named baseline shows itself."""
    for mean, std in BOTH_SPACES:
        net, x = built(Power, 1), image()
        if mean != IMAGENET_MEAN:
            net.preprocessing = carrier(mean, std)
        for name in ("black", "white", "random", "blur", "mean"):
            got = ig(x, net, 1, name, 2, seed=3)
            start = x[0] - torch.from_numpy(got.attributions) / net.weight[1].detach()
            check_baseline(name, start, x[0], mean, std)
    net, x = built(Power, 1), image(3)
    signed = torch.from_numpy(ig(x, net, [0, 1, 2], "random", 2).attributions)
    starts = torch.stack([x[i] - signed[i] / net.weight[i].detach() for i in range(3)])
    close("IG: an image's random baseline in a batch", starts, starts[:1].expand_as(starts), EXACT)


INTEGRATED_GRADIENTS: list[Oracle] = [
    sums_of_every_rule,
    bias_free_net_from_zero,
    completeness,
    delta_is_relative_and_true,
    no_change_has_no_delta,
    blind_to_the_baseline_colour,
    the_class_is_chosen_at_the_image,
    ig_in_chunks,
    memory_does_not_grow_with_steps,
    ig_against_captum,
    baselines_inside_ig,
]


# --- baselines ------------------------------------------------------------------------------------------------------

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
BOTH_SPACES = ((IMAGENET_MEAN, IMAGENET_STD), (HALF, HALF))


def carrier(mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    from chapter4.images import Preprocessing

    return Preprocessing(8, SIZE, mean=mean, std=std)  # type: ignore[arg-type]


def pixels(values: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalised (3, H, W) to pixel space."""
    m, s = (torch.tensor(each, dtype=values.dtype).reshape(3, 1, 1) for each in (mean, std))
    return values * s + m


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian along the rows and along the columns, the border reflected, the kernel cut at three sigmas."""
    radius = min(round(3 * sigma), min(values.shape[-2:]) - 1)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        values = np.apply_along_axis(np.convolve, axis, np.pad(values, pad, mode="reflect"), kernel, mode="valid")
    return values


def check_baseline(name: str, start: Tensor, x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    got = pixels(start, mean, std)
    label = f"baseline {name}"
    if name == "black":
        close(label, got, torch.zeros_like(got), 1e-6)
    elif name == "white":
        close(label, got, torch.ones_like(got), 1e-6)
    elif name == "mean":
        close(label, start, torch.zeros_like(got), 1e-6)
    elif name == "blur":
        close(label, got, blurred(pixels(x, mean, std).numpy(), 0.09 * min(x.shape[-2:])), 1e-6)
    else:
        assert 0 <= got.min() and got.max() <= 1, "random: outside the pixels' range"
        assert len(got.unique()) == got.numel(), "random: the same for several pixels or channels"
        within(f"{label}, mean", got.mean().item(), 0.5, (1 / 12 / got.numel()) ** 0.5)
        within(f"{label}, variance", got.var().item(), 1 / 12, (1 / 180 / got.numel()) ** 0.5)


def baselines_in_pixel_space(make_baseline: Impl) -> None:
    for mean, std in BOTH_SPACES:
        model = nn.Identity()
        model.preprocessing = carrier(mean, std)  # type: ignore[assignment]
        for size in ((24, 18), (1, 9), (5, 5)):
            x = torch.randn(3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            for name in ("black", "white", "random", "blur", "mean"):
                if name == "random" and size != (24, 18):
                    continue
                check_baseline(name, make_baseline(name, x, model, seed=3), x, mean, std)


def baselines_under_imagenet(make_baseline: Impl) -> None:
    """Without a model, or with a plain one: the numbers that everybody should know."""
    x = image()[0]
    for model in (None, nn.Identity()):
        for name, want in (("black", IMAGENET_BLACK), ("white", IMAGENET_WHITE), ("mean", (0, 0, 0))):
            got = make_baseline(name, x, model)
            close(f"ImageNet's {name}", got, torch.tensor(want, dtype=x.dtype)[:, None, None].expand_as(x), 1e-6)


def blur_by_any_sigma(make_baseline: Impl) -> None:
    x = torch.randn(3, 24, 18, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for sigma in (0.5, 1.0, 2.5, 40.0):
        got = pixels(make_baseline("blur", x, None, blur_sigma=sigma), IMAGENET_MEAN, IMAGENET_STD)
        close("blur by sigma", got, blurred(pixels(x, IMAGENET_MEAN, IMAGENET_STD).numpy(), sigma), 1e-6)


def baselines_keep_shape_and_seed(make_baseline: Impl) -> None:
    x = image(2)
    for name in ("black", "white", "random", "blur", "mean"):
        for like in (x, x[:1], x[0], x.float()):
            got = make_baseline(name, like, None)
            assert got.shape == like.shape and got.dtype == like.dtype
            assert got.data_ptr() != like.data_ptr()
    one, other = (make_baseline("random", x, None, seed=seed) for seed in (1, 2))
    close("random baseline, the same seed", make_baseline("random", x, None, seed=1), one, 0)
    assert not torch.equal(one, other)


BASELINES: list[Oracle] = [
    baselines_in_pixel_space,
    baselines_under_imagenet,
    blur_by_any_sigma,
    baselines_keep_shape_and_seed,
]


# --- photos ---------------------------------------------------------------------------------------------------------

# Height, width: upright, lying and square, odd sizes, enlarged and reduced.
PHOTO_SIZES = ((457, 301), (333, 640), (225, 225), (75, 100), (257, 999))


def photo(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Any:
    """A PIL image with every kind of edge: noise, enlarged by three."""
    from PIL import Image

    channels = len(mode)
    values = np.random.default_rng(seed).integers(0, 256, (-(-height // 3), -(-width // 3), channels), dtype=np.uint8)
    values = values.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]
    return Image.fromarray(values if channels > 1 else values[..., 0])


def as_is(height: int, width: int, mean: Any = (0.0,) * 3, std: Any = (1.0,) * 3) -> nn.Module:
    """A model that wants its photos at exactly this size: nothing is resized or cropped."""
    from chapter4.images import Preprocessing

    model = nn.Identity()
    model.preprocessing = Preprocessing((height, width), (height, width), mean, std)  # type: ignore[assignment]
    return model


def photos_as_torchvision_presets(to_tensor: Impl) -> None:
    from torchvision.models import EfficientNet_B0_Weights, ResNet50_Weights
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    from chapter4.images import Preprocessing

    bicubic = InterpolationMode.BICUBIC
    presets = {
        "ResNet50_Weights.DEFAULT": ResNet50_Weights.DEFAULT.transforms(),
        "ResNet50_Weights.IMAGENET1K_V1": ResNet50_Weights.IMAGENET1K_V1.transforms(),
        "EfficientNet_B0_Weights.DEFAULT": EfficientNet_B0_Weights.DEFAULT.transforms(),
        "EfficientNet-Lite0": ImageClassification(crop_size=224, mean=HALF, std=HALF, interpolation=bicubic),
    }
    for name, preset in presets.items():
        model = nn.Identity()
        model.preprocessing = Preprocessing(  # type: ignore[assignment]
            preset.resize_size[0],
            (preset.crop_size[0],) * 2,
            tuple(preset.mean),
            tuple(preset.std),
            preset.interpolation.value,
        )
        for i, size in enumerate(PHOTO_SIZES):
            each = photo(*size, seed=i)
            close(f"photo: torchvision's {name}", to_tensor(each, model), preset(each)[None], 1e-6)
    # A plain nn.Module gets what torchvision's first ImageNet weights want.
    each = photo(301, 457)
    close("photo: a plain module", to_tensor(each, nn.Identity()), ResNet50_Weights.IMAGENET1K_V1.transforms()(each)[None], 1e-6)


def photos_are_turned_as_exif_says(to_tensor: Impl) -> None:
    import io

    from PIL import Image

    each = photo(9, 6)
    values = np.asarray(each).astype(float) / 255
    shown = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values),
    }
    for orientation, want in shown.items():
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        each.save(file, "PNG", exif=exif)
        got = to_tensor(Image.open(file), as_is(*want.shape[:2]))
        close("photo: EXIF orientation", got[0], want.transpose(2, 0, 1), 1e-6)


def transparency_lies_on_white(to_tensor: Impl) -> None:
    colours = photo(9, 6, "RGBA")
    values = np.asarray(colours).astype(float) / 255
    want = values[..., :3] * values[..., 3:] + 1 - values[..., 3:]
    close("photo: transparency, one grey level", to_tensor(colours, as_is(9, 6))[0], want.transpose(2, 0, 1), 1.01 / 255)
    grey = photo(9, 6, "LA")
    values = np.asarray(grey).astype(float) / 255
    want = (values[..., 0] * values[..., 1] + 1 - values[..., 1])[None].repeat(3, axis=0)
    close("photo: transparency, one grey level", to_tensor(grey, as_is(9, 6))[0], want, 1.01 / 255)
    palette = photo(9, 6).quantize(7)
    want = np.asarray(palette.convert("RGB")).astype(float) / 255
    close("photo: palette", to_tensor(palette, as_is(9, 6))[0], want.transpose(2, 0, 1), 1e-6)
    palette.info["transparency"] = 3
    want[np.asarray(palette) == 3] = 1
    close("photo: transparent palette", to_tensor(palette, as_is(9, 6))[0], want.transpose(2, 0, 1), 1e-6)


def grey_photos_have_three_equal_channels(to_tensor: Impl) -> None:
    each = photo(9, 6, "L")
    want = np.asarray(each).astype(float)[None].repeat(3, axis=0) / 255
    close("photo: grey", to_tensor(each, as_is(9, 6))[0], want, 1e-6)
    black_and_white = each.convert("1")
    want = np.asarray(black_and_white).astype(float)[None].repeat(3, axis=0)
    close("photo: black and white", to_tensor(black_and_white, as_is(9, 6))[0], want, 1e-6)


PHOTOS: list[Oracle] = [
    photos_as_torchvision_presets,
    photos_are_turned_as_exif_says,
    transparency_lies_on_white,
    grey_photos_have_three_equal_channels,
]


# --- one way to call them all ---------------------------------------------------------------------------------------


def as_method(kind: str, impl: Impl) -> Method:
    """An implementation as (image, model, target_class=None) -> result, with few samples or steps."""
    calls: dict[str, Method] = {
        "vanilla_gradients": lambda x, model, target=None: impl(x, model, target),
        "gradient_input": lambda x, model, target=None: impl(x, model, target),
        "smooth_grad": lambda x, model, target=None: impl(x, model, target, 3, 0.1),
        "GradCAM": lambda x, model, target=None: impl(model, model.features).generate_cam(x, target),
        "GradCAMPlusPlus": lambda x, model, target=None: impl(model, model.features).generate_cam(x, target),
        "integrated_gradients": lambda x, model, target=None: impl(x, model, target, "black", 3),
    }
    return calls[kind]


OWN: dict[str, list[Oracle]] = {
    "vanilla_gradients": VANILLA,
    "gradient_input": GRADIENT_INPUT,
    "smooth_grad": SMOOTH_GRAD,
    "GradCAM": GRAD_CAM,
    "GradCAMPlusPlus": GRAD_CAM_PLUS,
    "integrated_gradients": INTEGRATED_GRADIENTS,
    "make_baseline": BASELINES,
    "image_tensor": PHOTOS,
}


def all_oracles(kind: str) -> dict[str, Oracle]:
    """Name -> oracle that takes the implementation itself: a method's own list and what all methods share."""
    found = {oracle.__name__: oracle for oracle in OWN[kind]}
    for shared in () if kind in ("make_baseline", "image_tensor") else (*CONTRACT, *STATE):
        found[shared.__name__] = lambda impl, shared=shared: shared(as_method(kind, impl))  # type: ignore[misc]
    return found
