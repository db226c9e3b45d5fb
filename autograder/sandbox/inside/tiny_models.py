"""Tiny models made from a recipe, the same on both sides of the border.

The weights come from a seed by NumPy, so they depend on no random state and on no file.

Every kind takes these options (with their defaults):

- ``dtype`` ("float32"): of the weights;
- ``size`` ([3, 8, 6]): an image's channels, height and width;
- ``classes`` (4): the number of outputs;
- ``training`` (false): whether the model is in training mode;
- ``record`` (false): whether it keeps the inputs that it is asked for;
- ``preprocessing``: ``{"mean": [...], "std": [...]}``. Without it the model has none,
  which means ImageNet's.

Images are higher than wide, so that a swapped axis shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autograder.sandbox.inside.values import Recipe

DTYPES = {"float32": torch.float32, "float64": torch.float64}
MAX_LOG = 32 * 2**20


class Net(nn.Module):
    """A model that says what is wrong with its input, before a layer fails over it.

    Attributes:
        takes: What an image may be: channels, height and width, None for any.
    """

    takes: tuple[int, int | None, int | None]

    def __call__(self, x: Tensor) -> Any:
        if isinstance(x, Tensor):
            self._require_images(x)
        else:
            how = ": torch.from_numpy makes one" if isinstance(x, np.ndarray) else ""
            said = f"the model takes a tensor, and was given {type(x).__name__}{how}"
            raise ValueError(said)
        return super().__call__(x)

    def _require_images(self, x: Tensor) -> None:
        pairs = list(zip(x.shape[-3:], self.takes, strict=False))
        is_image = len(pairs) == 3 and all(
            takes in (None, given) for given, takes in pairs
        )
        if x.ndim != 4 or not is_image:
            if x.ndim == 3 and is_image:
                raise ValueError(
                    "the model takes a batch of images (N, 3, H, W), and was given one"
                    " image without the batch axis: add it with image[None]"
                )
            sides = (str(s or "HW"[i - 1]) for i, s in enumerate(self.takes))
            raise ValueError(
                f"the model takes a batch of images (N, {', '.join(sides)}), and was"
                f" given {tuple(x.shape)}"
            )
        own = next(self.parameters()).dtype
        if x.dtype != own:
            new = "double" if own == torch.float64 else "float"
            raise ValueError(
                f"the model computes in {_name(own)}, and was given {_name(x.dtype)}:"
                f" image.{new}() is the same image in {_name(own)}"
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Power(Net):
    """A weighted sum of the pixels' powers; with ``power`` p = 1 a linear model.

    Its outputs and their gradients are::

        F_k(x) = sum a_k x^p + b_k
        dF_k/dx = p a_k x^(p-1)
    """

    def __init__(self, size: tuple[int, ...], classes: int, power: int = 1) -> None:
        super().__init__()
        self.power = power
        self.features = nn.Identity()
        self.weight = nn.Parameter(torch.empty(classes, *size))
        self.bias = nn.Parameter(torch.empty(classes))

    def forward(self, x: Tensor) -> Tensor:
        powers = self.features(x) ** self.power
        return torch.einsum("nchw,kchw->nk", powers, self.weight) + self.bias


class Signs(Net):
    """A sum of the pixels' powers with signs s = +1 or -1, the same in all channels.

    Its outputs are::

        F_k(x) = sum s_k x^p / p

    With p = 2 the gradient is the noisy image itself, up to sign.

    Args:
        size: An image's channels, height and width.
        classes: The number of outputs.
        power: The power p.
        channels: The channels that count; the others have gradient 0.
        grey: Let x be the sum of the channels, so that three draws of noise meet in one
            number.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        classes: int,
        power: int = 2,
        channels: Sequence[int] = (0, 1, 2),
        grey: bool = False,
    ) -> None:
        super().__init__()
        self.power, self.channels, self.grey = power, list(channels), grey
        self.features = nn.Identity()
        self.weight = nn.Parameter(torch.empty(classes, 1, *size[1:]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.sum(dim=1, keepdim=True) if self.grey else x[:, self.channels]
        powers = x**self.power / self.power
        return (self.weight.sign() * powers[:, None]).sum(dim=(2, 3, 4))


class ReluOfDot(Net):
    """A rectified dot product, whose mean gradient under noise is known.

    Its outputs are::

        F_k(x) = relu(w_k . x)

    Under x + N(0, sigma^2) the mean gradient is::

        w Phi(w.x / (sigma |w|))

    Args:
        size: An image's channels, height and width.
        classes: The number of outputs.
        soft: Round the corner off (softplus): every gradient is still a multiple of w,
            and no two are the same.
    """

    def __init__(self, size: tuple[int, ...], classes: int, soft: bool = False) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.soft = soft
        self.weight = nn.Parameter(torch.empty(classes, *size))

    def forward(self, x: Tensor) -> Tensor:
        dots = torch.einsum("nchw,kchw->nk", self.features(x), self.weight)
        return nn.functional.softplus(dots) if self.soft else dots.relu()


class ReluNet(Net):
    """Two layers without bias, homogeneous of degree 1.

    Gradient x Input is exactly Integrated Gradients from zero.
    """

    def __init__(self, size: tuple[int, ...], classes: int, hidden: int = 16) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.hidden = nn.Linear(int(np.prod(size)), hidden, bias=False)
        self.head = nn.Linear(hidden, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.flat(x)).relu())


class ConvNet(Net):
    """conv -> ReLU (``features``) -> global average pooling -> linear.

    Grad-CAM is the class activation map divided by H W, the size of the grid.
    """

    def __init__(self, size: tuple[int, ...], classes: int, channels: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(size[0], channels, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


class DeepConvNet(Net):
    """As ``ConvNet`` with two convolutions (``features``).

    So neither map can be read off the weights.

    Args:
        size: An image's channels, height and width.
        classes: The number of outputs.
        channels: The channels of each convolution.
        stride: The first convolution's stride. It is an option, so that student code
            must ask for the size of the grid.
        second: The second convolution's stride. If it is not 1, the layers have
            different grids.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        classes: int,
        channels: int = 5,
        stride: int = 2,
        second: int = 1,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(size[0], channels, 3, stride=stride, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=second, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


class DeepNet(Net):
    """A smooth network whose gradient under noise has no formula.

    Its outputs, with signs s = +1 or -1, are::

        F_k(x) = s_k g(x)
        g = conv -> softplus -> conv -> softplus -> sum

    Under noise in x neither the mean of the gradient nor its scatter has a formula:
    whoever knows them has drawn samples. The softplus is a ReLU with a round corner, so
    that rounding never switches a unit.

    Args:
        size: An image's channels, height and width.
        classes: The number of outputs.
        channels: The channels that count; the others have gradient 0.
        rising: Give g no negative weights, so that no gradient ever changes its sign.
        centre: What is subtracted from the image, so that about half of the units are
            switched off.
        width: The channels of the hidden layers.
    """

    # A typical hidden value, for pixels that scatter by 0.6 around the centre.
    TYPICAL = 0.25

    def __init__(
        self,
        size: tuple[int, ...],
        classes: int,
        channels: Sequence[int] = (0, 1, 2),
        rising: bool = False,
        centre: float = 0.0,
        width: int = 6,
    ) -> None:
        super().__init__()
        self.channels, self.rising, self.centre = list(channels), rising, centre
        self.first = nn.Conv2d(len(self.channels), width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.head = nn.Conv2d(width, 1, 1, bias=False)
        self.sign = nn.Parameter(torch.empty(classes))

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, self.channels] - self.centre
        hidden = self.active(self.first, x)
        hidden = self.active(self.second, hidden - self.TYPICAL)
        values = self.through(self.head, hidden).sum(dim=(1, 2, 3))
        return values[:, None] * self.sign.sign()

    def active(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        return nn.functional.softplus(self.through(layer, x), beta=8)

    def through(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        weight = layer.weight.abs() if self.rising else layer.weight
        return nn.functional.conv2d(x, weight, padding=layer.padding)


class Stateful(Net):
    """Batch norm and dropout.

    In training mode every call changes buffers, random state and result.
    """

    def __init__(self, size: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(size[0], 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).mean(dim=(2, 3))))


class TinyAttention(nn.Module):
    """A text model of random weights that answers as Hugging Face's models do.

    Its ``attentions`` hold one tensor (1, heads, T, T) for each layer.

    Args:
        size: Not used.
        classes: Not used.
        layers: The number of layers.
        heads: The number of heads in each layer.
        width: The width D of the hidden state.
        vocabulary: The number of tokens that it knows.
        empty: Leave ``attentions`` empty, as under SDPA.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        classes: int,
        layers: int = 3,
        heads: int = 2,
        width: int = 8,
        vocabulary: int = 50,
        empty: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.empty = heads, empty
        self.embeddings = nn.Embedding(vocabulary, width)
        self.queries = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.keys = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        hidden = self.embeddings(input_ids)  # (1, T, D)
        attentions = []
        for query, key in zip(self.queries, self.keys, strict=True):
            q, k = (self.split(layer(hidden)) for layer in (query, key))
            weights = (q @ k.mT).softmax(dim=-1)  # (1, H, T, T)
            attentions.append(weights)
            hidden = hidden + weights.mean(dim=1) @ hidden
        found = () if self.empty else tuple(attentions)
        return SimpleNamespace(last_hidden_state=hidden, attentions=found)

    def split(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)


KINDS: dict[str, Callable[..., nn.Module]] = {
    "power": Power,
    "signs": Signs,
    "relu-of-dot": ReluOfDot,
    "relu-net": ReluNet,
    "conv-net": ConvNet,
    "deep-conv-net": DeepConvNet,
    "deep-net": DeepNet,
    "stateful": Stateful,
    "attention": TinyAttention,
}


def build(recipe: Recipe) -> Any:
    """The model of a recipe, in eval mode unless the recipe says otherwise.

    The kind "chapter4" calls a loader of ``chapter4``, with options such as
    ``{"load": "load_bert", "name": "minilm"}``.

    Args:
        recipe: What to build.

    Returns:
        The model, or what the loader returns.

    Raises:
        ValueError: The kind is unknown.
    """
    options = dict(recipe.options)
    if recipe.kind == "chapter4":
        return _loaded(options)
    if recipe.kind not in KINDS:
        raise ValueError(f"no model {recipe.kind!r}; there are {', '.join(KINDS)}")
    dtype = DTYPES[options.pop("dtype", "float32")]
    training, record = options.pop("training", False), options.pop("record", False)
    size = tuple(options.pop("size", (3, 8, 6)))
    preprocessing = options.pop("preprocessing", None)
    # The constructors draw weights, which `_fill` replaces.
    with torch.random.fork_rng(devices=[]):
        model = KINDS[recipe.kind](size, options.pop("classes", 4), **options)
    _fill(model, recipe.seed)
    model = model.to(dtype).train(training)
    if isinstance(model, Net):
        anywhere = isinstance(model, (ConvNet, DeepConvNet, DeepNet, Stateful))
        model.takes = (size[0], None, None) if anywhere else size
    if preprocessing is not None:
        model.preprocessing = _preprocessing(preprocessing, size)
    if record:
        _record(model)
    return model


def log_of(model: nn.Module) -> list[np.ndarray]:
    """The inputs that a model built with ``record`` was asked for, in order.

    Those of one shape are joined along the batch, since a reply may hold few arrays.
    """
    asked: list[np.ndarray] = model.__dict__.get("_asked", [])
    shapes = dict.fromkeys(array.shape[1:] for array in asked if array.ndim)
    return [
        np.concatenate([a for a in asked if a.ndim and a.shape[1:] == shape])
        for shape in shapes
    ]


def _fill(model: nn.Module, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            fan_in = int(np.prod(weight.shape[1:])) if weight.ndim > 1 else 1
            values = rng.standard_normal(tuple(weight.shape)) / np.sqrt(fan_in)
            if name.endswith(("features.1.weight", "norm.weight")):
                values = 1 + values**2  # batch norm's scale
            weight.copy_(torch.from_numpy(values))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.from_numpy(rng.standard_normal(tuple(buffer.shape))))
            elif name.endswith("running_var"):
                buffer.copy_(torch.from_numpy(rng.uniform(0.5, 2, tuple(buffer.shape))))


def _preprocessing(spaces: Mapping[str, Any], size: tuple[int, ...]) -> Any:
    from chapter4.inputs.images import Preprocessing

    height, width = size[1:]
    mean, std = tuple(spaces["mean"]), tuple(spaces["std"])
    return Preprocessing((height, width), (height, width), mean, std)


def _record(model: nn.Module) -> None:
    asked: list[np.ndarray] = []
    model.__dict__["_asked"] = asked

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        used = sum(a.nbytes for a in asked)
        if isinstance(x, Tensor) and used + x.nbytes <= MAX_LOG:
            with suppress(RuntimeError):  # in a transform of torch.func there is none
                asked.append(x.detach().cpu().numpy().copy())

    model.register_forward_pre_hook(keep)


def _loaded(options: dict[str, Any]) -> Any:
    import chapter4

    return getattr(chapter4, options.pop("load"))(**options)
