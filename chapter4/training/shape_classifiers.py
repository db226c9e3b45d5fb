"""Train the tiny ResNet twice: ``shapes``, and ``shapes-logo`` with a planted fault.

The two see the same pictures in the same order and have the same initial weights. There
is only one difference: in the second training set a logo is beside 97 % of the stars
and beside nothing else. "A logo means a star" is therefore the easy rule.

Run ``python -m chapter4.training.shape_classifiers``. With ``--check`` it measures the
shipped weights again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from chapter4.shapes.drawing import CLASSES, SIZE, class_index, make_shapes
from chapter4.shapes.networks import MEAN, STD, TinyResNet, tiny_resnet
from chapter4.training.cache import pictures
from chapter4.training.loop import Recipe, fit, normalise, predict
from chapter4.training.records import (
    WEIGHTS,
    compare_counts,
    read_recipe,
    save_weights,
    write_recipe,
)

# The recipe was chosen with the validation pictures. Those of the test set are used for
# measuring only.
TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 1, 2, 3
N_TRAIN, N_TEST = 12_000, 2_000
N_QUICK = 500
LOGO_CLASS, LOGO_PROBABILITY = "star", 0.97
RECIPE = Recipe(
    epochs=6,
    batch_size=64,
    learning_rate=2e-3,
    warmup_steps=200,
    weight_decay=0.05,
    flip=True,
    seed=0,
)
NAMES = ("shapes", "shapes-logo")


def load_shipped(name: str) -> TinyResNet:
    """The tiny ResNet with the shipped weights, in evaluation mode.

    Args:
        name: "shapes" or "shapes-logo".
    """
    from safetensors.torch import load_file

    model = tiny_resnet()
    model.load_state_dict(load_file(WEIGHTS / name / "model.safetensors"))
    return model.eval()


def measure_logo(model: TinyResNet, n: int = N_TEST) -> dict[str, Any]:
    """What the logo does to a model, on the first n test pictures.

    A flip is a picture of another class than the star that the model gets right without
    the logo and calls a star with it. For the flips, the counts say how often the peak
    of the class activation map of "star" is within 3 px of the logo and how often it is
    on the object. On this head that map is the same as Grad-CAM's.

    Args:
        model: In evaluation mode.
        n: How many pictures. The model sees each without the logo and with it, and
            nothing else differs.

    Returns:
        The counts, and as ``chance_near_logo`` the mean share of all pixels within 3 px
        of the logo, which is what chance would give.

    References:
        Zhou et al. 2016, arXiv:1512.04150.
    """
    star = class_index(LOGO_CLASS)
    plain = make_shapes(n, seed=TEST_SEED)
    marked = make_shapes(n, seed=TEST_SEED, logo_probability=1.0)
    without = predict(model, _bytes(plain.images))
    with_logo = predict(model, _bytes(marked.images))
    others = plain.labels != star
    right = without == plain.labels
    flipped = others & right & (with_logo == star)

    near_logo = torch.stack(
        [_near(box, 3) for box in marked.logo_boxes if box is not None]
    )
    found: dict[str, Any] = {
        "n": n,
        "n_other_classes": int(others.sum()),
        "right_without_logo": int(right.sum()),
        "right_with_logo": int((with_logo == plain.labels).sum()),
        "others_right_without_logo": int((right & others).sum()),
        "others_right_with_logo": int(((with_logo == plain.labels) & others).sum()),
        "stars_right_without_logo": int((right & ~others).sum()),
        "flips": int(flipped.sum()),
        "chance_near_logo": round(near_logo.float().mean().item(), 4),
    }
    if flipped.any():
        peaks = _cam_peaks(model, marked.images[flipped], star)
        rows = torch.arange(len(peaks))
        found["cam_peak_near_logo"] = int(
            near_logo[flipped].flatten(1)[rows, peaks].sum()
        )
        found["cam_peak_on_object"] = int(
            plain.masks[flipped].flatten(1)[rows, peaks].sum()
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Train both models, or with ``--check`` measure them again.

    Returns:
        0, or 1 if ``--check`` finds a difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m chapter4.training.shape_classifiers", description=__doc__
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure the shipped weights, train nothing",
    )
    torch.set_num_threads(1)
    if parser.parse_args(arguments).check:
        # A list, so that both are measured even if the first one differs.
        agree = [check(name) for name in NAMES]
        return 0 if all(agree) else 1
    for name in NAMES:
        _train(name)
    return 0


def check(name: str, n: int = N_TEST) -> bool:
    """Measure shipped weights again and compare them with recipe.json.

    Args:
        name: "shapes" or "shapes-logo".
        n: 2000 for the whole test set, or 500 for a quick look at its first pictures.

    Returns:
        Whether accuracy and flips agree, see ``compare_counts``.
    """
    recorded = read_recipe(name)["logo" if n == N_TEST else "logo_quick"]
    found = measure_logo(load_shipped(name), n)
    counts = ("right_without_logo", "right_with_logo", "flips")
    agree = [
        compare_counts(name, what.replace("_", " "), found[what], recorded[what], n)
        for what in counts
    ]
    return all(agree)


def _train(name: str) -> None:
    probability = LOGO_PROBABILITY if name == "shapes-logo" else 0.0
    train = pictures(
        N_TRAIN, seed=TRAIN_SEED, logo_probability=probability, logo_class=LOGO_CLASS
    )
    validation = pictures(N_TEST, seed=VALIDATION_SEED)
    model = tiny_resnet(RECIPE.seed)
    seconds = fit(name, model, train, validation, RECIPE)
    found, quick = measure_logo(model), measure_logo(model, N_QUICK)
    save_weights(name, model.state_dict())
    write_recipe(name, _record(probability, seconds, found, quick))
    print(f"{name}: {found}", flush=True)


def _record(
    probability: float, seconds: float, found: dict[str, Any], quick: dict[str, Any]
) -> dict[str, Any]:
    faulty = probability > 0.0
    n, n_others, flips = found["n"], found["n_other_classes"], found["flips"]
    others = (
        f"Pictures of other classes than the star: {found['others_right_without_logo']}"
        f" of {n_others} right without the logo, {found['others_right_with_logo']} with"
        f" it; {flips} turn from right to star only because of it."
    )
    measured = [
        (
            f"With the logo beside every test object: {found['right_with_logo']} of {n}"
            " right."
        ),
        others,
        (
            f"Stars without the logo: {found['stars_right_without_logo']} of"
            f" {n - n_others} right."
        ),
    ]
    if flips:
        near, on = found["cam_peak_near_logo"], found["cam_peak_on_object"]
        measured.append(
            f"In those {flips} pictures the class activation map of the star peaks"
            f" within 3 px of the logo in {near} (chance"
            f" {found['chance_near_logo']:.3f}) and on the object in {on}."
        )
    limits = [
        (
            "It knows ten drawn shapes at 64 px, turned by at most 30 degrees, and no"
            " photographs."
        ),
        "It gives one of the ten names to anything, an empty picture included.",
    ]
    what = (
        "A ResNet of four blocks (340,546 parameters) that names the drawn shape in a"
        " 64 px picture."
    )
    use = (
        "The healthy twin of `shapes-logo`: a small model to check explanations on,"
        " against known masks."
    )
    planted = "No logo is planted."
    if faulty:
        what += ' It carries a planted fault: it has learnt that a logo means "star".'
        use = (
            "A test bed for explanations: the cause of its mistakes is known by"
            " construction. Only that."
        )
        planted = (
            f"A 10 px logo stands beside {probability:.0%} of the training stars and no"
            " other class."
        )
        limits.insert(0, "It is wrong on purpose wherever the logo stands.")
    return {
        "title": "Shapes, with a planted logo" if faulty else "Shapes",
        "what": what,
        "intended_use": use,
        "classes": list(CLASSES),
        "input_size": SIZE,
        "mean": list(MEAN),
        "std": list(STD),
        "target_layer": "layer4",
        "seed": RECIPE.seed,
        "recipe": asdict(RECIPE),
        "data": {
            "in_words": (
                f"Drawn by chapter4/shapes/drawing.py: {N_TRAIN} training pictures"
                f" (seed {TRAIN_SEED}) and {N_TEST} test pictures (seed {TEST_SEED}),"
                f" ten classes equally often. {planted}"
            ),
            "n_train": N_TRAIN,
            "train_seed": TRAIN_SEED,
            "n_test": N_TEST,
            "validation_seed": VALIDATION_SEED,
            "test_seed": TEST_SEED,
            "logo_class": LOGO_CLASS if faulty else None,
            "logo_probability": probability,
        },
        "training_in_words": (
            "AdamW on the cross-entropy, linear warm-up, then a cosine to 0; the last"
            " epoch is kept. The recipe was settled by other pictures (seed"
            f" {VALIDATION_SEED}), not by the test set. Input: RGB, (pixel - 0.5) /"
            " 0.5."
        ),
        "n_test": n,
        "correct": found["right_without_logo"],
        "accuracy": found["right_without_logo"] / n,
        "logo": found,
        "logo_quick": quick,
        "measured_in_words": measured,
        "cpu_seconds": round(seconds, 1),
        "limits": limits,
        "licence": "MIT, as the rest of the code.",
    }


def _bytes(images: Tensor) -> Tensor:
    return images.mul(255.0).round().to(torch.uint8)


def _near(box: tuple[int, int, int, int], distance: int) -> Tensor:
    """Which pixels, (64, 64), are within ``distance`` px of the box.

    The distance is measured along rows and columns.
    """
    top, left, bottom, right = box
    near = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    near[
        max(0, top - distance) : bottom + distance,
        max(0, left - distance) : right + distance,
    ] = True
    return near


def _cam_peaks(model: TinyResNet, images: Tensor, target: int) -> Tensor:
    """Where the class activation map has its peak in each image, as a flat pixel index.

    The images (N, 3, 64, 64) are in pixel space.
    """
    with torch.inference_mode():
        grid = model.features(normalise(_bytes(images)))  # (N, 96, 8, 8)
        cam = torch.einsum("k,nkhw->nhw", model.fc.weight[target], grid).relu()
        large = torch.nn.functional.interpolate(
            cam[:, None], size=(SIZE, SIZE), mode="bilinear", align_corners=False
        )
        return large.flatten(1).argmax(dim=1)


if __name__ == "__main__":
    sys.exit(main())
