"""Whether a baseline is the picture that its name says, and if not, which one it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from autograder.checking.runner import require
from autograder.problems.problem3.questions import IMAGENET, PIXEL, Space

# Both are differences of pixel values between 0 and 1. Kernels cut off at 3 sigma and
# the 8-bit blur of Pillow stay below half of BLUR.
BLUR = 0.02
# Where several edges meet, such errors add up. Without any blur the difference is 0.3
# there.
DETAIL = 0.05


def check_plain(found: np.ndarray, name: str, x: np.ndarray, space: Space) -> None:
    """Check a black or white baseline.

    Args:
        found: The baseline, normalised, (3, H, W).
        name: ``"black"`` or ``"white"``.
        x: The image, normalised, (3, H, W).
        space: How both are normalised.
    """
    value = {"black": 0.0, "white": 1.0}[name]
    right = space.normalize(np.full((3, 1, 1), value))
    pixels = space.denormalize(found)
    if np.abs(pixels - value).max() <= PIXEL:
        return
    for other, words in _plain_mistakes(value, x, space):
        if np.abs(found - other).max() <= PIXEL:
            require(False, f"{name} is {_row(right)} in this space. {words}")
    low, high = pixels.min(), pixels.max()
    require(
        False,
        f"{name} is the pixel value {value:.0f} in every channel, {_row(right)} once"
        f" normalised; yours goes from pixel value {low:.3f} to {high:.3f}.",
    )


def _plain_mistakes(
    value: float, x: np.ndarray, space: Space
) -> Iterator[tuple[np.ndarray, str]]:
    """Wrong pictures that people hand in, each with the words that they should read."""
    mean, std = (np.reshape(each, (3, 1, 1)) for each in (space.mean, space.std))
    full = np.full((3, 1, 1), value)
    made = "Make the picture of pixel values first, then normalise it as the photo was."
    called = "zeros" if value == 0 else "ones"
    shade = "the mean colour, " if value == 0 else ""
    yield (
        full,
        f"Yours is {called} after normalising, which is {shade}pixel values"
        f" {_row(space.denormalize(full))}. {made}",
    )
    yield (
        space.normalize(1 - full),
        "Yours is the opposite: black and white are swapped.",
    )
    yield (
        IMAGENET.normalize(full),
        "ImageNet's mean and std were used: take those that are handed over.",
    )
    yield (
        2 * full - 1,
        "Yours is right for a mean and std of 0.5 only: take those that are handed"
        " over.",
    )
    yield full - mean, "The division by std is missing."
    yield full / std, "The mean was not subtracted."
    yield (full - mean) * std, "It was multiplied by std: divide."
    yield (full - std) / mean, "mean and std are swapped."
    yield (
        full * std + mean,
        f"It was taken back to pixel values instead of normalised. {made}",
    )
    yield (
        space.normalize(space.normalize(full)),
        "It was normalised twice: once is enough.",
    )
    yield (
        space.normalize(255 * full if value else full - 255),
        "The pixel value 255 was used: here pixel values lie between 0 and 1.",
    )
    extreme = np.min if value == 0 else np.max
    own = (
        "It is the image's own extreme value, which another image hasn't: use the pixel"
        " value."
    )
    for axes in ((0, 1, 2), (1, 2)):
        yield extreme(x, axis=axes, keepdims=True), own
        pixels = extreme(space.denormalize(x), axis=axes, keepdims=True)
        yield space.normalize(pixels), own


def _row(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values.ravel()) + ")"


def edges(rng: Generator, size: tuple[int, int]) -> np.ndarray:
    """Pixel values (3, H, W): a vertical edge, a horizontal one and an even plane.

    Every way of padding gives the same blur of them, except a frame of another colour.
    """
    height, width = size
    low, high = rng.uniform(0.6, 0.65, 2), rng.uniform(0.9, 0.95, 2)
    pixels = np.full((3, height, width), rng.uniform(0.02, 0.06))
    pixels[0] = low[0]
    pixels[0, :, width // 2 :] = high[0]
    pixels[1] = low[1]
    pixels[1, height // 2 :] = high[1]
    return pixels[rng.permutation(3)]


def detail(rng: Generator, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Pixel values (3, H, W): squares of random lightness, with an even frame around.

    The frame is wider than the blur reaches, so padding does not matter. No formula
    gives their blur.
    """
    pixels = np.broadcast_to(rng.uniform(0.2, 0.8, (3, 1, 1)), (3, *size)).copy()
    frame = int(np.ceil(4 * sigma))
    inside = [slice(frame, n - frame) for n in size]
    height, width = (n - 2 * frame for n in size)
    blocks = rng.uniform(size=(3, height // 4 + 1, width // 4 + 1))
    pixels[:, *inside] = np.kron(blocks, np.ones((4, 4)))[:, :height, :width]
    return pixels


def check_detail(
    found: np.ndarray, pixels: np.ndarray, sigma: float, space: Space
) -> None:
    """Check the normalised blur of ``detail``, after that of ``edges`` was right."""
    right = gaussian_filter(pixels, (0, sigma, sigma))
    off = float(np.abs(space.denormalize(found) - right).max())
    require(
        off <= DETAIL,
        f"the blur is right for a picture of single edges, and off by up to {off:.2f}"
        " of a pixel value for one with detail.",
    )


def check_blur(
    found: np.ndarray, pixels: np.ndarray, sigma: float, space: Space
) -> None:
    """Check the normalised blur of ``edges``."""
    each = (0, sigma, sigma)
    right = gaussian_filter(pixels, each)
    blurred = space.denormalize(found)
    if np.abs(blurred - right).max() <= BLUR:
        return
    known = [
        (float(np.abs(blurred - other).max()), words)
        for other, words in _blur_mistakes(pixels, right, sigma, space)
    ]
    nearest, words = min(known)
    require(nearest > BLUR, words)
    edge = round(2 * sigma)
    inside = np.abs(blurred - right)[:, edge:-edge, edge:-edge]
    even = np.argmin(np.ptp(pixels, axis=(1, 2)))
    require(
        np.ptp(blurred[even, edge:-edge, edge:-edge]) <= BLUR,
        "the blur mixes the channels: blur along height and width only.",
    )
    frame = np.abs(blurred - right)[:, 0].max()
    require(
        frame <= BLUR or inside.max() > 0.5 * frame,
        "the blur has a frame of another colour: at the border go on with the image's"
        " own pixels (reflect or replicate), not with zeros.",
    )
    wide = _width(blurred, pixels)
    require(
        abs(wide / sigma - 1) <= 0.1,
        f"the blur must be a Gaussian with a standard deviation of {sigma:.1f} pixels;"
        f" yours is as wide as one of {wide:.2f}.",
    )
    require(
        False,
        "the blur must be a Gaussian of the pixel values, then normalised; yours is"
        f" off by up to {np.abs(blurred - right).max():.2f} of a pixel value.",
    )


def _blur_mistakes(
    pixels: np.ndarray, right: np.ndarray, sigma: float, space: Space
) -> Iterator[tuple[np.ndarray, str]]:
    """Wrong pictures, as pixel values, each with words for whoever hands it in."""
    yield pixels, "the blur is the image itself: nothing was blurred."
    yield (
        space.denormalize(right),
        "the blur was left as pixel values: normalise it as the photo was.",
    )
    normalized = space.normalize(pixels)
    yield (
        space.normalize(right),
        "the blur was taken of the normalised image and then normalised again: go back"
        " to pixel values first.",
    )
    each = (0, sigma, sigma)
    yield (
        gaussian_filter(pixels, each, mode="constant"),
        "the blur has a black frame: at the border go on with the image's own pixels"
        " (reflect or replicate).",
    )
    framed = gaussian_filter(normalized, each, mode="constant")
    yield (
        space.denormalize(framed),
        "the blur was made in normalised space, where the zeros beyond the border are"
        " the mean colour: blur the pixel values, and go on with the image's own pixels"
        " at the border.",
    )
    yield (
        np.broadcast_to(right.mean(axis=0), right.shape),
        "the blur has lost its colours: keep the channels apart.",
    )
    root = (0, sigma**0.5, sigma**0.5)
    yield (
        gaussian_filter(pixels, root),
        "blur_sigma was used as a variance: it is the Gaussian's standard deviation.",
    )


def _width(blurred: np.ndarray, pixels: np.ndarray) -> float:
    """The blur's standard deviation, in pixels, from how wide the edges have become.

    The derivative of a blurred edge is the blur's kernel.
    """
    found = []
    for plane, clean in zip(blurred, pixels, strict=True):
        for axis in (0, 1):
            if np.ptp(clean.mean(axis=1 - axis)) > 0.1:
                kernel = np.abs(np.diff(plane.mean(axis=1 - axis)))
                at = np.arange(len(kernel))
                kernel = kernel / max(kernel.sum(), 1e-12)
                found.append(((at - (at * kernel).sum()) ** 2 * kernel).sum() ** 0.5)
    return float(np.mean(found))


def check_noise(found: np.ndarray, x: np.ndarray, space: Space) -> None:
    """Check that a baseline holds independent uniform pixel values, normalised."""
    pixels = space.denormalize(found)
    outside = "the random baseline"
    require(
        pixels.std(axis=(1, 2)).max() > PIXEL,
        f"{outside} is one colour: draw a number for every pixel and channel.",
    )
    for shape, call in (("uniform", "uniform"), ("norm", "Gaussian")):
        require(
            _distance(found, shape) > 1,
            f"{outside} is {call} in NORMALISED space: draw pixel values between 0 and"
            " 1, then normalise them.",
        )
    image = space.denormalize(x)
    alike = float(np.corrcoef(pixels.ravel(), image.ravel())[0, 1])
    require(
        abs(alike) <= 5 / x.size**0.5,
        f"{outside} holds the image (correlation {alike:.2f}): draw the noise alone.",
    )
    low, high = pixels.min(), pixels.max()
    require(
        low >= -PIXEL and high <= 1 + PIXEL,
        f"{outside} must hold pixel values between 0 and 1, then normalised; yours go"
        f" from {low:.2f} to {high:.2f}.",
    )
    for one, other in ((0, 1), (1, 2)):
        same = np.corrcoef(pixels[one].ravel(), pixels[other].ravel())[0, 1]
        require(
            abs(same) <= 5 / pixels[0].size ** 0.5,
            f"{outside} has the same noise in two channels: draw a number for every"
            " pixel AND channel.",
        )
    require(
        _distance(pixels, "uniform") <= 1,
        f"{outside}'s pixel values are not uniform between 0 and 1: their mean is"
        f" {pixels.mean():.3f} and their standard deviation {pixels.std():.3f}, not"
        " 0.500 and 0.289.",
    )


def _distance(values: np.ndarray, shape: str) -> float:
    """The Kolmogorov-Smirnov distance from a distribution.

    It is above 1 once in 30 million where the values do come from that distribution.
    """
    distance: float = kstest(values.ravel(), shape).statistic
    return distance * values.size**0.5 / 3
