"""Section 4.3: Integrated Gradients.

They divide among the pixels what the score gains from a baseline to the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    GradientAttribution,
    Score,
    check_count,
    check_score,
    choose_targets,
    chunk_of,
    frozen_eval,
    gradient_sum,
    input_gradient,
    logits_of,
    one_or_all,
    seeded,
    select,
    unbatch,
)
from chapter4.inputs.images import image_tensor, nearest, preprocessing_of
from chapter4.methods.adaptive_path import Evaluate, check_tolerance, integrate

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput

BASELINES = ("black", "white", "random", "blur", "mean")
# Captum's names. Gauss-Legendre has the smallest error at 50 steps on real networks,
# though not by its textbook rate.
RULES = (
    "gausslegendre",
    "riemann_middle",
    "riemann_right",
    "riemann_left",
    "riemann_trapezoid",
)


@dataclass(frozen=True)
class IntegratedGradientsAttribution(GradientAttribution):
    """Integrated Gradients with their completeness error.

    ``.attributions`` is signed; ``.map`` sums its absolute values over the channels.
    The other attributes are those of :class:`chapter4.GradientAttribution`.

    Attributes:
        delta: The completeness error
            ``|sum(attributions) - (F(x) - F(x'))| / |F(x) - F(x')|``, one per image for
            a batch. It is nan where F(x) = F(x').
        baseline_score: F(x'), the score of the baseline, one per image for a batch.
    """

    delta: float | list[float] = float("nan")
    baseline_score: float | list[float] = field(default=float("nan"))


def integrated_gradients(
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    baseline: str | Tensor = "black",
    n_steps: int = 50,
    *,
    seed: int = 0,
    chunk_size: int | None = None,
    score: Score = "logit",
    rule: str = "gausslegendre",
    backend: Literal["chapter4", "captum"] = "chapter4",
    tolerance: float | None = None,
    logits: Tensor | None = None,
) -> IntegratedGradientsAttribution:
    """Integrated Gradients: the gradients on the line from a baseline to the image.

    The mean gradient of F on the straight line from the baseline x' to the image x is
    multiplied by (x - x')::

        IG_i = (x_i - x'_i) * integral of g_i(alpha) over alpha in [0, 1]
        g_i(alpha) = dF/dx_i at x' + alpha (x - x')

    The integral is computed as a sum of ``n_steps`` gradients. Completeness: the
    attributions sum to F(x) - F(x'), up to the error ``.delta`` of that sum.

    Args:
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: A classifier that gives logits (N, K). A plain ``nn.Module`` gets
            ImageNet's preprocessing for a path or a PIL image.
        target_class: The index of the class to explain, one per image for a batch, or
            None for the class predicted for the image (not for the baseline).
        baseline: "black", "white", "random", "blur" or "mean" (see
            :func:`chapter4.make_baseline`), or a normalised tensor of the image's
            shape.
        n_steps: The number of gradients for each image.
        seed: The seed of the random baseline.
        chunk_size: Steps in one pass through the model; None chooses a number that
            suits the device. Memory grows with it, never with ``n_steps``.
        score: F, the score to explain: "logit", or "probability" for the softmax, whose
            gradient vanishes as it nears 1.
        rule: "gausslegendre", "riemann_middle", "riemann_right" (the printed formula),
            "riemann_left" or "riemann_trapezoid".
        backend: "chapter4" for our own sum, in memory of one chunk, or "captum" for
            Captum's.
        tolerance: Stop once the estimated relative L2 error of the attributions is at
            most this, such as 0.05. Then ``n_steps`` is the most that is spent, and
            steps go where the gradient changes (see
            ``chapter4.methods.adaptive_path``). ``.settings`` says how it ended:
            "gradients" taken, "estimated_error", and whether it "converged". The steps
            follow the gradients, so another ``chunk_size`` may, by rounding, lead to
            other steps within the tolerance.
        logits: The model's logits (N, K) for the image, where they are known already.
            This saves a forward pass.

    Returns:
        A result that unpacks to (map, target). The map is (H, W) or (N, H, W);
        ``.attributions`` is (3, H, W) or (N, 3, H, W), signed.

    Raises:
        ValueError: If an argument is out of range, if a tolerance is given together
            with a rule or backend, if the image can't be used, or if the model gives no
            finite logits (N, K) or no finite gradient.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """
    n_steps = check_count("n_steps", n_steps)
    seeded(seed)  # a wrong seed is an error even where no baseline needs it
    x = image_tensor(image, model)
    start = _baseline_tensor(baseline, x, model, seed)
    if backend not in ("chapter4", "captum"):
        raise ValueError(f"backend is 'chapter4' or 'captum', not {backend!r}")
    alphas, weights = quadrature(rule, n_steps)
    if tolerance is not None:
        tolerance = check_tolerance(tolerance)
        if rule != "gausslegendre" or backend != "chapter4":
            raise ValueError(
                "a tolerance chooses the steps itself: leave out rule and backend, or"
                " tolerance"
            )
    with frozen_eval(model):
        with torch.no_grad():
            if logits is None:
                logits = logits_of(model, x.clone())
            start_logits = logits_of(model, start.clone())
        targets = choose_targets(logits, target_class)
        values, start_values = (
            select(each, targets, check_score(score)) for each in (logits, start_logits)
        )
        if backend == "captum":
            signed = _captum(model, x, start, targets, score, rule, n_steps, chunk_size)
        elif tolerance is not None:
            chunk = chunk_of(chunk_size, x)
            found = [
                integrate(
                    _evaluator(model, x[i], start[i], targets[i], score, chunk),
                    (start_values[i].item(), values[i].item()),
                    tolerance,
                    n_steps,
                )
                for i in range(len(x))
            ]
            signed = torch.stack([each.total for each in found])
        else:
            path = _path(x, start, alphas, weights)
            signed = (x - start) * gradient_sum(
                model, path, x, targets, score=score, chunk_size=chunk_size
            )
    # On the CPU: Apple's GPUs have no float64.
    change = (values - start_values).cpu().double()
    delta = (signed.cpu().double().sum(dim=(1, 2, 3)) - change).abs() / change.abs()
    delta = torch.where(change == 0, torch.nan, delta)
    settings: dict[str, Any] = {
        "score": score,
        "baseline": baseline if isinstance(baseline, str) else "tensor",
        "n_steps": n_steps,
        "rule": rule,
        "backend": backend,
        "seed": seed,
    }
    if tolerance is not None:
        settings |= {
            "rule": "adaptive",
            "tolerance": tolerance,
            "gradients": one_or_all([len(each.alphas) for each in found], image),
            "estimated_error": one_or_all([each.error for each in found], image),
            "converged": one_or_all([each.converged for each in found], image),
        }
    return IntegratedGradientsAttribution(
        map=unbatch(signed.abs().sum(dim=1), image),
        target=one_or_all(targets, image),
        score=one_or_all(values.tolist(), image),
        method="integrated_gradients",
        settings=settings,
        attributions=unbatch(signed, image),
        delta=one_or_all(delta.tolist(), image),
        baseline_score=one_or_all(start_values.tolist(), image),
    )


def make_baseline(
    name: str,
    image: ImageInput,
    model: nn.Module | None = None,
    *,
    seed: int = 0,
    blur_sigma: float | None = None,
) -> Tensor:
    """Make a baseline in PIXEL space and then normalise it.

    It is normalised as the model normalises its photos.

    Args:
        name: "black" and "white" (pixel values 0 and 1), "mean" (the colour that
            normalises to 0), "random" (uniform in [0, 1] for every pixel and channel,
            by ``seed``), or "blur" (the image itself under a Gaussian).
        image: A path, a PIL image, or a normalised float tensor (3, H, W) or
            (N, 3, H, W).
        model: The model whose preprocessing to use; ImageNet's without one.
        seed: The seed of the random baseline.
        blur_sigma: The Gaussian's standard deviation in pixels; default 9 % of the
            shorter side.

    Returns:
        The normalised tensor in the shape of the image tensor, (1, 3, H, W) for a path
        or a PIL image.

    Raises:
        ValueError: If the name is unknown, if ``blur_sigma`` is not positive, or if the
            image can't be used.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such image file.

    References:
        Sturmfels et al. 2020, Distill.
    """
    carrier = model if model is not None else nn.Identity()
    x = image_tensor(image, carrier)
    made = _baseline(name, x, carrier, seed, blur_sigma)
    return made[0] if isinstance(image, Tensor) and image.ndim == 3 else made


def quadrature(rule: str, n_steps: int) -> tuple[list[float], list[float]]:
    """Points in [0, 1], and weights that sum to 1.

    Args:
        rule: One of ``RULES``.
        n_steps: The number of points.

    Returns:
        The points and their weights, ``n_steps`` of each.

    Raises:
        ValueError: If the rule is unknown, or for a trapezoid of one step.
    """
    n = n_steps
    if rule == "gausslegendre":
        # NumPy's leggauss fills an n x n matrix. This one needs memory for n numbers.
        from scipy.special import roots_legendre

        nodes, weights = roots_legendre(n)
        return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
    if rule == "riemann_trapezoid":
        if n < 2:
            raise ValueError("the trapezoid needs n_steps of at least 2")
        ends = np.ones(n)
        ends[[0, -1]] = 0.5
        return np.linspace(0, 1, n).tolist(), (ends / (n - 1)).tolist()
    if rule not in RULES:
        raise ValueError(
            f"no rule {rule!r}{nearest(rule, RULES)}; there are {', '.join(RULES)}"
        )
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return ((np.arange(n) + shift) / n).tolist(), [1 / n] * n


def _path(
    x: Tensor, start: Tensor, alphas: list[float], weights: list[float]
) -> Iterator[tuple[Tensor, int, float]]:
    for alpha, weight in zip(alphas, weights, strict=True):
        for i in range(len(x)):
            yield start[i] + alpha * (x[i] - start[i]), i, weight


def _evaluator(
    model: nn.Module, x: Tensor, start: Tensor, target: int, score: Score, chunk: int
) -> Evaluate:
    """What ``integrate`` asks for at positions on the path to one image (3, H, W)."""

    def evaluate(alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
        maps, values = [], []
        for i in range(0, len(alphas), chunk):
            some = alphas[i : i + chunk]
            steps = torch.tensor(some, dtype=x.dtype, device=x.device)
            points = start + steps[:, None, None, None] * (x - start)
            gradient, value, _ = input_gradient(
                model, points, [target] * len(points), score
            )
            maps.append(gradient * (x - start))
            values.append(value)
        return torch.cat(maps), torch.cat(values)

    return evaluate


def _captum(
    model: nn.Module,
    x: Tensor,
    start: Tensor,
    targets: list[int],
    score: Score,
    rule: str,
    n_steps: int,
    chunk_size: int | None,
) -> Tensor:
    from captum.attr import IntegratedGradients

    if rule == "riemann_trapezoid":
        raise ValueError(
            "Captum's riemann_trapezoid weights sum to (n-1)/n; use another rule, or"
            " backend='chapter4'"
        )

    if n_steps < 2 and rule != "gausslegendre":
        raise ValueError(f"Captum's {rule} needs n_steps of at least 2")

    def forward(batch: Tensor, target: Tensor) -> Tensor:
        return select(logits_of(model, batch.clone()), target.tolist(), score)

    chunk = max(chunk_of(chunk_size, x), len(x))
    return IntegratedGradients(forward).attribute(
        x,
        start,
        additional_forward_args=(torch.tensor(targets),),
        n_steps=n_steps,
        method=rule,
        internal_batch_size=chunk,
    )


def _baseline_tensor(
    baseline: str | Tensor, x: Tensor, model: nn.Module, seed: int
) -> Tensor:
    if isinstance(baseline, str):
        return _baseline(baseline, x, model, seed)
    if not isinstance(baseline, Tensor):
        raise TypeError(
            "baseline is a name or a tensor of the image's shape, not"
            f" {type(baseline).__name__}"
        )
    if not baseline.is_floating_point():
        raise TypeError(
            f"a baseline tensor holds normalised floats, not {baseline.dtype}"
        )
    start = baseline.detach()[None] if baseline.ndim == 3 else baseline.detach()
    if start.shape != x.shape:
        raise ValueError(
            f"the baseline {tuple(baseline.shape)} has not the image's shape"
            f" {tuple(x.shape)}"
        )
    if not start.isfinite().all():
        raise ValueError("the baseline holds NaN or infinite values")
    return start.to(x)


def _baseline(
    name: str, x: Tensor, model: nn.Module, seed: int, blur_sigma: float | None = None
) -> Tensor:
    space = preprocessing_of(model)
    if name == "mean":
        return torch.zeros_like(x)
    if name == "black":
        pixels = torch.zeros_like(x)
    elif name == "white":
        pixels = torch.ones_like(x)
    elif name == "random":
        # One draw for all images of a batch: each gets the baseline that it would get
        # alone.
        drawn = torch.rand(x.shape[1:], generator=seeded(seed), dtype=x.dtype)
        pixels = drawn.to(x.device).expand_as(x)
    elif name == "blur":
        pixels = _blur(space.denormalize(x), blur_sigma)
    else:
        raise ValueError(
            f"no baseline {name!r}{nearest(name, BASELINES)}; there are "
            f"{', '.join(BASELINES)}"
        )
    return space.normalize(pixels)


def _blur(pixels: Tensor, sigma: float | None) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    short = min(pixels.shape[-2:])
    sigma = 0.09 * short if sigma is None else float(sigma)
    if not 0 < sigma < math.inf:
        raise ValueError(f"blur_sigma is a positive number of pixels, not {sigma}")
    # The kernel reaches three sigmas. Reflection at the border allows no radius larger
    # than the image.
    radius = min(round(3 * sigma), short - 1)
    return gaussian_blur(pixels, kernel_size=[2 * radius + 1] * 2, sigma=[sigma, sigma])
