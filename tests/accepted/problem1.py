"""Problem 1: right answers, each written in another way.

They must all get every point. A submission takes one function for each of the names;
``source`` writes it as a student's cells would contain it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

import chapter4
from accepted import source_of
from autograder.problems.problem1.instructors.mutants import in_own_words


# native_resolution
def grid_of_the_result(method, image, model, layer):
    """The package's own results."""
    if method == "vanilla":
        return chapter4.vanilla_gradients(image, model).map.shape
    return chapter4.GradCAM(model, layer).generate_cam(image).raw.shape


def grid_by_hook(method, image, model, layer):
    if method == "vanilla":
        return image.shape[-2], image.shape[-1]
    shapes = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: shapes.append(output.size())
    )
    try:
        model(image.unsqueeze(0))
    finally:
        handle.remove()
    return [shapes[0][2], shapes[0][3]]


def grid_of_the_gradient(method, image, model, layer):
    """The shape of what is differentiated: the image, or the layer's output."""
    x = image[None].clone().requires_grad_()
    points = {"vanilla": x}

    def keep(module, inputs, output):
        points["gradcam"] = output

    handle = dict(model.named_modules())[layer].register_forward_hook(keep)
    score = model(x)[0, 0]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, points[method])
    return np.array(gradient.shape[2:])


def grid_by_submodule(method, image, model, layer):
    """Step by step, where the model is a chain up to the layer."""
    if method != "gradcam":
        return image.numpy().shape[1:]
    block, _, last = layer.partition(".")
    x = image[None]
    for name, step in model.get_submodule(block).named_children():
        x = step(x)
        if name == last:
            break
    cells = x.detach().numpy()[0, 0]
    return float(len(cells)), float(len(cells[0]))


def grid_inference(method, image, model, layer):
    """No gradients at all; the hook takes itself away, and a tensor comes back."""
    found = [torch.tensor(image.shape[1:])]

    def look(module, inputs, output):
        found.append(torch.tensor(output[0, 0].shape))
        handle.remove()

    if method == "gradcam":
        handle = model.get_submodule(layer).register_forward_hook(look)
        with torch.inference_mode():
            model(image[None])
    return found[-1]


# total_variation
def rough_diff(values):
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    return np.concatenate(steps).mean() / values.mean()


def rough_slices(values):
    down = np.abs(values[1:] - values[:-1])
    across = np.abs(values[:, 1:] - values[:, :-1])
    return (down.sum() + across.sum()) / (down.size + across.size) / np.mean(values)


def rough_loop(values):
    """Pixel by pixel."""
    height, width = values.shape
    total, pairs = 0.0, 0
    for i in range(height):
        for j in range(width):
            for k, m in ((i + 1, j), (i, j + 1)):
                if k < height and m < width:
                    total += abs(float(values[i, j]) - float(values[k, m]))
                    pairs += 1
    return total / pairs / (sum(map(sum, values.tolist())) / (height * width))


def rough_torch(values):
    v = torch.as_tensor(values).double()
    steps = torch.cat([v.diff(dim=0).flatten(), v.diff(dim=1).flatten()])
    return steps.abs().mean() / v.mean()


def rough_convolution(values):
    """Differences as two convolutions, the map scaled by its mean first."""
    v = torch.tensor(np.asarray(values, dtype="float64"))
    v = (v / v.mean())[None, None]
    kernel = torch.tensor([[-1.0, 1.0]], dtype=v.dtype)[None, None]
    each = [F.conv2d(v, kernel).abs(), F.conv2d(v, kernel.mT).abs()]
    return (sum(e.sum() for e in each) / sum(e.numel() for e in each)).item()


def rough_windows(values):
    """Pairs as windows over the rows of the map and of its transpose."""
    pairs = [
        np.lib.stride_tricks.sliding_window_view(v, 2, axis=1).reshape(-1, 2)
        for v in (values, values.T)
    ]
    steps = np.ptp(np.vstack(pairs), axis=1)
    return np.asarray(np.average(steps) / np.average(values))


# through_grid
def coarse_reshape(values, grid):
    h, w = grid
    height, width = values.shape
    means = values.reshape(h, height // h, w, width // w).mean(axis=(1, 3))
    cells = torch.from_numpy(means)[None, None]
    return F.interpolate(
        cells, size=values.shape, mode="bilinear", align_corners=False
    )[0, 0].numpy()


def coarse_pool(values, grid):
    x = torch.as_tensor(values, dtype=torch.float32)[None, None]
    pooled = F.adaptive_avg_pool2d(x, tuple(grid))
    return torch.nn.Upsample(size=x.shape[-2:], mode="bilinear")(pooled).squeeze()


def coarse_loop(values, grid):
    """Means in a loop, enlarged row by row with np.interp between squares' middles."""
    (height, width), (h, w) = values.shape, grid
    down, across = height // h, width // w
    means = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            means[i, j] = values[
                i * down : (i + 1) * down, j * across : (j + 1) * across
            ].mean()
    rows = (np.arange(height) + 0.5) / down - 0.5
    columns = (np.arange(width) + 0.5) / across - 0.5
    wide = np.stack([np.interp(columns, np.arange(w), row) for row in means])
    return np.stack([np.interp(rows, np.arange(h), c) for c in wide.T]).T


def coarse_scipy(values, grid):
    """SciPy's zoom, in cells and not in points; matrices take the means."""
    take = [
        np.kron(np.eye(n), np.full((1, size // n), n / size))
        for n, size in zip(grid, values.shape)
    ]
    means = np.einsum("ia,ab,jb->ij", take[0], values, take[1])
    factors = [size // n for n, size in zip(grid, values.shape)]
    return ndimage.zoom(means, factors, order=1, mode="nearest", grid_mode=True)


def coarse_sampled(values, grid):
    """Sums with reduceat; grid_sample reads the means at each pixel's middle."""
    starts = [np.arange(0, s, s // n) for s, n in zip(values.shape, grid)]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], 0), starts[1], 1)
    means = torch.as_tensor(sums / (values.size / sums.size))[None, None]
    y, x = (torch.arange(n).double().add(0.5) * 2 / n - 1 for n in values.shape)
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    return F.grid_sample(means, at, padding_mode="border", align_corners=False)[0, 0]


# change_under
def mirror_gradient(module, inputs, output):
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient.flip(-1))


def add_constant(module, inputs, output):
    return output + 0.5


def change_package(intervention, place, method, image, model, target_class, layer):
    """The package's maps and the hooks that the problem hands out."""

    def draw():
        if method == "vanilla":
            return chapter4.vanilla_gradients(image, model, target_class).map
        return chapter4.GradCAM(model, layer).generate_cam(image, target_class).raw

    before = draw()
    hook = {"mirror gradient": mirror_gradient, "add constant": add_constant}
    handle = model.get_submodule(place).register_forward_hook(hook[intervention])
    try:
        after = draw()
    finally:
        handle.remove()
    return np.linalg.norm(after - before) / np.linalg.norm(before)


def change_plain(intervention, place, method, image, model, target_class, layer):
    """Plain PyTorch: both maps from one function, autograd.grad at either place."""
    modules = dict(model.named_modules())
    hook = mirror_gradient if intervention.startswith("mirror") else add_constant

    def draw():
        kept = []

        def keep(module, inputs, output):
            kept.append(output)
            return output.clone()

        x = image[None].clone().requires_grad_()
        handle = modules[layer].register_forward_hook(keep)
        score = model(x)[0, target_class]
        handle.remove()
        point = x if method == "vanilla" else kept[0]
        (gradient,) = torch.autograd.grad(score, point)
        if method == "vanilla":
            return gradient[0].abs().amax(dim=0)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        return (weights * kept[0].detach()).sum(dim=1).relu()[0]

    before = draw()
    handle = modules[place].register_forward_hook(hook)
    after = draw()
    handle.remove()
    return ((after - before).norm() / before.norm()).item()


def change_backward(intervention, place, method, image, model, target_class, layer):
    """.backward(), retain_grad, and parameters' gradients cleared afterwards."""

    def vanilla():
        x = image.unsqueeze(0).detach().clone()
        x.requires_grad = True
        model(x)[0][target_class].backward()
        model.zero_grad()
        return x.grad.squeeze(0).abs().max(0)[0].numpy()

    def cam():
        kept = {}

        def keep(module, inputs, output):
            output.retain_grad()
            kept["a"] = output

        handle = model.get_submodule(layer).register_forward_hook(keep)
        model(image.unsqueeze(0))[0][target_class].backward()
        handle.remove()
        model.zero_grad()
        a, g = kept["a"][0].detach().numpy(), kept["a"].grad[0].numpy()
        return np.maximum(np.einsum("k,khw->hw", g.mean(axis=(1, 2)), a), 0)

    draw = vanilla if method == "vanilla" else cam
    first = draw()
    change = {"mirror gradient": mirror_gradient, "add constant": add_constant}
    h = model.get_submodule(place).register_forward_hook(change[intervention])
    second = draw()
    h.remove()
    return float(np.sqrt(((second - first) ** 2).sum() / (first**2).sum()))


class Mirror(torch.autograd.Function):
    """The identity, whose gradient is mirrored."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.flip(-1)


class Changed(torch.nn.Module):
    """A module with an intervention behind it."""

    def __init__(self, module, intervention):
        super().__init__()
        self.module, self.intervention = module, intervention

    def forward(self, x):
        y = self.module(x)
        return Mirror.apply(y) if "mirror" in self.intervention else y + 0.5


def change_copy(intervention, place, method, image, model, target_class, layer):
    """A copy of the model with a module replaced; no hook for the intervention."""
    other = copy.deepcopy(model)
    parent, _, name = place.rpartition(".")
    wrapped = Changed(other.get_submodule(place), intervention)
    setattr(other.get_submodule(parent), name, wrapped)

    def draw(net):
        if method == "vanilla":
            return chapter4.vanilla_gradients(image, net, target_class).map
        return chapter4.GradCAM(net, layer).generate_cam(image, target_class).raw

    before, after = draw(model), draw(other)
    return np.linalg.norm((after - before).ravel(), 2) / np.linalg.norm(before.ravel())


@contextlib.contextmanager
def intervened(module, intervention):
    """The module's forward replaced, and put back."""
    plain = module.forward

    def forward(x):
        y = plain(x)
        if intervention == "add constant":
            return y + 0.5
        # Has y's value and the mirrored one's gradient.
        turned = y.flip(-1)
        return turned + (y - turned).detach()

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def change_forward(intervention, place, method, image, model, target_class, layer):
    """A context manager; torch.func for the gradient of the input."""

    def draw():
        if method == "vanilla":
            score = lambda x: model(x[None])[0, target_class]  # noqa: E731  # as usual
            return torch.func.grad(score)(image).abs().amax(0).detach().numpy()
        with chapter4.GradCAM(model, layer) as camera:
            cam = camera.generate_cam(image, target_class)
        return cam.raw

    before = draw()
    with intervened(model.get_submodule(place), intervention):
        after = draw()
    return distance(after, before)


def distance(new, old):
    new, old = np.asarray(new, float), np.asarray(old, float)
    return np.sqrt(np.square(new - old).sum()) / np.sqrt(np.square(old).sum())


def change_captum(intervention, place, method, image, model, target_class, layer):
    """Captum's Saliency and LayerGradCam."""
    from captum.attr import LayerGradCam, Saliency

    def draw():
        x = image[None].clone().requires_grad_()
        if method == "vanilla":
            return Saliency(model).attribute(x, target=target_class).amax(dim=1)
        camera = LayerGradCam(model, model.get_submodule(layer))
        return camera.attribute(x, target=target_class, relu_attributions=True)

    before = draw().detach().numpy()
    hooks = {"mirror gradient": mirror_gradient, "add constant": add_constant}
    handle = model.get_submodule(place).register_forward_hook(hooks[intervention])
    after = draw().detach().numpy()
    handle.remove()
    return distance(after, before)


def change_leaf(intervention, place, method, image, model, target_class, layer):
    """The layer's output replaced by a leaf, the only one that Grad-CAM needs."""

    def draw():
        leaf = image[None].clone()
        leaves = []

        def cut(module, inputs, output):
            leaves.append(output.detach().requires_grad_())
            return leaves[0]

        if method == "vanilla":
            leaves.append(leaf.requires_grad_())
            logits = model(leaf)
        else:
            handle = model.get_submodule(layer).register_forward_hook(cut)
            logits = model(leaf)
            handle.remove()
        (g,) = torch.autograd.grad(logits[:, target_class].sum(), leaves)
        if method == "vanilla":
            return g.abs().flatten(2).max(dim=1).values
        return torch.einsum("nc,nchw->nhw", g.mean((2, 3)), leaves[0]).clamp(min=0)

    maps = [draw()]
    handle = model.get_submodule(place).register_forward_hook(
        {"mirror gradient": mirror_gradient, "add constant": add_constant}[intervention]
    )
    maps.append(draw())
    handle.remove()
    return torch.dist(*maps) / maps[0].norm()


def change_jacobian(intervention, place, method, image, model, target_class, layer):
    """The Jacobian of all logits; the hook on every module, where it looks who asks."""
    chosen = model.get_submodule(place)
    act = mirror_gradient if intervention == "mirror gradient" else add_constant

    def draw():
        if method == "gradcam":
            return chapter4.GradCAM(model, layer).generate_cam(image, target_class).raw
        rows = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image)
        return rows[target_class].abs().max(dim=0).values.numpy()

    def look(module, inputs, output):
        return act(module, inputs, output) if module is chosen else None

    before = draw()
    handle = torch.nn.modules.module.register_module_forward_hook(look)
    after = draw()
    handle.remove()
    return [distance(after, before)]


def change_frozen(intervention, place, method, image, model, target_class, layer):
    """Parameters frozen meanwhile; a tensor's hook keeps the gradient."""
    frozen = [p for p in model.parameters() if p.requires_grad]
    for p in frozen:
        p.requires_grad = False

    def draw():
        x = image[None].clone().requires_grad_()
        kept = {}

        def keep(module, inputs, output):
            kept["a"] = output.detach()
            output.register_hook(lambda g: kept.update(g=g))

        handle = model.get_submodule(layer).register_forward_hook(keep)
        model(x)[0, target_class].backward()
        handle.remove()
        if method == "vanilla":
            return x.grad.abs().amax(dim=1)
        return (kept["g"].mean((2, 3), keepdim=True) * kept["a"]).sum(1).relu()

    before = draw()
    hook = mirror_gradient if "mirror" in intervention else add_constant
    handle = model.get_submodule(place).register_forward_hook(hook)
    after = draw()
    handle.remove()
    for p in frozen:
        p.requires_grad = True
    return distance(after, before)


def change_double(intervention, place, method, image, model, target_class, layer):
    """A copy in float64; the backward hook of a module mirrors."""
    net = copy.deepcopy(model).double().eval()
    x = image.double()

    def draw():
        kept = []
        handle = net.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output: kept.append(output)
        )
        leaf = x[None].clone().requires_grad_(True)
        logits = net(leaf)
        handle.remove()
        pixels, cells = torch.autograd.grad(logits[0, target_class], (leaf, kept[-1]))
        if method == "vanilla":
            return pixels.abs().max(dim=1)[0]
        return torch.clamp((cells.mean((2, 3), True) * kept[-1]).sum(1), min=0).detach()

    before = draw()
    module = net.get_submodule(place)
    if intervention == "add constant":
        handle = module.register_forward_hook(lambda m, i, o: torch.add(o, 0.5))
    else:
        handle = module.register_full_backward_pre_hook(
            lambda m, gradients: (gradients[0].flip(3),)
        )
    after = draw()
    handle.remove()
    return torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before)


# statements
def labels_table():
    return {
        "S1": "Grad-CAM",
        "S2": "Grad-CAM",
        "S3": "vanilla",
        "S4": "vanilla",
        "S5": "Grad-CAM",
        "S6": "both",
        "S7": "both",
        "S8": "Grad-CAM",
        "S9": "vanilla",
        "S10": "neither",
    }


def labels_by_group():
    """The other way round, with spellings of one's own."""
    groups = {
        "grad-cam": [1, 2, 5, 8],
        "Vanilla gradients": [3, 4, 9],
        "BOTH": [6, 7],
        " neither ": [10],
    }
    return {f"S{i}": label for label, ids in groups.items() for i in ids}


_HELPERS = (mirror_gradient, add_constant, distance)
SUBMISSIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "the package": (
        grid_of_the_result,
        rough_diff,
        coarse_reshape,
        change_package,
        labels_table,
    ),
    "plain PyTorch": (
        grid_by_hook,
        rough_torch,
        coarse_pool,
        change_plain,
        labels_table,
    ),
    "backward and einsum": (
        grid_of_the_gradient,
        rough_slices,
        coarse_loop,
        change_backward,
        labels_by_group,
    ),
    "a copy with a module replaced": (
        Mirror,
        Changed,
        grid_by_submodule,
        rough_loop,
        coarse_scipy,
        change_copy,
        labels_table,
    ),
    "a context manager and torch.func": (
        intervened,
        grid_by_hook,
        rough_convolution,
        coarse_reshape,
        change_forward,
        labels_by_group,
    ),
    "Captum": (
        grid_of_the_result,
        rough_torch,
        coarse_loop,
        change_captum,
        labels_table,
    ),
    "float64 and a backward hook": (
        grid_of_the_gradient,
        rough_convolution,
        coarse_pool,
        change_double,
        labels_by_group,
    ),
    "loops": (
        grid_by_hook,
        rough_loop,
        coarse_loop,
        change_plain,
        labels_by_group,
    ),
    "a leaf in the layer's place": (
        grid_inference,
        rough_windows,
        coarse_sampled,
        change_leaf,
        labels_table,
    ),
    "the Jacobian and one hook for all modules": (
        grid_inference,
        rough_windows,
        coarse_pool,
        change_jacobian,
        labels_by_group,
    ),
    "frozen for a while": (
        grid_of_the_gradient,
        rough_diff,
        coarse_sampled,
        change_frozen,
        labels_table,
    ),
    "reduceat and inference mode": (
        grid_inference,
        rough_convolution,
        coarse_sampled,
        change_plain,
        labels_by_group,
    ),
    "SciPy": (
        grid_by_submodule,
        rough_slices,
        coarse_scipy,
        change_package,
        labels_table,
    ),
}
NAMES = (
    "native_resolution",
    "total_variation",
    "through_grid",
    "change_under",
    "statements",
)
_HEADER = """\
import contextlib
import copy

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

import chapter4
"""


def source(*parts: Callable[..., Any]) -> str:
    """The cells of a submission; the last five parts get the five names."""
    return source_of(_HEADER, NAMES, parts, around=[*_HELPERS, in_own_words])
