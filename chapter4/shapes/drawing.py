"""Procedural pictures of shapes whose ground truth is known by construction.

Every picture is a function of (seed, index) alone, so a data set needs no download and
no file.

The optional logo is drawn from a random stream of its own. So a picture with it and the
same picture without it differ inside the logo's box and nowhere else. That makes the
logo's effect on a model a controlled experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

CLASSES = (
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "ring",
    "heart",
    "crescent",
    "arrow",
    "hexagon",
)
SIZE = 64
LOGO_SIZE = 10

Box = tuple[int, int, int, int]

_SUPERSAMPLING = 4
_LOGO_MARGIN = 2
_PICTURE_STREAM, _LOGO_STREAM = 0, 1


@dataclass(frozen=True)
class ShapeSample:
    """One picture with its ground truth.

    Attributes:
        image: uint8 array (64, 64, 3), RGB.
        label: The index into ``CLASSES``. It is index % 10, so any run of ten indices
            is balanced.
        mask: bool array (64, 64), True where the object covers at least half a pixel.
        logo_box: (top, left, bottom, right) in pixels, bottom and right exclusive, or
            None where no logo was planted.
    """

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]
    logo_box: Box | None

    @property
    def name(self) -> str:
        """The class's name."""
        return CLASSES[self.label]


@dataclass(frozen=True)
class ShapeBatch:
    """N pictures as tensors.

    Attributes:
        images: float32 tensor (N, 3, 64, 64), pixel space, 0 to 1.
        labels: int64 tensor (N,).
        masks: bool tensor (N, 64, 64).
        logo_boxes: N boxes or Nones, as in ``ShapeSample``.
    """

    images: torch.Tensor
    labels: torch.Tensor
    masks: torch.Tensor
    logo_boxes: tuple[Box | None, ...]


def class_index(name: str) -> int:
    """The index of a shape class.

    Args:
        name: One of ``CLASSES``.

    Returns:
        Its index, 0 to 9.

    Raises:
        ValueError: If there is no such class; the message has the nearest name.
    """
    if name not in CLASSES:
        near = get_close_matches(str(name), CLASSES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown shape class {name!r}: expected one of {', '.join(CLASSES)}; did"
            f" you mean {near!r}?"
        )
    return CLASSES.index(name)


def make_shape(
    index: int,
    *,
    seed: int = 0,
    logo_probability: float = 0.0,
    logo_class: str | None = None,
) -> ShapeSample:
    """Draw picture number ``index`` of the data set ``seed``.

    Args:
        index: At least 0. It decides the label (index % 10) and, with the seed,
            everything else.
        seed: At least 0. Another seed is another data set.
        logo_probability: The chance, 0 to 1, that the logo is planted beside the
            object.
        logo_class: The only class on which to plant it; None means any class.

    Returns:
        The picture with its ground truth.

    Raises:
        TypeError: If ``index`` or ``seed`` is not a whole number.
        ValueError: If an argument is outside these ranges.
    """
    _check_count("index", index)
    _check_count("seed", seed)
    if not 0.0 <= logo_probability <= 1.0:
        raise ValueError(
            f"logo_probability is {logo_probability}: expected a probability from 0"
            " to 1"
        )
    label = index % len(CLASSES)
    rng = np.random.default_rng([seed, index, _PICTURE_STREAM])
    background = _background(rng)
    coverage = _object_coverage(CLASSES[label], rng)
    colour = _contrasting_colour(background, coverage, rng)
    shading = (
        1.0 + rng.uniform(-0.15, 0.15) * np.linspace(-1.0, 1.0, SIZE)[:, None, None]
    )
    painted = (
        background * (1.0 - coverage[:, :, None])
        + colour * shading * coverage[:, :, None]
    )
    painted = painted + rng.normal(0.0, 0.04, painted.shape)
    image = np.rint(np.clip(painted, 0.0, 1.0) * 255.0).astype(np.uint8)
    mask = coverage >= 0.5

    box = None
    logo_rng = np.random.default_rng([seed, index, _LOGO_STREAM])
    wanted = logo_class is None or class_index(logo_class) == label
    if wanted and logo_rng.random() < logo_probability:
        box = _free_box(mask, logo_rng)
        image = paste_logo(image, box)
    return ShapeSample(image, label, mask, box)


def make_shapes(
    indices: int | Iterable[int],
    *,
    seed: int = 0,
    logo_probability: float = 0.0,
    logo_class: str | None = None,
) -> ShapeBatch:
    """Draw many pictures as tensors that a model can take.

    Args:
        indices: A number N, meaning pictures 0 to N - 1, or the indices themselves.
        seed: At least 0. Another seed is another data set.
        logo_probability: The chance, 0 to 1, that the logo is planted beside the
            object.
        logo_class: The only class on which to plant it; None means any class.

    Returns:
        The pictures in pixel space, 0 to 1 (not normalised), with their ground truth.

    Raises:
        TypeError: If an index or the seed is not a whole number.
        ValueError: If there is no index, or if an argument is outside these ranges.
    """
    import torch

    chosen = range(indices) if isinstance(indices, int) else list(indices)
    if not chosen:
        raise ValueError("no picture was asked for: expected at least one index")
    samples = [
        make_shape(
            i, seed=seed, logo_probability=logo_probability, logo_class=logo_class
        )
        for i in chosen
    ]
    pixels = torch.from_numpy(np.stack([s.image for s in samples]))  # (N, H, W, 3)
    return ShapeBatch(
        images=pixels.permute(0, 3, 1, 2).float().div(255.0).contiguous(),
        labels=torch.tensor([s.label for s in samples]),
        masks=torch.from_numpy(np.stack([s.mask for s in samples])),
        logo_boxes=tuple(s.logo_box for s in samples),
    )


def logo() -> NDArray[np.uint8]:
    """The planted logo: a yellow saltire on dark blue in a white frame.

    Returns:
        A uint8 array (10, 10, 3), RGB.
    """
    picture = np.full((LOGO_SIZE, LOGO_SIZE, 3), 255, dtype=np.uint8)
    picture[1:-1, 1:-1] = (20, 30, 120)
    inner = np.arange(1, LOGO_SIZE - 1)
    picture[inner, inner] = (250, 220, 40)
    picture[inner, LOGO_SIZE - 1 - inner] = (250, 220, 40)
    return picture


def paste_logo(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Put the logo on a copy of a picture.

    Args:
        image: uint8 array (H, W, 3), RGB, left as it is.
        box: (top, left, bottom, right), 10 x 10 pixels inside the picture.

    Returns:
        The copy.

    Raises:
        ValueError: If the box has another size or is not inside the picture.
    """
    top, left, bottom, right = box
    height, width = image.shape[:2]
    fits = top >= 0 and left >= 0 and bottom <= height and right <= width
    if not fits or (bottom - top, right - left) != (LOGO_SIZE, LOGO_SIZE):
        raise ValueError(
            f"logo box {box} does not fit: expected 10 x 10 pixels inside a {height} x"
            f" {width} picture"
        )
    marked = image.copy()
    marked[top:bottom, left:right] = logo()
    return marked


def _check_count(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} is a {type(value).__name__}: expected a whole number")
    if value < 0:
        raise ValueError(f"{what} is {value}: expected 0 or more")


def _background(rng: np.random.Generator) -> NDArray[np.float64]:
    """A coloured, textured ground with distractors, (64, 64, 3), 0 to 1."""
    first, second = rng.uniform(0.1, 0.9, (2, 3))
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    texture = rng.integers(4)
    if texture == 0:  # a gradient
        weight = (along - along.min()) / (along.max() - along.min())
    elif texture == 1:  # stripes
        weight = 0.5 + 0.5 * np.sin(2.0 * np.pi * rng.uniform(3.0, 7.0) * along)
    elif texture == 2:  # a chessboard
        cell = rng.integers(6, 13)
        weight = ((np.mgrid[0:SIZE, 0:SIZE] // cell).sum(axis=0) % 2).astype(float)
    else:  # clouds
        weight = _smooth_noise(rng)
    strength = rng.uniform(0.15, 0.5)
    ground = first + strength * (second - first) * weight[:, :, None]
    return _distractors(ground, rng)


def _smooth_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """A 6 x 6 grid of uniform noise, drawn large: (64, 64), 0 to 1."""
    coarse = rng.random((6, 6))
    at = np.linspace(0.0, 5.0, SIZE)
    widened = np.stack([np.interp(at, np.arange(6), row) for row in coarse])  # (6, 64)
    return np.stack(
        [np.interp(at, np.arange(6), column) for column in widened.T], axis=1
    )


def _distractors(
    ground: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Add lines and dots of random colours.

    None of them is one of the ten shapes at an object's size.
    """
    from PIL import Image, ImageDraw

    for _ in range(rng.integers(3, 8)):
        layer = Image.new("L", (SIZE * _SUPERSAMPLING,) * 2, 0)
        pen = ImageDraw.Draw(layer)
        x, y = rng.uniform(0.0, SIZE, 2) * _SUPERSAMPLING
        if rng.random() < 0.5:
            length, angle = (
                rng.uniform(8.0, 30.0) * _SUPERSAMPLING,
                rng.uniform(0.0, 2.0 * np.pi),
            )
            end = (x + length * np.cos(angle), y + length * np.sin(angle))
            pen.line([(x, y), end], fill=255, width=int(rng.integers(4, 10)))
        else:
            radius = rng.uniform(1.5, 3.5) * _SUPERSAMPLING
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
        alpha = (
            np.asarray(layer.reduce(_SUPERSAMPLING), dtype=float)[:, :, None] / 255.0
        )
        ground = ground * (1.0 - alpha) + rng.uniform(0.0, 1.0, 3) * alpha
    return ground


def _object_coverage(name: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much of each pixel the object covers, (64, 64), 0 to 1."""
    from PIL import Image, ImageDraw

    radius = rng.uniform(11.0, 18.0)
    stretch = rng.uniform(0.88, 1.12)
    angle = rng.uniform(-np.pi / 6.0, np.pi / 6.0)
    reach = radius * 1.12 + 1.0
    centre = rng.uniform(reach, SIZE - reach, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    layer = Image.new("L", (SIZE * _SUPERSAMPLING,) * 2, 0)
    pen = ImageDraw.Draw(layer)
    for outline, fill in zip(_outlines(name), (255, 0), strict=False):
        points = (outline * [stretch, 1.0 / stretch]) @ turn.T * radius + centre
        pen.polygon([tuple(p) for p in points * _SUPERSAMPLING], fill=fill)
    return np.asarray(layer.reduce(_SUPERSAMPLING), dtype=float) / 255.0


def _outlines(name: str) -> list[NDArray[np.float64]]:
    """The outline in the unit circle, (points, 2) as x, y with y downwards.

    A second outline is a hole.
    """
    if name == "circle":
        return [_arc(0.9, 0.0, 360.0, 48)]
    if name == "square":
        return [_arc(1.0, 45.0, 315.0, 4)]
    if name == "triangle":
        return [_arc(1.0, -90.0, 150.0, 3)]
    if name == "star":
        return [
            np.stack(
                [_arc(1.0, -90.0, 198.0, 5), _arc(0.42, -54.0, 234.0, 5)], axis=1
            ).reshape(10, 2)
        ]
    if name == "cross":
        arm, width = 0.93, 0.3
        quarter = np.array([[width, -arm], [width, -width], [arm, -width]])
        turns = [
            np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))
        ]
        return [np.concatenate([quarter @ turn.T for turn in turns])]
    if name == "ring":
        return [_arc(0.95, 0.0, 360.0, 48), _arc(0.52, 0.0, 360.0, 48)]
    if name == "heart":
        t = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
        x = 16.0 * np.sin(t) ** 3
        y = -(
            13.0 * np.cos(t)
            - 5.0 * np.cos(2.0 * t)
            - 2.0 * np.cos(3.0 * t)
            - np.cos(4.0 * t)
        )
        return [np.stack([x, y - 2.0], axis=1) / 16.5]
    if name == "crescent":
        # The inner arc is part of a circle of radius 0.8 about x = 0.6. It ends where
        # it meets the outer arc.
        ends = np.degrees(np.arccos((1.0 + 0.6**2 - 0.8**2) / (2.0 * 0.6)))
        meet = np.radians(ends)
        inner = np.degrees(np.arctan2(np.sin(meet), np.cos(meet) - 0.6))
        outside = _arc(1.0, ends, 360.0 - ends, 40)
        inside = _arc(0.8, 360.0 - inner, inner, 40) + np.array([0.6, 0.0])
        return [np.concatenate([outside, inside])]
    if name == "arrow":
        return [
            np.array(
                [
                    [0.0, -1.0],
                    [0.8, -0.1],
                    [0.3, -0.1],
                    [0.3, 0.95],
                    [-0.3, 0.95],
                    [-0.3, -0.1],
                    [-0.8, -0.1],
                ]
            )
        ]
    return [_arc(1.0, 0.0, 300.0, 6)]  # hexagon


def _arc(radius: float, first: float, last: float, points: int) -> NDArray[np.float64]:
    """Points on a circle about the origin.

    They go from angle ``first`` to angle ``last`` in degrees, both included.
    """
    at = np.radians(np.linspace(first, last, points))
    return radius * np.stack([np.cos(at), np.sin(at)], axis=1)


def _contrasting_colour(
    background: NDArray[np.float64],
    coverage: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """A random colour that differs from the mean colour of what the object hides.

    It is at least 0.25 away (Euclidean, RGB 0 to 1).
    """
    hidden = (background * coverage[:, :, None]).sum(axis=(0, 1)) / coverage.sum()
    candidates = rng.random((32, 3))
    distance = np.linalg.norm(candidates - hidden, axis=1)
    far = np.flatnonzero(distance >= 0.25)
    # It has not happened that all 32 candidates were near that colour. If it does, the
    # farthest one is the best answer.
    return candidates[far[0] if far.size else int(distance.argmax())]


def _free_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> Box:
    """A 10 x 10 box, uniformly among those at least 2 px away from the object."""
    margin = np.pad(mask, _LOGO_MARGIN).cumsum(axis=0).cumsum(axis=1)
    sums = np.pad(margin, ((1, 0), (1, 0)))
    side = LOGO_SIZE + 2 * _LOGO_MARGIN
    covered = (
        sums[side:, side:]
        - sums[:-side, side:]
        - sums[side:, :-side]
        + sums[:-side, :-side]
    )
    free = np.argwhere(covered == 0)
    top, left = (int(v) for v in free[int(rng.integers(len(free)))])
    return top, left, top + LOGO_SIZE, left + LOGO_SIZE
