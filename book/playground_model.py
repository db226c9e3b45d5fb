"""Write what the playground page loads: a model, sample photos and facts.

The model is the embedded classifier with its input gradient and Grad-CAM, as one ONNX
file. The page's script needs the facts. Run ``python book/playground_model.py FOLDER``;
book/build.py calls it.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import chapter4
from chapter4.inputs.images import load_image, preprocessing_of

# All are public domain or CC0. The model gets one of them wrong.
PHOTOS = ("cat", "dog", "coffee", "hedgehog")
INPUTS = ("image", "one_hot")
OUTPUTS = ("logits", "gradcam", "saliency")


def explain(model: nn.Module, image: Tensor, one_hot: Tensor) -> tuple[Tensor, ...]:
    """The logits, Grad-CAM and saliency of one class.

    Args:
        model: The embedded classifier.
        image: A normalised image (1, 3, H, W).
        one_hot: Marks the class, (1, K).

    Returns:
        The logits (1, K), Grad-CAM before it is resized (1, h, w), and saliency
        (1, H, W).
    """
    image = image.detach().requires_grad_()
    network: Any = model  # nn.Module does not declare timm's two methods
    activations = network.forward_features(image)
    logits = network.forward_head(activations)
    score = (logits * one_hot).sum()
    gradient, cells = torch.autograd.grad(score, (image, activations))
    weights = cells.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * activations).sum(dim=1))
    return logits, cam, gradient.abs().amax(dim=1)


def convolution_backward(
    gradient: Tensor,
    image: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """The input's part of a convolution's gradient, as a transposed convolution.

    ONNX has no operator for the gradient itself.

    Raises:
        NotImplementedError: For a transposed convolution, and for the gradient of
            weights or bias.
    """
    if transposed or output_mask[1] or output_mask[2]:
        raise NotImplementedError("only the input gradient of a plain convolution")
    missing = [
        image.shape[2 + d]
        - (gradient.shape[2 + d] - 1) * stride[d]
        + 2 * padding[d]
        - dilation[d] * (weight.shape[2 + d] - 1)
        - 1
        for d in range(2)
    ]
    back = torch.ops.aten.convolution.default(
        gradient, weight, None, stride, padding, dilation, True, missing, groups
    )
    return back, None, None


def export(model: nn.Module, file: Path) -> None:
    """Write ``explain`` for ``model`` to an ONNX file.

    The gradient is traced as plain operators, so that a runtime without autograd can
    compute it.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    image = torch.zeros(1, 3, *preprocessing_of(model).crop)
    names: Any = model.class_names  # nn.Module declares it a Tensor or Module
    one_hot = torch.zeros(1, len(names))
    table = {torch.ops.aten.convolution_backward.default: convolution_backward}
    traced = make_fx(
        lambda x, y: explain(model, x, y),
        decomposition_table=table,
        tracing_mode="real",
    )(image, one_hot)
    program = torch.onnx.export(
        traced,
        (image, one_hot),
        dynamo=True,
        input_names=INPUTS,
        output_names=OUTPUTS,
        verbose=False,
    )
    assert program is not None
    program.save(file)


def facts(model: nn.Module) -> dict[str, Any]:
    """What the page's script needs to know about the model and about drawing."""
    preprocessing = preprocessing_of(model)
    names: Any = model.class_names  # as in export
    colours = {
        name: (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(int)
        for name in ("inferno", "viridis")
    }
    return {
        "classes": list(names),
        "resize": preprocessing.resize,
        "crop": preprocessing.crop,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "colours": {name: table.ravel().tolist() for name, table in colours.items()},
    }


def write(folder: Path) -> None:
    """Write the model, the photos, the crops that Python makes, and the facts."""
    folder.mkdir(parents=True, exist_ok=True)
    model = chapter4.load_classifier()
    for name in PHOTOS:
        path = chapter4.sample_photo(name)
        shutil.copyfile(path, folder / f"{name}{path.suffix}")
        crop = preprocessing_of(model).crop_image(load_image(path))
        crop.save(folder / f"{name}-crop.png")
    export(model, folder / "model.onnx")
    text = json.dumps(facts(model), separators=(",", ":"))
    (folder / "facts.json").write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    # The exporter warns of versions and of operators that it does not need.
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
