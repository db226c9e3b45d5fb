"""Small networks whose right attributions can be worked out by hand.

Each has a grid layer called ``features``. Images are (3, 8, 6), higher than wide, so
that a swapped axis shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

SIZE = (8, 6)
CLASSES = 4


def image(n: int = 1, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """n random normalised images, (n, 3, 8, 6)."""
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn((n, 3, *SIZE), generator=generator, dtype=torch.float64).to(
        dtype
    )


def built(
    make: Callable[..., nn.Module],
    *args: Any,
    dtype: torch.dtype = torch.float64,
    **kwargs: Any,
) -> Any:
    """A network with weights from seed 0, in eval mode.

    torch's global random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*args, **kwargs).to(dtype).eval()


class Power(nn.Module):
    """``F_k(x) = sum a_k x^p + b_k``; ``p = 1`` is a linear model.

    Its gradient is ``dF_k/dx = p a_k x^(p-1)``.
    """

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power
        self.features = nn.Identity()
        self.weight = nn.Parameter(torch.randn(CLASSES, 3, *SIZE))
        self.bias = nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return (
            torch.einsum("nchw,kchw->nk", self.features(x) ** self.power, self.weight)
            + self.bias
        )

    def gradient(self, x: Tensor, target: int) -> Tensor:
        return (self.power * self.weight[target] * x ** (self.power - 1)).detach()


class ReluOfDot(nn.Module):
    """``F_k(x) = relu(w_k . x)``.

    Under the noise ``N(0, sigma^2)`` the mean gradient is
    ``w Phi(w.x / (sigma |w|))``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.weight = nn.Parameter(torch.randn(CLASSES, 3, *SIZE))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.features(x), self.weight).relu()


class ConvNet(nn.Module):
    """conv -> activation -> (global average pooling or flatten) -> linear.

    With ReLU and without bias it is homogeneous of degree 1.
    """

    def __init__(
        self,
        *,
        activation: type[nn.Module] = nn.ReLU,
        bias: bool = True,
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=bias), activation()
        )
        self.pool = pool
        self.head = nn.Linear(5 if pool else 5 * 4 * 3, CLASSES, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.features(x)  # (N, 5, 4, 3)
        return self.head(grid.mean(dim=(2, 3)) if self.pool else grid.flatten(1))


class InPlaceAfter(nn.Module):
    """Like VGG and DenseNet: ``features`` ends before an in-place ReLU.

    The ReLU overwrites what a hook has stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            nn.functional.relu(self.features(x), inplace=True).mean(dim=(2, 3))
        )


class InPlaceFirst(nn.Module):
    """A net whose first operation changes its input: ``F_k(x) = sum a_k (2x)^2``.

    Its gradient is ``dF_k/dx = 8 a_k x``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.weight = nn.Parameter(torch.randn(CLASSES, 3, *SIZE))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.features(x.mul_(2)) ** 2, self.weight)


class NoParameters(nn.Module):
    """``F_k(x)`` = sum of channel k squared, from nothing but its input."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).square().sum(dim=(2, 3))


class SideBranch(nn.Module):
    """Layers that have no Grad-CAM.

    ``side`` is called, but its result is thrown away. ``unused`` is never called.
    ``flat`` gives no grid, ``pair`` no tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.side = nn.Conv2d(3, 4, 3)
        self.unused = nn.Conv2d(3, 4, 3)
        self.flat = nn.Flatten()
        self.pair = nn.MaxPool2d(1, return_indices=True)
        self.head = nn.Linear(4 * 6 * 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        self.side(x)
        return self.head(self.flat(self.pair(self.features(x).relu())[0]))


class ByHand(nn.Module):
    """``F_k(x) = sum w_k x``, with weights (K, 3, H, W) that the test gives.

    ``features`` passes the image on.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.features(x), self.weight)


class Stateful(nn.Module):
    """A net with batch norm and dropout.

    In training mode, every call would change buffers, random state and result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh(), nn.Dropout(0.5)
        )
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).square()).mean(dim=(2, 3)))


def stateful(dtype: torch.dtype = torch.float64) -> Stateful:
    """A ``Stateful`` as a caller may hand it over.

    It has mixed modes, one frozen parameter, one gradient and one hook.
    """
    net: Stateful = built(Stateful, dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net.features[1].running_mean.normal_()
        net.features[1].running_var.uniform_(0.5, 2)
        net.train()
        net.features[1].eval()
        net.features[0].bias.requires_grad_(False)
        net.head.weight.grad = torch.randn_like(net.head.weight)
    net.features[2].register_forward_hook(lambda module, inputs, output: None)
    return net


class DrawsNumbers(nn.Module):
    """A net that draws from torch's global random state, in eval mode too.

    The draw does not change the gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inner = Power(2)
        self.features = self.inner.features

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 0 * torch.randn(len(x), 1)


class Explosion(Exception):
    """What ``Explodes`` raises."""


class Explodes(nn.Module):
    """A net that raises at call number ``at``, like one that runs out of memory."""

    def __init__(self, inner: nn.Module, at: int) -> None:
        super().__init__()
        self.inner, self.at, self.calls = inner, at, 0

    @property
    def features(self) -> nn.Module:
        return self.inner.features

    def forward(self, x: Tensor) -> Tensor:
        logits = self.inner(x)
        self.calls += 1
        if self.calls == self.at:
            raise Explosion
        return logits


class Watched(nn.Module):
    """A net that keeps every batch, and whether a gradient was wanted there."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.features = inner.features
        self.batches: list[Tensor] = []
        self.with_gradient: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x.detach().clone())
        self.with_gradient.append(x.requires_grad)
        return self.inner(x)

    @property
    def largest(self) -> int:
        """How many images its largest batch had."""
        return max(len(batch) for batch in self.batches)

    @property
    def gradient_points(self) -> Tensor:
        """All points at which a gradient was taken, (n, 3, H, W)."""
        batches = zip(self.batches, self.with_gradient, strict=True)
        return torch.cat([batch for batch, wanted in batches if wanted])


@cache
def cat() -> tuple[nn.Module, Tensor]:
    """The embedded classifier and the cat photo as it sees it, (1, 3, 224, 224).

    All tests share the two, so no test may change them.
    """
    from chapter4.inputs.images import image_tensor, sample_photo
    from chapter4.inputs.models import load_classifier

    model = load_classifier()
    return model, image_tensor(sample_photo("cat"), model)


@cache
def cat_in_float64() -> tuple[nn.Module, Tensor]:
    """The same two in float64, to measure the rounding error of float32 maps."""
    from chapter4.inputs.models import load_classifier

    return load_classifier().double(), cat()[1].double()
