"""Section 4.2 by value: the maps of Grad-CAM and Grad-CAM++.

The right values come from pencil and paper, from the head for which Grad-CAM is
CAM / Z, and from derivatives of exp(S).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from measures import EXACT, PRECISIONS, Impl, Oracle, close, float64
from nets import CLASSES, SIZE, ByHand, ConvNet, InPlaceAfter, built, image
from torch import Tensor, nn

# Three channels of 2 x 2, and the gradients of four classes on them, for pencil and
# paper.
CHANNELS = torch.tensor(
    [[[1.0, 2], [3, 4]], [[0, 1], [0, 1]], [[2, 0], [0, 0]]], dtype=torch.float64
)
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
    """Bilinear enlargement between the cells' centres, written out.

    Pixel i of n lies at ``(i + 0.5) cells / n - 0.5``.
    """
    values = float64(raw).numpy()
    for axis, n in enumerate(size):
        cells = values.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * cells / n - 0.5, 0, cells - 1)
        low = np.floor(at).astype(int)
        high, part = np.minimum(low + 1, cells - 1), at - low
        part = part[:, None] if axis == 0 else part
        below, above = np.take(values, low, axis), np.take(values, high, axis)
        values = below * (1 - part) + above * part
    return values


def head_weights(net: nn.Module) -> Tensor:
    return net.head.weight.detach()


def summed(weights: Tensor, grid: Tensor) -> Tensor:
    """The positive part of ``sum_k w_k A^k``, (h, w)."""
    return torch.einsum("k,khw->hw", weights, grid).relu()


def cam_by_hand(cam: Impl) -> None:
    # The channels' mean slopes for class 0 are 0.5, -1 and 1, so the sum is
    # 0.5 [[1,2],[3,4]] - [[0,1],[0,1]] + [[2,0],[0,0]] = [[2.5,0],[1.5,1]].
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 0)
    close("Grad-CAM: by hand", got.raw, [[2.5, 0], [1.5, 1]], EXACT)
    close("Grad-CAM: by hand, map", got.map, [[1, 0], [0.6, 0.4]], EXACT)
    # No cell of class 1 is 0, and the smallest one must not become 0.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 1)
    close("Grad-CAM: by hand", got.raw, [[2, 4], [6, 8]], EXACT)
    close("Grad-CAM: by hand, map", got.map, [[0.25, 0.5], [0.75, 1]], EXACT)


def cam_plus_by_hand(cam: Impl) -> None:
    # For class 0, alpha = 1 / (2 + sum(A) g). Channel 0 has 1 / 12 twice, channel 2 has
    # 1 / 10 once, and channel 1 has no positive gradient.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 0)
    close("Grad-CAM++: by hand", got.raw, [[1 / 6 + 0.8, 1 / 3], [0.5, 2 / 3]], EXACT)
    # For class 1, channel 0 has 2 / (2 + 20) four times.
    got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, 1)
    close("Grad-CAM++: by hand", got.raw, (CHANNELS[0] * 8 / 22), EXACT)
    close("Grad-CAM++: by hand, map", got.map, [[0.25, 0.5], [0.75, 1]], EXACT)


def blank_maps_are_zeros_and_said(cam: Impl) -> None:
    for target in (2, 3):
        got = cam(ByHand(SLOPES), "features").generate_cam(CHANNELS, target)
        close("blank map", got.map, np.zeros((2, 2)), 0)
        close("blank map, raw", got.raw, np.zeros((2, 2)), 0)
        assert got.blank is True, "a blank map is not said to be blank"
    two = torch.stack([CHANNELS, CHANNELS])
    got = cam(ByHand(SLOPES), "features").generate_cam(two, [3, 1])
    assert got.blank == [True, False], f"blank is {got.blank}"
    want = [[[0, 0], [0, 0]], [[0.25, 0.5], [0.75, 1]]]
    close("blank map beside another", got.map, want, EXACT)


def cam_of_pooling_and_linear_head(cam: Impl) -> None:
    """Zhou et al.'s CAM over Z: ``relu(sum_k w_k A^k) / (h w)``."""
    for dtype, allowed in PRECISIONS:
        net, x = built(ConvNet, pool=True, dtype=dtype), image(2, dtype=dtype)
        grid, weights = net.features(x).detach(), head_weights(net)
        got, seen = cam(net, net.features).generate_cam(x, [0, 3]), 0
        for i, target in enumerate([0, 3]):
            want, name = summed(weights[target] / 12, grid[i]), f"GAP + linear, {dtype}"
            close(f"Grad-CAM: {name}", got.raw[i], want, allowed)
            if want.max() > 0:
                drawn = resized(want, SIZE)
                close(
                    f"Grad-CAM: {name}, map", got.map[i], drawn / drawn.max(), allowed
                )
                seen += 1
        assert seen, "both maps are blank and prove nothing"


def cam_of_the_probability(cam: Impl) -> None:
    """``dp_t/dF_j = p_t ((t = j) - p_j)``, through the same head."""
    net, x = built(ConvNet, pool=True), image()
    grid, p = net.features(x).detach()[0], net(x).detach().softmax(dim=1)[0]
    for target in range(CLASSES):
        slope = p[target] * (head_weights(net)[target] - p @ head_weights(net)) / 12
        got = cam(net, net.features).generate_cam(x, target, score="probability")
        close("Grad-CAM: probability", got.raw, summed(slope, grid), EXACT)


def cam_before_an_in_place_relu(cam: Impl) -> None:
    for dtype, allowed in PRECISIONS:
        net, x = built(InPlaceAfter, dtype=dtype), image(dtype=dtype)
        grid = net.features(x).detach()[0]
        assert (grid < 0).any()
        for target in range(CLASSES):
            active = (grid > 0).to(dtype).mean(dim=(1, 2))
            want = summed(head_weights(net)[target] * active / 12, grid)
            got = cam(net, net.features).generate_cam(x, target)
            close(f"Grad-CAM: in-place ReLU after it, {dtype}", got.raw, want, allowed)


def layers_by_name_and_by_module(cam: Impl) -> None:
    net, x = built(ConvNet), image()
    by_name = cam(net, "features.0").generate_cam(x, 1)
    with cam(net, net.features[0]) as explainer:
        by_module = explainer.generate_cam(x, 1)
    close("a layer by name or module", by_module.raw, by_name.raw, 0)
    assert by_name.raw.shape == (4, 3)
    # An explainer keeps no map: for another image and class it gives what a new one
    # gives.
    explainer = cam(net, "features")
    explainer.generate_cam(image(seed=1), 2)
    again, fresh = explainer.generate_cam(x, 1), cam(net, "features").generate_cam(x, 1)
    close("an explainer used twice", again.raw, fresh.raw, 0)


def cam_plus_against_derivatives_of_the_exponential(cam: Impl) -> None:
    """The paper's own formula, with every derivative by autograd.

    It is ``alpha = Y'' / (2 Y'' + sum(A) Y''')`` for ``Y = exp(S)``.
    """
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
            (g3,) = torch.autograd.grad(own, grid, retain_graph=True)
            third.append(g3.flatten()[len(second)])
            second.append(own.detach())
        d1, d2, d3 = (
            torch.stack(each).reshape(grid.shape) for each in (first, second, third)
        )
        alpha = d2 / (2 * d2 + grid.detach().sum(dim=(1, 2), keepdim=True) * d3)
        weights = (alpha * d1.relu()).sum(dim=(1, 2))
        want = summed(weights, grid.detach())
        got = cam(net, net.features).generate_cam(x, target)
        # exp(S) is the common factor that the closed form leaves out.
        close("Grad-CAM++: derivatives of exp(S)", got.raw, want / y.detach(), EXACT)


def cam_plus_of_small_gradients(cam: Impl) -> None:
    """A constant added to the denominator would decide the map of small gradients.

    Real networks have gradients of 1e-4.
    """
    for factor in (1e-3, 1e-5):
        got = cam(ByHand(SLOPES * factor), "features").generate_cam(CHANNELS, 0)
        first, last = 2 * factor / (2 + 10 * factor), 4 * factor / (2 + 2 * 4 * factor)
        want = first * CHANNELS[0] + last * CHANNELS[2]
        close("Grad-CAM++: small gradients", got.raw, want, EXACT)


def cam_plus_where_the_denominator_vanishes(cam: Impl) -> None:
    """The denominator may be 0, and this must not decide the map.

    Before a ReLU, activations may be negative, so ``sum(A) g = -2`` is possible.
    """
    grid = CHANNELS.clone()
    grid[0] = torch.tensor([[-1.0, 0], [-1, 0]])
    got = cam(ByHand(SLOPES), "features").generate_cam(grid, 0)
    # Channel 0 has sum(A) = -2 and g = 1, so 2 + sum(A) g = 0. Only channel 2 counts,
    # with 0.4.
    close("Grad-CAM++: a vanishing denominator", got.raw, 0.4 * CHANNELS[2], EXACT)


def cam_plus_where_negative_activations_meet(cam: Impl) -> None:
    """Before a ReLU the weighted sum may be negative, and the map is 0 there."""
    grid = CHANNELS.clone()
    grid[0, 0, 0] = -1
    # For class 1, sum(A) = 8 and g = 2 in four cells: the weight is 4 * 2 / (2 + 16).
    got = cam(ByHand(SLOPES), "features").generate_cam(grid, 1)
    want = [[0, 16 / 18], [24 / 18, 32 / 18]]
    close("Grad-CAM++: negative activations", got.raw, want, EXACT)


CAM: list[Oracle] = [blank_maps_are_zeros_and_said, layers_by_name_and_by_module]
GRAD_CAM: list[Oracle] = [
    *CAM,
    cam_by_hand,
    cam_of_pooling_and_linear_head,
    cam_of_the_probability,
    cam_before_an_in_place_relu,
]
GRAD_CAM_PLUS: list[Oracle] = [
    *CAM,
    cam_plus_by_hand,
    cam_plus_against_derivatives_of_the_exponential,
    cam_plus_of_small_gradients,
    cam_plus_where_the_denominator_vanishes,
    cam_plus_where_negative_activations_meet,
]
