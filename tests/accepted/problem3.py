"""Problem 3: right answers, each written in another way.

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
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter
from scipy import ndimage
from torch.nn import functional as F

from accepted import source_of

# --- baselines


def pictures(image, mean, std, blur_sigma, seed):
    """Pictures first, one formula for all four."""
    mean = torch.tensor(mean).reshape(3, 1, 1)
    std = torch.tensor(std).reshape(3, 1, 1)
    pixels = image * std + mean
    generator = torch.Generator().manual_seed(seed)
    size = 2 * math.ceil(4 * blur_sigma) + 1
    made = {
        "black": torch.zeros_like(pixels),
        "white": torch.ones_like(pixels),
        "blur": TF.gaussian_blur(pixels, size, blur_sigma),
        "random": torch.rand(pixels.shape, generator=generator),
    }
    return {name: (p - mean) / std for name, p in made.items()}


def with_normalize(image, mean, std, blur_sigma, seed):
    """torchvision's Normalize, there and back; the whole random state is set."""
    torch.manual_seed(seed)
    back = [-m / s for m, s in zip(mean, std)], [1 / s for s in std]
    pixels = TF.normalize(image.clone(), *back)
    kernel = int(6 * blur_sigma) | 1
    return {
        "random": TF.normalize(torch.rand_like(pixels), mean, std),
        "blur": TF.normalize(
            TF.gaussian_blur(pixels, [kernel, kernel], [blur_sigma] * 2), mean, std
        ),
        "white": TF.normalize(torch.full(pixels.shape, 1.0), mean, std),
        "black": TF.normalize(torch.full(pixels.shape, 0.0), mean, std),
    }


def in_numpy(image, mean, std, blur_sigma, seed):
    """float64 arrays; SciPy's filter, which reflects in another way."""
    mean, std = np.reshape(mean, (3, 1, 1)), np.reshape(std, (3, 1, 1))
    pixels = image.numpy().astype(float) * std + mean
    sigmas = [0] * (pixels.ndim - 2) + [blur_sigma, blur_sigma]
    rng = np.random.default_rng(seed)
    result = {}
    result["black"] = (np.zeros(pixels.shape) - mean) / std
    result["white"] = (np.ones(pixels.shape) - mean) / std
    result["blur"] = (ndimage.gaussian_filter(pixels, sigmas) - mean) / std
    result["random"] = (rng.uniform(0, 1, pixels.shape) - mean) / std
    return result


def with_pillow(image, mean, std, blur_sigma, seed):
    """8-bit pictures and Pillow's blur."""
    m, s = np.array(mean), np.array(std)
    planes = image.squeeze(0).permute(1, 2, 0).numpy() * s + m
    photo = Image.fromarray((planes * 255).round().clip(0, 255).astype(np.uint8))
    noise = np.random.RandomState(seed % 2**32).rand(*planes.shape)
    drawn = {
        "black": np.asarray(Image.new("RGB", photo.size, "black")) / 255,
        "white": np.asarray(Image.new("RGB", photo.size, "white")) / 255,
        "blur": np.asarray(photo.filter(ImageFilter.GaussianBlur(blur_sigma))) / 255,
        "random": noise,
    }
    return {
        name: torch.tensor((p - m) / s).permute(2, 0, 1).float().reshape(image.shape)
        for name, p in drawn.items()
    }


def own_kernel(image, mean, std, blur_sigma, seed):
    """A Gaussian of one's own, as a separable convolution."""
    shape = image.shape
    x = image.detach().reshape(1, 3, *shape[-2:])
    mean, std = (torch.as_tensor(v)[None, :, None, None] for v in (mean, std))

    def norm(p):
        return ((p - mean) / std).reshape(shape)

    r = int(np.ceil(3 * blur_sigma))
    k = torch.arange(-r, r + 1).float().div(blur_sigma).square().mul(-0.5).softmax(0)
    p = F.pad(x * std + mean, (r, r, r, r), mode="reflect")
    p = F.conv2d(p, k.view(1, 1, 1, -1).repeat(3, 1, 1, 1), groups=3)
    p = F.conv2d(p, k.view(1, 1, -1, 1).repeat(3, 1, 1, 1), groups=3)
    g = torch.Generator()
    g.manual_seed(seed)
    u = torch.empty(x.shape).uniform_(0, 1, generator=g)
    return {
        "black": norm(x * 0),
        "white": norm(x * 0 + 1),
        "blur": norm(p),
        "random": norm(u),
    }


# --- Integrated Gradients


def midpoints(image, model, target_class, baseline, n_steps):
    """One midpoint after the other."""
    x = image.reshape(1, *image.shape[-3:])
    start = baseline.reshape(x.shape)
    was_training = model.training
    model.eval()
    total = torch.zeros_like(x)
    for k in range(n_steps):
        point = start + (k + 0.5) / n_steps * (x - start)
        point = point.detach().requires_grad_()
        total += torch.autograd.grad(model(point)[0, target_class], point)[0]
    model.train(was_training)
    return ((x - start) * total / n_steps)[0]


def gauss_chunks(image, model, target_class, baseline, n_steps):
    """Gauss and Legendre, in chunks of ten."""
    x = image.reshape(1, *image.shape[-3:])
    start = baseline.reshape(1, *baseline.shape[-3:])
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    alphas = torch.tensor((nodes + 1) / 2, dtype=x.dtype).reshape(-1, 1, 1, 1)
    weights = torch.tensor(weights / 2, dtype=x.dtype).reshape(-1, 1, 1, 1)
    mode = model.training
    model.eval()
    total = torch.zeros_like(x[0])
    for a, w in zip(alphas.split(10), weights.split(10)):
        points = (start + a * (x - start)).requires_grad_()
        (g,) = torch.autograd.grad(model(points)[:, target_class].sum(), points)
        total += (w * g).sum(0)
    model.train(mode)
    return (x - start)[0] * total


def right_backward(image, model, target_class, baseline, n_steps):
    """The printed formula, all points in one batch, .backward()."""
    alphas = torch.linspace(0, 1, n_steps + 1)[1:].view(-1, 1, 1, 1)
    diff = image.squeeze() - baseline.squeeze()
    batch = (baseline.squeeze() + alphas * diff).detach()
    batch.requires_grad = True
    state = [m.training for m in model.modules()]
    try:
        model.eval()
        model(batch).select(1, target_class).sum().backward()
    finally:
        for m, mode in zip(model.modules(), state):
            m.training = mode
        model.zero_grad()
    return batch.grad.mean(dim=0) * diff


def left_einsum(image, model, target_class, baseline, n_steps):
    """Left ends; gradients as NumPy arrays, the sum as a contraction."""
    x, b = image.numpy().reshape(3, *image.shape[-2:]), baseline.numpy().squeeze()
    training = model.training
    model.eval()
    gradients = []
    for alpha in np.arange(n_steps) / n_steps:
        z = torch.from_numpy(np.float32((1 - alpha) * b + alpha * x))[None]
        z.requires_grad_()
        gradients.append(torch.autograd.grad(model(z)[0][target_class], z)[0][0])
    model.train(training)
    stacked = np.stack([g.numpy() for g in gradients])
    return np.einsum("n,nchw,chw->chw", np.full(n_steps, 1 / n_steps), stacked, x - b)


def trapezoid(image, model, target_class, baseline, n_steps):
    """n_steps intervals, both ends counted half; torch.trapezoid."""
    x = image if image.dim() == 4 else image.unsqueeze(0)
    b = baseline if baseline.dim() == 4 else baseline.unsqueeze(0)
    before, _ = model.training, model.eval()
    alphas = torch.linspace(0, 1, n_steps + 1)
    grads = []
    for a in alphas:
        z = torch.lerp(b, x, a).detach().clone().requires_grad_()
        model(z)[:, target_class].backward()
        grads.append(z.grad)
    model.train(before)
    model.zero_grad(set_to_none=True)
    integral = torch.trapezoid(torch.cat(grads), alphas, dim=0)
    return (x - b).squeeze(0) * integral


class Path:
    """As attribution libraries do it: a method object around the model."""

    def __init__(self, forward_func):
        self.forward_func = forward_func

    def attribute(self, inputs, baselines, target, n_steps=50, internal_batch_size=8):
        alphas = [(i + 0.5) / n_steps for i in range(n_steps)]
        total = torch.zeros_like(inputs)
        for i in range(0, n_steps, internal_batch_size):
            chunk = alphas[i : i + internal_batch_size]
            scaled = torch.cat(
                [baselines + a * (inputs - baselines) for a in chunk]
            ).requires_grad_()
            with torch.enable_grad():
                output = self.forward_func(scaled)[:, target]
                grads = torch.autograd.grad(torch.unbind(output), scaled)[0]
            total = total + grads.sum(0, keepdim=True) / n_steps
        return total * (inputs - baselines)


def like_captum(image, model, target_class, baseline, n_steps):
    was_training = model.training
    try:
        explained = Path(model.eval()).attribute(
            image.view(-1, *image.shape[-3:]),
            baselines=baseline.view(-1, *baseline.shape[-3:]),
            target=target_class,
            n_steps=n_steps,
        )
    finally:
        model.train(was_training)
    return explained[0].detach().numpy()


def functional(image, model, target_class, baseline, n_steps):
    """torch.func: the gradient of one image's score, mapped over the path."""
    x, b = (v.reshape(3, *v.shape[-2:]) for v in (image, baseline))
    was = model.training
    model.eval()

    def score(one):
        return model(one[None])[0, target_class]

    alphas = ((torch.arange(n_steps) + 0.5) / n_steps)[:, None, None, None]
    each = torch.func.vmap(torch.func.grad(score))(b + alphas * (x - b))
    model.train(was)
    return ((x - b) * each.mean(0)).tolist()


def in_double(image, model, target_class, baseline, n_steps):
    """A copy of the model in float64; a running mean."""
    net = copy.deepcopy(model).eval().double()
    x, b = image.double().view(3, *image.shape[-2:]), baseline.double()
    b = b.view(x.shape)
    mean = torch.zeros_like(x)
    for k in range(1, n_steps + 1):
        z = torch.lerp(b, x, (k - 0.5) / n_steps)[None].requires_grad_()
        (g,) = torch.autograd.grad(net(z)[0, target_class], z)
        mean = mean + (g[0] - mean) / k
    return mean.mul(x - b).numpy()


def evenly(image, model, target_class, baseline, n_steps):
    """A plain mean over linspace with both ends; one row of autograd's Jacobian."""
    x = image[None] if image.ndim == 3 else image
    b = baseline[None] if baseline.ndim == 3 else baseline
    old = model.training
    model.train(False)
    rows = [
        torch.autograd.functional.jacobian(lambda v: model(v)[0], b + t * (x - b))
        for t in np.linspace(0, 1, n_steps).astype("float32")
    ]
    model.train(old)
    average = torch.stack(rows)[:, target_class, 0].mean(0)
    return (average * (x - b)[0]).numpy()


# --- completeness


def error_torch(attributions, image, baseline, model, target_class):
    with torch.no_grad():
        top = model(image.reshape(1, *image.shape[-3:]))[0, target_class]
        low = model(baseline.reshape(1, *baseline.shape[-3:]))[0, target_class]
    change = (top - low).item()
    if change == 0:
        return float("nan")
    return abs(attributions.sum().item() - change) / abs(change)


def error_batch(attributions, image, baseline, model, target_class):
    """Both ends in one batch; nan by division in NumPy."""
    ends = torch.stack([image.squeeze(0), baseline.squeeze(0)])
    scores = model(ends).detach().numpy()[:, target_class].astype(np.float64)
    change = scores[0] - scores[1]
    total = np.asarray(attributions, dtype=np.float64).sum()
    return np.abs(total / change - 1) if abs(change) > 1e-12 else np.nan


def error_tensor(attributions, image, baseline, model, target_class):
    """A 0-d tensor, in float64."""
    x, b = (e if e.dim() == 4 else e[None] for e in (image, baseline))
    change = torch.sub(model(x), model(b)).double().detach()[0, target_class]
    error = torch.abs(attributions.double().sum() - change) / change.abs()
    return torch.where(change == 0, torch.tensor(math.nan, dtype=error.dtype), error)


# --- how alike two maps are


def correlation_pool(first, second, cell):
    maps = [a.abs().sum(0)[None, None] for a in (first, second)]
    pooled = [F.avg_pool2d(m, cell).flatten() for m in maps]
    return torch.corrcoef(torch.stack(pooled))[0, 1].item()


def correlation_reshape(first, second, cell):
    def cells(a):
        m = np.abs(np.asarray(a, dtype=float)).sum(axis=0)
        h, w = m.shape
        return m.reshape(h // cell, cell, w // cell, cell).mean(axis=(1, 3)).ravel()

    return np.corrcoef(cells(first), cells(second))[0, 1]


def correlation_by_hand(first, second, cell):
    """Sums over cells instead of means: the factor drops out."""
    rows = []
    for a in (first, second):
        m = torch.linalg.vector_norm(a.double(), ord=1, dim=0)
        m = m.unfold(0, cell, cell).unfold(1, cell, cell).sum(dim=(-1, -2))
        rows.append((m - m.mean()).ravel())
    a, b = rows
    return float(a @ b / torch.sqrt((a @ a) * (b @ b)))


# --- what a baseline can't see


def shares_quantile(attributions, image, mean, std):
    m = attributions.abs().sum(0)
    mean, std = torch.tensor(mean), torch.tensor(std)
    pixels = image * std[:, None, None] + mean[:, None, None]
    light = pixels.mean(dim=-3).squeeze()
    dark = light <= torch.quantile(light, 0.1)
    bright = light >= torch.quantile(light, 0.9)
    return {
        "darkest": (m[dark].mean() / m.mean()).item(),
        "brightest": (m[bright].mean() / m.mean()).item(),
    }


def shares_sorted(attributions, image, mean, std):
    """The order of the pixels, and its first and last tenth."""
    m = np.abs(np.asarray(attributions, dtype=float)).sum(0).ravel()
    planes = np.asarray(image, dtype=float).reshape(3, -1)
    light = sum(planes[c] * std[c] + mean[c] for c in range(3))  # the sum orders alike
    order = np.argsort(light)
    tenth = len(order) // 10
    parts = {"darkest": order[:tenth], "brightest": order[-tenth:]}
    return {name: np.mean(m[at]) / np.mean(m) for name, at in parts.items()}


def shares_topk(attributions, image, mean, std):
    flat = torch.einsum("chw->hw", attributions.abs()).flatten()
    flat = flat / flat.mean()
    weights = torch.tensor(std, dtype=torch.float64)
    light = torch.einsum("chw,c->hw", image.double(), weights).flatten()
    k = light.numel() // 10
    return {
        "brightest": float(flat[light.topk(k).indices].mean()),
        "darkest": float(flat[light.topk(k, largest=False).indices].mean()),
    }


# --- in words


def words():
    said = (
        "The factor image minus baseline decides which pixels can get any attribution"
        " at all, so these 10 % get 0.1 of the mean."
    )
    return dict.fromkeys(("black", "white", "blur", "random", "guidelines"), said)


NAMES = (
    "make_baselines",
    "integrated_gradients",
    "completeness_error",
    "map_correlation",
    "blind_shares",
    "explanation",
)
SUBMISSIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "midpoints": (
        pictures,
        midpoints,
        error_torch,
        correlation_pool,
        shares_quantile,
        words,
    ),
    "Gauss in chunks": (
        with_normalize,
        gauss_chunks,
        error_batch,
        correlation_reshape,
        shares_sorted,
        words,
    ),
    "the printed sum, backward": (
        own_kernel,
        right_backward,
        error_tensor,
        correlation_by_hand,
        shares_topk,
        words,
    ),
    "left ends, einsum": (
        in_numpy,
        left_einsum,
        error_batch,
        correlation_reshape,
        shares_sorted,
        words,
    ),
    "trapezoid": (
        with_pillow,
        trapezoid,
        error_torch,
        correlation_pool,
        shares_topk,
        words,
    ),
    "like a library": (
        Path,
        pictures,
        like_captum,
        error_tensor,
        correlation_by_hand,
        shares_quantile,
        words,
    ),
    "torch.func": (
        own_kernel,
        functional,
        error_batch,
        correlation_pool,
        shares_sorted,
        words,
    ),
    "float64": (
        in_numpy,
        in_double,
        error_tensor,
        correlation_by_hand,
        shares_topk,
        words,
    ),
    "linspace and Jacobian": (
        with_pillow,
        evenly,
        error_torch,
        correlation_reshape,
        shares_quantile,
        words,
    ),
}
_HEADER = """\
import copy
import math

import numpy as np
import torch
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter
from scipy import ndimage
from torch.nn import functional as F
"""


def source(*parts: Callable[..., Any]) -> str:
    """The cell of a submission; the last six parts get the six names."""
    return source_of(_HEADER, NAMES, parts)
