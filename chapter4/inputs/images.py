"""A photo becomes the tensor that a model sees, and back.

Only this file knows mean, std and crop.
"""

from __future__ import annotations

import json
import os
import warnings
from base64 import b64encode
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageInput = str | os.PathLike[str] | Image | Tensor

# Decoders for these are compiled into Pillow. Some others, such as that for EPS, start
# programs on the reader's machine.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Preprocessing:
    """How one model wants its photos.

    They are resized, cropped, scaled to [0, 1] and normalised per channel.

    Attributes:
        resize: The shorter side in pixels, or (height, width) to squash the photo to.
        crop: (height, width) of the centre crop, in pixels.
        mean: The mean of each RGB channel, of pixel values in [0, 1].
        std: The standard deviation of each RGB channel, of pixel values in [0, 1].
        resample: "bilinear" or "bicubic", always antialiased.
    """

    resize: int | tuple[int, int] = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resample: str = "bilinear"

    def crop_image(self, photo: Image) -> Image:
        """The part of a photo that the model sees, at the size at which it sees it.

        Overlays belong on this.

        Args:
            photo: A PIL image.

        Returns:
            The crop, a PIL image of the size ``crop``.

        Raises:
            ValueError: If the photo is empty, or far too long for its width.
        """
        from PIL import Image

        width, height = photo.size
        if not width * height:
            raise ValueError(f"the photo has {width} x {height} pixels")
        if isinstance(self.resize, int):
            short = min(photo.size)
            width, height = (int(self.resize * side / short) for side in photo.size)
        else:
            height, width = self.resize
        # A strip of 1 x 60,000 pixels is a small file, but it fills the memory once its
        # shorter side is 256.
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"a photo of {photo.width} x {photo.height} pixels is too long for its"
                " width"
            )
        photo = photo.resize((width, height), Image.Resampling[self.resample.upper()])
        top = round((height - self.crop[0]) / 2)
        left = round((width - self.crop[1]) / 2)
        return photo.crop((left, top, left + self.crop[1], top + self.crop[0]))

    def __call__(self, photo: Image) -> Tensor:
        """Turn a photo into the model's input.

        Args:
            photo: An RGB image.

        Returns:
            The normalised tensor (3, H, W), float32.

        Raises:
            ValueError: If the photo is empty, or far too long for its width.
        """
        # (H, W, 3) in [0, 1].
        pixels = np.asarray(self.crop_image(photo), dtype=np.float32) / 255
        return self.normalize(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())

    def normalize(self, pixels: Tensor) -> Tensor:
        """Turn pixel space, black 0 and white 1, into normalised space.

        Args:
            pixels: (..., 3, H, W) in pixel space.

        Returns:
            The same shape in normalised space.
        """
        return (pixels - _channels(self.mean, pixels)) / _channels(self.std, pixels)

    def denormalize(self, image: Tensor) -> Tensor:
        """Turn normalised space into pixel space. Nothing is clipped.

        Args:
            image: (..., 3, H, W) in normalised space.

        Returns:
            The same shape in pixel space, black 0 and white 1.
        """
        return image * _channels(self.std, image) + _channels(self.mean, image)


IMAGENET = Preprocessing()


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """The preprocessing that ``model`` carries.

    A plain ``nn.Module`` gets ImageNet's: shorter side 256, crop 224.
    """
    return getattr(model, "preprocessing", IMAGENET)


def load_image(image: str | os.PathLike[str] | Image) -> Image:
    """Open a photo as RGB, turned as its EXIF says, with white behind transparency.

    Args:
        image: A path or a PIL image.

    Returns:
        The photo as a PIL image of mode RGB.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no image or is too large, or if its pixel values have
            no fixed range.
        TypeError: If ``image`` is neither a path nor a PIL image.
    """
    from PIL import Image

    if isinstance(image, Image.Image):
        photo = _turned(image, "the PIL image")
    elif isinstance(image, (str, os.PathLike)):
        photo = _open(Path(os.fsdecode(image)))
    else:
        raise TypeError(f"expected a path or a PIL image, not {type(image).__name__}")
    if photo.mode.startswith("I") or photo.mode == "F":
        raise ValueError(
            f"images of mode {photo.mode} have no fixed range; convert to 8 bits a"
            " channel first"
        )
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")


def image_tensor(image: ImageInput, model: nn.Module) -> Tensor:
    """What ``model`` sees of ``image``.

    Args:
        image: A path or a PIL image, which is preprocessed as the model wants it (a
            plain ``nn.Module`` gets ImageNet's way); or a float tensor (3, H, W) or
            (N, 3, H, W) that is already normalised. The values of a tensor are not
            changed.
        model: The model that will get the image.

    Returns:
        The normalised tensor (N, 3, H, W) on the model's device.

    Raises:
        ValueError: If a tensor has a wrong number of axes or channels, is empty, or
            holds NaN or infinite values; or if a photo can't be used.
        TypeError: If ``model`` is no ``nn.Module``, if ``image`` has another type, if a
            tensor does not hold floats, or if it or the model is in bfloat16.
        FileNotFoundError: If there is no such image file.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a torch.nn.Module, not {type(model).__name__}")
    like = next(chain(model.parameters(), model.buffers()), None)
    device = like.device if like is not None else None
    _refuse_bfloat16(image, like)
    if not isinstance(image, Tensor):
        x = preprocessing_of(model)(load_image(image))[None].to(device=device)
        return x.to(like.dtype) if like is not None and like.is_floating_point() else x
    if not image.is_floating_point():
        raise TypeError(
            f"an image tensor holds normalised floats, not {image.dtype}; hand over a"
            " path or a PIL image"
        )
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise ValueError(
            f"an image tensor is (3, H, W) or (N, 3, H, W), not {tuple(image.shape)}"
        )
    if image.numel() == 0:
        raise ValueError(f"the image tensor {tuple(image.shape)} is empty")
    if not all_finite(image):
        raise ValueError("the image tensor holds NaN or infinite values")
    return image.detach().reshape(-1, *image.shape[-3:]).to(device=device)


def check_dtype(x: Tensor, model: nn.Module) -> None:
    """Raise TypeError where x has another dtype than the model's weights."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    if x.dtype == next(floating, x.dtype):
        return
    weights = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if len(weights) == 1 and x.dtype not in weights:
        (weight,) = weights
        raise TypeError(
            f"the image is {x.dtype} and the model {weight}: hand over"
            f" image.to({weight})"
        )


def all_finite(values: Tensor) -> bool:
    """True if no number is NaN or infinite."""
    # A finite sum is a quick proof. But finite numbers may also have a sum that
    # overflows, so each is checked then.
    return bool(values.sum().isfinite() or values.isfinite().all())


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Luma of RGB pixels by ITU-R BT.601: (..., 3) to (...), in the same dtype.

    A picture is drawn in grey where colour means a map.
    """
    return pixels @ np.array([0.299, 0.587, 0.114], dtype=pixels.dtype)


def picture_url(pixels: np.ndarray, kind: str = "png", **options: Any) -> str:
    """Encode pixels as a data URL.

    Args:
        pixels: Bytes (H, W, 3).
        kind: "png" or "webp".
        **options: Pillow's options for that kind.

    Returns:
        The URL, with the whole picture in it.
    """
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **{"optimize": True} | options)
    return f"data:image/{kind};base64," + b64encode(file.getvalue()).decode()


def _refuse_bfloat16(image: Any, like: Tensor | None) -> None:
    for what, each in (("image", image), ("model", like)):
        if isinstance(each, Tensor) and each.dtype == torch.bfloat16:
            raise TypeError(
                f"numpy, which maps are in, has no bfloat16: hand over {what}.float()"
            )


def seen_pixels(image: Tensor, model: nn.Module) -> np.ndarray:
    """Turn a normalised tensor (3, H, W) into pixels: (H, W, 3) in [0, 1], clipped."""
    pixels = preprocessing_of(model).denormalize(image.detach()).clamp(0, 1)
    return pixels.permute(1, 2, 0).cpu().numpy()


@dataclass(frozen=True)
class Photo:
    """A sample photo: where it is, what it shows, and who made it.

    Attributes:
        name: Its short name, such as "cat".
        path: Its file.
        title: A short title.
        alt: What it shows, for readers who can't see it.
        label: The index of its ImageNet class, or None where it has none.
        accept: Other ImageNet classes that count as right.
        author: Who made it.
        source: Where it comes from.
        licence: The name of its licence.
    """

    name: str
    path: Path
    title: str
    alt: str
    label: int | None
    accept: tuple[int, ...]
    author: str
    source: str
    licence: str


@cache
def sample_photos() -> dict[str, Photo]:
    """The sample photos, by name. All have free licences.

    They come with this package or with packages that it needs.

    Returns:
        For each name the photo, with its path, title and licence.

    Raises:
        FileNotFoundError: If a package that has one of the photos is not installed.
    """
    folder = Path(__file__).parents[1] / "photos"
    return {
        record["name"]: _photo(record, folder)
        for record in json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    }


def sample_photo(name: str = "cat") -> Path:
    """The path of a sample photo.

    Args:
        name: One of the names in :func:`chapter4.sample_photos`.

    Returns:
        The path of the photo's file.

    Raises:
        ValueError: If there is no sample photo of that name.
        FileNotFoundError: If a package that has one of the photos is not installed.
    """
    photos = sample_photos()
    if name not in photos:
        raise ValueError(
            f"no sample photo {name!r}{nearest(name, photos)}; there are"
            f" {', '.join(photos)}"
        )
    return photos[name].path


def nearest(word: str, words: Any) -> str:
    """'; did you mean ...?' for the nearest right spelling, or nothing."""
    found = get_close_matches(str(word), [str(w) for w in words], n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(3, 1, 1)


def _open(path: Path) -> Image:
    from PIL import Image

    # Unlike Path.is_file, this raises no error for a name that is too long.
    if not os.path.isfile(path):
        raise FileNotFoundError(_missing(path))
    with warnings.catch_warnings():
        # Pillow's own limit is above ours, and Pillow only warns.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            file = Image.open(path, formats=FORMATS)
        except Exception as error:
            raise ValueError(_unreadable(_shown(path), error)) from None
    with file:
        if file.width * file.height > MAX_PIXELS:
            size = f"{file.width} x {file.height} pixels"
            raise ValueError(
                f"{_shown(path)} has {size}; at most {MAX_PIXELS:,} are read"
            )
        return _turned(file, _shown(path))


def _turned(photo: Image, name: str) -> Image:
    from PIL import ImageOps

    try:
        # This reads the pixels, too. It makes a copy even where nothing is turned.
        return ImageOps.exif_transpose(photo)
    except Exception as error:
        # A damaged file makes the decoders raise nearly anything.
        raise ValueError(_unreadable(name, error)) from None


def _unreadable(name: str, error: Exception) -> str:
    return (
        f"{name} is not a readable image ({', '.join(FORMATS)}):"
        f" {error or type(error).__name__}"
    )


def _shown(path: Path) -> str:
    """The path in one line, whatever its characters."""
    return str(path) if str(path).isprintable() else ascii(str(path))


def _missing(path: Path) -> str:
    if os.path.isdir(path):
        return f"{_shown(path)} is a folder, not an image"
    try:
        near = nearest(path.name, {p.name for p in path.parent.iterdir()} - {path.name})
    except (OSError, ValueError):
        near = ""
    if path.stem in sample_photos():
        near += f"; {path.stem!r} is the name of a sample photo"
    return f"there is no file {_shown(path)}{near}"


def _photo(record: dict[str, Any], folder: Path) -> Photo:
    package = record["where"]
    if package != "chapter4":
        # find_spec does not import the package. That would take longer than the photo.
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"the photo {record['name']!r} comes with {package}, which is not"
                " installed"
            )
        folder = Path(spec.origin).parent
    found = {"path": folder / record["file"], "accept": tuple(record["accept"])}
    given = record | found
    return Photo(**{each.name: given[each.name] for each in fields(Photo)})
