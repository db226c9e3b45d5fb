"""The printed chapter's code, mended only so that it runs; each mend has a number.

1. A tensor comes in instead of a path, so that no column pays for decoding a photo, and
   every column explains the same tensor.
2. ``register_backward_hook`` is ``register_full_backward_hook``.
3. The device is the tensor's; ``device='cuda'`` was the printed default.
4. Grad-CAM++ calls ``backward`` on detached gradients, which raises. Here the three
   derivatives are taken with ``torch.autograd.grad``. That is cheaper than the full
   backward passes that the printed lines ask for.
5. The fallback layer, ``list(model.children())[-2]``, is a pooling layer on
   EfficientNet-Lite0, where the code fails. The layer is given instead: the last
   convolution, as on the ResNet.
6. A batch, which the printed code does not know, is one image after the other.
7. The Riemann sum is printed as a formula only; the code calls Captum, all steps in one
   batch, and so does this.

What is wrong but runs is left as it is: parameter gradients that nobody wants,
``zeros`` called black, an absolute sigma, a map made before batch norm and ReLU, the
minimum taken off after the ReLU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def vanilla_gradients(
    image: Tensor, model: nn.Module, target_class: int | None = None
) -> tuple[np.ndarray, int]:
    """Section 4.1, for one image (1, 3, H, W)."""
    img_tensor = image.clone()  # mend 1
    img_tensor.requires_grad = True
    output = model(img_tensor)
    if target_class is None:
        target_class = output.argmax(dim=1).item()
    model.zero_grad()
    output[0, target_class].backward()
    saliency = img_tensor.grad.data.abs().max(dim=1)[0]
    saliency = saliency.squeeze().cpu().numpy()
    return saliency, target_class


def smooth_grad(
    image: Tensor,
    model: nn.Module,
    target_class: int | None = None,
    n_samples: int = 50,
    noise_level: float = 0.15,
) -> tuple[np.ndarray, int]:
    """Section 4.1, for one image (1, 3, H, W)."""
    img_tensor = image  # mend 1
    with torch.no_grad():
        output = model(img_tensor)
        if target_class is None:
            target_class = output.argmax(dim=1).item()
    gradients = []
    for _ in range(n_samples):
        noise = torch.randn_like(img_tensor) * noise_level
        noisy_img = img_tensor + noise
        noisy_img.requires_grad = True
        output = model(noisy_img)
        model.zero_grad()
        output[0, target_class].backward()
        gradients.append(noisy_img.grad.data)
    avg_gradient = torch.stack(gradients).mean(dim=0)
    saliency = avg_gradient.abs().max(dim=1)[0]
    saliency = saliency.squeeze().cpu().numpy()
    return saliency, target_class


class GradCAM:
    """Section 4.2. The hooks stay in the model for good, as printed."""

    def __init__(self, model: nn.Module, target_layer: nn.Module) -> None:
        self.model = model
        self.target_layer = target_layer
        self.gradients: Tensor | None = None
        self.activations: Tensor | None = None
        target_layer.register_forward_hook(self.save_activation)
        target_layer.register_full_backward_hook(self.save_gradient)  # mend 2

    def save_activation(self, module: nn.Module, input: Any, output: Tensor) -> None:
        """The forward hook."""
        self.activations = output.detach()

    def save_gradient(
        self, module: nn.Module, grad_input: Any, grad_output: Any
    ) -> None:
        """The backward hook."""
        self.gradients = grad_output[0].detach()

    def generate_cam(
        self, image_tensor: Tensor, target_class: int | None = None
    ) -> tuple[np.ndarray, int]:
        """One map (H, W)."""
        output = self.model(image_tensor)
        if target_class is None:
            target_class = output.argmax(dim=1).item()
        self.model.zero_grad()
        output[0, target_class].backward()
        weights = self.gradients.mean(dim=(2, 3), keepdim=True)
        cam = (weights * self.activations).sum(dim=1, keepdim=True)
        cam = torch.relu(cam)
        cam = cam - cam.min()
        cam = cam / cam.max()
        cam = F.interpolate(
            cam, size=image_tensor.shape[2:], mode="bilinear", align_corners=False
        )
        return cam.squeeze().cpu().numpy(), target_class


class GradCAMPlusPlus(GradCAM):
    """Section 4.2. Its second derivative is 0 on some heads, and so is the map.

    That is so on a head of ReLU, pooling and a linear layer.
    """

    def save_activation(self, module: nn.Module, input: Any, output: Tensor) -> None:
        """Mend 4: the output itself."""
        self.activations = output

    def generate_cam(
        self, image_tensor: Tensor, target_class: int | None = None
    ) -> tuple[np.ndarray, int]:
        """One map (H, W)."""
        output = self.model(image_tensor)
        if target_class is None:
            target_class = output.argmax(dim=1).item()
        grad_1 = _derivative(output[0, target_class], self.activations)  # mend 4
        grad_2 = _derivative(grad_1, self.activations)
        grad_3 = _derivative(grad_2, self.activations)
        self.activations = activations = self.activations.detach()
        alpha_num = grad_2
        alpha_denom = 2.0 * grad_2 + (grad_3 * activations).sum(
            dim=(2, 3), keepdim=True
        )
        alpha_denom = torch.where(
            alpha_denom != 0.0, alpha_denom, torch.ones_like(alpha_denom)
        )
        alpha = alpha_num / alpha_denom
        weights = (alpha * torch.relu(grad_1)).sum(dim=(2, 3), keepdim=True)
        cam = (weights * activations).sum(dim=1, keepdim=True)
        cam = torch.relu(cam)
        cam = cam - cam.min()
        cam = cam / (cam.max() + 1e-8)
        cam = F.interpolate(
            cam, size=image_tensor.shape[2:], mode="bilinear", align_corners=False
        )
        return cam.detach().squeeze().cpu().numpy(), target_class


def integrated_gradients(
    image: Tensor, model: nn.Module, target_class: int, n_steps: int = 50
) -> np.ndarray:
    """Section 4.3, by Captum as printed (mend 7): (H, W).

    As printed it is summed over channels for drawing.
    """
    from captum.attr import IntegratedGradients

    baseline = torch.zeros_like(image)
    attributions = IntegratedGradients(model).attribute(
        image, baseline, target=target_class, n_steps=n_steps
    )
    return attributions.squeeze().cpu().abs().sum(dim=0).detach().numpy()


def _derivative(value: Tensor, activations: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(activations)
    return torch.autograd.grad(
        value.sum(),
        activations,
        create_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )[0]
