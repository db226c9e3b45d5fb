"""Batch norm folded into the convolution before it, while a model runs.

A convolution and the eval-mode batch norm that reads it are together one convolution:
the weight is multiplied by ``scale``, and the bias becomes the bias times ``scale``
plus ``shift``. That is the same function up to rounding, in less time.

Nothing is recorded of the model and nothing is copied. A convolution waits until its
output is read: the model gets a stand-in that has the output's shape but no values. If
a batch norm reads it first, the folded convolution is computed. Any other reader gets
the convolution's own output. A model that does what can't be followed runs without
folding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as module_globals
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

T = TypeVar("T")
ForwardContext = Callable[[], AbstractContextManager[None]]
"""Gives the context in which ONE forward pass of the model runs."""

HOOKS = tuple(
    f"_{kind}_hooks" for kind in ("forward", "forward_pre", "backward", "backward_pre")
)
_hooks_of = itemgetter(*HOOKS)
# What may be asked about a convolution's output without reading its values.
METADATA = {Tensor.dim, Tensor.size, Tensor.numel, Tensor.__len__} | {
    getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device")
}
# A model that calls these depends on how the numbers lie in memory, so it gets no
# channels-last layout.
LAYOUT = {torch.as_strided, torch.as_strided_scatter} | {
    getattr(Tensor, name)
    for name in (
        *("stride", "as_strided", "as_strided_", "resize_", "set_"),
        *("data_ptr", "storage", "untyped_storage"),
    )
}

# Folding a batch norm takes some 50 us on a CPU. A batch norm of fewer numbers than
# this takes less time itself.
LEAST_OUTPUTS = 150_000
# Channels-last saves time on outputs and costs time on weights, which are turned in
# every pass. For each number of the image, EfficientNet-Lite0's convolutions give 45
# outputs, DenseNet-121's 46, ResNet-50's 74 and a MobileNetV3's 29.
OUTPUTS_PER_NUMBER = 50
# torch does not use oneDNN for an input of at most this many numbers. A dilated
# convolution of such an input would go to a path that is slower still.
SMALL_FOR_ONEDNN = 20480

CHANNELS_LAST, FOLDED, PLAIN = range(3)
# How each model runs, where not in the fastest way. Nothing is stored on the model, and
# nothing keeps the model alive.
_ways: WeakIdKeyDictionary = WeakIdKeyDictionary()


class UnfitError(RuntimeError):
    """The pass did what can't be followed: it has to run without folding."""


def folded(
    model: nn.Module, x: Tensor, work: Callable[[Tensor, ForwardContext], T]
) -> T:
    """Run ``work(x, forward_context)`` with batch norm folded where that is safe.

    Nothing changes but rounding. Call it inside ``frozen_eval``. Errors are those of
    the plain pass.

    Args:
        model: A model of images.
        x: Images (N, 3, H, W). ``work`` gets them in the layout that is fast.
        work: Runs ONE forward pass of the model inside ``with forward_context():`` and
            may take gradients after it. It may be run again, without folding, so it
            must not change anything outside it.

    Returns:
        What ``work`` returns.
    """
    modules = every_module(model)
    if not _may_fold(model, modules, x):
        return work(x, nullcontext)
    random_state = torch.get_rng_state()
    first = way = max(
        _ways.get(model, CHANNELS_LAST),
        CHANNELS_LAST if _channels_last_pays(modules, x) else FOLDED,
    )
    for way in range(first, PLAIN):
        turned = way == CHANNELS_LAST
        layout = torch.channels_last if turned else torch.contiguous_format
        try:
            result = work(
                x.contiguous(memory_format=layout), partial(_forward_context, turned)
            )
            break
        except Exception:  # the plain pass shows whether folding was the cause
            torch.set_rng_state(random_state)
    else:
        way, result = PLAIN, work(x, nullcontext)
    if way > first:
        _ways[model] = way
    return result


def _may_fold(model: nn.Module, modules: Sequence[nn.Module], x: Tensor) -> bool:
    if x.ndim != 4 or x.dtype not in (torch.float32, torch.float64):
        return False
    # A GPU waits for many small operations, and folding adds more of them.
    if x.is_cuda or torch.is_autocast_enabled(x.device.type):
        return False
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules
    ) and not _watched(model, modules)


def every_module(model: nn.Module) -> list[nn.Module]:
    """The modules of ``model.modules()``, found in a quarter of its time.

    They are needed in every pass.
    """
    found, seen = [model], {model}
    for module in found:  # the list grows meanwhile
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


def _watched(model: nn.Module, modules: Sequence[nn.Module]) -> bool:
    """Whether somebody else would notice that the pass is a folded one.

    Their hook or mode would see values that the model does not have. A compiled model
    would be compiled again.
    """
    if any(getattr(module_globals, f"_global{name}") for name in HOOKS):
        return True
    if torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack():
        return True
    for module in modules:
        if module._compiled_call_impl is not None:
            return True
        if type(module).__name__ == "OptimizedModule":
            return True
        for hooks in _hooks_of(module.__dict__):
            if hooks and not (module is model and all(map(_own, hooks.values()))):
                return True
    return False


def _own(hook: Any) -> bool:
    # This package's hooks on the model itself read its logits and nothing inside it.
    return str(getattr(hook, "__module__", "")).startswith("chapter4.")


def _channels_last_pays(modules: Sequence[nn.Module], x: Tensor) -> bool:
    weights = sum(
        module.weight.numel() for module in modules if isinstance(module, nn.Conv2d)
    )
    return x.dtype == torch.float32 and weights < x.numel() * OUTPUTS_PER_NUMBER


@contextmanager
def _forward_context(channels_last: bool) -> Iterator[None]:
    mode = _Folding(channels_last)
    with mode:
        yield
    mode.finish()


@dataclass
class _Convolution:
    """A call of conv2d that waits for its reader.

    Attributes:
        tensors: The input, the weight and the bias or None.
        options: The other arguments.
        versions: What tells whether the tensors have changed since the call.
        gradients: Whether gradients were on.
        output: Its own output, once somebody other than a batch norm has read it.
        read: Whether anybody has read it.
    """

    tensors: tuple[Tensor, Tensor, Tensor | None]
    options: dict[str, Any]
    versions: list[int]
    gradients: bool
    output: Tensor | None = None
    read: bool = False


class _Folding(TorchFunctionMode):
    """Lets convolutions wait for their readers."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self._channels_last = channels_last
        self._waiting = WeakIdKeyDictionary()  # stand-in -> _Convolution
        self._unread = 0
        self._unfit = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in METADATA:
            return func(*args, **kwargs)
        if self._channels_last and func in LAYOUT:
            self._give_up("the model depends on how numbers lie in memory")
        if len(self._waiting):
            if func == F.batch_norm:
                result = self._normalised(*args, **kwargs)
                if result is not None:
                    return result
            args, kwargs = self._own_outputs(args), self._own_outputs(kwargs)
        if func == torch.conv2d:
            return self._convolved(*args, **kwargs)
        return func(*args, **kwargs)

    def _convolved(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        names = ("stride", "padding", "dilation", "groups")
        options |= zip(names, rest, strict=False)
        size = _output_size(input, weight, options)
        if (
            size is None
            or size.numel() < max(weight.numel(), LEAST_OUTPUTS)
            or not all(map(_is_plain, (input, weight, bias)))
            or _saves_elsewhere()
        ):
            return _conv2d(input, weight, bias, options)
        stand_in = input.detach().new_full((), torch.nan).expand(size)
        tensors = (input, weight, bias)
        self._waiting[stand_in] = _Convolution(
            tensors, options, _versions(tensors), torch.is_grad_enabled()
        )
        self._unread += 1
        return stand_in

    def _read(self, stand_in: Any) -> _Convolution | None:
        """The convolution that a reader of ``stand_in`` wants; None if it is none."""
        found = self._waiting.get(stand_in) if isinstance(stand_in, Tensor) else None
        if found is None:
            return None
        self._unread -= not found.read
        found.read = True
        if found.output is None and (
            found.versions != _versions(found.tensors)
            or found.gradients != torch.is_grad_enabled()
            or _saves_elsewhere()
        ):
            self._give_up("things changed between a convolution and its reader")
        return found

    def _normalised(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        """The norm of a convolution that waits, both in one; None for other calls."""
        if training or running_mean is None or running_var is None:
            return None
        if not all(map(_is_plain, (running_mean, running_var, weight, bias))):
            return None
        found = self._read(input)
        if found is None or found.output is not None:
            return None
        # In float64, and rounded once: every rounding here reaches all outputs of a
        # channel, and an activation near its kink turns it into another gradient.
        scale = (running_var.double() + eps).rsqrt()
        if weight is not None:
            scale = scale * weight
        shift = -running_mean * scale
        if bias is not None:
            shift = shift + bias
        scale, shift = scale.to(running_var.dtype), shift.to(running_var.dtype)
        x, kernel, offset = found.tensors
        return _conv2d(
            x,
            kernel * scale[:, None, None, None],
            shift if offset is None else shift + offset * scale,
            found.options,
        )

    def _own_outputs(self, value: Any) -> Any:
        """``value`` with the convolution's own output for every stand-in."""
        if isinstance(value, dict):
            return {name: self._own_outputs(each) for name, each in value.items()}
        if type(value) in (tuple, list):
            return type(value)(map(self._own_outputs, value))
        found = self._read(value)
        if found is None:
            return value
        if found.output is None:
            found.output = _conv2d(*found.tensors, found.options)
        return found.output

    def _give_up(self, reason: str) -> NoReturn:
        self._unfit = True  # the model may catch the exception
        raise UnfitError(reason)

    def finish(self) -> None:
        """Raise UnfitError if a stand-in went where this mode does not see it.

        The model may have kept one, or code outside Python may have read it.
        """
        if self._unfit or self._unread or len(self._waiting):
            raise UnfitError("a convolution's output went elsewhere")


def _output_size(
    x: Tensor, weight: Tensor, options: dict[str, Any]
) -> torch.Size | None:
    """The size of a convolution's output; None where that takes more to find out."""
    padding = options.get("padding", 0)
    if x.ndim != 4 or isinstance(padding, str):
        return None
    sides = zip(
        x.shape[2:],
        weight.shape[2:],
        _pair(options.get("stride", 1)),
        _pair(padding),
        _pair(options.get("dilation", 1)),
        strict=True,
    )
    return torch.Size(
        [
            len(x),
            len(weight),
            *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides),
        ]
    )


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """A convolution on torch's fast path.

    On one CPU thread torch sends a 1x1 kernel to a slow path, but not if it is dilated.
    A 1x1 kernel has nothing to dilate, so the result is the same.
    """
    if (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and weight.shape[2:] == (1, 1)
        and options.get("groups", 1) == 1
        and x.numel() > SMALL_FOR_ONEDNN
        and not isinstance(options.get("padding"), str)
        and torch.get_num_threads() == 1
        and torch.backends.mkldnn.is_available()
    ):
        options = options | {"dilation": 2}
    return F.conv2d(x, weight, bias, **options)


def _saves_elsewhere() -> bool:
    """Whether something else decides what is saved here for the gradient."""
    # A checkpoint matches what is saved, by its position, with what a second forward
    # pass saves, and that pass is not folded. Autocast saves other numbers.
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None or torch.is_autocast_enabled("cpu")


def _is_plain(tensor: Tensor | None) -> bool:
    return tensor is None or type(tensor) in (Tensor, nn.Parameter)


def _versions(tensors: Sequence[Tensor | None]) -> list[int]:
    return [each._version for each in tensors if each is not None]
