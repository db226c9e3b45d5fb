"""Run the study: ``python -m chapter4.study``. A run that was stopped goes on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chapter4.study import known, pages, photo_items, recipe, reference
from chapter4.study.store import EVIDENCE, machine, measure, save, saved

Item = Callable[[], dict[str, Any]]


def items() -> dict[str, Item]:
    """Everything that is measured, by key; each entry measures when it is called."""
    names = recipe.photo_names()
    found: dict[str, Item] = {}
    for case in known.CASES:
        for name in known.known_methods():
            found[f"known/{case}/{name}"] = partial(known.measure_known, case, name)
    for photo in names[: recipe.COST["photos"]]:
        for name in recipe.PHOTO_METHODS:
            key = f"cost/{photo}/{name}"
            found[key] = partial(photo_items.measure_cost, photo, name)
    for index, photo in enumerate(names):
        found[f"controls/{photo}"] = partial(photo_items.measure_controls, photo)
        for name in recipe.PHOTO_METHODS:
            repeat = index < recipe.PHOTOS["repeat_photos"]
            found[f"photo/{photo}/{name}"] = partial(_photo, photo, name, repeat)
    for photo in names[: recipe.RANDOMIZATION["photos"]]:
        for name in recipe.RANDOMIZED_METHODS:
            key = f"randomization/{photo}/{name}"
            found[key] = partial(photo_items.measure_randomization, photo, name)
    for photo in names[: recipe.REFERENCE["photos"]]:
        found[f"reference/{photo}"] = partial(reference.measure_reference, photo)
    for kind, measure_it in (
        ("noise", pages.measure_noise),
        ("path", pages.measure_path),
        ("claims", pages.measure_claims),
    ):
        for photo in recipe.RECIPES[kind]["photos"]:
            found[f"{kind}/{photo}"] = partial(measure_it, photo)
    return found


def run(
    path: Path = EVIDENCE,
    *,
    only: str = "",
    fresh: bool = False,
    report: Callable[[str], None] = print,
) -> int:
    """Measure what is missing or was made by another recipe, and save after each item.

    Args:
        path: The JSON file of the study.
        only: Measure only keys that begin with this.
        fresh: Measure also what is there already.
        report: Takes each line of progress.

    Returns:
        How many items were measured.
    """
    study, todo, here = saved(path), items(), machine()
    study["recipes"] = recipe.RECIPES
    study["items"] = {key: v for key, v in study["items"].items() if key in todo}
    if here not in study["machines"]:
        study["machines"].append(here)
    there = {} if fresh else study["items"]
    missing = {
        key: item
        for key, item in todo.items()
        if key.startswith(only)
        and there.get(key, {}).get("recipe") != recipe.digest(key)
    }

    def keep(key: str, found: dict[str, Any]) -> None:
        made = {"recipe": recipe.digest(key), "machine": study["machines"].index(here)}
        study["items"][key] = made | found
        save(study, path)

    save(study, path)  # drops the items that are no longer measured
    report(f"{len(todo) - len(missing)} of {len(todo)} items stay as they are")
    measure(missing, keep, report)
    if not missing:
        report("nothing to do; --fresh measures everything again")
    return len(missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 when everything is measured, or 130 when the run was stopped.
    """
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m chapter4.study",
        description="Measure what the saved study lacks; a stopped run goes on.",
        epilog=(
            "Example: python -m chapter4.study --only cost --fresh. The exit code is 0"
            " when everything is measured, 130 when you stop it."
        ),
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=EVIDENCE,
        metavar="FILE",
        help="the JSON file to complete, saved after each item (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="KEY",
        help="items whose key begins with this, such as cost (default: all)",
    )
    parser.add_argument("--fresh", action="store_true", help="measure them again")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the chunks are small: more threads only cost time
    try:
        run(
            given.output,
            only=given.only,
            fresh=given.fresh,
            report=partial(print, flush=True),
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _photo(photo: str, name: str, repeat: bool) -> dict[str, Any]:
    return (
        photo_items.measure_map(photo, name)
        | photo_items.measure_stability(photo, name, repeat=repeat)
        | photo_items.measure_faithfulness(photo, name)
    )


if __name__ == "__main__":
    sys.exit(main())
