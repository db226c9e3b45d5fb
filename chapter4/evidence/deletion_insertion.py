"""Deletion and insertion: does the score follow the pixels that a map ranks first?

Filled images are unlike any that the model was trained on. How much of a drop is due to
that depends on the fill (Rong et al. 2022, ROAD, arXiv:2202.00449). So all maps of a
comparison share one fill. They are compared with two controls that know nothing of the
model: pixels in random order, and pixels by their distance from the image's centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import Score, check_count
from chapter4.evidence.map_statistics import as_map
from chapter4.evidence.scoring import chosen_class, one_image, score_images

if TYPE_CHECKING:
    from chapter4.inputs.images import ImageInput


@dataclass(frozen=True)
class Curve:
    """The score as more and more of the image is changed in a map's order.

    Attributes:
        fractions: The share of the pixels that is deleted, or inserted, from 0 to 1:
            (P,).
        scores: F at these shares: (P,).
        area: The area under the curve, by trapezoids, in units of F.
    """

    fractions: np.ndarray
    scores: np.ndarray
    area: float


@dataclass(frozen=True)
class DeletionInsertion:
    """Both curves for one order of the pixels.

    Attributes:
        deletion: From the image to the fill, the first pixels of the order first. A low
            area means that the order finds what the score depends on.
        insertion: From the fill to the image. Here a high area means the same.
    """

    deletion: Curve
    insertion: Curve


@dataclass(frozen=True)
class Faithfulness:
    """The curves of several maps of one image, and of the controls.

    Attributes:
        maps: The curves of each map, by its name.
        random: The curves of the random orders, one entry for each seed. Empty if no
            controls were wanted.
        centre: The curves for pixels by their distance from the centre. None if no
            controls were wanted.
        target: The index of the class whose score was followed.
        score: "logit" or "probability".
        fill: The name of the fill, or "tensor".
        cell: The side of the squares that were changed together, in pixels.
    """

    maps: Mapping[str, DeletionInsertion]
    random: Sequence[DeletionInsertion]
    centre: DeletionInsertion | None
    target: int
    score: Score
    fill: str
    cell: int

    def random_area(self, what: str = "deletion") -> tuple[float, float]:
        """Mean and standard deviation of the area over the random orders.

        Args:
            what: "deletion" or "insertion".

        Returns:
            The mean and the standard deviation, in units of F. The standard deviation
            is NaN for fewer than two orders.

        Raises:
            ValueError: If ``what`` is neither of the two.
        """
        if what not in ("deletion", "insertion"):
            raise ValueError(f"what is 'deletion' or 'insertion', not {what!r}")
        areas = [getattr(curves, what).area for curves in self.random]
        spread = np.std(areas, ddof=1) if len(areas) > 1 else float("nan")
        return float(np.mean(areas)), float(spread)


def deletion_insertion(
    maps: Mapping[str, np.ndarray],
    image: ImageInput,
    model: nn.Module,
    target_class: Any = None,
    *,
    fill: str | Tensor = "blur",
    n_points: int = 20,
    score: Score = "probability",
    cell: int = 1,
    controls: bool = True,
    random_seeds: Sequence[int] = (0, 1, 2, 3, 4),
    seed: int = 0,
    chunk_size: int | None = None,
) -> Faithfulness:
    """Deletion and insertion curves of several maps of one image, with both controls.

    All maps share the fill, the class and the score; otherwise their areas could not be
    compared. Pixels of equal value are put in a random order, so that a blank map is
    one more random order. The cost is ``2 * n_points`` images for each map and each
    control.

    Args:
        maps: Name to map, (H, W) in the image's size. The highest values come first. It
            may be empty.
        image: One photo: a path, a PIL image or a normalised tensor (3, H, W) or
            (1, 3, H, W).
        model: A classifier that gives logits (N, K).
        target_class: The index of the class, or None for the predicted class.
        fill: What takes the place of the deleted pixels: "blur", "mean", "black",
            "white" or "random" (see :func:`chapter4.make_baseline`), or a normalised
            tensor of the image's shape.
        n_points: The number of steps after the start. Each step changes an equal share
            of the pixels.
        score: "probability", as in the paper, or "logit".
        cell: The side in pixels of the squares that are changed together. Squares are
            ordered by the mean of the map inside them. Those of the last row and column
            may be smaller.
        controls: Whether to compute the curves of both controls too.
        random_seeds: One random order of the pixels for each of these seeds.
        seed: Seed for the order of equal values, and for a random fill.
        chunk_size: How many images go through the model at a time; None for the
            default.

    Returns:
        The curves of the maps and of the controls.

    Raises:
        ValueError: If a map has another shape than the image or holds NaN or infinite
            values, for several images, for an unknown fill or score, for a fill of
            another shape, for a count below 1, or for a class out of range.
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such photo.

    References:
        Petsiuk et al. 2018 (RISE), arXiv:1806.07421.
    """
    x = one_image(image, model)
    n_points, cell = check_count("n_points", n_points), check_count("cell", cell)
    size = (x.shape[-2], x.shape[-1])
    filled = filling(fill, x, model, seed=seed)
    orders = {
        name: pixel_ranks(_fitting(m, size, name), cell, seed)
        for name, m in maps.items()
    }
    target = chosen_class(model, x, target_class)
    ends = score_images(model, (x[0], filled[0]), target, score=score)

    def curves(ranks: np.ndarray) -> DeletionInsertion:
        return _curves(
            model, x[0], filled[0], ranks, n_points, target, score, ends, chunk_size
        )

    random, centre = [], None
    if controls:
        random = [curves(pixel_ranks(np.zeros(size), cell, s)) for s in random_seeds]
        centre = curves(pixel_ranks(centre_blob(size), cell, seed))
    return Faithfulness(
        maps={name: curves(ranks) for name, ranks in orders.items()},
        random=tuple(random),
        centre=centre,
        target=target,
        score=score,
        fill=fill if isinstance(fill, str) else "tensor",
        cell=cell,
    )


def centre_blob(size: tuple[int, int]) -> np.ndarray:
    """A map that is a Gaussian around the image's centre.

    It serves as a control because photographers put what they mean near the centre. Its
    standard deviation is a quarter of the shorter side.

    Args:
        size: Height and width in pixels.

    Returns:
        The map, (H, W), whose largest possible value is 1.
    """
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in size)
    square = rows[:, None] ** 2 + columns[None, :] ** 2
    return np.exp(-square / (2 * (min(size) / 4) ** 2))


def pixel_ranks(values: np.ndarray, cell: int = 1, seed: int = 0) -> np.ndarray:
    """The rank of each pixel's cell: 0 for the cell with the highest mean value.

    Args:
        values: A map (H, W).
        cell: The side of a cell in pixels. Cells are laid from the top left corner.
        seed: Seed for the random order of cells with equal means.

    Returns:
        The ranks, (H, W). Pixels of one cell share a rank.

    Raises:
        ValueError: If ``values`` is not a finite map (H, W).
    """
    values = as_map(values)
    height, width = values.shape
    across = -(-width // cell)
    label = (np.arange(height) // cell)[:, None] * across + np.arange(width) // cell
    counts = np.bincount(label.ravel())
    means = np.bincount(label.ravel(), weights=values.ravel()) / counts
    if cell == 1:  # the mean of one pixel is its value, without rounding
        means = values.ravel()
    shuffled = np.random.default_rng(seed).permutation(len(means))
    order = shuffled[np.argsort(-means[shuffled], kind="stable")]
    rank = np.empty(len(means), int)
    rank[order] = np.arange(len(means))
    return rank[label]


def filling(
    fill: str | Tensor, x: Tensor, model: nn.Module, *, seed: int, name: str = "fill"
) -> Tensor:
    """What takes the place of removed pixels of x (1, 3, H, W), in the same shape.

    A message calls it by ``name``.
    """
    from chapter4.methods.integrated_gradients import make_baseline

    if not isinstance(fill, Tensor):
        return make_baseline(fill, x, model, seed=seed)
    made = one_image(fill, model).to(x)
    if made.shape != x.shape:
        raise ValueError(
            f"the {name} {tuple(fill.shape)} has not the image's shape {tuple(x.shape)}"
        )
    return made


def _curves(
    model: nn.Module,
    x: Tensor,
    fill: Tensor,
    ranks: np.ndarray,
    n_points: int,
    target: int,
    score: Score,
    ends: np.ndarray,
    chunk_size: int | None,
) -> DeletionInsertion:
    cells = int(ranks.max()) + 1
    # Each step changes a whole cell or none: never more steps than cells.
    counts = np.unique(np.round(np.linspace(0, cells, n_points + 1)).astype(int))
    place = torch.from_numpy(ranks).to(x.device)

    def mixtures(first: Tensor, then: Tensor) -> Iterator[Tensor]:
        for count in counts[1:-1]:
            yield torch.where(place < int(count), then, first)

    fractions = np.asarray([(ranks < count).mean() for count in counts])
    made = []
    for first, then, start, end in ((x, fill, *ends), (fill, x, *ends[::-1])):
        between = (
            score_images(
                model, mixtures(first, then), target, score=score, chunk_size=chunk_size
            )
            if len(counts) > 2
            else np.empty(0)
        )
        scores = np.concatenate([[start], between, [end]])
        area = (np.diff(fractions) * (scores[1:] + scores[:-1]) / 2).sum()
        made.append(Curve(fractions, scores, float(area)))
    return DeletionInsertion(deletion=made[0], insertion=made[1])


def _fitting(values: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    array = as_map(values)
    if array.shape != size:
        raise ValueError(f"the map {name!r} is {array.shape}, the image {size}")
    return array
