"""Whether the oldest versions that pyproject.toml allows still do what today's do.

``python tests/repository/lower_bounds.py`` installs exactly them into a new environment
and works with the course there; its maps have to be those of the environment that runs
this. It takes three to four minutes, 7 GB below the temporary folder, and the oldest
Python, because old versions have no wheels for newer ones. With ``--constraints`` it
only prints them, for ``pip install -c``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OLDEST = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
START = time.monotonic()
FILES = ("git", "ls-files", "-co", "--exclude-standard", "-z")

# The most that a number of an array may differ, as a part of the array's largest one:
# float32 keeps seven digits, and libraries may add up in another order.
TOLERANCE = 1e-5

METHODS = "gradcam gradcam++ ig smoothgrad vanilla gradient_input"
COMMANDS = (
    f"chapter4 interpret cat --output image --no-evidence --methods {METHODS}",
    'chapter4 attention "The cat sat on the mat" --output attention',
    'chapter4 text "A film that I would gladly see again." --output text',
    'chapter4 debug dog --true-label "German shepherd" --output debug --no-evidence',
)
README = (ROOT / "README.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LIBRARY = f"""
import importlib, pkgutil
import numpy as np
import autograder, chapter4

for package in (autograder, chapter4):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
{EXAMPLE}
vit = chapter4.vit_attention(sample_photo("cat"), rollout=True)
np.savez("library.npz", saliency=saliency, vit=vit)
"""
CHECK = (
    "jupytext --to ipynb solutions/problem2/problem2.md"
    " && autograder check solutions/problem2/problem2.ipynb"
)
GRADING = "autograder sample-class class && cd class"
if shutil.which("bwrap"):
    GRADING += " && nbgrader generate_assignment problem1"
    GRADING += " && autograder grade submitted --output grades"
    GRADING += " && grep '^ada,problem1,10,' grades/grades.csv"  # the sample answer

PAGE = f"""---
jupytext: {{text_representation: {{extension: .md, format_name: myst}}}}
kernelspec: {{name: python3, display_name: Python 3}}
---

# A page

```{{page-facts}}
:difficulty: Easy
```

```{{code-cell}}
:mystnb: {{image: {{alt: A map}}}}
import matplotlib.pyplot as plt
{EXAMPLE}
plt.imshow(saliency.squeeze());
```
"""


def constraints() -> list[str]:
    """Name and oldest version of each package that pyproject.toml asks for."""
    oldest: dict[str, Version] = {}
    for line in chain(PROJECT["dependencies"], *EXTRAS.values()):
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate():
            (bound,) = (s.version for s in asked.specifier if s.operator == ">=")
            known = oldest.get(asked.name, Version(bound))
            oldest[asked.name] = max(known, Version(bound))
    return [f"{name}=={version}" for name, version in sorted(oldest.items())]


def run(command: str, programs: Path, folder: Path) -> None:
    """Run a shell's line; what it prints is shown only if it fails."""
    print(f"{time.monotonic() - START:4.0f} s  {folder.name}: {command}", flush=True)
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env=os.environ
        | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        | {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\nexit code {done.returncode}: {command}")


def install(folder: Path) -> Path:
    """Install a copy of the course with the oldest versions; return its programs."""
    listed = subprocess.run(FILES, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for name in listed.decode().strip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "oldest.txt").write_text("\n".join(constraints()))
    programs = folder / ".venv" / "bin"
    pip = "python -m pip --disable-pip-version-check"
    extras = ",".join(EXTRAS)
    run(f"{sys.executable} -m venv .venv", programs, folder)
    run(f"{pip} install --no-compile -c oldest.txt -e '.[{extras}]'", programs, folder)
    run(f"{pip} check", programs, folder)
    return programs


def compute(programs: Path, folder: Path) -> dict[str, np.ndarray]:
    """The arrays that the package makes with an environment: file and name -> it."""
    folder.mkdir()
    (folder / "library.py").write_text(LIBRARY)
    for command in ("python library.py", *COMMANDS):
        run(command, programs, folder)
    return {
        f"{path.relative_to(folder)}: {name}": array
        for path in folder.rglob("*.npz")
        for name, array in np.load(path).items()
    }


def compare(now: dict[str, np.ndarray], then: dict[str, np.ndarray]) -> None:
    """Stop with the names of the arrays that are not the same."""
    largest, wrong = 0.0, []
    for name in sorted(now.keys() | then.keys()):
        a, b = now.get(name), then.get(name)
        if a is None or b is None or a.shape != b.shape:
            wrong.append(name)
        elif a.dtype.kind not in "fc":
            wrong += [] if np.array_equal(a, b) else [name]
        else:
            part = np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)
            largest = max(largest, float(part))
            wrong += [] if part <= TOLERANCE else [f"{name} by {part:.1e}"]
    if wrong:
        raise SystemExit("differ from this environment's:\n" + "\n".join(wrong))
    print(f"{len(now)} arrays are this environment's, within {largest:.0e}")


def work(programs: Path, course: Path) -> None:
    """Check an answer, grade a class, and build a page of the book."""
    run(CHECK, programs, course)
    run(GRADING, programs, course)
    book = course / "book"
    (book / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (book / "page.md").write_text(PAGE)
    for name in ("mathjax", "mermaid"):
        (book / "_build" / "vendor" / name).mkdir(parents=True)
    run("jupyter-book build --warningiserror --keep-going book", programs, course)


def main() -> None:
    """Print the constraints, or try them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constraints", action="store_true", help="only print them")
    if parser.parse_args().constraints:
        print(*constraints(), sep="\n")
        return
    if sys.version_info[:2] != OLDEST:
        raise SystemExit(f"needs Python {OLDEST[0]}.{OLDEST[1]}, the oldest")
    with tempfile.TemporaryDirectory() as place:
        course = Path(place, "course")
        programs = install(course)
        both = (Path(sys.executable).parent, programs)
        with ThreadPoolExecutor() as pool:
            compare(*pool.map(compute, both, (Path(place, "now"), Path(place, "then"))))
        work(programs, course)
    print(f"{time.monotonic() - START:4.0f} s  the oldest versions work")


if __name__ == "__main__":
    main()
