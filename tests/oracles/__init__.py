"""Oracles: the values that each image method must give.

An oracle takes an implementation with the signature of chapter4's own, and raises an
AssertionError that says where the implementation is wrong. The files test_*.py check
chapter4 with these oracles, and test_wrong_variants.py shows that known mistakes fail
them.
"""

from __future__ import annotations

from measures import DEVIATIONS, Impl, Method, Oracle, unrecorded

from oracles.contract import CONTRACT, STATE
from oracles.gradcam import GRAD_CAM, GRAD_CAM_PLUS
from oracles.gradients import GRADIENT_INPUT, SMOOTH_GRAD, VANILLA
from oracles.integrated_gradients import BASELINES, INTEGRATED_GRADIENTS
from oracles.photos import PHOTOS

__all__ = ["DEVIATIONS", "OWN", "all_oracles", "as_method", "unrecorded"]

OWN: dict[str, list[Oracle]] = {
    "vanilla_gradients": VANILLA,
    "gradient_input": GRADIENT_INPUT,
    "smooth_grad": SMOOTH_GRAD,
    "GradCAM": GRAD_CAM,
    "GradCAMPlusPlus": GRAD_CAM_PLUS,
    "integrated_gradients": INTEGRATED_GRADIENTS,
    "make_baseline": BASELINES,
    "image_tensor": PHOTOS,
}


def as_method(kind: str, impl: Impl) -> Method:
    """An implementation with few samples or steps, under one signature.

    Args:
        kind: The name of the method.
        impl: The implementation, with the signature of chapter4's own.

    Returns:
        A function ``(image, model, target_class=None) -> result``.
    """
    if kind.startswith("GradCAM"):
        return lambda x, model, target=None: impl(model, model.features).generate_cam(
            x, target
        )
    few = {"smooth_grad": (3, 0.1), "integrated_gradients": ("black", 3)}.get(kind, ())
    return lambda x, model, target=None: impl(x, model, target, *few)


def all_oracles(kind: str) -> dict[str, Oracle]:
    """Name -> oracle: a method's own oracles, and those that all methods share.

    Every oracle takes the implementation itself.
    """
    found = {oracle.__name__: oracle for oracle in OWN[kind]}
    if kind not in ("make_baseline", "image_tensor"):
        for shared in (*CONTRACT, *STATE):
            found[shared.__name__] = lambda impl, shared=shared: shared(
                as_method(kind, impl)
            )
    return found
