"""Every command that a page names runs as it stands there, in order, in a new clone.

The clone has the working tree's files and, where there is one, its built book: what was
executed there is not executed again. ``make book`` installs into it, so this needs the
package index, and room for two environments.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import chapter4

ROOT = Path(__file__).resolve().parents[2]
LIST = ("git", "ls-files", "-co", "--exclude-standard", "-z")
README, CONTRIBUTING, TEACH = "README.md", "CONTRIBUTING.md", "book/instructors.md"
STUDENTS = "autograder/course/students.md"
BOOK = {f"book/{path.name}" for path in ROOT.glob("book/*.md")}
# In the order in which they are tried; the last two add a problem to the clone.
PAGES = (README, STUDENTS, *sorted(BOOK - {TEACH}), CONTRIBUTING, TEACH)

SHELLS = ("sh", "bash", "console", "powershell")
OTHERS = ("python", "md", "text", "dockerfile", "toml", "yaml", "json")
FENCE = re.compile(r"^( *)(```+)(.*)\n((?:.*\n)*?)\1\2$", re.MULTILINE)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
PROGRAMS = ("make", "autograder", "chapter4", "nbgrader", "python", "pytest", "jupyter")
# Windows's way to make the environment, and what test_metadata.py tries.
LEFT_OUT = re.compile(r"py -3\.\d+ -m venv |\.venv\\Scripts\\Activate\.ps1|docker ")
# What takes long -> the same for a part, in options that a page or --help explains.
PART = "tests/repository/test_layout.py"
TRAIN = "python -m chapter4.training."
SMALL = {
    "make test": f"make test TESTS={PART}",
    'python -m pytest -n logical --dist loadfile -m "not slow"': (
        f'python -m pytest -n logical --dist loadfile -m "not slow" {PART}'
    ),
    "make mutations": "python tests/mutations/run.py saliency_signed",
    "make benchmark": "python tests/benchmarks/run.py --quick --output quick.json",
    "make evidence": "python -m chapter4.study --only known/logo_mistakes/vanilla",
    **{
        f"{TRAIN}{name}": f"{TRAIN}{name} --check"
        for name in ("shape_classifiers", "tiny_vit", "sentiment")
    },
}
# What never ends has to answer, and is ended. $PORT is make's, and in Jupyter's file.
SERVER = re.compile(
    r"make (serve|lab)$|(python -m )?jupyter lab(?! --help)|python -m http\.server"
)
ANSWERS = """&
until (exec 3<>/dev/tcp/127.0.0.1/$PORT) 2>/dev/null; do
  kill -0 $! || exit 1; sleep 0.2
done
exec 3<>/dev/tcp/127.0.0.1/$PORT
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3; exec 3>&-
kill $!; wait $!; true"""
UNTOUCHED = "Not all public checks passed."  # and the exit code is 1


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def typed(page: str) -> list[str]:
    """The commands in a page's listings; fails on a listing that it can't read."""
    found = []
    for _, _, language, body in FENCE.findall(text_of(page)):
        if language in SHELLS:
            for line in filter(None, body.splitlines()):
                found += line_of(page, language, line)
        elif language == "python" and page == README:
            found.append(f"python - <<'END'\n{body}END")
        else:
            known = language in OTHERS or re.match(r"\{(?!code-b)[\w-]+\}", language)
            assert known, f"{page}: is a listing of {language!r} to be typed?"
    return found


def line_of(page: str, language: str, line: str) -> list[str]:
    """The command in a line, if there is one."""
    command = re.sub(r"(^|\s+)#\s.*", "", line).strip()
    if language == "console":
        assert command.startswith("$ "), f"{page}: what does one type? {line}"
        command = command[2:]
    if LEFT_OUT.match(command) or not command:
        return []
    assert not command.endswith("\\"), f"{page}: more than a line: {line}"
    same = command.startswith("python ") or language != "powershell"
    assert same, f"{page}: not the same on Linux: {line}"
    return [command]


def named() -> list[str]:
    """The commands in the text of all pages."""
    found = {}
    for page in (*PAGES, "autograder/README.md", "chapter4/README.md"):
        for _, span in SPAN.findall(FENCE.sub("", text_of(page))):
            words = span.split()
            if len(words) > 1 and words[0] in PROGRAMS:
                found[" ".join(words)] = None
    return [*found]


def run_for(command: str) -> str:
    """What is run for a command."""
    if SERVER.match(command):
        return command.replace(" 8000 ", " $PORT ") + ANSWERS
    return SMALL.get(command, command)


def test_what_is_cut_short_is_named_and_explained() -> None:
    every = {command for page in PAGES for command in typed(page)}
    assert len(every) > 40
    assert {*SMALL} <= every.union(named())
    told = "\n".join(map(text_of, PAGES))
    for command in SMALL.values():
        for word in re.findall(r"TESTS=|--[a-z]+|\S+/run.py", command):
            assert word in told, command


class Clone:
    """A new clone on the machine of a new user."""

    def __init__(self, folder: Path) -> None:
        self.path, self.home = folder / "course", folder / "home"
        listed = subprocess.run(LIST, cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.path / name)
        subprocess.run(["git", "init", "--quiet", self.path], check=True)
        if (ROOT / "book/_build").is_dir():
            shutil.copytree(ROOT / "book/_build", self.path / "book/_build")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.bring()

    def bring(self) -> None:
        """What readers have: notebooks, a photo, and a Jupyter that root may start."""
        notebook = self.path / "exercises/problem1/problem1.ipynb"
        (self.path / "submitted/ada/problem1").mkdir(parents=True)
        shutil.copy(notebook, self.path / "submitted/ada/problem1")
        shutil.copy(chapter4.sample_photo("cat"), self.path / "photo.jpg")
        (self.home / "Downloads").mkdir(parents=True)
        with zipfile.ZipFile(self.home / "Downloads/submissions.zip", "w") as archive:
            name = "Jane Doe_5678_assignsubmission_file_/problem1.ipynb"
            archive.write(notebook, name)
        (self.home / ".jupyter").mkdir()
        config = {"allow_root": True, "open_browser": False, "port": self.port}
        file = self.home / ".jupyter/jupyter_server_config.json"
        file.write_text(json.dumps({"ServerApp": config}), encoding="utf-8")

    def type(self, commands: list[str], folder: Path, before: str = "") -> list[str]:
        """Type commands into one shell and return what each of them said."""
        script = [before]
        for i, command in enumerate(commands):
            script += [f"echo; echo @{i}@", run_for(command), 'echo -e "\\n@=$?"']
        pip = [sys.executable, "-m", "pip", "cache", "dir"]
        cache = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
        kept = ("PIP_", "SSL_", "LANG", "TERM", "REQUESTS_", "NODE_", "HTTP")
        python = Path(getattr(sys, "_base_executable", sys.executable)).parent
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if k.startswith(kept)},
                "HOME": str(self.home),
                "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "PIP_CACHE_DIR": cache.strip(),
                "PIP_NO_COMPILE": "1",
                "PORT": str(self.port),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3600,
            check=False,
        )
        said = []
        for i, command in enumerate(commands):
            ran = re.search(rf"^@{i}@\n(.*?)\n@=(\d+)$", done.stdout, re.S | re.M)
            assert ran, f"{command}\n{done.stdout[-3000:]}"
            self.judge(command, ran[1], int(ran[2]))
            said.append(ran[1])
        return said

    def judge(self, command: str, said: str, ending: int) -> None:
        told = f"{command}\n{said[-5000:]}"
        wanted = 0
        if re.match(r"autograder check (?!--help)", command):
            assert UNTOUCHED in said, told
            wanted = 0 if "|| true" in command else 1
        assert ending == wanted, told
        assert "Traceback (" not in said, told
        if SERVER.match(command):
            assert re.search(r"^HTTP/1.\d (200|302) ", said, re.MULTILINE), told


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap (apt-get install bubblewrap)")
    folder = tmp_path_factory.mktemp("clone")
    yield Clone(folder)
    shutil.rmtree(folder)


INSTALLED = "make install && source .venv/bin/activate"


def rows(path: Path) -> list[dict[str, str]]:
    """A table of grades without its times and without whom the zip has added."""
    with path.open(encoding="utf-8") as file:
        found = [*csv.DictReader(file)]
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in found
        if "Jane-Doe_5678" not in row.values()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES[:-2] if typed(page)])
def test_the_commands_of_a_page_run(page: str, clone: Clone) -> None:
    folder, before = clone.path, "" if page == README else INSTALLED
    if page == STUDENTS:
        clone.type(["make student-bundle"], folder, INSTALLED)
        with zipfile.ZipFile(folder / "dist/chapter4-student.zip") as archive:
            archive.extractall(clone.home)
        folder, before = clone.home / "chapter4-student", ""
    clone.type(typed(page), folder, before)


@pytest.mark.slow
def test_the_commands_in_the_text_run_or_are_known(clone: Clone) -> None:
    """Long ones run for a part; make has the target, other programs the options.

    A script without options may have no --help: it is there.
    """
    done = {command for page in PAGES for command in typed(page)}
    long = [c for c in named() if run_for(c) != c and c not in done]
    clone.type(long, clone.path, INSTALLED)
    asked: dict[str, list[str]] = {}
    for command in named():
        words = command.replace(".NAME", ".tiny_vit").split()
        if words[0] == "make":
            asked[shlex.join(["make", "-n", *words[1:]])] = []
        else:
            program = [w for w in words if not w.isupper()]  # such as DIR
            options = [w for w in program if w.startswith("--")]
            end = program.index(options[0]) if options else None
            if program[1].endswith(".py") and not options:
                asked[f"test -f {program[1]}"] = []
            else:
                asked[shlex.join([*program[:end], "--help"])] = options
    said = clone.type([*asked], clone.path, INSTALLED)
    for (command, options), text in zip(asked.items(), said, strict=True):
        assert [option for option in options if option not in text] == [], command


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[-2:])
def test_the_commands_that_add_a_problem_run(page: str, clone: Clone) -> None:
    commands, before = typed(page), "" if page == TEACH else INSTALLED
    said = dict(zip(commands, clone.type(commands, clone.path, before), strict=True))
    tested = "python -m pytest tests/autograder/problems/test_problem6.py"
    assert "6 passed" in said[tested]
    if page == TEACH:
        course, examples = clone.path / "sample-course", ROOT / "book/_examples"
        assert rows(course / "grades/grades.csv") == rows(examples / "grades.csv")
        assert rows(course / "grades.csv") == rows(examples / "final.csv")
