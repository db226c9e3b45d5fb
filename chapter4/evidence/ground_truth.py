"""Cases with a known answer: drawn shapes, and mistakes that a planted logo causes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from chapter4.core.attribution import check_count
from chapter4.evidence.pointing import KnownAnswer
from chapter4.evidence.scoring import predicted_classes
from chapter4.inputs.images import preprocessing_of
from chapter4.shapes.drawing import SIZE, class_index, make_shapes

# The pictures on which neither model was trained or tuned.
TEST_SEED = 3
N_PICTURES = 2000
LOGO_CLASS = "star"


def logo_mistakes(model: nn.Module, n: int = 200) -> list[KnownAnswer]:
    """Pictures that the model calls stars because of the logo alone.

    Each case is a test picture of another class. The model names it correctly without
    the logo and calls it a star with the logo. The two pictures differ only in the
    logo's 10 x 10 pixels, so that nothing else can be the cause.

    Args:
        model: The classifier "shapes-logo", as ``load_classifier`` returns it.
        n: The number of cases.

    Returns:
        The first n cases of the test set. Their target is the star, and their region is
        the logo's box.

    Raises:
        ValueError: If ``n`` is below 1, or the test set has fewer than n cases.
        TypeError: If ``n`` is not an integer.
    """
    n, star = check_count("n", n), class_index(LOGO_CLASS)
    cases: list[KnownAnswer] = []
    for indices in _runs():
        plain = make_shapes(indices, seed=TEST_SEED)
        marked = make_shapes(indices, seed=TEST_SEED, logo_probability=1.0)
        images = _normalised(marked.images, model)
        labels = plain.labels
        right = predicted_classes(model, _normalised(plain.images, model)) == labels
        turned = predicted_classes(model, images) == star
        for i in torch.nonzero(right & turned & (labels != star)).flatten():
            box = marked.logo_boxes[int(i)]
            assert box is not None
            region = np.zeros((SIZE, SIZE), bool)
            region[box[0] : box[2], box[1] : box[3]] = True
            cases.append(
                KnownAnswer(images[i], star, region, f"test {indices[int(i)]}")
            )
        if len(cases) >= n:
            return cases[:n]
    raise ValueError(f"the logo causes {len(cases)} mistakes of this model, not {n}")


def off_centre_shapes(model: nn.Module, n: int = 200) -> list[KnownAnswer]:
    """Pictures of one shape that leaves the centre free.

    Each case is a test picture that the model names correctly and whose object does not
    touch the four central pixels. A map that always points at the centre is always
    wrong on them.

    Args:
        model: The classifier "shapes", as ``load_classifier`` returns it.
        n: The number of cases.

    Returns:
        The first n cases of the test set. Their target is the class of the shape, and
        their region is the shape's mask.

    Raises:
        ValueError: If ``n`` is below 1, or the test set has fewer than n cases.
        TypeError: If ``n`` is not an integer.
    """
    n, middle = check_count("n", n), slice(SIZE // 2 - 1, SIZE // 2 + 1)
    cases: list[KnownAnswer] = []
    for indices in _runs():
        plain = make_shapes(indices, seed=TEST_SEED)
        images = _normalised(plain.images, model)
        right = predicted_classes(model, images) == plain.labels
        away = ~plain.masks[:, middle, middle].flatten(1).any(dim=1)
        cases += [
            KnownAnswer(
                images[i],
                int(plain.labels[i]),
                plain.masks[i].numpy(),
                f"test {indices[int(i)]}",
            )
            for i in torch.nonzero(right & away).flatten()
        ]
        if len(cases) >= n:
            return cases[:n]
    raise ValueError(f"the test set has {len(cases)} such pictures, not {n}")


def _runs(length: int = 100) -> list[list[int]]:
    return [
        list(range(start, start + length)) for start in range(0, N_PICTURES, length)
    ]


def _normalised(pixels: Tensor, model: nn.Module) -> Tensor:
    return preprocessing_of(model).normalize(pixels)
