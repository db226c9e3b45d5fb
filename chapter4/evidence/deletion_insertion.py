"""Deletion and insertion: does the score follow the pixels that a map ranks first?

Filled images are unlike any that the model was trained on, and how much of a drop is due
to that depends on the fill (Rong et al. 2022, ROAD, arXiv:2202.00449). So every map of a
comparison gets one fill, and stands beside two controls that know nothing of the model:
pixels in random order, and pixels by their distance from the image's centre.
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

    fractions: (P,), the share of the pixels that is deleted, or inserted, from 0 to 1.
    scores: (P,), F there. area: under the curve, by trapezoids; in units of F.
    """

    fractions: np.ndarray
    scores: np.ndarray
    area: float


@dataclass(frozen=True)
class DeletionInsertion:
    """Both curves of one order of the pixels.

    deletion: from the image to the fill, the first pixels first; a low area means that
    the order finds what the score rests on. insertion: from the fill to the image; a
    high area means that.
    """

    deletion: Curve
    insertion: Curve


@dataclass(frozen=True)
class Faithfulness:
    """The curves of several maps of one image, and of the controls.

    maps: name -> curves. random: one per seed. centre: pixels by their distance from
    the centre. Both are empty where no controls were asked for. target, score, fill,
    cell: what was asked.
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

        what: "deletion" or "insertion".
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

    maps: name -> (H, W) in the image's size, highest first; it may be empty. All of
    them share the fill, the class and the score, or their areas can't be compared.
    fill: "blur", "mean", "black", "white" (see `make_baseline`) or a normalised tensor
    of the image's shape. n_points: steps after the start, equal shares of the pixels.
    score: "probability", as in the paper, or "logit". cell: the side in pixels of the
    squares that are changed together, in the order of the map's mean there; the last
    row and column of squares may be smaller.
    controls: whether to walk the random orders and the centre's, too.
    Equal values are put in a random order by `seed`, so that a blank map is one more
    random order. Cost: (2 * n_points) images per map and control.
    Raises ValueError or TypeError for bad input.
    Source: Petsiuk et al. 2018 (RISE), arXiv:1806.07421.
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

    blank = np.zeros(size)
    return Faithfulness(
        maps={name: curves(ranks) for name, ranks in orders.items()},
        random=(
            tuple(curves(pixel_ranks(blank, cell, s)) for s in random_seeds)
            if controls
            else ()
        ),
        centre=curves(pixel_ranks(centre_blob(size), cell, seed)) if controls else None,
        target=target,
        score=score,
        fill=fill if isinstance(fill, str) else "tensor",
        cell=cell,
    )


def centre_blob(size: tuple[int, int]) -> np.ndarray:
    """A map (H, W) that is a Gaussian about the image's centre, with a standard
    deviation of a quarter of the shorter side: the control that photographers frame
    what they mean.
    """
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in size)
    square = rows[:, None] ** 2 + columns[None, :] ** 2
    return np.exp(-square / (2 * (min(size) / 4) ** 2))


def pixel_ranks(values: np.ndarray, cell: int = 1, seed: int = 0) -> np.ndarray:
    """(H, W) to the rank of each pixel's cell, (H, W): 0 for the highest mean value.

    Cells of `cell` x `cell` pixels from the top left corner. Equal means are put in a
    random order by seed.
    """
    values = as_map(values)
    height, width = values.shape
    across = -(-width // cell)
    label = (np.arange(height) // cell)[:, None] * across + np.arange(width) // cell
    counts = np.bincount(label.ravel())
    means = np.bincount(label.ravel(), weights=values.ravel()) / counts
    if cell == 1:  # a sum and a division of one value, but not of -0 and rounding
        means = values.ravel()
    shuffled = np.random.default_rng(seed).permutation(len(means))
    order = shuffled[np.argsort(-means[shuffled], kind="stable")]
    rank = np.empty(len(means), int)
    rank[order] = np.arange(len(means))
    return rank[label]


def filling(
    fill: str | Tensor, x: Tensor, model: nn.Module, *, seed: int = 0
) -> Tensor:
    """What takes the place of removed pixels of x (1, 3, H, W), of the same shape."""
    from chapter4.methods.integrated_gradients import make_baseline

    if not isinstance(fill, Tensor):
        return make_baseline(fill, x, model, seed=seed)
    made = one_image(fill, model).to(x)
    if made.shape != x.shape:
        raise ValueError(
            f"the fill {tuple(fill.shape)} has not the image's shape {tuple(x.shape)}"
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
