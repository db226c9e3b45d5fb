"""Batch norm folded into the convolutions before it, for one pass at a time.

The folded model is the same function up to rounding, in less time. The model itself is
not changed.

A convolution whose output only an eval-mode batch norm reads is, with that norm, itself
a convolution: the weight is multiplied by ``scale``, and the bias becomes the bias
times ``scale`` plus ``shift``.

All that is remembered of a model is its structure: which call of conv2d feeds which
batch norm. The folded weights are made anew in every pass. Each pass is checked against
that structure. A pass that does not fit it is run again without folding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn, TypeVar
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as module_globals
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

T = TypeVar("T")
ForwardContext = Callable[[], AbstractContextManager[None]]
"""Gives the context in which ONE forward pass of the model runs."""

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_hooks_of = itemgetter(*HOOKS)
# What may be asked about a convolution's output without reading its values.
METADATA = {
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.nelement,
    Tensor.is_floating_point,
    Tensor.__len__,
    *(
        getattr(Tensor, name).__get__
        for name in ("shape", "ndim", "dtype", "device", "is_cuda", "layout")
    ),
}
# A model that calls these depends on how the numbers lie in memory, so it gets no
# channels-last layout.
LAYOUT = {
    torch.as_strided,
    torch.as_strided_scatter,
    Tensor.as_strided,
    Tensor.as_strided_,
    Tensor.data_ptr,
    Tensor.resize_,
    Tensor.set_,
    Tensor.storage,
    Tensor.stride,
    Tensor.untyped_storage,
}

# Folding a batch norm takes some 50 us on a CPU. A batch norm of fewer numbers than
# this takes less time itself.
LEAST_OUTPUTS = 150_000
# torch does not use oneDNN for an input of at most this many numbers. A dilated
# convolution of such an input would go to a path that is slower still.
SMALL_FOR_ONEDNN = 20480


class StaleStructureError(RuntimeError):
    """A pass did not fit the structure that was recorded."""


class Norm(NamedTuple):
    """The arguments of an eval-mode batch norm: ``y * scale + shift`` per channel."""

    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def tensors(self) -> list[Tensor | None]:
        return [self.mean, self.var, self.weight, self.bias]

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Compute the scale and the shift, each (K,).

        The formulas are::

            scale = weight / sqrt(var + eps)
            shift = bias - mean * scale

        They are computed in float64 and rounded once. Every rounding here reaches all
        outputs of a channel, and an activation near its kink turns it into another
        gradient.
        """
        scale = (self.var.double() + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -self.mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return scale.to(self.var.dtype), shift.to(self.var.dtype)


@dataclass(frozen=True)
class Pair:
    """One call of conv2d, and the batch norm that is the only reader of its output.

    Attributes:
        tensors: The convolution's weight and bias and the norm's mean, variance, weight
            and bias, by weak reference.
        eps: The norm's eps.
        weights: How many numbers the convolution's weight has.
        outputs: How many numbers its output has for each number in the image.
    """

    tensors: Sequence[ref[Tensor] | None]
    eps: float
    weights: int
    outputs: float

    def pays(self, numbers: int) -> bool:
        """Whether folding costs less than the batch norm, for so many input numbers.

        Folding makes the weights anew; the norm reads the outputs.
        """
        return numbers * self.outputs >= max(self.weights, LEAST_OUTPUTS)

    def alive(self) -> list[Tensor | None]:
        found = [None if each is None else each() for each in self.tensors]
        if any(
            now is None and then is not None
            for now, then in zip(found, self.tensors, strict=True)
        ):
            raise StaleStructureError("a recorded tensor is gone")
        return found


@dataclass(frozen=True)
class Structure:
    """What one recorded pass shows of a model.

    Attributes:
        pairs: The pairs, by the number of the conv2d call, from 0.
        channels_last: Whether the model allows the channels-last layout.
    """

    pairs: dict[int, Pair] = field(default_factory=dict)
    channels_last: bool = False

    def lay_out(self, x: Tensor) -> Tensor:
        """Put x in channels-last order, where the model allows it and it saves time.

        The weights are put in that order too, in every pass. So it saves time only if
        there are more outputs than weights.
        """
        outputs = x.numel() * sum(pair.outputs for pair in self.pairs.values())
        weights = sum(pair.weights for pair in self.pairs.values())
        if self.channels_last and outputs > weights:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    @contextmanager
    def forward_context(self, numbers: int) -> Iterator[None]:
        """The context of one forward pass.

        Args:
            numbers: How many numbers the batch has.

        Yields:
            Nothing. Inside, convolutions are folded.

        Raises:
            StaleStructureError: If the pass does not fit the structure.
        """
        pairs = {
            number: pair for number, pair in self.pairs.items() if pair.pays(numbers)
        }
        mode = _Folding(pairs)
        with mode:
            yield
        mode.finish()


# For each model its structure, by the layout that was asked for. Nothing is stored on
# the model, and nothing keeps the model alive.
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()


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
    if not _may_fold(model, x):
        return work(x, nullcontext)
    fast = x.dtype == torch.float32
    failed = False
    for again in (False, True):
        structure = _structure(model, x, fast, again)
        if not structure.pairs:
            break
        try:
            return work(
                structure.lay_out(x), partial(structure.forward_context, x.numel())
            )
        except StaleStructureError:
            continue
        except Exception:  # the plain pass shows whether folding was the cause
            failed = True
            break
    result = work(x, nullcontext)
    if failed:
        _known[model][fast] = Structure()
    return result


def _may_fold(model: nn.Module, x: Tensor) -> bool:
    if x.ndim != 4 or x.dtype not in (torch.float32, torch.float64):
        return False
    # A GPU waits for many small operations, and folding adds more of them.
    if x.is_cuda or torch.is_autocast_enabled(x.device.type):
        return False
    modules = every_module(model)
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


def _structure(model: nn.Module, x: Tensor, fast: bool, again: bool) -> Structure:
    known = _known.setdefault(model, {})
    if again or fast not in known:
        known.pop(fast, None)
        x = x.detach()
        # One image shows the structure. The whole batch is used for a model that can't
        # take one image, or that did not fit its structure before.
        for sample in [x] if again else [x[:1], x]:
            structure = _record(model, sample, fast)
            if structure is not None:
                known[fast] = structure
                break
    return known.get(fast, Structure())


def _record(model: nn.Module, x: Tensor, channels_last: bool) -> Structure | None:
    """The structure that one pass without gradients shows; None where it raises."""
    sample = x.clone()
    if channels_last:
        sample = sample.contiguous(memory_format=torch.channels_last)
    devices = [x.device] if x.is_cuda else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), _Recording() as mode:
            # Call forward() itself, so that no hook of the model runs.
            output = model.forward(sample)
        pairs = mode.pairs(x.numel())
        del output
    except Exception:  # the plain pass will raise it again
        return _record(model, x, False) if channels_last else None
    if channels_last and mode.minds_layout:
        return _record(model, x, False)
    return Structure(pairs, channels_last)


@dataclass
class _Call:
    """A call of conv2d, and who has read its output.

    Attributes:
        number: The number of the call, from 0.
        output: Its output.
        tensors: Its weight and bias.
        sizes: How many numbers the weight and the output have.
        readers: For each reader its batch norm's arguments, or None for a reader that
            is no batch norm in eval mode.
    """

    number: int
    output: ref[Tensor]
    tensors: list[ref[Tensor] | None]
    sizes: tuple[int, int]  # numbers in the weight and in the output
    readers: list[list[Any] | None] = field(default_factory=list)


class _Recording(TorchFunctionMode):
    """Notes each conv2d, and who reads its output."""

    def __init__(self) -> None:
        super().__init__()
        self.minds_layout = False
        self._count = 0
        self._calls: dict[int, _Call] = {}  # by the id of the output
        self._gone: list[_Call] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self.minds_layout |= func in LAYOUT
        if func not in METADATA:
            norm = _norm_arguments(func, args, kwargs)
            for place, tensor in enumerate(_tensors((args, kwargs))):
                call = self._calls.get(id(tensor))
                # Python may use an id again when its tensor is gone.
                if call is not None and call.output() is tensor:
                    call.readers.append(norm if place == 0 else None)
        result = func(*args, **kwargs)
        if func == torch.conv2d:
            self._keep(result, args, kwargs)
        return result

    def _keep(self, output: Tensor, args: Any, kwargs: Any) -> None:
        number, self._count = self._count, self._count + 1
        if output.ndim != 4:
            return
        _, weight, bias, _ = _conv_arguments(args, kwargs)
        tensors = [ref(weight), None if bias is None else ref(bias)]
        sizes = weight.numel(), output.numel()
        call = _Call(number, ref(output), tensors, sizes)
        if id(output) in self._calls:
            self._gone.append(self._calls[id(output)])
        self._calls[id(output)] = call

    def pairs(self, image: int) -> dict[int, Pair]:
        """The calls whose output is read by one batch norm and by nothing else.

        ``image`` is how many numbers the input has. Call this after the pass, while the
        model's output is alive: an output of a convolution that is still alive then is
        kept by someone.
        """
        found = {}
        for call in [*self._gone, *self._calls.values()]:
            if len(call.readers) != 1 or call.output() is not None:
                continue
            (norm,) = call.readers
            if norm is None:
                continue
            tensors = [*call.tensors, *norm[:4]]
            # A weight that is gone after the pass was computed in the pass (weight
            # norm).
            if all(each is None or _is_plain(each()) for each in tensors):
                weights, outputs = call.sizes
                pair = Pair(tensors, norm[4], weights, outputs / image)
                found[call.number] = pair
        return found


class _Folding(TorchFunctionMode):
    """Convolves with folded weights and skips the batch norm.

    The model gets a stand-in for the convolution's output, of its shape but without
    values. The batch norm gives the true tensor for it. If anything else reads the
    stand-in, the pass ends.
    """

    def __init__(self, pairs: dict[int, Pair]) -> None:
        super().__init__()
        self._pairs = pairs
        self._calls = 0
        self._stand_ins: dict[int, Tensor] = {}
        # The folded result of each stand-in that waits for its norm, the norm, and the
        # versions of its tensors.
        self._waiting: dict[int, tuple[Tensor, list[Any], list[Any]]] = {}
        self._stale = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in METADATA:
            return func(*args, **kwargs)
        if self._stand_ins:
            first = args[0] if args else None
            if id(first) in self._stand_ins and isinstance(first, Tensor):
                return self._normalised(first, _norm_arguments(func, args, kwargs))
            if self._reads_stand_in(args) or self._reads_stand_in(kwargs.values()):
                self._give_up("a folded convolution's output is read")
        if func == torch.conv2d:
            number, self._calls = self._calls, self._calls + 1
            if number in self._pairs:
                return self._convolved(self._pairs[number], args, kwargs)
            x, weight, bias, options = _conv_arguments(args, kwargs)
            if _onednn_waits(x, weight, options):
                options["dilation"] = 2
                return F.conv2d(x, weight, bias, **options)
        return func(*args, **kwargs)

    def _reads_stand_in(self, values: Iterable[Any]) -> bool:
        for value in values:
            if isinstance(value, (tuple, list)):
                if self._reads_stand_in(value):
                    return True
            elif id(value) in self._stand_ins:
                return True
        return False

    def _convolved(self, pair: Pair, args: Any, kwargs: Any) -> Tensor:
        x, weight, bias, rest = _conv_arguments(args, kwargs)
        own_weight, own_bias, mean, var, norm_weight, norm_bias = pair.alive()
        if weight is not own_weight or bias is not own_bias:
            self._give_up("another convolution runs here")
        # Checkpointing matches what is saved here, by its position, with what a second
        # forward pass saves, and that pass is not folded.
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            self._give_up("somebody else keeps what is saved for the gradient")
        assert mean is not None  # each norm that was recorded has both
        assert var is not None
        norm = Norm(mean, var, norm_weight, norm_bias, pair.eps)
        scale, shift = norm.scale_and_shift()
        if _onednn_waits(x, weight, rest):
            rest["dilation"] = 2
        result = F.conv2d(
            x,
            weight * scale[:, None, None, None],
            shift if bias is None else shift + bias * scale,
            **rest,
        )
        stand_in = result.detach().new_full((), torch.nan).expand(result.shape)
        self._stand_ins[id(stand_in)] = stand_in
        arguments = [*norm.tensors(), norm.eps]
        self._waiting[id(stand_in)] = (result, arguments, _versions(arguments))
        return stand_in

    def _normalised(self, stand_in: Tensor, norm: list[Any] | None) -> Tensor:
        """The folded result, where ``norm`` is the batch norm that was folded in."""
        waiting = self._waiting.pop(id(stand_in), None)
        if norm is None or waiting is None:
            self._give_up("a folded convolution's output is read")
        result, arguments, versions = waiting
        given = [each() if isinstance(each, ref) else each for each in norm]
        same = all(a is b for a, b in zip(given[:4], arguments[:4], strict=True))
        # A norm's tensors may also change in place after the convolution and before the
        # norm is called.
        if not same or given[4] != arguments[4] or _versions(arguments) != versions:
            self._give_up("another batch norm reads a folded convolution")
        return result

    def _give_up(self, reason: str) -> NoReturn:
        self._stale = True  # the model may catch the exception
        raise StaleStructureError(reason)

    def finish(self) -> None:
        """Raise StaleStructureError if a stand-in is left.

        Every stand-in must have met its batch norm, and nobody may have kept one.
        """
        kept = [ref(each) for each in self._stand_ins.values()]
        self._stand_ins.clear()
        if self._stale or self._waiting or any(each() is not None for each in kept):
            raise StaleStructureError("a folded convolution's output went elsewhere")


def _onednn_waits(x: Tensor, weight: Tensor, options: dict[str, Any]) -> bool:
    """True for a 1x1 kernel on one CPU thread, which torch sends to a slow path.

    It takes the fast path if the convolution is dilated. A 1x1 kernel has nothing to
    dilate, so the result is the same.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and weight.shape[2:] == (1, 1)
        and options.get("groups", 1) == 1
        and x.numel() > SMALL_FOR_ONEDNN
        and not isinstance(options.get("padding"), str)
        and torch.get_num_threads() == 1
        and torch.backends.mkldnn.is_available()
    )


def _conv_arguments(
    args: Any, kwargs: Any
) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any]]:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, args, strict=False)) | kwargs
    return given.pop("input"), given.pop("weight"), given.pop("bias", None), given


def _norm_arguments(func: Any, args: Any, kwargs: Any) -> list[Any] | None:
    """The arguments of an eval-mode F.batch_norm; None for any other call.

    They are mean, variance, weight and bias by weak reference, and eps.
    """
    if func != F.batch_norm or not args:
        return None
    names = (
        "input",
        "running_mean",
        "running_var",
        "weight",
        "bias",
        "training",
        "momentum",
        "eps",
    )
    given = dict(zip(names, args, strict=False)) | kwargs
    tensors = [given.get(name) for name in names[1:5]]
    if given.get("training") or tensors[0] is None or tensors[1] is None:
        return None
    return [
        *(None if each is None else ref(each) for each in tensors),
        given.get("eps", 1e-5),
    ]


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [tensor for each in value for tensor in _tensors(each)]


def _is_plain(tensor: Tensor | None) -> bool:
    return type(tensor) in (Tensor, nn.Parameter)


def _versions(values: Iterable[Any]) -> list[int]:
    return [each._version for each in values if isinstance(each, Tensor)]
