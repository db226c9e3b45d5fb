"""Build the book: fetch its scripts, execute its pages, write the HTML.

Run ``python book/build.py`` from anywhere, with the Python that has the package
installed. The result is in ``book/_build/html``. ``--fresh`` forgets every earlier
result first.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dependencies import digest_of, everything, libraries

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
BUILD = BOOK / "_build"
HTML = BUILD / "html"
VENDOR = BUILD / "vendor"
STATE = BUILD / "state.json"
PLAYGROUND = BOOK / "playground_model.py"


@dataclass(frozen=True)
class Script:
    """One npm package that pages use, pinned by version and content.

    Attributes:
        name: The name of the package.
        version: Its version.
        sha512: The base64 digest of the package's tarball, as npm prints it.
        keep: The files and folders (ending in ``/``) that pages need, relative to the
            package.
    """

    name: str
    version: str
    sha512: str
    keep: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder of the kept files on this machine."""
        return VENDOR / self.name


SCRIPTS = (
    Script(
        name="mathjax",
        version="3.2.2",
        sha512=(
            "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsj"
            "KPZGJvtRZM1vO+geW0OhGw=="
        ),
        # MathJax's own menu loads a11y and sre for readers who turn on its
        # screen-reader explorer.
        keep=(
            "LICENSE",
            "es5/tex-mml-chtml.js",
            "es5/output/chtml/fonts/woff-v2/",
            "es5/input/tex/extensions/",
            "es5/a11y/",
            "es5/sre/mathmaps/base.json",
            "es5/sre/mathmaps/en.json",
        ),
    ),
    Script(
        name="mermaid",
        version="11.12.1",
        sha512=(
            "UlIZrRariB11TY1RtTgUWp65tphtBv4CSq7vyS2ZZ2TgoMjs2nloq+wFqxiwcxlh"
            "HUvs7DPGgMjs2aeQxz5h9g=="
        ),
        # The classic script, not the ES modules: browsers refuse to load modules from
        # file://.
        keep=("LICENSE", "dist/mermaid.min.js"),
    ),
    Script(
        name="onnxruntime-web",
        version="1.30.0",
        sha512=(
            "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02V"
            "b7QmRMDs1SigqR4CXAfKYQ=="
        ),
        # The plain WebAssembly runtime, on one thread. It loads the other two files by
        # itself.
        keep=(
            "README.md",
            "dist/ort.wasm.min.js",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
        ),
    ),
)


class BuildError(Exception):
    """Something that the person at the keyboard has to know, in one line."""


def say(message: str) -> None:
    """Print one line of progress at once, even when the output goes to a file."""
    print(f"[book] {message}", flush=True)


def child_environment() -> dict[str, str]:
    """Return the environment for npm and for the pages' kernels.

    The interpreter's own folders come first, so that node and the ``python3`` kernel
    are those installed beside this Python. Model hubs are off: a page that needs a
    network fails here and not on a reader's machine.
    """
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), env.get("PATH", "")])
    own_kernels = str(Path(sys.prefix) / "share" / "jupyter")
    env["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [own_kernels, env.get("JUPYTER_PATH")])
    )
    # So that nobody's own IPython start-up files change a figure.
    env["IPYTHONDIR"] = str(BUILD / "ipython")
    env.pop("PYTHONPATH", None)
    env.pop("MPLBACKEND", None)
    env["HF_HUB_OFFLINE"] = "1"
    env["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    # glibc gives freed memory back to the system and asks for it again in the next
    # pass. Large batches take less time if it keeps the memory. An old glibc ignores
    # more than 32 MiB for the second variable, and is then slower than without it.
    # Other systems do not read the two.
    env["MALLOC_TRIM_THRESHOLD_"] = str(2**33)
    env["MALLOC_MMAP_THRESHOLD_"] = str(2**25)
    return env


def fetch(script: Script, env: dict[str, str]) -> bool:
    """Put the files of ``script`` into its folder unless they are there.

    ``env`` is the environment for npm.

    Returns:
        Whether the package had to be fetched.

    Raises:
        BuildError: If npm fails, if the tarball is not the pinned one, or if it lacks a
            wanted file.
    """
    stamp = script.folder / ".complete"
    wanted = json.dumps([script.version, script.sha512, script.keep])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    say(f"fetching {script.name} {script.version}")
    npm = shutil.which("npm", path=env["PATH"])
    if npm is None:
        raise BuildError(
            "npm not found: install the book's requirements first (pip install -e"
            " .[book])"
        )
    with tempfile.TemporaryDirectory() as folder:
        package = f"{script.name}@{script.version}"
        command = [npm, "pack", package, "--silent", "--pack-destination", folder]
        # npm fetches only the named package. It runs outside the project, so that it
        # reads no package.json of ours.
        done = subprocess.run(
            command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=False
        )
        tarballs = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(tarballs) != 1:
            raise BuildError(f"npm pack {package} failed (exit code {done.returncode})")
        unpack(script, tarballs[0].read_bytes(), tarballs[0])
    stamp.write_text(wanted, encoding="utf-8")
    return True


def unpack(script: Script, content: bytes, tarball: Path) -> None:
    """Check the tarball against the pinned digest and write its files into a folder.

    Args:
        script: The package; it says which files are kept and in which folder.
        content: The bytes of the tarball.
        tarball: The path of the tarball.

    Raises:
        BuildError: If the digest is another one, or if a wanted file is missing.
    """
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode("ascii")
    if digest != script.sha512:
        raise BuildError(
            f"{script.name} {script.version}: sha512 is {digest}, expected"
            f" {script.sha512}"
        )
    shutil.rmtree(script.folder, ignore_errors=True)
    missing = set(script.keep)
    with tarfile.open(tarball) as archive:
        for member in archive:
            inside = member.name.partition("/")[2]
            rules = (
                k
                for k in script.keep
                if inside == k or (k.endswith("/") and inside.startswith(k))
            )
            rule = next(rules, None)
            source = archive.extractfile(member) if rule and member.isfile() else None
            if rule is None or source is None or ".." in inside.split("/"):
                continue
            missing.discard(rule)
            target = script.folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read())
    if missing:
        raise BuildError(
            f"{script.name} {script.version} lacks {', '.join(sorted(missing))}"
        )


def make_playground(env: dict[str, str]) -> None:
    """Write what the playground page loads.

    Nothing is written if it is there already as the package and the script would make
    it now.
    """
    folder = VENDOR / "playground"
    stamp = folder / ".complete"
    wanted = digest_of(
        [*libraries(), PLAYGROUND.read_text(encoding="utf-8"), everything("chapter4")]
    )
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say("exporting the playground's model")
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, str(PLAYGROUND), str(folder)], env=env, check=False
    )
    if done.returncode != 0:
        raise BuildError("the playground's model was not exported: see above")
    stamp.write_text(wanted, encoding="utf-8")


def frame_digest() -> str:
    """Return a digest of what the pages' frame depends on besides the pages.

    This is the extension, the configuration, Sphinx and the repository's address.
    """
    files = [
        *BOOK.glob("*.yml"),
        *BOOK.glob("*.bib"),
        *(BOOK / "_ext").glob("*.py"),
        BOOK / "build.py",
    ]
    names = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "markdownify")
    return digest_of(
        [
            os.environ.get("CHAPTER4_REPOSITORY", ""),
            *(f"{n}=={metadata.version(n)}" for n in names),
            *(f"{path.name} {path.read_text(encoding='utf-8')}" for path in files),
        ]
    )


def forget_what_changed(fresh: bool) -> None:
    """Delete earlier results that are no longer right.

    Note what the build that begins now depends on.
    """
    now: dict[str, Any] = {"frame": frame_digest()}
    try:
        before = json.loads(STATE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    if fresh:
        shutil.rmtree(BUILD / "executed", ignore_errors=True)
    if fresh or before != now | {"complete": True}:
        # Sphinx does not read a page again that has not changed. Without this, a
        # warning would fail only the first build.
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
        shutil.rmtree(HTML, ignore_errors=True)
    STATE.write_text(json.dumps(now | {"complete": False}), encoding="utf-8")


def quieten_kernels(folder: Path) -> None:
    """Let kernels log only errors.

    Each start warns of unencrypted TCP, which never leaves this machine.
    """
    profile = folder / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(
        "c.IPKernelApp.log_level = 40\n", encoding="utf-8"
    )


def build(fresh: bool = False) -> Path:
    """Build the book.

    Args:
        fresh: Whether to forget every earlier result first.

    Returns:
        The path of the first page.

    Raises:
        BuildError: If a download or a cell fails, or if anything warns.
    """
    start = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    env = child_environment()
    for script in SCRIPTS:
        fetch(script, env)
    make_playground(env)
    forget_what_changed(fresh)
    quieten_kernels(Path(env["IPYTHONDIR"]))
    # Not as a script: a kernel that is forked would run the script's imports again.
    code = "import execute; raise SystemExit(execute.main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=BOOK, env=env, check=False)
    if done.returncode != 0:
        raise BuildError("not every page could be executed: see above")
    code = "from jupyter_book.cli.main import main; main()"
    strict = ["--warningiserror", "--keep-going"]
    command = [sys.executable, "-c", code, "build", str(BOOK), *strict]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        raise BuildError(
            "the book was not built: see the lines above that say WARNING or ERROR"
        )
    state = json.loads(STATE.read_text(encoding="utf-8"))
    STATE.write_text(json.dumps(state | {"complete": True}), encoding="utf-8")
    say(f"built in {time.monotonic() - start:.0f} s")
    return HTML / "index.html"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if the build failed."""
    parser = argparse.ArgumentParser(
        description="Execute the pages and build the book's HTML."
    )
    parser.add_argument("--fresh", action="store_true", help="execute every page again")
    options = parser.parse_args(arguments)
    try:
        page = build(fresh=options.fresh)
    except BuildError as error:
        print(f"book/build.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped; what is done stays, and the same command goes on from there")
        return 130
    say(f"open {page}")
    say(
        "or serve it with `make serve` (python -m http.server --directory"
        " book/_build/html --bind 127.0.0.1)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
