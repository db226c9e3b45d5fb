"""The `chapter4` and the Captum that student code finds while it is graded: what the
problem asks for is a stub that says to write it, and its source is not there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import chapter4

# What every problem may use: photos, models, and what these two need.
ALWAYS = ("images", "models", "shape_models", "shapes")
# More of chapter4 where a problem builds on methods that it does not ask for.
MORE: dict[int, tuple[str, ...]] = {
    1: ("attribution", "folding", "gradients", "gradcam")
}
# Other people's packages that have what a problem asks for.
OTHERS: dict[int, tuple[str, ...]] = {
    2: ("captum",),
    3: ("captum",),
    5: ("captum", "pytorch_grad_cam", "torchcam"),
}
# Imported before the fork: every submission starts with it at no cost.
PRELOADED = ("numpy", "torch", "matplotlib.pyplot", "IPython.core.inputtransformer2")
PRELOADED_TOO: dict[int, tuple[str, ...]] = {
    1: ("timm",),
    4: ("transformers.models.bert.modeling_bert",),
}

PACKAGE = Path(chapter4.__file__).parent
STUB = Path(__file__).with_name("stub.py.txt")


def build(problem: int, folder: Path, *, linked: bool) -> None:
    """Writes the packages for one problem into `folder`, an empty one. linked: the data as
    links; otherwise as empty folders, to mount the data on.
    """
    kept = (*ALWAYS, *MORE.get(problem, ()))
    package = folder / "chapter4"
    package.mkdir()
    for name in kept:
        shutil.copy(PACKAGE / f"{name}.py", package)
    for inside, outside in data().items():
        if linked:
            (folder / inside).symlink_to(outside)
        else:
            (folder / inside).mkdir()
    homes = {n: m for m, names in chapter4._PUBLIC.items() for n in names}
    there = {name: home for name, home in homes.items() if home in kept}
    _write(package / "__init__.py", "chapter4", problem, there)
    for module in chapter4._PUBLIC:
        if module not in kept:
            _write(package / f"{module}.py", f"chapter4.{module}", problem, {})
    for name in stubbed(problem):
        for module in (name, f"{name}/attr"):
            (folder / module).mkdir()
            dotted = module.replace("/", ".")
            _write(folder / module / "__init__.py", dotted, problem, {})


def data() -> dict[str, Path]:
    """Folders of data that come as they are: name inside -> folder outside."""
    return {f"chapter4/{name}": PACKAGE / name for name in ("photos", "weights")}


def stubbed(problem: int) -> tuple[str, ...]:
    """Other people's packages that are stubs in this problem."""
    return OTHERS.get(problem, ())


def preloaded(problem: int) -> list[str]:
    """Modules that a submission to this problem probably imports."""
    return [*PRELOADED, "chapter4.models", *PRELOADED_TOO.get(problem, ())]


def _write(path: Path, module: str, problem: int, there: dict[str, str]) -> None:
    text = STUB.read_text(encoding="utf-8")
    for mark, value in {"PROBLEM": problem, "THERE": there, "MODULE": module}.items():
        text = text.replace(f"<{mark}>", repr(value))
    path.write_text(text, encoding="utf-8")
