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
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "book" / "build.py"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the build script as a module with empty folders under ``tmp_path``."""
    spec = importlib.util.spec_from_file_location("book_build", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(
        sys.modules, "book_build", module
    )  # dataclasses look their module up
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


def tarball(files: dict[str, bytes]) -> bytes:
    """Return an npm-like tarball, every file below ``package/``."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def test_unpack_keeps_what_is_named_and_nothing_else(
    build: ModuleType, tmp_path: Path
) -> None:
    """Named files and folders arrive with their content, and nothing else does.

    Nor does a path that climbs out.
    """
    files = {
        "a.js": b"1",
        "fonts/x.woff": b"2",
        "b.js": b"3",
        "fonts/../../../out.js": b"4",
    }
    content = tarball(files)
    path = tmp_path / "x.tgz"
    path.write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    script = build.Script("x", "1.0", digest, ("a.js", "fonts/"))
    build.unpack(script, content, path)
    written = [p for p in script.folder.rglob("*") if p.is_file()]
    found = {p.relative_to(script.folder).as_posix(): p.read_bytes() for p in written}
    assert found == {"a.js": b"1", "fonts/x.woff": b"2"}
    assert not list(tmp_path.rglob("out.js"))


def test_unpack_refuses_another_tarball(build: ModuleType, tmp_path: Path) -> None:
    """One changed byte is enough, and nothing is written."""
    content = tarball({"a.js": b"1"})
    script = build.Script(
        "x",
        "1.0",
        base64.b64encode(hashlib.sha512(content).digest()).decode(),
        ("a.js",),
    )
    path = tmp_path / "x.tgz"
    path.write_bytes(content)
    with pytest.raises(build.BuildError, match=r"x 1\.0: sha512 is .*, expected"):
        build.unpack(script, tarball({"a.js": b"2"}), path)
    assert not script.folder.exists()


def test_unpack_names_a_missing_file(build: ModuleType, tmp_path: Path) -> None:
    """A package that lost a file that the pages need is not taken."""
    content = tarball({"a.js": b"1"})
    path = tmp_path / "x.tgz"
    path.write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    with pytest.raises(build.BuildError, match=r"lacks b\.js"):
        build.unpack(build.Script("x", "1.0", digest, ("a.js", "b.js")), content, path)


def test_requirements_are_the_packages_own(build: ModuleType) -> None:
    """Runtime requirements with their installed versions; extras do not count."""
    found = build.requirements()
    assert f"torch=={metadata.version('torch')}" in found
    assert not any(r.startswith(("jupyter-book", "ruff", "pytest")) for r in found)


def leave_results(build: ModuleType) -> None:
    """Write what a successful build leaves behind."""
    state = {
        "execution": build.execution_digest(),
        "frame": build.frame_digest(),
        "complete": True,
    }
    build.STATE.write_text(json.dumps(state))
    for folder in (".jupyter_cache", ".doctrees"):
        (build.BUILD / folder).mkdir(exist_ok=True)
        (build.BUILD / folder / "result").write_text("")


def kept(build: ModuleType) -> set[str]:
    """Return which earlier results are still there."""
    return {p.parent.name for p in build.BUILD.glob("*/result")}


def test_nothing_changed_keeps_everything(build: ModuleType) -> None:
    """A second build starts from the first one's results.

    Compiled files do not count as a change.
    """
    leave_results(build)
    cache = build.ROOT / "chapter4" / "__pycache__"
    cache.mkdir()
    (cache / "gradients.pyc").write_text("")
    build.forget_what_changed(fresh=False)
    assert kept(build) == {".jupyter_cache", ".doctrees"}


@pytest.mark.parametrize(
    "name", ["chapter4/gradients.py", "chapter4/weights.safetensors"]
)
def test_a_changed_package_executes_again(build: ModuleType, name: str) -> None:
    """A changed function or a new weight file makes every cell run again."""
    leave_results(build)
    (build.ROOT / name).write_text("answer = 2\n")
    build.forget_what_changed(fresh=False)
    assert kept(build) == set()


def test_a_changed_frame_keeps_the_executed_cells(build: ModuleType) -> None:
    """A changed configuration writes every page again without executing a cell."""
    leave_results(build)
    (build.BOOK / "_config.yml").write_text("title: b\n")
    build.forget_what_changed(fresh=False)
    assert kept(build) == {".jupyter_cache"}


def test_a_new_address_writes_every_page_again(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launch buttons lead to the repository.

    No page keeps an old address, and no cell runs for it.
    """
    monkeypatch.delenv("CHAPTER4_REPOSITORY", raising=False)
    leave_results(build)
    monkeypatch.setenv("CHAPTER4_REPOSITORY", "https://github.com/somebody/course")
    build.forget_what_changed(fresh=False)
    assert kept(build) == {".jupyter_cache"}


def test_a_failed_build_is_not_passed_the_second_time(build: ModuleType) -> None:
    """Without the mark of success pages are read again, to repeat their warnings."""
    leave_results(build)
    build.forget_what_changed(
        fresh=False
    )  # the build that follows fails and leaves no mark
    build.forget_what_changed(fresh=False)
    assert kept(build) == {".jupyter_cache"}


def test_fresh_forgets_everything(build: ModuleType) -> None:
    """``--fresh`` trusts no earlier result."""
    leave_results(build)
    build.forget_what_changed(fresh=True)
    assert kept(build) == set()


def test_our_kernel_wins(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``python3`` kernel of the user's own does not run the pages.

    That holds wherever Jupyter may look for it.
    """
    for folder in ("home/.local/share/jupyter", "elsewhere"):
        spec = tmp_path / folder / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(
            json.dumps(
                {
                    "argv": ["/bin/false"],
                    "display_name": "foreign",
                    "language": "python",
                }
            )
        )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    code = (
        "from jupyter_client.kernelspec import get_kernel_spec as k;"
        " print(k('python3').resource_dir)"
    )
    env = build.child_environment()
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(sys.prefix)


def test_pages_run_without_a_hub(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels see no model hub, no IPython files of the user, no stray modules."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    env = build.child_environment()
    assert env["HF_HUB_OFFLINE"] == "1"
    assert Path(env["IPYTHONDIR"]).is_relative_to(build.BUILD)
    assert "PYTHONPATH" not in env
