"""What students get is enough to work with and to check oneself.

It holds nothing of a solution, a hidden check or a known mistake.
"""

from __future__ import annotations

import ast
import html
import importlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from autograder import cli
from autograder.checking import runner
from autograder.checking.runner import checks_of, points_of
from autograder.course import release, student_bundle

PROBLEMS = release.problems()
# Of a solution's consecutive lines, these may stand elsewhere: the statement's names.
GIVEN = {'"without the cover": "occlusion",'}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dist") / "students.zip"
    student_bundle.write(student_bundle.members(), path)
    return path


@pytest.fixture(scope="module")
def files(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert all(name.startswith("chapter4-student/") for name in names)
        return {n.partition("/")[2]: opened.read(n) for n in names}


@pytest.fixture(scope="module")
def texts(files: dict[str, bytes]) -> dict[str, str]:
    """Each file as its reader sees it, in lines without indentation.

    Pages are without tags, notebooks without JSON.
    """
    seen = {}
    for name, content in files.items():
        if b"\0" in content:  # pictures, fonts, weights
            continue
        text = content.decode("utf-8", errors="replace")
        if name.endswith(".html"):
            text = html.unescape(re.sub(r"<[^>]+>", "", text))
        elif name.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
        stripped = (line.strip() for line in text.splitlines())
        seen[name] = "\n".join(line for line in stripped if line)
    return seen


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / "chapter4-student"


def terminal(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python on the unpacked files.

    ``-S``: the installed course must not replace a part that is missing.
    """
    paths = [str(folder), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def check(folder: Path, notebook: str) -> subprocess.CompletedProcess[str]:
    return terminal(folder, "-m", "autograder", "check", notebook)


def solution_blocks(problem: str) -> list[list[str]]:
    """The lines between each pair of marks, without indentation."""
    source = release.COURSE / "solutions" / problem / f"{problem}.md"
    text = "\n".join(cell.source for cell in release.source_notebook(source).cells)
    blocks = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", text, re.DOTALL)
    return [[s.strip() for s in b.splitlines() if s.strip()] for b in blocks]


def test_the_untouched_notebook_is_checked_and_fails(unpacked: Path) -> None:
    """A student sees how much is public, as with the whole course."""
    done = check(unpacked, "exercises/problem2/problem2.ipynb")
    assert done.returncode == 1, done.stderr
    assert "Not all public checks passed." in done.stdout
    assert "write your own code here" in done.stdout
    assert "Hint: " in done.stdout
    public = [c for c in checks_of("problem2") if c.public]
    most = sum(c.points for c in public)
    assert f"Public checks: 0 of {most:g} points." in done.stdout
    assert "it is 20 points." in done.stdout
    task = sum(c.points for c in public if c.task == "smooth-grad")
    told = f"Public checks: {task:g} of the task's 12 points."
    assert told in " ".join(done.stdout.split())
    code = (
        "from autograder.selfcheck import self_check; self_check('problem2',"
        " 'smooth-grad', {})"
    )
    assert told in " ".join(terminal(unpacked, "-c", code).stdout.split())


def test_a_solved_notebook_passes(unpacked: Path, tmp_path: Path) -> None:
    source = release.COURSE / "solutions" / "problem2" / "problem2.md"
    solved = tmp_path / "problem2.ipynb"
    nbformat.write(release.source_notebook(source), solved)
    done = check(unpacked, str(solved))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All public checks passed." in done.stdout


def test_the_checks_of_every_problem_are_there(
    unpacked: Path, files: dict[str, bytes]
) -> None:
    """The points of hidden checks are counted, and nothing else is told of them."""
    points = {problem: points_of(problem) for problem in PROBLEMS}
    assert json.loads(files["autograder/problems/points.json"]) == points
    code = (
        f"PROBLEMS = {PROBLEMS}; from autograder.checking import runner as r; "
        "from autograder import selfcheck; "
        "print([([c.id for c in r.checks_of(p)], r.points_of(p)) for p in PROBLEMS])"
    )
    done = terminal(unpacked, "-c", code)
    assert done.returncode == 0, done.stderr
    public = [[c.id for c in checks_of(p) if c.public] for p in PROBLEMS]
    found = list(zip(public, points.values(), strict=True))
    assert ast.literal_eval(done.stdout) == found
    assert not (runner._PROBLEMS / "points.json").exists()


@pytest.mark.parametrize("command", ["bundle", "grade", "release"])
def test_an_instructors_command_says_that_it_is_not_there(
    unpacked: Path, command: str
) -> None:
    done = terminal(unpacked, "-m", "autograder", command, "submitted", "--output", "x")
    assert done.returncode == 2
    assert f"'{command}' is not part of the student's bundle" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_module_finds_what_it_imports(files: dict[str, bytes]) -> None:
    """Those of the student's process too, which -S above does not reach."""
    modules = {name for name in files if name.startswith("autograder/")}
    for name in (n for n in modules if n.endswith(".py") and n != "autograder/cli.py"):
        for node in ast.walk(ast.parse(files[name])):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if node.module.partition(".")[0] not in ("autograder", "chapter4"):
                continue
            place = node.module.replace(".", "/")
            wanted = [f"{place}.py", f"{place}/__init__.py"]
            if node.module == "autograder":
                places = [f"{place}/{part.name}" for part in node.names]
                wanted = [
                    f"{p}{end}" for p in places for end in (".py", "/__init__.py")
                ]
            assert set(wanted) & set(files), f"{name} imports {ast.unparse(node)}"


def test_no_part_of_a_solution_is_inside(texts: dict[str, str]) -> None:
    """No three lines in a row anywhere; in notebooks and problem pages no single one.

    A line such as `handle.remove()` stands in chapter4 too, and a reader may see it.
    """
    together = "\n".join(texts.values())
    package = "\n".join(t for n, t in texts.items() if n.startswith("chapter4/"))
    ours = "\n".join(
        t for n, t in texts.items() if re.search(r"problem-\d\.|README", n)
    )
    for problem in PROBLEMS:
        given = texts[f"exercises/{problem}/{problem}.ipynb"]
        blocks = solution_blocks(problem)
        assert len(blocks) > 2
        for block in blocks:
            for three in zip(block, block[1:], block[2:], strict=False):
                run = "\n".join(three)
                if run not in given and not GIVEN & set(three) and run in together:
                    where = [name for name, text in texts.items() if run in text]
                    assert where == [], run
            for line in block:
                if len(line) > 12 and line not in given:
                    assert line.rstrip(",") in package or line not in ours
    for name, text in texts.items():
        if "instructors" not in name:  # which names the marks
            assert "BEGIN SOLUTION" not in text, name
            assert "BEGIN HIDDEN" not in text, name


def test_no_hidden_check_is_inside(texts: dict[str, str]) -> None:
    hidden = [c for p in PROBLEMS for c in checks_of(p) if not c.public]
    assert len(hidden) > 20
    folder = Path(runner._PROBLEMS)
    tests: dict[str, set[str]] = {}  # two problems may have one name
    for path in folder.glob("problem?/instructors/*.py"):
        names = re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
        tests.setdefault(path.parts[-3], set()).update(names)
    assert {*tests} == {*PROBLEMS}
    for name, text in texts.items():
        # The instructors' page makes a problem that the course does not have.
        assert "public=False" not in text or "instructors" in name, name
        assert [c.id for c in hidden if c.id in text] == [], name
        if name.startswith("autograder/"):
            parts = Path(name).parts
            problem = next((p for p in parts if p in tests), "")
            own = tests.get(problem, set().union(*tests.values()))
            assert not {n for n in own if f"def {n}(" in text}, name
            assert [c.title for c in hidden if f'"{c.title}"' in text] == [], name


def test_no_known_mistake_is_inside(texts: dict[str, str]) -> None:
    """Neither code nor hints; a public check may say of its own what a hint says."""
    public = {n: t for n, t in texts.items() if n.startswith("autograder/problems/")}
    others = "\n".join(
        text
        for name, text in texts.items()
        if name not in public and "instructors" not in name
    )
    for problem in PROBLEMS:
        mistakes = importlib.import_module(
            f"autograder.problems.{problem}.instructors.mistakes"
        )
        hints = [h for of_task in mistakes.HINTS.values() for h in of_task.values()]
        assert len(hints) > 5
        assert [hint for hint in hints if hint in others] == []
        for name, text in public.items():
            assert sum(hint in text for hint in hints) < 3, name
    assert "wrong_submission" not in others


def test_only_what_is_meant_is_inside(files: dict[str, bytes]) -> None:
    tops = {name.partition("/")[0] for name in files}
    assert tops == {
        "LICENSE",
        "LICENSE-TEXT",
        "README.md",
        "pyproject.toml",
        "autograder",
        "book",
        "chapter4",
        "exercises",
    }
    for name in files:
        parts = name.split("/")
        assert not re.search(r"hidden_|__pycache__|\.(pyc|zip|whl|tar|gz|db)$", name)
        assert not any(p.startswith(".") for p in parts), name
        assert not {
            "solutions",
            "instructors",
            "grading",
            "course",
            "submitted",
            "tests",
            "conftest.py",
            "nbgrader_plugin.py",
        } & set(parts), name
    assert {f"exercises/{p}/{p}.ipynb" for p in PROBLEMS} <= set(files)
    assert "chapter4/photos/CREDITS.md" in files
    assert "chapter4/weights/shapes-logo/model.safetensors" in files


def test_the_same_bytes_every_time(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    files = student_bundle.members()
    student_bundle.write(dict(reversed(files.items())), again)
    assert again.read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(again) as opened:
        names = opened.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in opened.infolist()} == {
            student_bundle.FIRST_DATE
        }


def test_it_can_be_installed(files: dict[str, bytes]) -> None:
    """What pyproject.toml names is there, and so is all that the text installs."""
    import tomllib

    project = tomllib.loads(files["pyproject.toml"].decode())
    assert project["project"]["readme"] == "README.md"
    assert set(project["project"]["license-files"]) <= set(files)
    assert set(project["tool"]) == {"setuptools"}
    text = files["README.md"].decode()
    assert "{" not in text
    for extra in re.findall(r"\.\[(\w+)\]", text):
        assert extra in project["project"]["optional-dependencies"]


def test_the_books_links_lead_somewhere(files: dict[str, bytes]) -> None:
    """A sample answer that was cut out leaves no dead link behind."""
    if "book/index.html" not in files:
        pytest.skip("no built book: run `make book` first")
    pages = {
        n: c.decode() for n, c in files.items() if re.fullmatch(r"book/[\w-]+\.html", n)
    }
    assert len(pages) > 12
    for name, page in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', page):
            parts = urlsplit(html.unescape(link))
            if parts.scheme or not parts.path + parts.fragment:
                continue
            target = f"book/{unquote(parts.path)}" if parts.path else name
            target = os.path.normpath(target).replace(os.sep, "/")
            assert target in files, f"{name}: {link}"
            if parts.fragment and target in pages:
                place = f'id="{unquote(parts.fragment)}"'
                assert place in pages[target], f"{name}: {link}"
    for number in range(1, 6):
        assert student_bundle.LEFT_OUT in pages[f"book/problem-{number}.html"]


def test_without_a_built_book_the_pages_come_as_text(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(student_bundle, "_built", lambda html: {})
    output = tmp_path / "new" / "students.zip"
    assert cli.main(["bundle", "--output", str(output)]) == 0
    assert "pages as text" in capsys.readouterr().out
    with zipfile.ZipFile(output) as opened:
        page = opened.read("chapter4-student/book/problem-2.md").decode()
        readme = opened.read("chapter4-student/README.md").decode()
    assert "solution-start" not in page
    assert "def signed_mean" not in page
    assert student_bundle.LEFT_OUT in page
    assert "{exercise-start}" in page
    assert "as text" in readme
    assert list(output.parent.iterdir()) == [output]
