"""Known mistakes on the way from a photo to the tensor that a model sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.inputs.images import Preprocessing, preprocessing_of


def photo_tensor(wrong: str = "") -> Callable[[Any, nn.Module], Tensor]:
    """``image_tensor`` for a path or PIL image."""

    def method(image: Any, model: nn.Module) -> Tensor:
        from PIL import Image, ImageOps

        photo = image if isinstance(image, Image.Image) else Image.open(image)
        space = preprocessing_of(model)
        if wrong != "EXIF ignored":
            photo = ImageOps.exif_transpose(photo)
        if photo.has_transparency_data and wrong != "transparency dropped":
            photo = photo.convert("RGBA")
            fill = "black" if wrong == "transparency on black" else "white"
            photo = Image.alpha_composite(Image.new("RGBA", photo.size, fill), photo)
        photo = photo.convert("RGB")
        if wrong == "whole photo squashed, no crop":
            photo = photo.resize(space.crop[::-1])
        elif wrong == "crop before the resize":
            short = min(photo.size)
            left, top = (photo.width - short) // 2, (photo.height - short) // 2
            photo = photo.crop((left, top, left + short, top + short)).resize(
                space.crop[::-1]
            )
        elif wrong == "corner crop":
            side = space.resize
            height, width = (
                side
                if isinstance(side, tuple)
                else [side * s // min(photo.size) for s in photo.size[::-1]]
            )
            photo = photo.resize(
                (width, height), Image.Resampling[space.resample.upper()]
            )
            photo = photo.crop((0, 0, *space.crop[::-1]))
        elif wrong == "nearest neighbour":
            photo = Preprocessing(
                space.resize, space.crop, resample="nearest"
            ).crop_image(photo)
        elif wrong == "always bilinear":
            photo = Preprocessing(space.resize, space.crop).crop_image(photo)
        else:
            photo = space.crop_image(photo)
        values = torch.from_numpy(np.array(photo, dtype=np.float32)).permute(2, 0, 1)[
            None
        ]
        if wrong == "blue and red swapped":
            values = values.flip(1)
        scaled = values / (256 if wrong == "divided by 256" else 255)
        if wrong == "left in [0, 1]":
            return scaled
        if wrong == "ImageNet's mean and std for every model":
            space = Preprocessing()
        if wrong == "divided by the variance":
            return space.normalize(scaled) / torch.tensor(space.std).reshape(3, 1, 1)
        return space.normalize(scaled)

    return method


PHOTO = {
    "EXIF ignored": "photos_are_turned_as_exif_says",
    "transparency dropped": "transparency_lies_on_white",
    "transparency on black": "transparency_lies_on_white",
    "whole photo squashed, no crop": "photos_as_torchvision_presets",
    "crop before the resize": "photos_as_torchvision_presets",
    "corner crop": "photos_as_torchvision_presets",
    "nearest neighbour": "photos_as_torchvision_presets",
    "always bilinear": "photos_as_torchvision_presets",
    "blue and red swapped": "photos_as_torchvision_presets",
    "divided by 256": "photos_as_torchvision_presets",
    "left in [0, 1]": "photos_as_torchvision_presets",
    "ImageNet's mean and std for every model": "photos_as_torchvision_presets",
    "divided by the variance": "photos_as_torchvision_presets",
}
