"""Batch norm folded into the convolutions gives the same function.

That holds whatever the model does and whoever watches.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from measures import EXACT, FLOAT32, close, record, relative_l2
from nets import CLASSES, built, cat, cat_in_float64, image
from oracles.contract import same_state, snapshot
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import chapter4
from chapter4.core import folding
from chapter4.core.attribution import frozen_eval, input_gradient


def with_statistics(net: nn.Module) -> nn.Module:
    """Batch norms that do something: mean, variance, weight and bias at random."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return net


class Net(nn.Module):
    """conv, norm; ``between`` is what the model does from conv to the activation."""

    def __init__(self, between: Callable[[Net, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.spare = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.BatchNorm2d(4)
        self.bare = nn.BatchNorm2d(4, track_running_stats=False)
        self.head = nn.Linear(4, CLASSES)
        self.between = between or (lambda self, x: self.norm(self.conv(x)))
        with_statistics(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.silu(self.between(self, x), inplace=True).mean(dim=(2, 3)))


class Many(nn.Module):
    """Every kind of convolution that folds.

    3 x 3, with and without bias, strided, grouped, 1 x 1 with padding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 4, 1, padding=1),
            nn.BatchNorm2d(4, affine=False, eps=0.1),
            nn.ReLU6(),
            nn.Conv2d(4, 4, 3, stride=2, padding="valid", groups=2, dilation=1),
            nn.BatchNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 5, 1, stride=2),
            nn.BatchNorm2d(5),
        )
        self.head = nn.Linear(5, CLASSES)
        with_statistics(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).square().mean(dim=(2, 3)))


def by_hand(net: nn.Module, x: Tensor, target: int = 1) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, target].sum(), leaf)[0]


def ours(net: nn.Module, x: Tensor, target: int = 1) -> Tensor:
    with frozen_eval(net):
        gradient, _, _ = input_gradient(net, x, [target] * len(x))
    assert gradient.is_contiguous()
    return gradient


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nets here are smaller than what pays."""
    monkeypatch.setattr(folding, "LEAST_OUTPUTS", 0)
    monkeypatch.setattr(folding, "SMALL_FOR_ONEDNN", 0)


@pytest.fixture
def norms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A letter for every batch norm that is really computed."""
    computed: list[str] = []
    real = torch.batch_norm

    def counted(*args: Any) -> Tensor:
        computed.append("n")
        return real(*args)

    monkeypatch.setattr(torch, "batch_norm", counted)
    return computed


def equal(net: nn.Module, x: Tensor, name: str = "folding: small nets") -> None:
    allowed = EXACT if x.dtype == torch.float64 else FLOAT32
    first, second = ours(net, x), ours(net, x)
    assert torch.equal(first, second), "the same call gives another map"
    close(f"{name}, {x.dtype}", first, by_hand(net, x), allowed)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_kind_of_convolution(
    dtype: torch.dtype, threads: int, norms: list[str]
) -> None:
    net, x = built(Many, dtype=dtype), image(3, dtype=dtype)
    ours(net, x)
    norms.clear()
    torch.set_num_threads(threads)
    try:
        got = ours(net, x)
    finally:
        torch.set_num_threads(1)
    # Only the convolution whose padding is a word does not fold.
    assert norms == ["n"]
    close(
        f"folding: every kind, {dtype}",
        got,
        by_hand(net, x),
        EXACT if dtype == torch.float64 else FLOAT32,
    )
    equal(net, x)


@pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN"
)
@pytest.mark.parametrize("folds", [True, False])
def test_a_1x1_kernel_on_one_thread_takes_the_fastest_path(
    folds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its batch norm is folded in or not.

    The fastest path is oneDNN. Where torch does not give it that, it is the path of a
    kernel that is not dilated.
    """
    monkeypatch.undo()
    monkeypatch.setattr(folding, "LEAST_OUTPUTS", 0 if folds else 10**9)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()

    def operations(numbers: int) -> set[str]:
        x = torch.randn(1, 3, 1, numbers // 3)
        ours(net, x)
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU]
        ) as watch:
            ours(net, x)
        names = {event.key.removeprefix("aten::") for event in watch.key_averages()}
        return {name for name in names if "slow_conv" in name or "mkldnn_conv" in name}

    slow = {"_slow_conv2d_forward", "_slow_conv2d_backward"}
    assert operations(20481) == {"mkldnn_convolution"}
    # 54,613 numbers reach the second.
    assert operations(20480 // 8 * 3) == slow
    assert operations(20478) == slow | {"mkldnn_convolution"}


def test_small_weights_fold_and_large_ones_do_not(norms: list[str]) -> None:
    """Folding costs a pass over the weights, a batch norm one over the outputs."""
    net = built(Net)
    equal(net, image())
    norms.clear()
    ours(net, image())
    assert norms == []
    ours(net, image()[:, :, :5, :5].clone())  # 108 weights, 100 outputs
    assert norms == ["n"]


def test_few_outputs_do_not_fold(
    norms: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = built(Net), image()
    outputs = 4 * x.numel() // 3
    for least, computed in ((outputs, []), (outputs + 1, ["n"])):
        monkeypatch.setattr(folding, "LEAST_OUTPUTS", least)
        equal(net, x)
        norms.clear()
        ours(net, x)
        assert norms == computed


def begins_to_read(reader: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any], None]:
    """The model comes to read its convolution's output beside the norm."""

    def between(net: Any, x: Tensor) -> Tensor:
        y = net.conv(x)
        return reader(net.norm(y), y)

    return lambda net: setattr(net, "between", between)


def begins_to_catch(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    z = net.norm(y)
    try:
        return z + y.exp()
    except RuntimeError:
        return z


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.conv.weight.mul_(2),
        lambda net: net.conv.bias.data.add_(1),
        lambda net: net.norm.running_mean.add_(1),
        lambda net: net.norm.running_var.data.mul_(3),
        lambda net: net.norm.weight.data.neg_(),
        lambda net: net.norm.bias.data.copy_(torch.arange(4.0)),
        lambda net: setattr(net.norm, "eps", 0.5),
        lambda net: net.load_state_dict(
            {k: v + 1 for k, v in net.state_dict().items()}
        ),
        lambda net: setattr(net.conv, "weight", nn.Parameter(net.conv.weight * 2)),
        lambda net: setattr(net, "conv", nn.Conv2d(3, 4, 1).double()),
        lambda net: setattr(net, "norm", nn.Identity()),
        lambda net: setattr(net, "norm", net.other),
        # What was recorded is still there, but not in use.
        lambda net: setattr(net, "between", lambda n, x: n.other(n.conv(x))),
        lambda net: setattr(net, "between", lambda n, x: n.norm(n.spare(x))),
        lambda net: setattr(net, "between", begins_to_catch),
        lambda net: setattr(net, "norm", nn.InstanceNorm2d(4).double()),
        lambda net: setattr(
            net, "between", lambda n, x: n.norm(y := n.conv(x)) + y.abs()
        ),
        # A comparison hides that a stand-in holds no values.
        begins_to_read(lambda z, y: z * y.gt(0)),
        begins_to_read(lambda z, y: z * torch.gt(torch.zeros_like(z), other=y)),
        begins_to_read(lambda z, y: z * torch.stack([z, y]).gt(0)[1]),
        begins_to_read(lambda z, y: z * torch.stack(tensors=(z, y)).gt(0)[1]),
        lambda net: setattr(net, "between", lambda n, x: n.norm(n.conv(x)).neg()),
        lambda net: setattr(net, "between", lambda n, x: n.norm(n.conv(x) + 1)),
        lambda net: parametrizations.weight_norm(
            net.conv
        ).parametrizations.weight.original0.mul_(2),
    ],
)
def test_whatever_changes_is_noticed(change: Callable[[Any], Any]) -> None:
    net, x = built(Net), image(2)
    before = ours(net, x)
    with torch.no_grad():
        change(net)
    net.eval()
    equal(net, x)
    assert not torch.allclose(ours(net, x), before), (
        "this change would not have been seen"
    )


def read_by_a_function(net: Any, x: Tensor) -> Tensor:
    class Plus(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, y: Tensor) -> Tensor:
            return y + 1

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return gradient

    return net.norm(Plus.apply(net.conv(x)))


def kept(net: Any, x: Tensor) -> Tensor:
    net.last = net.conv(x)
    return net.norm(net.last)


def caught(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    try:
        return net.norm(y) + y.exp()
    except RuntimeError:
        return y.zero_()


def norm_changed_on_the_way(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    with torch.no_grad():
        net.norm.bias.fill_(float(x.detach().mean()))
    return net.norm(y)


def output_changed_on_the_way(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    y.mul_(2)
    return net.norm(y)


def layout_caught(net: Any, x: Tensor) -> Tensor:
    y = net.norm(net.conv(x))
    try:
        return y * x.stride(1)
    except RuntimeError:
        return y


def without_gradients(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = net.conv(x)
    return net.norm(y) * x.mean()


def checkpointed(net: Any, x: Tensor) -> Tensor:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(lambda x: net.norm(net.conv(x)), x, use_reentrant=False)


def by_the_data(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.norm(y) if x.sum() > 0 else net.other(y) + y


@pytest.mark.parametrize(
    "between",
    [
        lambda net, x: net.conv(x),
        lambda net, x: net.bare(net.conv(x)),
        lambda net, x: net.norm(y := net.conv(x)) * y,
        lambda net, x: (y := net.conv(x)) + net.norm(y),
        lambda net, x: net.norm(y := net.conv(x)) + net.other(y),
        lambda net, x: net.other(net.norm(net.conv(x))),
        lambda net, x: net.norm(net.conv(x)) + net.other(net.conv(x + 1)),
        lambda net, x: net.norm(torch.cat([net.conv(x), x[:, :1]], dim=1)[:, :4]),
        lambda net, x: net.norm(net.conv(x).view(len(x), -1).view(len(x), 4, 8, 6)),
        lambda net, x: net.norm(
            torch.as_strided(
                net.conv(x.contiguous()), (len(x), 4, 8, 6), (192, 48, 6, 1)
            )
        ),
        lambda net, x: F.batch_norm(
            input=net.conv(x),
            running_mean=net.norm.running_mean,
            running_var=net.norm.running_var,
        ),
        lambda net, x: F.conv2d(
            input=x, weight=net.conv.weight * x.mean(), padding=1
        ).sub(net.norm(F.conv2d(x, weight=net.conv.weight, padding=1))),
        lambda net, x: torch.vmap(lambda y: F.conv2d(y, net.conv.weight))(x),
        read_by_a_function,
        kept,
        caught,
        lambda net, x: net.norm(y := net.conv(x)) * net.norm(y),
        norm_changed_on_the_way,
        output_changed_on_the_way,
        layout_caught,
        without_gradients,
        checkpointed,
        by_the_data,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_whatever_the_model_does(
    between: Callable[[Any, Tensor], Tensor], dtype: torch.dtype
) -> None:
    net, x = built(Net, between, dtype=dtype), image(2, dtype=dtype)
    equal(net, x)
    equal(net, -x)
    equal(net, x)


@pytest.mark.parametrize(
    ("between", "turned"),
    [
        (lambda net, x: net.norm(net.conv(x)), True),
        (lambda net, x: net.norm(net.conv(x.flatten(1).reshape(x.shape))), False),
        (lambda net, x: net.norm(net.conv(x)) * x.stride(1), False),
        (lambda net, x: net.norm(net.conv(x.view(len(x), -1).view(x.shape))), False),
    ],
)
def test_channels_last_only_where_the_model_does_not_mind(
    between: Callable[[Any, Tensor], Tensor],
    turned: bool,
    monkeypatch: pytest.MonkeyPatch,
    norms: list[str],
) -> None:
    layouts: list[bool] = []
    real = folding._conv2d

    def noted(x: Tensor, *others: Any) -> Tensor:
        layouts.append(not x.is_contiguous())
        return real(x, *others)

    net, x = built(Net, between, dtype=torch.float32), image(2, dtype=torch.float32)
    equal(net, x)
    monkeypatch.setattr(folding, "_conv2d", noted)
    norms.clear()
    ours(net, x)
    assert layouts == [turned], "one pass, once it is known how the model runs"
    assert norms == []
    # With more weights than outputs turning costs more than it gains.
    monkeypatch.setattr(folding, "OUTPUTS_PER_NUMBER", 108 / x.numel())
    ours(net, x)
    assert layouts[1:] == [False]


def test_an_input_that_changes_before_the_norm_is_torchs_error() -> None:
    def between(net: Any, x: Tensor) -> Tensor:
        x = x * 2
        y = net.conv(x)
        x.add_(1)
        return net.norm(y)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        ours(built(Net, between), image())


def test_a_value_that_the_model_keeps_is_its_own() -> None:
    net, x = built(Net, kept), image()
    ours(net, x)
    assert torch.equal(net.last, net.conv(x))
    # Also when it begins to keep them after the structure is known.
    net = built(Net)
    ours(net, x)
    net.between = kept
    ours(net, x)
    assert torch.equal(net.last, net.conv(x))


@pytest.mark.parametrize("where", ["conv", "norm", "net", "everywhere"])
def test_a_hook_sees_what_it_would_see_without_us(where: str) -> None:
    net, x = built(Many), image(2)
    ours(net, x)  # the structure is known before the hooks come
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(output.detach().clone())

    if where == "everywhere":
        handle = nn.modules.module.register_module_forward_hook(look)
    else:
        modules = {"conv": net.features[0], "norm": net.features[1], "net": net}
        handle = modules[where].register_forward_hook(look)
    try:
        net(x)
        without, seen = seen, []
        close("folding: under a hook", ours(net, x), by_hand(net, x), EXACT)
    finally:
        handle.remove()
    # by_hand ran as well: the first half is ours.
    ours_alone = seen[: len(without)]
    assert len(seen) == 2 * len(without) > 0
    assert all(torch.equal(a, b) for a, b in zip(ours_alone, without, strict=True))


def test_other_hooks_are_called_too() -> None:
    net, x = built(Many), image(2)
    ours(net, x)
    called: list[str] = []
    net.features[1].register_forward_pre_hook(lambda *_: called.append("pre"))
    net.features[0].register_full_backward_hook(lambda *_: called.append("back"))
    ours(net, x)
    assert called == ["pre", "back"]


def test_our_own_count_of_passes_does_not_slow_it(norms: list[str]) -> None:
    net, x = built(Net), image(2)
    with chapter4.count_passes(net) as passes:
        first = ours(net, x)
    assert (passes.forward, passes.backward) == (2, 2), "the recording is no pass"
    norms.clear()
    assert torch.equal(ours(net, x), first)
    assert norms == []


@pytest.mark.parametrize("folds", [True, False])
def test_the_first_pass_is_as_the_next_and_draws_the_same_numbers(folds: bool) -> None:
    def noisy(net: Any, x: Tensor) -> Tensor:
        y = net.conv(x)
        net.last = None if folds else y
        return net.norm(y) + torch.rand(4, 8, 6, dtype=x.dtype)

    net, x = built(Net, noisy), image()
    maps = []
    for _ in range(3):
        torch.manual_seed(3)
        maps.append(chapter4.smooth_grad(x, net, 1, 4, chunk_size=2).map)
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()


def test_nothing_is_left_on_the_model_or_keeps_it_alive() -> None:
    net, x = built(Many), image()
    before = snapshot(net)
    attributes = {name: set(vars(m)) for name, m in net.named_modules()}
    ours(net, x)
    same_state(before, snapshot(net))
    assert attributes == {name: set(vars(m)) for name, m in net.named_modules()}
    other = copy.deepcopy(net)
    equal(other, x)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_other_precisions_and_autocast_are_left_alone() -> None:
    net, x = built(Many, dtype=torch.bfloat16), image(dtype=torch.bfloat16)
    assert torch.equal(ours(net, x), by_hand(net, x))
    net, x = built(Many, dtype=torch.float32), image(dtype=torch.float32)
    ours(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(net, x), by_hand(net, x))


def test_errors_of_the_model_are_its_own() -> None:
    def explodes(net: Any, x: Tensor) -> Tensor:
        if net.angry:
            raise KeyError("its own")
        return net.norm(net.conv(x))

    net, x = built(Net, explodes), image()
    for net.angry in (True, False, True):
        if net.angry:
            with pytest.raises(KeyError, match="its own"):
                ours(net, x)
        else:
            equal(net, x)
    assert net not in folding._ways, "its own error is no reason to run it plainly"


@pytest.mark.parametrize(
    "layer", ["features.0", "features.1", "features.4", "features"]
)
def test_grad_cam_of_any_layer(layer: str) -> None:
    net, x = built(Many), image(2)
    for cam in (chapter4.GradCAM, chapter4.GradCAMPlusPlus):
        got = cam(net, layer).generate_cam(x, [1, 2])
        handle = net.register_forward_hook(lambda *_: None)  # the plain pass
        want = cam(net, layer).generate_cam(x, [1, 2])
        handle.remove()
        close("folding: Grad-CAM", got.raw, want.raw, EXACT)


def test_real_networks_and_beside_it_what_float32_costs() -> None:
    from torchvision.models import resnet50

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random = with_statistics(resnet50()).eval()
        noise = torch.randn(1, 3, 96, 96)
    cases = {
        "EfficientNet-Lite0": (*cat(), *cat_in_float64(), 282),
        "ResNet-50, random": (
            random,
            noise,
            copy.deepcopy(random).double(),
            noise.double(),
            7,
        ),
    }
    for name, (net, x, net64, x64, target) in cases.items():
        plain, exact = by_hand(net, x, target), by_hand(net64, x64, target)
        close(f"folding: {name}, float64", ours(net64, x64, target), exact, EXACT)
        for what, got in (("folded", ours(net, x, target)), ("plain", plain)):
            distance = relative_l2(got, exact)
            assert distance <= 1e-2
            record(f"{name}: {what} float32 to float64, relative L2", distance, 1e-2)
        assert relative_l2(ours(net, x, target), plain) <= 1e-2
