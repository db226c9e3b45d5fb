"""From a photo to what a model sees: torchvision's presets, and files that fail."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measures import Oracle, close
from nets import cat, image
from oracles.photos import PHOTOS, as_is, photo
from PIL import Image
from torch import nn

from chapter4.inputs.images import (
    MAX_PIXELS,
    Preprocessing,
    image_tensor,
    load_image,
    nearest,
    preprocessing_of,
    sample_photo,
    seen_pixels,
)


@pytest.mark.parametrize("oracle", PHOTOS, ids=lambda oracle: oracle.__name__)
def test_photos(oracle: Oracle) -> None:
    oracle(image_tensor)


def test_a_path_a_string_and_an_open_photo_are_the_same(tmp_path: Path) -> None:
    each, path = photo(90, 70), tmp_path / "photo.png"
    each.save(path)
    want = image_tensor(each, nn.Identity())
    for same in (path, str(path), Image.open(path)):
        close("photo: path or PIL image", image_tensor(same, nn.Identity()), want, 0)


def test_the_photo_of_the_caller_is_untouched() -> None:
    each = photo(9, 6, "RGBA")
    before = each.tobytes()
    image_tensor(each, as_is(9, 6))
    assert each.mode == "RGBA"
    assert each.tobytes() == before


@pytest.mark.parametrize(
    "space", [Preprocessing(), Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)]
)
def test_normalising_and_back(space: Preprocessing) -> None:
    for dtype, allowed in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        pixels = image(2, dtype=dtype).sigmoid()
        there = space.normalize(pixels)
        close("normalised and back", space.denormalize(there), pixels, allowed)
        assert there.dtype == dtype
    black = space.normalize(torch.zeros(3, 1, 1)).flatten().tolist()
    want = [-m / s for m, s in zip(space.mean, space.std, strict=True)]
    assert black == pytest.approx(want, rel=1e-6)


def test_nothing_is_clipped_but_what_is_shown() -> None:
    model = nn.Identity()
    far = torch.tensor([-9.0, 0, 9]).reshape(3, 1, 1).expand(3, 2, 2)
    assert preprocessing_of(model).denormalize(far).min() < 0
    shown = seen_pixels(far, model)
    assert shown.shape == (2, 2, 3)
    assert shown[0, 0].tolist() == pytest.approx([0, 0.456, 1])


def test_the_crop_is_what_the_tensor_shows() -> None:
    model, x = cat()
    crop = preprocessing_of(model).crop_image(load_image(sample_photo("cat")))
    assert crop.size == (224, 224)
    close("crop and tensor", seen_pixels(x[0], model), np.asarray(crop) / 255, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_photo_gets_the_models_dtype(dtype: torch.dtype) -> None:
    assert image_tensor(photo(30, 30), nn.Linear(1, 1).to(dtype)).dtype == dtype
    assert image_tensor(photo(30, 30), nn.Identity()).dtype == torch.float32
    # Batch norm's counter is an integer buffer, and no type for a photo.
    counter = nn.Module()
    counter.register_buffer("counter", torch.tensor(0))
    assert image_tensor(photo(30, 30), counter).dtype == torch.float32


def test_a_tensor_stays_as_it_is() -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    got = image_tensor(x, nn.Linear(1, 1))
    assert torch.equal(got, x)
    assert got.dtype == torch.float64
    assert not got.requires_grad
    assert image_tensor(x[0], nn.Identity()).shape == (1, 3, 5, 4)


# --- files that are no photo ----------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises this size and whose data are missing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        size, check = len(body), zlib.crc32(kind + body)
        return struct.pack(">I", size) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jpg", b""),
        ("text.jpg", b"a cat, honestly"),
        ("drawing.eps", EPS),
        ("drawing.png", EPS),
        ("drawing.svg", SVG),
        ("drawing.jpg", SVG),
        ("icon.ico", b"\0\0\1\0\1\0\1\1\0\0\1\0\x18\0\x30\0\0\0\x16\0\0\0" + bytes(48)),
        ("archive.jpg", b"PK\3\4" + bytes(100)),
        ("no data.png", png(10, 10)),
        ("header only.png", b"\x89PNG\r\n\x1a\n"),
        ("nonsense.gif", b"GIF89a" + bytes(3)),
        ("nonsense.webp", b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8)),
        ("nonsense.tiff", b"II*\0\x08\0\0\0\xff\xff" + bytes(8)),
        ("nonsense.ppm", b"P6 10 ten 255 "),
        ("nonsense.bmp", b"BM" + bytes(30)),
    ],
)
def test_files_that_are_no_photo(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable image") as caught:
        load_image(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PCX", "ICO", "SGI", "TGA", "EPS", "DDS"])
def test_formats_that_pillow_reads_and_we_do_not(tmp_path: Path, kind: str) -> None:
    """EPS, for one, is a program, which Pillow hands to another program."""
    path = tmp_path / "photo.png"
    photo(32, 32).save(path, kind)
    with Image.open(path) as file:
        assert file.format == kind
    with pytest.raises(ValueError, match="is not a readable image"):
        load_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncated_and_damaged_files(tmp_path: Path, kind: str) -> None:
    """Cut anywhere, or with bytes turned over: our own error or a picture, no more."""
    whole = tmp_path / "whole"
    photo(60, 40).save(whole, kind)
    content = whole.read_bytes()
    assert load_image(whole).size == (40, 60)
    random, damaged, refused = np.random.default_rng(0), tmp_path / "damaged", 0
    for cut in np.linspace(0, 0.8 * len(content), 12).astype(int):
        damaged.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="is not a readable image"):
            load_image(damaged)
    for _ in range(40):
        values = bytearray(content)
        for at in random.integers(0, min(len(values), 400), 3):
            values[at] = random.integers(256)
        damaged.write_bytes(values)
        try:
            assert load_image(damaged).mode == "RGB"
        except ValueError as error:
            refused += 1
            # Ours, and none of the many that decoders raise by themselves.
            ours = ("readable image", "pixels", "images of mode")
            if not any(words in str(error) for words in ours):
                raise
        except UserWarning:
            pass  # a warning is an error in these tests only
    # Each part of a PNG has a checksum, so that no damage to it goes unseen.
    assert refused == 40 if kind == "PNG" else refused < 40


def test_a_photo_opened_from_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    photo(300, 200).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with (
        Image.open(path) as lazy,
        pytest.raises(ValueError, match="the PIL image is not a readable image"),
    ):
        load_image(lazy)


@pytest.mark.parametrize(
    "size", [(8000, 7000), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2)]
)
def test_huge_headers_are_refused_at_once(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Also where Pillow itself only warns, between 89 and 179 million pixels."""
    assert size[0] * size[1] > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"50,000,000 are read|exceeds limit"):
            load_image(path)
    assert not warned


def test_a_strip_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ValueError, match="1 x 60000 pixels is too long for its width"):
        image_tensor(Image.new("RGB", (1, 60_000)), nn.Identity())
    long = image_tensor(Image.new("RGB", (10, 2000)), nn.Identity())
    assert long.shape == (1, 3, 224, 224)


def test_an_empty_photo() -> None:
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        image_tensor(Image.new("RGB", (0, 5)), nn.Identity())


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_photos_without_a_known_range(mode: str, tmp_path: Path) -> None:
    each, path = Image.new(mode, (4, 4)), tmp_path / "deep.tiff"
    each.save(path)
    for deep in (each, path):
        with pytest.raises(ValueError, match=f"of mode {mode} have no fixed range"):
            load_image(deep)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_the_first_of_several_frames(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "frames"
    more = [Image.new("L", (5, 4), 200)]
    Image.new("L", (5, 4), 10).save(path, kind, save_all=True, append_images=more)
    assert load_image(path).getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="counts open files by /proc"
)
def test_no_file_stays_open(tmp_path: Path) -> None:
    good, bomb, bad = tmp_path / "good.gif", tmp_path / "bomb.png", tmp_path / "bad.png"
    more = [Image.new("L", (5, 4), 9)]
    Image.new("L", (5, 4)).save(good, save_all=True, append_images=more)
    bomb.write_bytes(png(8000, 7000))
    bad.write_bytes(png(10, 10))
    before = len(os.listdir("/proc/self/fd"))
    kept: list[Any] = []
    for path in (good, bomb, bad):
        try:
            kept.append(load_image(path))
        except ValueError as error:
            kept.append(error)
    assert len(os.listdir("/proc/self/fd")) == before


# --- names ----------------------------------------------------------------------------


def test_a_missing_file_and_its_neighbour(tmp_path: Path) -> None:
    photo(5, 5).save(tmp_path / "holiday.png")
    for path, message in (
        ("holidya.png", r"no file .*holidya\.png; did you mean 'holiday\.png'"),
        ("no folder/photo.png", "there is no file"),
        ("no folder/cat.jpg", r"there is no file .*cat\.jpg.*sample photo"),
        ("", "is a folder, not an image"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            load_image(tmp_path / path)


HOSTILE = ("", "a" * 5000, "a\0b.jpg", "a\nb.jpg", "\x1b[31mred.jpg", "a\ud800.jpg")


@pytest.mark.parametrize("name", [*HOSTILE, "-rf", "~", "%s%n", "http://x/y.jpg"])
def test_hostile_names_are_missing_files_in_one_printable_line(name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_image(name)
    assert str(caught.value).isprintable()


def test_a_hostile_name_of_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "line\nbreak.png"
    path.write_bytes(b"no photo")
    with pytest.raises(ValueError, match="is not a readable image") as caught:
        load_image(path)
    assert str(caught.value).isprintable()
    photo(5, 5).save(path)
    assert load_image(path).size == (5, 5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "pipe.jpg")


@pytest.mark.parametrize(
    "thing", [None, 3, 2.5, ["cat.jpg"], np.zeros((5, 5, 3)), object()]
)
def test_things_that_are_no_photo(thing: Any) -> None:
    name = type(thing).__name__
    with pytest.raises(TypeError, match=f"a path or a PIL image, not {name}"):
        load_image(thing)


@pytest.mark.parametrize("thing", [None, "resnet50", lambda x: x])
def test_things_that_are_no_model(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"model is a torch\.nn\.Module, not "):
        image_tensor(Image.new("RGB", (8, 8)), thing)


def test_an_unknown_sample_photo() -> None:
    with pytest.raises(ValueError, match="no sample photo 'cta'; did you mean 'cat'"):
        sample_photo("cta")


def test_nearest_says_nothing_where_nothing_is_near() -> None:
    assert nearest("zebra", ["black", "white"]) == ""
    assert nearest("blck", ["black", "white"]) == "; did you mean 'black'?"
