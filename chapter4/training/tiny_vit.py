"""Train ``tiny-vit``, a small Vision Transformer, on the drawn shapes.

Run ``python -m chapter4.training.tiny_vit``. With ``--check`` it measures the shipped
weights again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from chapter4.shapes.drawing import CLASSES, SIZE, make_shapes
from chapter4.shapes.networks import MEAN, STD, tiny_vit
from chapter4.training.cache import pictures
from chapter4.training.loop import Recipe, fit
from chapter4.training.records import (
    WEIGHTS,
    compare_counts,
    read_recipe,
    save_weights,
    write_recipe,
)

if TYPE_CHECKING:
    from transformers import ViTForImageClassification

NAME = "tiny-vit"
# The recipe was chosen with the validation pictures. Those of the test set are used for
# measuring only.
TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 1, 2, 3
N_TRAIN, N_TEST = 20_000, 2_000
N_QUICK = 500
RECIPE = Recipe(
    epochs=10,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=300,
    weight_decay=0.05,
    flip=True,
    seed=0,
)
# A patch counts as on the object if at least this share of its pixels belongs to the
# object.
ON_OBJECT = 0.25


def load_shipped() -> ViTForImageClassification:
    """The tiny ViT with the shipped weights, in evaluation mode, loaded strictly."""
    from safetensors.torch import load_file

    model = tiny_vit()
    model.load_state_dict(load_file(WEIGHTS / NAME / "model.safetensors"))
    return model.eval()


def measure(model: ViTForImageClassification, n: int = N_TEST) -> dict[str, Any]:
    """Accuracy on the first n test pictures, and where [CLS] looks in each layer.

    Args:
        model: In evaluation mode, with eager attention.
        n: How many pictures.

    Returns:
        Counts and a share. ``right`` counts the pictures with the right class.
        ``top_patch_on_object`` counts for each layer the pictures in which the patch
        that [CLS] attends to most (mean over heads) is on the object. ``chance`` is the
        mean share of patches on the object.
    """
    batch = make_shapes(n, seed=TEST_SEED)
    right = 0
    on_object = [0] * model.config.num_hidden_layers
    # The share of each patch that is on the object, (N, 64).
    share = (
        batch.masks.float()
        .unflatten(1, (8, 8))
        .unflatten(3, (8, 8))
        .mean(dim=(2, 4))
        .flatten(1)
    )
    inside = share >= ON_OBJECT
    with torch.inference_mode():
        for start in range(0, n, 250):
            chosen = slice(start, start + 250)
            output = model(
                pixel_values=(batch.images[chosen] - 0.5) / 0.5, output_attentions=True
            )
            right += int((output.logits.argmax(dim=1) == batch.labels[chosen]).sum())
            for layer, attention in enumerate(output.attentions):  # (N, heads, 65, 65)
                top = attention.mean(dim=1)[:, 0, 1:].argmax(dim=1)
                on_object[layer] += int(inside[chosen].gather(1, top[:, None]).sum())
    return {
        "n": n,
        "right": right,
        "top_patch_on_object": on_object,
        "chance": round(inside.float().mean().item(), 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the model, or with ``--check`` measure it again.

    Returns:
        0, or 1 if ``--check`` finds a difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m chapter4.training.tiny_vit", description=__doc__
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure the shipped weights, train nothing",
    )
    torch.set_num_threads(1)
    if parser.parse_args(arguments).check:
        return 0 if check() else 1
    _train()
    return 0


def check(n: int = N_TEST) -> bool:
    """Measure the shipped weights again and compare them with recipe.json.

    Args:
        n: 2000 for the whole test set, or 500 for a quick look at its first pictures.

    Returns:
        Whether accuracy and the place of the attention agree, see ``compare_counts``.
    """
    recorded = read_recipe(NAME)["attention" if n == N_TEST else "attention_quick"]
    found = measure(load_shipped(), n)
    agree = [compare_counts(NAME, "right", found["right"], recorded["right"], n)]
    pairs = zip(
        found["top_patch_on_object"], recorded["top_patch_on_object"], strict=True
    )
    for layer, (now, then) in enumerate(pairs, start=1):
        what = f"layer {layer}, top patch of [CLS] on the object"
        agree.append(compare_counts(NAME, what, now, then, n))
    return all(agree)


def _train() -> None:
    train = pictures(N_TRAIN, seed=TRAIN_SEED)
    validation = pictures(N_TEST, seed=VALIDATION_SEED)
    model = tiny_vit(RECIPE.seed)
    seconds = fit(NAME, model, train, validation, RECIPE)
    found, quick = measure(model), measure(model, N_QUICK)
    save_weights(NAME, model.state_dict())
    write_recipe(
        NAME, _record(seconds, found, quick, sum(p.numel() for p in model.parameters()))
    )
    print(f"{NAME}: {found}", flush=True)


def _record(
    seconds: float, found: dict[str, Any], quick: dict[str, Any], n_parameters: int
) -> dict[str, Any]:
    n = found["n"]
    layers = ", ".join(f"{count / n:.3f}" for count in found["top_patch_on_object"])
    where = (
        "Share of test pictures in which the patch that [CLS] attends to most (mean"
        f" over heads) is on the object, layers 1 to 6: {layers}; chance"
        f" {found['chance']:.3f}. On the object means that at least {ON_OBJECT:.0%} of"
        " the patch's pixels belong to it."
    )
    return {
        "title": "Tiny ViT",
        "what": (
            "A Vision Transformer of 6 layers and 4 heads over 8 x 8 patches"
            f" ({n_parameters:,} parameters) that names the drawn shape in a 64 px"
            " picture. A small convolutional stem takes the place of the patch"
            " embedding."
        ),
        "intended_use": (
            "To look at a ViT's attention without a download, where the object's place"
            " is known."
        ),
        "classes": list(CLASSES),
        "input_size": SIZE,
        "mean": list(MEAN),
        "std": list(STD),
        "seed": RECIPE.seed,
        "recipe": asdict(RECIPE),
        "data": {
            "in_words": (
                f"Drawn by chapter4/shapes/drawing.py: {N_TRAIN} training pictures"
                f" (seed {TRAIN_SEED}) and {N_TEST} test pictures (seed {TEST_SEED}),"
                " ten classes equally often. No logo is planted."
            ),
            "n_train": N_TRAIN,
            "train_seed": TRAIN_SEED,
            "n_test": N_TEST,
            "validation_seed": VALIDATION_SEED,
            "test_seed": TEST_SEED,
        },
        "training_in_words": (
            "AdamW on the cross-entropy, linear warm-up, then a cosine to 0; the last"
            " epoch is kept. The recipe was settled by other pictures (seed"
            f" {VALIDATION_SEED}), not by the test set. Input: RGB, (pixel - 0.5) /"
            " 0.5."
        ),
        "n_test": n,
        "correct": found["right"],
        "accuracy": found["right"] / n,
        "attention": found | {"on_object_means_share_of_patch": ON_OBJECT},
        "attention_quick": quick,
        "measured_in_words": [where],
        "cpu_seconds": round(seconds, 1),
        "limits": [
            (
                "It knows ten drawn shapes at 64 px, turned by at most 30 degrees, and"
                " no photographs."
            ),
            "A token sees 22 x 22 pixels through the stem, not its 8 x 8 patch alone.",
            "Where it attends is not thereby what its answer rests on.",
        ],
        "licence": "MIT, as the rest of the code.",
    }


if __name__ == "__main__":
    sys.exit(main())
