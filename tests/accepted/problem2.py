"""Problem 2: right answers, each written in another way.

They must all get every point. A submission takes one function for each of the names;
``source`` writes it as a student's cell would contain it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from accepted import source_of

smooth_grad: Any = None  # the submission's own takes its place


def loop(image, model, target_class, n_samples, noise_level, seed):
    x = image.detach().clone().reshape(1, *image.shape[-3:])
    sigma = noise_level * (x.max() - x.min())
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    total = torch.zeros_like(x)
    for _ in range(n_samples):
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        noisy.requires_grad_(True)
        total += torch.autograd.grad(model(noisy)[0, target_class], noisy)[0]
    model.train(was_training)
    return (total / n_samples)[0].abs().amax(dim=0).numpy()


def one_batch(image, model, target_class, n_samples, noise_level, seed):
    """All samples at once; the whole random state is set, as many do."""
    torch.manual_seed(seed)
    x = image.clone()
    if x.dim() == 4:
        x = x[0]
    spread = float(x.max()) - float(x.min())
    batch = x.repeat(n_samples, 1, 1, 1)
    batch = (batch + noise_level * spread * torch.randn_like(batch)).requires_grad_()
    mode = model.training
    try:
        model.eval()
        model(batch)[:, target_class].sum().backward()
    finally:
        model.train(mode)
    return batch.grad.mean(dim=0).abs().max(dim=0).values


def backward(image, model, target_class, n_samples, noise_level, seed):
    """.backward() on a leaf, .grad cleared each time."""
    torch.manual_seed(seed)
    x = image.unsqueeze(0) if image.ndim == 3 else image
    stdev = noise_level * (x.max() - x.min()).item()
    modes = [m.training for m in model.modules()]
    model.eval()
    grads = []
    for _ in range(n_samples):
        leaf = (x + torch.normal(0.0, 1.0, x.shape) * stdev).detach()
        leaf.requires_grad = True
        model.zero_grad()
        model(leaf)[0][target_class].backward()
        grads.append(leaf.grad.squeeze(0))
    for m, mode in zip(model.modules(), modes):
        m.training = mode
    return torch.stack(grads).mean(0).abs().max(0)[0]


def einsum(image, model, target_class, n_samples, noise_level, seed):
    """Chunks, gradients in NumPy, the mean as a contraction."""
    rng = np.random.default_rng(seed)
    x = image.numpy().reshape(-1, *image.shape[-2:])
    sd = noise_level * np.ptp(x)
    training = model.training
    model.eval()
    gradients = []
    for start in range(0, n_samples, 16):
        count = min(16, n_samples - start)
        noisy = (
            x + rng.normal(0, sd, size=(count, *x.shape))
            if sd
            else x[None].repeat(count, 0)
        )
        points = torch.tensor(noisy, dtype=torch.float32, requires_grad=True)
        scores = model(points)[:, target_class]
        gradients.append(
            torch.autograd.grad(scores, points, torch.ones(count))[0].numpy()
        )
    model.train(training)
    weights = np.full(n_samples, 1 / n_samples)
    return np.abs(np.einsum("n,nchw->chw", weights, np.concatenate(gradients))).max(
        axis=0
    )


class Gradient:
    """As attribution libraries do it: a method object; a tunnel repeats its input."""

    def __init__(self, forward):
        self.forward = forward

    def attribute(self, inputs, target):
        inputs = inputs.detach().requires_grad_()
        one_hot = torch.nn.functional.one_hot(
            torch.as_tensor(target), self.forward(inputs).shape[1]
        )
        return torch.autograd.grad((self.forward(inputs) * one_hot).sum(), inputs)[0]


def tunnel(image, model, target_class, n_samples, noise_level, seed):
    was, _ = model.training, model.eval()
    x = image.reshape((1, *image.shape[-3:]))
    expanded = torch.repeat_interleave(x, n_samples, dim=0)
    generator = torch.Generator()
    generator.manual_seed(seed)
    scale = noise_level * (torch.max(x) - torch.min(x))
    expanded = expanded + torch.randn(expanded.shape, generator=generator) * scale
    attributed = Gradient(model).attribute(expanded, target_class)
    model.train(was)
    return attributed.view(-1, n_samples, *x.shape[1:]).mean(1).abs().amax(1).squeeze(0)


def functional(image, model, target_class, n_samples, noise_level, seed):
    """torch.func: the gradient of one image's score, mapped over the samples."""
    x = image if image.dim() == 3 else image.squeeze(0)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.stack(
        [torch.randn(x.shape, generator=generator) for _ in range(n_samples)]
    )
    sigma = noise_level * (x.max() - x.min())
    was_training = model.training
    model.eval()

    def score(one):
        return model(one[None])[0, target_class]

    each = torch.func.vmap(torch.func.grad(score))(x + sigma * noise)
    model.train(was_training)
    return torch.linalg.vector_norm(each.mean(0), ord=math.inf, dim=0).tolist()


def double(image, model, target_class, n_samples, noise_level, seed):
    """A copy of the model in float64; a running mean; the only plane of (1, H, W)."""
    net = copy.deepcopy(model).double().eval()
    x = image.double().view(1, 3, *image.shape[-2:])
    rng = np.random.RandomState(seed % 2**32)
    mean = torch.zeros_like(x)
    for k in range(1, n_samples + 1):
        eps = torch.from_numpy(rng.standard_normal(tuple(x.shape)))
        z = (x + noise_level * (x.max() - x.min()) * eps).requires_grad_()
        (g,) = torch.autograd.grad(net(z)[:, target_class].sum(), z)
        mean = mean + (g - mean) / k
    return mean.abs().max(dim=1)[0][0].numpy()


def jacobian(image, model, target_class, n_samples, noise_level, seed):
    """torch.autograd.functional, all classes, then the row of the one asked for."""
    x = torch.clone(image).view(1, *image.shape[-3:])
    g = torch.Generator().manual_seed(seed)
    state = model.training
    model.train(False)
    accumulated = 0
    for _ in range(n_samples):
        z = x + torch.empty_like(x).normal_(generator=g) * noise_level * (
            x.max() - x.min()
        )
        rows = torch.autograd.functional.jacobian(lambda v: model(v)[0], z)
        accumulated = accumulated + rows[target_class, 0]
    model.train(state)
    positive = torch.maximum(accumulated, -accumulated) / n_samples
    return np.asarray(positive).max(0).astype("float64")


def helpers(image, model, target_class, n_samples, noise_level, seed):
    """Small functions, keyword names of one's own, a generator of gradients."""

    def gradients():
        rng = torch.Generator().manual_seed(seed)
        for _ in range(n_samples):
            yield gradient_at(base + torch.randn(base.size(), generator=rng) * stddev)

    def gradient_at(point):
        with torch.enable_grad():
            point.requires_grad_()
            output = model(point)
            return torch.autograd.grad(output.select(1, target_class).sum(), point)[0]

    base = image.detach()[None] if image.dim() == 3 else image.detach()
    stddev = (base.amax() - base.amin()) * noise_level
    before = {name: module.training for name, module in model.named_modules()}
    model.eval()
    result = sum(gradients()) / n_samples
    for name, module in model.named_modules():
        module.training = before[name]
    return np.maximum.reduce(np.abs(result[0].numpy()))


def curve_loop(image, model, target_class, counts, seeds):
    reference = smooth_grad(
        image, model, target_class, 16 * max(counts), 0.15, max(seeds) + 1
    )
    reference = np.asarray(reference, dtype=float)
    errors = []
    for n in counts:
        each = []
        for seed in seeds:
            m = np.asarray(smooth_grad(image, model, target_class, n, 0.15, seed))
            each.append(np.linalg.norm(m - reference) / np.linalg.norm(reference))
        errors.append(sum(each) / len(each))
    return errors


def curve_table(image, model, target_class, counts, seeds):
    """A table of seeds by counts, averaged at the end."""

    def draw(n, seed):
        return torch.as_tensor(
            smooth_grad(image, model, target_class, n, 0.15, seed)
        ).flatten()

    free = next(s for s in range(10**6) if s not in seeds)
    target = draw(16 * int(np.max(counts)), free)
    table = np.zeros((len(seeds), len(counts)))
    for i, seed in enumerate(seeds):
        for j, n in enumerate(counts):
            table[i, j] = (
                (draw(n, seed) - target).square().sum() / target.square().sum()
            ).sqrt()
    return table.mean(axis=0)


def needed_mean(errors, counts, tolerance):
    c = np.mean([e * math.sqrt(n) for e, n in zip(errors, counts)])
    return max(1, math.ceil(round((c / tolerance) ** 2, 9)))


def needed_log(errors, counts, tolerance):
    """The mean of log(e) + log(n) / 2."""
    logs = np.log(errors) + np.log(counts) / 2
    return int(np.ceil(np.exp(2 * (logs.mean() - np.log(tolerance)))))


def needed_squares(errors, counts, tolerance):
    """Least squares of e against 1/sqrt(n) through the origin."""
    basis = 1 / np.sqrt(np.array(counts, dtype=float))
    c = np.linalg.lstsq(basis[:, None], np.array(errors), rcond=None)[0][0]
    return np.ceil((c / tolerance) ** 2)


SUBMISSIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "one sample after the other": (loop, curve_loop, needed_mean),
    "one batch": (one_batch, curve_table, needed_log),
    "backward": (backward, curve_loop, needed_squares),
    "numpy and einsum": (einsum, curve_table, needed_mean),
    "like a library": (Gradient, tunnel, curve_loop, needed_log),
    "torch.func": (functional, curve_loop, needed_mean),
    "float64": (double, curve_loop, needed_squares),
    "jacobian": (jacobian, curve_table, needed_log),
    "small functions": (helpers, curve_table, needed_mean),
}
_HEADER = "import copy\nimport math\n\nimport numpy as np\nimport torch\n"


def source(*parts: Callable[..., Any]) -> str:
    """The cell of a submission; the last three parts get the three names."""
    names = ("smooth_grad", "error_curve", "samples_needed")
    return source_of(_HEADER, names, parts)
