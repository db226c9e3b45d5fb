"""Known mistakes that can be run.

Each maker takes the name of a mistake and gives a plain second implementation of a
method with this one mistake; "" makes none. The tables say which oracle must catch
which mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wrong.gradcam import GRAD_CAM, GRAD_CAM_PLUS, grad_cam
from wrong.gradients import GRADIENT_INPUT, SMOOTH_GRAD, VANILLA, gradients, smooth_grad
from wrong.integrated_gradients import (
    BASELINES,
    INTEGRATED_GRADIENTS,
    integrated_gradients,
    make_baseline,
)
from wrong.photos import PHOTO, photo_tensor

# Method -> (maker of variants, mistake -> the oracle that must catch it).
MISTAKES: dict[str, tuple[Callable[[str], Any], dict[str, str]]] = {
    "vanilla_gradients": (gradients, VANILLA),
    "gradient_input": (
        lambda wrong: gradients(wrong, times_input=True),
        GRADIENT_INPUT,
    ),
    "smooth_grad": (smooth_grad, SMOOTH_GRAD),
    "GradCAM": (grad_cam, GRAD_CAM),
    "GradCAMPlusPlus": (lambda wrong: grad_cam(wrong, plus=True), GRAD_CAM_PLUS),
    "integrated_gradients": (integrated_gradients, INTEGRATED_GRADIENTS),
    "make_baseline": (make_baseline, BASELINES),
    "image_tensor": (photo_tensor, PHOTO),
}
