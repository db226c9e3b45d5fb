"""Makes the ``chapter4`` and the Captum that student code finds while it is graded.

What the problem asks for is a stub there: it tells students to write it, and the real
source is not there.

What a problem allows besides photos and models is set in its own folder, in
``autograder/problems/problemN/__init__.py``:

- ``BUILDS_ON``: folders and files of ``chapter4``;
- ``STUBBED``: other people's packages that have what the problem asks for;
- ``PRELOADED``: modules that are imported before a submission's process is forked.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import chapter4

# What every problem may use: photos, models and networks.
ALWAYS = ("inputs", "shapes")
# Imported before the fork: every submission starts with it at no cost.
PRELOADED = ("numpy", "torch", "matplotlib.pyplot")

PACKAGE = Path(chapter4.__file__).parent
STUB = Path(__file__).with_name("stub.py.txt")


def build(problem: int, folder: Path, *, linked: bool) -> None:
    """Write the packages for one problem into an empty folder.

    Args:
        problem: 1 to 5.
        folder: The empty folder.
        linked: Write links to the data; otherwise empty folders, to mount the data on.
    """
    package = folder / "chapter4"
    package.mkdir()
    for name in (*ALWAYS, *_settings(problem, "BUILDS_ON")):
        copy_code(PACKAGE / name, package / name)
    for inside, outside in data().items():
        if linked:
            (folder / inside).symlink_to(outside)
        else:
            (folder / inside).mkdir()
    there: dict[str, str] = {}
    for home, names in chapter4._PUBLIC.items():
        if _code_of(package, home).is_file():
            there |= dict.fromkeys(names, home)
    _write(package / "__init__.py", "chapter4", problem, there)
    for home in (*chapter4._PUBLIC, "plain"):  # the plain methods are stubs, too
        path = _code_of(package, home, like=PACKAGE)
        if not path.is_file():
            _write(path, f"chapter4.{home}", problem, {})
    for name in stubbed(problem):
        for module in (name, f"{name}/attr"):
            dotted = module.replace("/", ".")
            _write(folder / module / "__init__.py", dotted, problem, {})


def copy_code(source: Path, target: Path) -> None:
    """Copy a Python file, or the Python files of a folder.

    The folder that takes a file becomes a package.
    """
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        (target.parent / "__init__.py").touch()
        return
    for path in source.glob("*.py"):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def data() -> dict[str, Path]:
    """Folders of data that are passed on unchanged: name inside -> folder outside."""
    return {f"chapter4/{name}": PACKAGE / name for name in ("photos", "weights")}


def stubbed(problem: int) -> tuple[str, ...]:
    """Other people's packages that are stubs in this problem."""
    return _settings(problem, "STUBBED")


def preloaded(problem: int) -> list[str]:
    """Modules that a submission to this problem probably imports."""
    own = _settings(problem, "PRELOADED")
    return [*PRELOADED, "chapter4.inputs.models", *own]


def _settings(problem: int, name: str) -> tuple[str, ...]:
    module = importlib.import_module(f"autograder.problems.problem{problem}")
    found: tuple[str, ...] = getattr(module, name, ())
    return found


def _code_of(package: Path, module: str, like: Path | None = None) -> Path:
    """The file of a module of ``chapter4``, such as "methods.gradcam".

    Where the module is a folder in ``like``, the file is its ``__init__.py``.
    """
    inside = Path(*module.split("."))
    is_folder = ((like or package) / inside).is_dir()
    return package / (
        inside / "__init__.py" if is_folder else inside.with_suffix(".py")
    )


def _write(path: Path, module: str, problem: int, there: dict[str, str]) -> None:
    text = STUB.read_text(encoding="utf-8")
    for mark, value in {"PROBLEM": problem, "THERE": there, "MODULE": module}.items():
        text = text.replace(f"<{mark}>", repr(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
