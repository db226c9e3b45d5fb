"""Run the study: ``python -m chapter4.study``. A run that was stopped goes on."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chapter4.study import known, photo_items, recipe, reference
from chapter4.study.store import EVIDENCE, machine, save, saved

Item = Callable[[], dict[str, Any]]


def items(folder: Path | None = None) -> dict[str, Item]:
    """Everything that is measured, by key; each entry measures when it is called."""
    names = recipe.photo_names()
    found: dict[str, Item] = {}
    for case in known.CASES:
        for name in known.known_methods():
            found[f"known/{case}/{name}"] = _call(known.measure_known, case, name)
    for photo in names[: recipe.COST["photos"]]:
        for name in recipe.PHOTO_METHODS:
            found[f"cost/{photo}/{name}"] = _call(photo_items.measure_cost, photo, name)
    for index, photo in enumerate(names):
        found[f"controls/{photo}"] = _call(photo_items.measure_controls, photo)
        for name in recipe.PHOTO_METHODS:
            found[f"photo/{photo}/{name}"] = _call(_photo, index, photo, name)
    for photo in names[: recipe.RANDOMIZATION["photos"]]:
        for name in recipe.RANDOMIZED_METHODS:
            found[f"randomization/{photo}/{name}"] = _call(
                photo_items.measure_randomization, photo, name
            )
    for photo in names[: recipe.REFERENCE["photos"]]:
        found[f"reference/{photo}"] = _call(reference.measure_reference, photo, folder)
    return found


def run(
    path: Path = EVIDENCE,
    *,
    only: str = "",
    fresh: bool = False,
    folder: Path | None = None,
    report: Callable[[str], None] = print,
) -> int:
    """Measure what is missing or was made by another recipe, and save after each item.

    Args:
        path: The JSON file of the study.
        only: Measure only keys that begin with this.
        fresh: Measure also what is there already.
        folder: Where the float64 references are kept between runs; None keeps none.
        report: Takes each line of progress.

    Returns:
        How many items were measured.
    """
    study, todo = saved(path), items(folder)
    study["recipes"] = recipe.RECIPES
    study["items"] = {key: v for key, v in study["items"].items() if key in todo}
    here = machine()
    if here not in study["machines"]:
        study["machines"].append(here)
    missing = [
        key
        for key in todo
        if key.startswith(only)
        and (fresh or not _up_to_date(study["items"].get(key), key))
    ]
    save(study, path)  # drops the items that are no longer measured
    report(f"{len(todo) - len(missing)} of {len(todo)} items stay as they are")
    start, processor = time.monotonic(), time.process_time()
    for done, key in enumerate(missing, 1):
        found = todo[key]()
        study["items"][key] = {
            "recipe": recipe.digest(_kind(key)),
            "machine": study["machines"].index(here),
            **found,
        }
        save(study, path)
        passed = time.monotonic() - start
        left = passed / done * (len(missing) - done)
        report(
            f"{done}/{len(missing)} {key}: {passed:.0f} s, about {left:.0f} s to go "
            f"({time.process_time() - processor:.0f} s of processor time)"
        )
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
        prog="python -m chapter4.study", description=__doc__
    )
    parser.add_argument("--output", type=Path, default=EVIDENCE, help="the JSON file")
    parser.add_argument("--only", default="", help="items whose key begins with this")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    parser.add_argument(
        "--arrays",
        type=Path,
        default=Path.home() / ".cache" / "chapter4-study",
        help="folder for the float64 references, about 2 MB a photo",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the chunks are small: more threads only cost time
    try:
        run(
            given.output,
            only=given.only,
            fresh=given.fresh,
            folder=given.arrays,
            report=lambda line: print(line, flush=True),
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _photo(index: int, photo: str, name: str) -> dict[str, Any]:
    repeat = index < recipe.PHOTOS["repeat_photos"]
    return (
        photo_items.measure_map(photo, name)
        | photo_items.measure_stability(photo, name, repeat=repeat)
        | photo_items.measure_faithfulness(photo, name)
    )


def _call(function: Callable[..., dict[str, Any]], *arguments: Any) -> Item:
    return lambda: function(*arguments)


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _up_to_date(item: dict[str, Any] | None, key: str) -> bool:
    return item is not None and item.get("recipe") == recipe.digest(_kind(key))


if __name__ == "__main__":
    sys.exit(main())
