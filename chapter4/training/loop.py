"""The training loop for image classifiers, and how their accuracy is counted."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chapter4.training.cache import (
    cache_folder,
    digest,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on besides its data.

    Attributes:
        epochs: How often the run sees each picture.
        batch_size: Pictures in one step.
        learning_rate: The peak. The rate rises to it linearly and then falls to 0 along
            a cosine.
        warmup_steps: The number of steps in which the rate rises.
        weight_decay: AdamW's.
        flip: Whether to mirror each picture left to right with a chance of one half.
            This changes no class.
        seed: The seed of the initial weights, the order of the pictures and the flips.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    flip: bool
    seed: int


def normalise(images: Tensor) -> Tensor:
    """Bring uint8 pixels (N, 3, H, W) to the space that the shape models take.

    The formula is ``(pixel / 255 - 0.5) / 0.5``.
    """
    return images.float().div(127.5).sub(1.0)


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """The logits (N, classes) of a plain module or of a Hugging Face model."""
    output = model(x)
    return output if isinstance(output, Tensor) else output.logits


def predict(model: nn.Module, images: Tensor, batch_size: int = 250) -> Tensor:
    """The predicted class, int64 (N,), of uint8 pictures (N, 3, H, W).

    The model is in evaluation mode.
    """
    with torch.inference_mode():
        parts = [
            logits_of(model, normalise(chunk)).argmax(dim=1)
            for chunk in images.split(batch_size)
        ]
    return torch.cat(parts).clone()


def fit(
    name: str,
    model: nn.Module,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    recipe: Recipe,
) -> float:
    """Train a classifier in place by AdamW on the cross-entropy.

    It prints a line for each epoch. The model ends in evaluation mode.

    Args:
        name: The name of the checkpoint.
        model: The classifier.
        train: The uint8 images (N, 3, H, W) and int64 labels (N,) to train on.
        validation: Images and labels of the same kind. The accuracy on them is printed
            after each epoch and used for nothing else.
        recipe: The settings.

    Returns:
        The processor seconds that training took, including those before a cut-off.
    """
    images, labels = train
    steps_per_epoch = math.ceil(len(images) / recipe.batch_size)
    total = steps_per_epoch * recipe.epochs
    optimiser = torch.optim.AdamW(
        _groups(model, recipe.weight_decay), lr=recipe.learning_rate
    )
    # A run with another recipe, other pictures or other initial weights is another run.
    # It must not resume this one's checkpoint.
    run = asdict(recipe) | {
        "start": digest([*model.state_dict().values(), images, labels])
    }
    path = cache_folder() / f"{name}-{fingerprint(run)}.pt"
    first, spent = 0, 0.0
    state = load_checkpoint(path)
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first, spent = state["epoch"], state["seconds"]
        print(f"{name}: goes on after epoch {first}", flush=True)

    for epoch in range(first, recipe.epochs):
        started = time.process_time()
        # Each epoch has its own generator, so that a resumed run equals one that was
        # never cut off.
        generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
        order = torch.randperm(len(images), generator=generator)
        model.train()
        losses = []
        for step, chosen in enumerate(order.split(recipe.batch_size)):
            x = normalise(images[chosen])
            if recipe.flip:
                mirrored = torch.rand(len(x), generator=generator) < 0.5
                x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
            rate = _learning_rate(epoch * steps_per_epoch + step, total, recipe)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = nn.functional.cross_entropy(logits_of(model, x), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.detach())
            if step % 50 == 0:
                print(
                    f"{name}: epoch {epoch + 1} step {step}/{steps_per_epoch} loss"
                    f" {loss.item():.3f}",
                    flush=True,
                )
        model.eval()
        spent += time.process_time() - started
        right = (predict(model, validation[0]) == validation[1]).float().mean().item()
        mean_loss = torch.stack(losses).mean().item()
        print(
            f"{name}: epoch {epoch + 1}/{recipe.epochs} loss {mean_loss:.4f} "
            f"validation accuracy {right:.4f} {spent:.0f} s",
            flush=True,
        )
        state = {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "epoch": epoch + 1,
            "seconds": spent,
        }
        save_checkpoint(path, state)
    model.eval()
    return spent


def _learning_rate(step: int, total: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    along = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * along))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only.

    As is usual, biases, norms and vectors have none.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
