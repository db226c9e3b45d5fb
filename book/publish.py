"""Publish the book: put it and its notebooks on two branches of ``origin``.

Run ``python book/publish.py`` from anywhere. It builds the book for the address of
``origin`` first; with ``--built`` it takes the book that is there. Pages go to the
branch ``gh-pages``, notebooks to ``notebooks``, where Colab and Binder find them. The
clone's own files, index and branches stay as they are.

Each branch holds one commit, and the next one takes its place: the book can be built
again from any commit of the course, and with a history every clone would carry tens of
megabytes of each version. A branch that others have begun is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "_ext"))
from github_addresses import pages_of, repository_of

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
HTML = BOOK / "_build" / "html"
STATE = BOOK / "_build" / "state.json"
PAGES = "gh-pages"
FOLDERS = {PAGES: HTML, "notebooks": HTML / "notebooks"}
MARK = "Made by book/publish.py"
# The machines that run a workflow have no name set for commits.
NAME = {"NAME": "book/publish.py", "EMAIL": "publish@book.invalid"}
AUTHOR = {f"GIT_{who}_{k}": NAME[k] for who in ("AUTHOR", "COMMITTER") for k in NAME}


class Refused(Exception):
    """Something that the person at the keyboard has to know, in one line."""


def say(message: str) -> None:
    """Print one line of progress at once, even when the output goes to a file."""
    print(f"[publish] {message}", flush=True)


def git(*arguments: str, text: str = "", **variables: str) -> str:
    """Run git in the clone.

    Args:
        *arguments: Its arguments.
        text: What it reads.
        **variables: More of its environment.

    Returns:
        What it prints, without the last end of line.

    Raises:
        Refused: If it fails. The message is the line in which git says why.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "C"} | variables,
        input=text.encode(),  # bytes: Windows would change the ends of lines
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace")
        lines = [line.strip() for line in told.splitlines()]
        said = [line for line in lines if line.startswith(("!", "fatal:", "error:"))]
        raise Refused(next(iter(said + lines[-1:]), f"git {arguments[0]} failed"))
    return done.stdout.decode().rstrip()


def origin() -> str:
    """The address of the clone's ``origin``."""
    if shutil.which("git") is None:
        raise Refused("git not found: install it first")
    try:
        above = git("rev-parse", "--show-prefix")
    except Refused as error:
        raise Refused(f"{ROOT} is not a git clone: {error}") from None
    if above:
        raise Refused(f"{ROOT} is not a git clone, but a folder in one")
    try:
        return git("remote", "get-url", "origin")
    except Refused:
        raise Refused(
            "the clone has no origin: make an empty repository at GitHub, and give its"
            " address to `git remote add origin ADDRESS`"
        ) from None


def build(repository: str | None) -> None:
    """Build the book, with buttons that lead to the repository.

    Nothing is executed again if only the repository is another.
    """
    env = os.environ | {"CHAPTER4_REPOSITORY": repository or ""}
    command = [sys.executable, str(BOOK / "build.py")]
    if subprocess.run(command, env=env, check=False).returncode != 0:
        raise Refused("nothing was published, because the book was not built")


def check_built() -> None:
    """Refuse a book that is not there, not complete, or older than its pages."""
    again = "build it with `make book` (python book/build.py)"
    try:
        complete = json.loads(STATE.read_text(encoding="utf-8"))["complete"]
    except (OSError, ValueError, KeyError):
        complete = None
    if complete is None or not (HTML / "index.html").is_file():
        raise Refused(f"there is no built book: {again}")
    if not complete:
        raise Refused(f"the last build of the book did not end well: {again}")
    for page in sorted(BOOK.glob("*.md")):
        built = HTML / "_sources" / page.name
        if built.is_file() and built.read_bytes() != page.read_bytes():
            raise Refused(f"{page.name} is newer than the built book: {again}")


def fetched() -> dict[str, str]:
    """Fetch the two branches of ``origin``.

    Returns:
        Branch -> commit, of those that are there.

    Raises:
        Refused: If one of them does not begin with a commit of this script.
    """
    names = [f"refs/heads/{branch}" for branch in FOLDERS]
    lines = git("ls-remote", "origin", *names).splitlines()
    there = {name: commit for commit, name in (line.split() for line in lines)}
    if there:
        git("fetch", "--quiet", "--no-tags", "origin", *there)
    found = {}
    for name, commit in there.items():
        branch = name.removeprefix("refs/heads/")
        # Its first commit: a domain of one's own is a second one, made by GitHub.
        first = git("log", "--max-parents=0", "--format=%s", commit)
        if not first.startswith(MARK):
            raise Refused(
                f"the branch {branch} of origin has other work: rename it there, or"
                f" give it up with `git push origin --delete {branch}`"
            )
        found[branch] = commit
    return found


def tree(folder: Path, lines: list[str]) -> str:
    """Store a folder's files, byte for byte and whatever git is told to ignore.

    Args:
        folder: The folder.
        lines: What ``git ls-tree`` would print of other files beside them.

    Returns:
        The name of the tree.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    say(f"{folder.relative_to(ROOT).as_posix()}: {len(files)} files, {size:.1f} MB")
    paths = "\n".join(map(str, files))
    stored = git("hash-object", "-w", "--no-filters", "--stdin-paths", text=paths)
    for name, path in zip(stored.split(), files, strict=True):
        lines.append(f"100644 blob {name}\t{path.relative_to(folder).as_posix()}")
    text = "".join(f"{line}\n" for line in lines)
    with tempfile.TemporaryDirectory() as own:
        index = str(Path(own, "index"))
        git("update-index", "--add", "--index-info", text=text, GIT_INDEX_FILE=index)
        return git("write-tree", GIT_INDEX_FILE=index)


def publish(built: bool = False) -> None:
    """Put the book and its notebooks on their branches of ``origin``.

    Args:
        built: Whether to take the book that is there instead of building it.

    Raises:
        Refused: If that is not possible.
    """
    repository = repository_of(origin())
    if repository is None:
        say("origin is not at GitHub: no buttons for Colab and Binder")
    else:
        say(f"origin is {repository}")
    there = fetched()
    if not built:
        build(repository)
    check_built()
    course = git("rev-parse", "--short", "HEAD")
    leases, commits = [], []
    for branch, folder in FOLDERS.items():
        old = there.get(branch, "")
        # A domain of one's own stays.
        more = git("ls-tree", old, "CNAME").splitlines() if old else []
        if branch == PAGES:
            # Without this file, GitHub leaves out folders like _static.
            more.append(f"100644 blob {git('hash-object', '-w', '--stdin')}\t.nojekyll")
        new = tree(folder, more)
        if old and git("rev-parse", f"{old}^{{tree}}") == new:
            say(f"the branch {branch} of origin has it already")
            continue
        commit = git("commit-tree", new, "-m", f"{MARK} from {course}", **AUTHOR)
        # Not if somebody else has pushed meanwhile.
        leases.append(f"--force-with-lease=refs/heads/{branch}:{old}")
        commits.append(f"{commit}:refs/heads/{branch}")
        say(f"sending it to the branch {branch} of origin")
    if commits:
        try:
            # The clone's own hooks are for its code.
            git("push", "--quiet", "--no-verify", *leases, "origin", *commits)
        except Refused as error:
            raise Refused(f"origin did not take all of it: {error}") from None
    if repository:
        say(
            f"the book's address is {pages_of(repository)}, once somebody has chosen"
            f" {PAGES} in {repository}/settings/pages"
        )
    else:
        say(f"any static server can show the files of the branch {PAGES}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if nothing could be published."""
    parser = argparse.ArgumentParser(
        description="Put the book and its notebooks on the branches gh-pages and"
        " notebooks of the clone's origin."
    )
    parser.add_argument(
        "--built", action="store_true", help="take the book that is built already"
    )
    options = parser.parse_args(arguments)
    try:
        publish(options.built)
    except Refused as error:
        print(f"book/publish.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
