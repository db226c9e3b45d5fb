"""Makes the zip that students get: notebooks, package, public checks and book.

It has no solution and no hidden check.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.course.release import COURSE

NAME = "chapter4-student"
# Only instructors have these folders and files of autograder.
NOT_FOR_STUDENTS = {
    "conftest.py",
    "course",
    "feedback.py",
    "grading",
    "instructors",
    "nbgrader_plugin.py",
}
README = Path(__file__).with_name("students.md")
LEFT_OUT = "The sample answer is left out here."
HTML_BOOK = (
    "`book/index.html` opens in any browser, with no network. The problem pages come"
    " without their sample answers."
)
TEXT_BOOK = (
    "`book/` has the pages as text (MyST Markdown), without their sample answers."
)
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold, for every file


def add_bundle_command(commands: Any) -> None:
    """Add ``bundle`` to the command line's subcommands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bundle",
        help="make the zip that students get (for instructors)",
        description=(
            "Pack exercises/, chapter4/, the public checks and the book into one zip."
        ),
        epilog=(
            "example: autograder bundle --output students.zip\n"
            "exit code: 0 if written, 2 for wrong usage or a missing requirement"
        ),
    )
    default = COURSE / "dist" / f"{NAME}.zip"
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        metavar="FILE",
        help=f"the zip to write; otherwise dist/{NAME}.zip",
    )
    parser.set_defaults(run=run_bundle)


def run_bundle(options: argparse.Namespace) -> int:
    """Run ``autograder bundle``; return its exit code."""
    files = members()
    write(files, options.output)
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(files)} files, {size:.1f} MB")
    if "book/index.html" not in files:
        print("with the book's pages as text: it is not built here (make book)")
    return 0


def write(files: dict[str, bytes], output: Path) -> None:
    """Write the zip; the same files give the same bytes, whenever and wherever."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f"{output.name}.tmp")
    with zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{NAME}/{name}", FIRST_DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    shutil.move(beside, output)


def members(course: Path = COURSE) -> dict[str, bytes]:
    """Every file of the bundle: name inside -> content."""
    files = {
        path.relative_to(course).as_posix(): path.read_bytes()
        for path in _copied(course)
    }
    book = _built(course / "book" / "_build" / "html")
    about = HTML_BOOK if book else TEXT_BOOK
    book = book or _sources(course / "book")
    files |= {f"book/{name}": content for name, content in book.items()}
    readme = README.read_text(encoding="utf-8").replace("{book}", about)
    files["README.md"] = readme.encode()
    files["autograder/problems/points.json"] = _points().encode()
    project = (course / "pyproject.toml").read_text(encoding="utf-8")
    files["pyproject.toml"] = _installable(project).encode()
    return files


def _copied(course: Path) -> Iterator[Path]:
    """What is packed as it is."""
    for name in ("LICENSE", "LICENSE-TEXT"):
        yield course / name
    yield from course.glob("exercises/problem?/problem?.ipynb")
    yield from _files(course / "chapter4")
    for path in _files(course / "autograder"):
        if not NOT_FOR_STUDENTS & {*path.relative_to(course / "autograder").parts}:
            yield path


def _points() -> str:
    """The points of each task, hidden checks included.

    They are no secret: the notebooks print them.
    """
    from autograder.checking.runner import points_of, problems_with_checks

    points = {problem: points_of(problem) for problem in problems_with_checks()}
    return json.dumps(points, indent=1) + "\n"


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, without what Python and editors leave there."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(
            p.startswith((".", "__pycache__")) for p in inside
        ):
            yield path


def _installable(project: str) -> str:
    """``pyproject.toml`` without the sections of tools for the whole course."""
    sections = re.split(r"^(?=\[)", project, flags=re.MULTILINE)
    wanted = ("[build-system]", "[project", "[tool.setuptools")
    return "".join(section for section in sections if section.startswith(wanted))


def _built(html: Path) -> dict[str, bytes]:
    """The built book without the sample answers; empty if there is none."""
    if not (html / "index.html").is_file():
        return {}
    pages = {
        path: without_answers(path.read_text(encoding="utf-8"))
        for path in html.glob("*.html")
    }
    answered = {
        f"notebooks/{path.stem}.ipynb" for path in pages if LEFT_OUT in pages[path]
    }
    shown = set(re.findall(r"_images/([\w.-]+)", "".join(pages.values())))
    files = {}
    for path in _files(html):
        name = path.relative_to(html).as_posix()
        if path in pages:
            files[name] = pages[path].encode()
        elif name in answered:
            continue
        elif name.startswith("_sources/"):
            text = path.read_text(encoding="utf-8")
            files[name] = without_answer_sources(text).encode()
        elif path.parent.name != "_images" or path.name in shown:
            files[name] = path.read_bytes()
    files.pop("objects.inv", None)  # for other books that would link here
    return files


def _sources(book: Path) -> dict[str, bytes]:
    """The pages as they are written, without the sample answers."""
    files = {"references.bib": (book / "references.bib").read_bytes()}
    for path in book.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        files[path.name] = without_answer_sources(text).encode()
    return files


def without_answers(page: str) -> str:
    """A built page without its folded sample answer.

    Links into the answer lead to the place where it was.
    """
    if 'class="solution' not in page:
        return page
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "html.parser")
    for link in soup.select('a[href$=".ipynb"]'):  # its cells are the sample answer
        (link.find_parent(["li", "span"]) or link).decompose()
    for answer in soup.select("div.solution"):
        places = [str(part["id"]) for part in (answer, *answer.select("[id]"))]
        answer.clear()
        answer.name, answer.attrs = "p", {}
        for place in places:
            answer.append(soup.new_tag("span", id=place))
        answer.append(LEFT_OUT)
    return str(soup)


def without_answer_sources(page: str) -> str:
    """A page's source without its sample answer."""
    return re.sub(
        r"^```\{solution-start\}.*?^```\{solution-end\}\n```\n",
        f"{LEFT_OUT}\n",
        page,
        flags=re.MULTILINE | re.DOTALL,
    )
