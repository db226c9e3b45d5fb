"""What a training run saves beside its weights: recipe.json and a model card.

The model card is made from recipe.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


def machine_in_words() -> str:
    """The machine in words: how many cores it has, and that one thread was used."""
    return f"{os.cpu_count()} CPU cores, one thread used"


def read_recipe(name: str) -> dict[str, Any]:
    """The recipe.json of a shipped model.

    Args:
        name: The model's folder in chapter4/weights.

    Returns:
        The record.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = WEIGHTS / name / "recipe.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no recipe.json for {name!r}: train it first (see CONTRIBUTING.md)"
        )
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def save_weights(
    name: str, tensors: dict[str, torch.Tensor], file_name: str = "model.safetensors"
) -> None:
    """Write a model's tensors, readable for everyone.

    Without this, safetensors makes the file private to its owner.

    Args:
        name: The model's folder in chapter4/weights.
        tensors: The tensors by their names in the state dict.
        file_name: The name of the file in that folder.
    """
    from safetensors.torch import save_file

    path = WEIGHTS / name / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    path.chmod(0o644)


def write_recipe(name: str, record: dict[str, Any]) -> None:
    """Write recipe.json and MODEL_CARD.md for one model.

    Args:
        name: The model's folder in chapter4/weights.
        record: title, what, intended_use, data, limits (a list), licence, accuracy,
            n_test, cpu_seconds and whatever else the script measured. The version of
            torch and the machine are added here.
    """
    record = (
        {"name": name}
        | record
        | {"torch": torch.__version__, "machine": machine_in_words()}
    )
    folder = WEIGHTS / name
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2) + "\n"
    (folder / "recipe.json").write_text(text, encoding="utf-8")
    # Made from the written text, so that the file alone is enough to make the card.
    card = model_card(json.loads(text))
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def model_card(record: dict[str, Any]) -> str:
    """The model card as Markdown, from a record that ``write_recipe`` takes.

    Each number in it comes from the record.
    """
    lines = [f"# {record['title']}", "", record["what"], ""]
    lines += ["## Intended use", "", record["intended_use"], ""]
    lines += ["## Data", "", record["data"]["in_words"], ""]
    lines += ["## Training", "", record["training_in_words"], ""]
    lines += [
        f"- {key.replace('_', ' ')}: {value}" for key, value in record["recipe"].items()
    ]
    lines += [
        (
            f"- processor time: {record['cpu_seconds']:.0f} s on {record['machine']},"
            f" torch {record['torch']}"
        ),
        "",
        "## Accuracy",
        "",
        (
            f"{record['correct']} of {record['n_test']} test examples right:"
            f" {record['accuracy']:.4f}."
        ),
        "",
    ]
    lines += [f"- {sentence}" for sentence in record["measured_in_words"]]
    lines += ["", "## Limits", ""] + [f"- {limit}" for limit in record["limits"]]
    lines += ["", "## Licence", "", record["licence"], ""]
    return "\n".join(lines)


def compare_counts(name: str, what: str, measured: int, recorded: int, n: int) -> bool:
    """Print a count that was measured again and compare it with that in recipe.json.

    Rounding differs between processors, so that a picture on the boundary of two
    classes may change its class. One in a thousand may differ, and one in any case.

    Args:
        name: The model's name.
        what: What was counted.
        measured: The count of now.
        recorded: The count in recipe.json.
        n: How many examples there were.

    Returns:
        Whether the two agree within that.
    """
    agrees = abs(measured - recorded) <= max(1, n / 1000)
    print(
        f"{name}: {what}: {measured} of {n}, recipe.json says {recorded}:"
        f" {'agrees' if agrees else 'DIFFERS'}"
    )
    return agrees
