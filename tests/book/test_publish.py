"""The book goes to two branches of ``origin``, and works wherever it is put."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from github_addresses import pages_of, repository_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOOK = Path(__file__).resolve().parents[2] / "book"
HTML = BOOK / "_build" / "html"
URL = "https://github.com/somebody/course"

# In place of book/build.py: it writes a book of a few files, which names its address.
BUILD = """
import json, os, pathlib, shutil, sys
book = pathlib.Path(__file__).parent
html = book / "_build" / "html"
shutil.rmtree(html, ignore_errors=True)
for folder in ("_sources", "_static", "notebooks"):
    (html / folder).mkdir(parents=True)
text = (book / "intro.md").read_bytes()
(html / "_sources" / "intro.md").write_bytes(text)
(html / "intro.html").write_bytes(text + os.environ["CHAPTER4_REPOSITORY"].encode())
(html / "index.html").write_text("first page")
(html / "_static" / "model.onnx").write_bytes(bytes(range(256)))
(html / "notebooks" / "intro.ipynb").write_text("{}")
(book / "_build" / "state.json").write_text(json.dumps({"complete": True}))
"""
IGNORED = "*.onnx\n_build/\n"


@dataclass
class Course:
    """A clone of a tiny course, and the bare repository that is its ``origin``."""

    root: Path
    bare: Path
    env: dict[str, str]

    def git(self, *arguments: str, at: Path | None = None) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=at or self.root,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def publish(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.root / "book" / "publish.py"), *arguments]
        return subprocess.run(
            command,
            cwd=self.root.parent,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
        )

    def refused(self, *arguments: str) -> str:
        """The one line of a refusal."""
        done = self.publish(*arguments)
        assert done.returncode == 1, done.stdout
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("book/publish.py: ").strip()

    def files(self, branch: str) -> dict[str, bytes]:
        """The files of a branch of ``origin``, which has one commit."""
        assert self.git("rev-list", "--count", branch, at=self.bare) == "1\n"
        target = self.root.parent / "checkout"
        shutil.rmtree(target, ignore_errors=True)
        plain = ("clone", "--quiet", "--config", "core.autocrlf=false")
        self.git(*plain, "--branch", branch, str(self.bare), str(target))
        shutil.rmtree(target / ".git")
        return contents(target)

    def own(self) -> dict[str, object]:
        """What belongs to the user: files, index, branches, and where they stand."""
        hidden = self.root / ".git"
        return {
            "files": {
                name: content
                for name, content in contents(self.root).items()
                if not name.startswith((".git/", "book/_build/"))
            },
            "index": (hidden / "index").read_bytes(),
            "head": (hidden / "HEAD").read_text(),
            "branches": self.git("for-each-ref", "refs/heads", "refs/stash"),
            "shallow": (hidden / "shallow").exists(),
        }


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A course with a committed, a staged and a changed file.

    Its git ignores what a book consists of, changes ends of lines, runs a hook before a
    push, and knows nobody's name.
    """
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    root, bare, config = tmp_path / "course", tmp_path / "bare", tmp_path / "config"
    (tmp_path / "ignored").write_text(IGNORED)
    config.write_text(
        f"[core]\n excludesFile = {tmp_path / 'ignored'}\n autocrlf = true\n"
        "[init]\n defaultBranch = main\n[user]\n useConfigOnly = true\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1"}
    made = Course(root, bare, env)
    (root / "book" / "_ext").mkdir(parents=True)
    for name in ("publish.py", "_ext/github_addresses.py"):
        shutil.copy(BOOK / name, root / "book" / name)
    (root / "book" / "build.py").write_text(BUILD)
    (root / "book" / "intro.md").write_bytes(b"Words.\r\n")
    made.git("init", "--quiet", "--bare", str(bare), at=tmp_path)
    made.git("init", "--quiet")
    made.git("add", ".")
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    made.git(*who, "commit", "--quiet", "--message", "The course")
    made.git("remote", "add", "origin", bare.as_uri())
    made.git("push", "--quiet", "origin", "main")
    hook = root / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (root / "staged.md").write_text("staged\n")
    made.git("add", "staged.md")
    (root / "book" / "intro.md").write_bytes(b"Other words.\r\n")
    return made


def move_to_github(course: Course) -> None:
    """Lets git find the bare repository under an address at GitHub."""
    ssh = course.root.parent / "ssh"
    ssh.write_text(
        '#!/bin/sh\nfor last; do :; done\ncommand=${last%% *}\nexec "git"'
        f' "${{command#git-}}" "{course.bare}"\n'
    )
    ssh.chmod(0o755)
    course.env |= {"GIT_SSH": str(ssh), "GIT_SSH_VARIANT": "simple"}
    course.git("remote", "set-url", "origin", "git@github.com:somebody/course.git")


def test_the_book_and_its_notebooks_arrive(course: Course) -> None:
    """Byte for byte; nothing of the user's changes, and the next time is quiet."""
    before = course.own()
    done = course.publish()
    assert (done.returncode, done.stderr) == (0, "")
    assert course.own() == before
    assert "no buttons for Colab and Binder" in done.stdout
    html = course.root / "book" / "_build" / "html"
    assert course.files("gh-pages") == contents(html) | {".nojekyll": b""}
    assert course.files("gh-pages")["intro.html"] == b"Other words.\r\n"
    assert course.files("notebooks") == {"intro.ipynb": b"{}"}
    heads = course.git("for-each-ref", at=course.bare)

    again = course.publish()
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("has it already") == 2
    assert "sending" not in again.stdout
    assert course.git("for-each-ref", at=course.bare) == heads


def test_from_another_clone(course: Course, tmp_path: Path) -> None:
    """As the workflow does it: a clone without history, and the book built elsewhere.

    It replaces the files and the commit; the notebooks are as they were.
    """
    assert course.publish().returncode == 0
    other = tmp_path / "other"
    shallow = ("clone", "--quiet", "--depth", "1", "--single-branch")
    course.git(*shallow, course.bare.as_uri(), str(other))
    built = course.root / "book" / "_build"
    (built / "html" / "index.html").rename(built / "html" / "new.html")
    (built / "html" / "index.html").write_text("second page")
    (other / "book" / "intro.md").write_bytes(b"Other words.\r\n")
    shutil.copytree(built, other / "book" / "_build")
    clone = Course(other, course.bare, course.env)
    done = clone.publish("--built")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("has it already") == done.stdout.count("sending") == 1
    assert course.files("gh-pages") == contents(built / "html") | {".nojekyll": b""}
    assert course.files("notebooks") == {"intro.ipynb": b"{}"}


def test_at_github(course: Course) -> None:
    """The book is built for the address of origin, and the last line says where it is.

    A domain that GitHub has written to the branch stays.
    """
    move_to_github(course)
    course.env["CHAPTER4_REPOSITORY"] = "https://github.com/somebody/else"
    done = course.publish()
    assert (done.returncode, done.stderr) == (0, "")
    assert "no buttons" not in done.stdout
    assert "https://somebody.github.io/course/" in done.stdout.splitlines()[-1]
    page = course.files("gh-pages")["intro.html"]
    assert page == b"Other words.\r\n" + URL.encode()

    domain = course.root.parent / "domain"
    course.git("clone", "-q", "-b", "gh-pages", str(course.bare), str(domain))
    (domain / "CNAME").write_text("book.example.org")
    course.git("add", "CNAME", at=domain)
    who = ("-c", "user.name=GitHub", "-c", "user.email=github@example.org")
    course.git(*who, "commit", "--quiet", "-m", "Create CNAME", at=domain)
    course.git("push", "--quiet", at=domain)
    (course.root / "book" / "intro.md").write_text("New words.\n")
    assert course.publish().returncode == 0
    files = course.files("gh-pages")
    assert files["CNAME"] == b"book.example.org"
    assert files["intro.html"] == b"New words.\n" + URL.encode()


def no_clone(course: Course) -> None:
    shutil.rmtree(course.root / ".git")


def a_folder_of_a_clone(course: Course) -> None:
    no_clone(course)
    course.git("init", "--quiet", at=course.root.parent)


def no_origin(course: Course) -> None:
    course.git("remote", "rename", "origin", "upstream")


def origin_gone(course: Course) -> None:
    shutil.rmtree(course.bare)


def no_book(course: Course) -> None:
    shutil.rmtree(course.root / "book" / "_build")


def no_pages(course: Course) -> None:
    shutil.rmtree(course.root / "book" / "_build" / "html")


def an_unfinished_book(course: Course) -> None:
    state = course.root / "book" / "_build" / "state.json"
    state.write_text('{"complete": false}')


def a_newer_page(course: Course) -> None:
    (course.root / "book" / "intro.md").write_text("Newer words.\n")


def somebodys_branch(course: Course) -> None:
    course.git("branch", "notebooks", "main", at=course.bare)


def a_protected_branch(course: Course) -> None:
    hook = course.bare / "hooks" / "update"
    hook.write_text('#!/bin/sh\necho "not yours" >&2\ntest "$1" != refs/heads/gh-pages')
    hook.chmod(0o755)


REFUSALS: dict[Callable[[Course], None], str] = {
    no_clone: "is not a git clone",
    a_folder_of_a_clone: "is not a git clone, but a folder in one",
    no_origin: "git remote add origin",
    origin_gone: "does not appear to be a git repository",
    no_book: "there is no built book: build it with `make book`",
    no_pages: "there is no built book: build it with `make book`",
    an_unfinished_book: "did not end well: build it with `make book`",
    a_newer_page: "intro.md is newer than the built book: build it",
    somebodys_branch: "`git push origin --delete notebooks`",
    a_protected_branch: "-> gh-pages (hook declined)",
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda spoil: spoil.__name__)
def test_refusals(course: Course, spoil: Callable[[Course], None]) -> None:
    """One line says what is wrong, and nobody's branch is lost."""
    command = [sys.executable, str(course.root / "book" / "build.py")]
    subprocess.run(command, env=course.env | {"CHAPTER4_REPOSITORY": ""}, check=True)
    spoil(course)
    there = course.bare.is_dir()
    heads = course.git("for-each-ref", at=course.bare) if there else ""
    assert REFUSALS[spoil] in course.refused("--built")
    now = course.git("for-each-ref", at=course.bare) if there else ""
    assert set(heads.splitlines()) <= set(now.splitlines())


def test_a_book_that_is_not_built_is_not_published(course: Course) -> None:
    """Not even the one that an earlier build has left."""
    assert course.publish().returncode == 0
    heads = course.git("for-each-ref", at=course.bare)
    with (course.root / "book" / "build.py").open("a") as file:
        file.write("sys.exit(1)\n")
    (course.root / "book" / "intro.md").write_text("Newer words.\n")
    assert "the book was not built" in course.refused()
    assert course.git("for-each-ref", at=course.bare) == heads


@pytest.mark.parametrize(
    ("address", "known"),
    [
        (URL, URL),
        (f"{URL}.git", URL),
        (f"{URL}/", URL),
        ("https://somebody:secret@github.com/somebody/course.git", URL),
        ("git@github.com:somebody/course.git", URL),
        ("git@github.com:somebody/course", URL),
        ("ssh://git@github.com/somebody/course.git", URL),
        ("ssh://git@ssh.github.com:443/somebody/course.git", URL),
        (
            "https://GitHub.com/Some-Body/a.course_2",
            "https://github.com/Some-Body/a.course_2",
        ),
        ("https://gitlab.com/somebody/course.git", None),
        ("git@gitlab.com:somebody/course.git", None),
        ("https://github.com.example.org/somebody/course", None),
        ("https://example.org/github.com/somebody/course", None),
        ("https://github.com/somebody", None),
        ("https://github.com/somebody/course/tree/main", None),
        ("/home/somebody/github.com/course.git", None),
    ],
)
def test_addresses_at_github(address: str, known: str | None) -> None:
    """As git has them, with and without a name, a password, a port and an ending."""
    assert repository_of(address) == known


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("somebody/course", "https://somebody.github.io/course/"),
        ("Some-Body/Course", "https://some-body.github.io/Course/"),
        ("somebody/somebody.github.io", "https://somebody.github.io/"),
        ("Somebody/somebody.GitHub.io", "https://somebody.github.io/"),
    ],
)
def test_addresses_of_books(name: str, home: str) -> None:
    """A repository with the name of the user's own site is shown at its root."""
    assert pages_of(f"https://github.com/{name}") == home


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built book on a server that shows it below a path."""
    if not any(HTML.glob("*.html")):
        pytest.skip("no built book: run `make book` first")
    root = tmp_path_factory.mktemp("host")
    (root / "some").mkdir()
    (root / "some" / "course").symlink_to(HTML, target_is_directory=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/some/course/"
        server.shutdown()
        thread.join()


# The page, and what it shows once it works.
SHOWN = {
    "": "pre.mermaid svg",
    "intro.html": "pre.mermaid svg",
    "gradcam.html": "mjx-container",
    "attention.html": "iframe",
    "playground.html": "#playground [data-top] input:checked",
    "problem-1.html": "article",
    "search.html?q=completeness": "#search-results li a",
}


@pytest.mark.parametrize("page", SHOWN)
def test_below_a_path(below: str, visit: Callable[..., Page], page: str) -> None:
    """The book needs nothing but its own folder, wherever a server shows it."""
    opened = visit("about:blank")
    answers: dict[str, int] = {}
    opened.on("response", lambda r: answers.setdefault(r.url, r.status))
    opened.goto(below + page, wait_until="networkidle")
    if page == "playground.html":
        opened.locator("[data-sample=cat]").click()
    opened.wait_for_selector(SHOWN[page], state="attached")
    asked = {url: answers[url] for url in answers if url.startswith("http")}
    assert len(asked) > 10
    assert {url: status for url, status in asked.items() if status >= 400} == {}
    assert [url for url in asked if not url.startswith(below)] == []
