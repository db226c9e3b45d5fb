"""``autograder sample-class DIR`` makes a small course, to try grading on.

Six students have handed in their work.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.course.release import COURSE, released

PROBLEM = "problem1"
STUB = 'raise NotImplementedError("write your own code here")'


@dataclass(frozen=True)
class Pupil:
    """What one student of the sample class did.

    Attributes:
        name: The student's name.
        edits: Task -> the part of the sample answer that is replaced, and by what. An
            empty part stands for the whole body, which then is as it was handed out.
        mistakes: Task -> the name in the catalogue of the mistake that the edit makes.
        words: The text for each difference; None for the sample answer's.
        file: The notebook's name.
    """

    name: str
    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    mistakes: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] | None = None
    file: str = f"{PROBLEM}.ipynb"


PUPILS = (
    Pupil("ada"),
    Pupil(
        "ben",
        {"roughness": ("np.abs(np.diff", "np.square(np.diff")},
        {"roughness": "squared differences"},
        {
            "information": (
                "Vanilla gradients look at pixels and Grad-CAM looks at a layer, which"
                " has 49 cells."
            ),
            "resolution": (
                "Vanilla gradients have 224 by 224 values, and Grad-CAM has 224 by 224"
                " values as well."
            ),
            "noise": (
                "Grad-CAM is smoother on the photo of the rocket (0.01 and not 0.6), so"
                " it is more correct."
            ),
        },
    ),
    Pupil(
        "chloe",
        {
            "same-grid": ("align_corners=False", "align_corners=True"),
            "information": ("hooks[intervention])", 'hooks["mirror gradient"])'),
        },
        {"same-grid": "corners aligned"},
    ),
    Pupil(
        "dan",
        {
            "resolution": (
                "generate_cam(image).raw.shape",
                "generate_cam(image).map.shape",
            )
        },
        {"resolution": "Grad-CAM in pixels"},
        {
            "information": (
                "Mirroring the gradient changed the vanilla map by 97 % and Grad-CAM by"
                " 0 %."
            ),
            "resolution": (
                "224 by 224 values for each pixel here, and 7 by 7 for each cell of the"
                " layer there."
            ),
            "noise": (
                "The roughness on three photos is 0.58 to 0.69 for vanilla gradients,"
                " 0.01 to 0.02 for Grad-CAM."
            ),
        },
    ),
    Pupil("eve", {"information": ("", STUB)}),
    Pupil("finn", file=f"{PROBLEM} (1).ipynb"),
)


def add_sample_class_command(commands: Any) -> None:
    """Add ``sample-class`` to the command line's subcommands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sample-class",
        help="make a small course with six submissions, to try grading on",
        description=(
            f"Write an nbgrader course with {PROBLEM} and what six invented students"
            " handed in."
        ),
        epilog=(
            "example: autograder sample-class sample-course\n"
            "exit code: 0 if written, 2 for wrong usage or a missing requirement"
        ),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder for it")
    parser.set_defaults(run=run_sample_class)


def run_sample_class(options: argparse.Namespace) -> int:
    """Run ``autograder sample-class``; return its exit code."""
    if options.folder.exists() and any(options.folder.iterdir()):
        print(
            f"autograder: {options.folder} is not empty: name a new folder",
            file=sys.stderr,
        )
        return 2
    for path in write_sample_class(options.folder):
        print(path)
    return 0


def write_sample_class(folder: Path) -> list[Path]:
    """Write the course, and return the notebooks that were handed in."""
    handed_out = released(PROBLEM)  # first: it fails where nbgrader is missing
    source = Path("solutions", PROBLEM, f"{PROBLEM}.md")
    (folder / source).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(COURSE / source, folder / source)
    shutil.copy(COURSE / "nbgrader_config.py", folder)
    written = []
    for pupil in PUPILS:
        path = folder / "submitted" / pupil.name / PROBLEM / pupil.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_handed_in(handed_out, pupil))
        written.append(path)
    return written


def _handed_in(handed_out: bytes, pupil: Pupil) -> bytes:
    """The release with a student's answers in its cells."""
    import nbformat

    from autograder.course.source import read_problem

    problem = read_problem(PROBLEM)
    answers = {part.name for part in problem.parts if part.kind == "answer"}
    notebook = nbformat.reads(handed_out.decode("utf-8"), as_version=4)
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        task = str(mark.get("grade_id", "")).removesuffix("-code")
        if not mark.get("solution") or task not in answers:
            continue
        before, after = pupil.edits.get(task, ("", ""))
        if task == "words" and pupil.words is not None:
            cell.source = f"def in_own_words():\n    return {dict(pupil.words)!r}\n"
        elif before or not after:
            answer = problem.answer(task)
            if before not in answer:
                raise ValueError(
                    f"{pupil.name}: {before!r} is not in the sample answer of {task}"
                )
            cell.source = answer.replace(before, after) if before else answer
    return nbformat.writes(notebook).encode("utf-8") + b"\n"
