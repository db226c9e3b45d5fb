"""The build script: pinned downloads, outdated results forgotten, our own kernel."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "book" / "build.py"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the build script as a module with empty folders under ``tmp_path``."""
    spec = importlib.util.spec_from_file_location("book_build", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    monkeypatch.setitem(sys.modules, "book_build", module)
    spec.loader.exec_module(module)
    book = tmp_path / "book"
    folders = {"ROOT": tmp_path, "BOOK": book, "BUILD": book / "_build"}
    folders |= {"HTML": book / "_build" / "html", "VENDOR": book / "_build" / "vendor"}
    for name, folder in folders.items():
        monkeypatch.setattr(module, name, folder)
        folder.mkdir(exist_ok=True)
    monkeypatch.setattr(module, "STATE", book / "_build" / "state.json")
    (tmp_path / "chapter4").mkdir()
    (tmp_path / "chapter4" / "gradients.py").write_text("answer = 1\n")
    (book / "_config.yml").write_text("title: a\n")
    (book / "build.py").write_text("")
    return module


def packed(build: ModuleType, files: dict[str, str], *names: str) -> tuple[Any, bytes]:
    """A script and its npm-like tarball x.tgz, with every file below ``package/``."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    content = file.getvalue()
    (build.ROOT / "x.tgz").write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return build.Script("x", "1.0", digest, names), content


def test_unpack_keeps_what_is_named_and_nothing_else(
    build: ModuleType, tmp_path: Path
) -> None:
    """Named files and folders arrive with their content, and nothing else does.

    Nor does a path that climbs out.
    """
    files = {"a.js": "1", "fonts/x.woff": "2", "b.js": "3"}
    files["fonts/../../../out.js"] = "4"
    script, content = packed(build, files, "a.js", "fonts/")
    build.unpack(script, content, tmp_path / "x.tgz")
    written = [p for p in script.folder.rglob("*") if p.is_file()]
    found = {p.relative_to(script.folder).as_posix(): p.read_text() for p in written}
    assert found == {"a.js": "1", "fonts/x.woff": "2"}
    assert not list(tmp_path.rglob("out.js"))


def test_unpack_refuses_another_tarball(build: ModuleType, tmp_path: Path) -> None:
    """One changed byte is enough, and nothing is written."""
    _, other = packed(build, {"a.js": "2"})
    script, _ = packed(build, {"a.js": "1"}, "a.js")
    with pytest.raises(build.BuildError, match=r"x 1\.0: sha512 is .*, expected"):
        build.unpack(script, other, tmp_path / "x.tgz")
    assert not script.folder.exists()


def test_unpack_names_a_missing_file(build: ModuleType, tmp_path: Path) -> None:
    """A package that lost a file that the pages need is not taken."""
    script, content = packed(build, {"a.js": "1"}, "a.js", "b.js")
    with pytest.raises(build.BuildError, match=r"lacks b\.js"):
        build.unpack(script, content, tmp_path / "x.tgz")


CELLS, PAGES = "executed", ".doctrees"
KEPT = {
    # What a function changes is up to execute.py.
    "a function": ("chapter4/gradients.py", {CELLS, PAGES}),
    "the configuration": ("book/_config.yml", {CELLS}),
    # The launch buttons lead to the repository: no page keeps its old address.
    "an address": (None, {CELLS}),
    # Without the mark of success pages are read again, to repeat their warnings.
    "nothing after a failure": (None, {CELLS}),
    "nothing, but --fresh": (None, set()),
}


@pytest.mark.parametrize("changed", KEPT)
def test_a_build_starts_from_the_results_that_still_hold(
    build: ModuleType, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executed cells and written pages are kept unless something of theirs changed."""
    monkeypatch.delenv("CHAPTER4_REPOSITORY", raising=False)
    state = {"frame": build.frame_digest(), "complete": True}
    build.STATE.write_text(json.dumps(state))
    for folder in (CELLS, PAGES):
        (build.BUILD / folder).mkdir()
        (build.BUILD / folder / "result").write_text("")
    name, kept = KEPT[changed]
    if name is not None:
        (build.ROOT / name).parent.mkdir(exist_ok=True)
        (build.ROOT / name).write_text("answer = 2\n")
    if changed == "an address":
        monkeypatch.setenv("CHAPTER4_REPOSITORY", "https://github.com/somebody/course")
    if changed == "nothing after a failure":
        # The build that follows fails and leaves no mark.
        build.forget_what_changed(fresh=False)
    build.forget_what_changed(fresh=changed == "nothing, but --fresh")
    assert {p.parent.name for p in build.BUILD.glob("*/result")} == kept


def test_our_kernel_wins(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``python3`` kernel of the user's own does not run the pages.

    That holds wherever Jupyter may look for it.
    """
    for folder in ("home/.local/share/jupyter", "elsewhere"):
        spec = tmp_path / folder / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        about = {"argv": ["/bin/false"], "display_name": "foreign"}
        spec.write_text(json.dumps(about | {"language": "python"}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    code = (
        "from jupyter_client.kernelspec import get_kernel_spec as k;"
        " print(k('python3').resource_dir)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, env=build.child_environment(), text=True)
    assert Path(found.strip()).is_relative_to(sys.prefix)


def test_pages_run_without_a_hub(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels see no model hub, no IPython files of the user, no stray modules."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    env = build.child_environment()
    assert env["HF_HUB_OFFLINE"] == "1"
    assert Path(env["IPYTHONDIR"]).is_relative_to(build.BUILD)
    assert "PYTHONPATH" not in env
