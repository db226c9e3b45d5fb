"""A photo becomes the right tensor, as torchvision's own presets make it.

This includes photos that are turned, transparent or grey.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from measures import Impl, Oracle, close
from torch import nn

HALF = (0.5, 0.5, 0.5)

# (height, width): portrait, landscape and square photos, odd sizes, some enlarged and
# some reduced. The last two leave half a pixel beside the crop (of 256 and of 232),
# which torchvision rounds to the even number.
PHOTO_SIZES = (
    (457, 301),
    (333, 640),
    (225, 225),
    (75, 100),
    (257, 999),
    (259, 256),
    (232, 239),
)


def photo(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Any:
    """A PIL image with every kind of edge: noise, enlarged by a factor of three."""
    from PIL import Image

    channels = len(mode)
    values = np.random.default_rng(seed).integers(
        0, 256, (-(-height // 3), -(-width // 3), channels), dtype=np.uint8
    )
    values = values.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]
    return Image.fromarray(values if channels > 1 else values[..., 0])


def as_is(
    height: int, width: int, mean: Any = (0.0,) * 3, std: Any = (1.0,) * 3
) -> nn.Module:
    """A model for photos of exactly this size: nothing is resized or cropped."""
    from chapter4.inputs.images import Preprocessing

    model = nn.Identity()
    model.preprocessing = Preprocessing((height, width), (height, width), mean, std)
    return model


def photos_as_torchvision_presets(to_tensor: Impl) -> None:
    from torchvision.models import EfficientNet_B0_Weights, ResNet50_Weights
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    from chapter4.inputs.images import Preprocessing

    bicubic = InterpolationMode.BICUBIC
    presets = {
        "ResNet50_Weights.DEFAULT": ResNet50_Weights.DEFAULT.transforms(),
        "ResNet50_Weights.IMAGENET1K_V1": ResNet50_Weights.IMAGENET1K_V1.transforms(),
        "EfficientNet_B0_Weights.DEFAULT": EfficientNet_B0_Weights.DEFAULT.transforms(),
        "EfficientNet-Lite0": ImageClassification(
            crop_size=224, mean=HALF, std=HALF, interpolation=bicubic
        ),
    }
    for name, preset in presets.items():
        model = nn.Identity()
        model.preprocessing = Preprocessing(
            preset.resize_size[0],
            (preset.crop_size[0],) * 2,
            tuple(preset.mean),
            tuple(preset.std),
            preset.interpolation.value,
        )
        for i, size in enumerate(PHOTO_SIZES):
            each = photo(*size, seed=i)
            got = to_tensor(each, model)
            close(f"photo: torchvision's {name}", got, preset(each)[None], 1e-6)
    # A plain nn.Module gets the preprocessing of torchvision's first ImageNet weights.
    each = photo(301, 457)
    want = presets["ResNet50_Weights.IMAGENET1K_V1"](each)[None]
    close("photo: a plain module", to_tensor(each, nn.Identity()), want, 1e-6)


def check_pixels(
    name: str, to_tensor: Impl, shown: Any, values: Any, allowed: float = 1e-6
) -> None:
    """That a photo becomes these values, (H, W, 3) from 0 to 1."""
    got = to_tensor(shown, as_is(*values.shape[:2]))[0]
    close(f"photo: {name}", got, values.transpose(2, 0, 1), allowed)


def photos_are_turned_as_exif_says(to_tensor: Impl) -> None:
    from PIL import Image

    each = photo(9, 6)
    values = np.asarray(each) / 255
    shown = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values),
    }
    for orientation, want in shown.items():
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        each.save(file, "PNG", exif=exif)
        check_pixels("EXIF orientation", to_tensor, Image.open(file), want)


def transparency_lies_on_white(to_tensor: Impl) -> None:
    for mode in ("RGBA", "LA"):
        each = photo(9, 6, mode)
        values = np.asarray(each) / 255
        colours, alpha = values[..., :-1], values[..., -1:]
        want = (colours * alpha + 1 - alpha) * np.ones(3)
        check_pixels("transparency, one grey level", to_tensor, each, want, 1.01 / 255)
    palette = photo(9, 6).quantize(7)
    want = np.asarray(palette.convert("RGB")) / 255
    check_pixels("palette", to_tensor, palette, want)
    palette.info["transparency"] = 3
    want[np.asarray(palette) == 3] = 1
    check_pixels("transparent palette", to_tensor, palette, want)


def grey_photos_have_three_equal_channels(to_tensor: Impl) -> None:
    for each, white in ((photo(9, 6, "L"), 255), (photo(9, 6, "L").convert("1"), 1)):
        want = np.asarray(each)[..., None] * np.ones(3) / white
        check_pixels(f"mode {each.mode}", to_tensor, each, want)


PHOTOS: list[Oracle] = [
    photos_as_torchvision_presets,
    photos_are_turned_as_exif_says,
    transparency_lies_on_white,
    grey_photos_have_three_equal_channels,
]
