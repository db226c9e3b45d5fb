"""What the sandbox shows and what it forbids, and what happens where there is none."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import all_end, below

import chapter4
from autograder.sandbox import launcher as sandbox
from autograder.sandbox import mounts
from autograder.sandbox.fork_client import Lost
from autograder.sandbox.launcher import Sandbox, SandboxUnavailable
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import SandboxedStudent, StudentError

PROJECT = Path(__file__).parents[3]
CODE = """
import importlib, os

def visible(path):
    return sorted(os.listdir(path)) if os.path.exists(path) else None

def text_of(path):
    return open(path).read()

def call(module, name, *args):
    return getattr(importlib.import_module(module), name)(*args)

def imported(module):
    return importlib.import_module(module).__file__

def classify(name):
    import torch, chapter4
    model = chapter4.load_classifier(name)
    return model(torch.zeros(1, 3, 64, 64)), model.class_names

def encode(text):
    import chapter4
    model, tokenizer = chapter4.load_bert()
    out = model(**tokenizer(text, return_tensors="pt"), output_attentions=True)
    return [a.shape[-1] for a in out.attentions]
"""


PROBLEMS = [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 5))]


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def student(
    sandboxes: Callable[[int], Sandbox], problem: int
) -> Iterator[SandboxedStudent]:
    cells = [Cell("cell 1", CODE)]
    with SandboxedStudent(sandboxes(problem), cells) as made:
        yield made


def test_only_the_system_and_python_are_there(student: SandboxedStudent) -> None:
    seen = student.call("visible", "/")
    allowed = {"bin", "dev", "etc", "grader", "home", "lib", "lib32", "lib64", "libx32"}
    allowed |= {"opt", "proc", "sbin", "tmp", "usr", "root", "student"}
    allowed.add(PROJECT.parts[1])
    allowed |= {p.parts[1] for p in mounts.shown()}
    assert set(seen) <= allowed
    assert student.call("visible", "/proc") == []
    assert student.call("visible", "/student") == []
    own = ["__init__.py", "sandbox", "selfcheck.py"]
    assert student.call("visible", "/grader/autograder") == own
    checked = student.call("call", "autograder.selfcheck", "self_check", "problem2")
    assert checked is None, "a copy of a cell that checks"
    inside = "/grader/autograder/sandbox"
    assert student.call("visible", inside) == ["__init__.py", "inside"]
    parts = Path(sandbox.__file__).with_name("inside").glob("*.py")
    assert student.call("visible", f"{inside}/inside") == sorted(p.name for p in parts)


def test_of_the_project_only_the_environment_is_there(
    student: SandboxedStudent,
) -> None:
    seen = student.call("visible", str(PROJECT))
    assert seen is None or set(seen) <= {p.name for p in mounts.shown()}
    for name in ("solutions", "exercises", "chapter4", "autograder", "tests", "book"):
        assert student.call("visible", str(PROJECT / name)) is None


def kept(file: str, problem: int) -> bool:
    """Whether a file of chapter4 is in a problem's sandbox.

    Photos and models always are.
    """
    compared = ("core/", "methods/gradients.py", "methods/gradcam.py")
    return file.startswith(("inputs/", "shapes/", *(compared if problem == 1 else ())))


def test_the_reference_is_not_there(student: SandboxedStudent, problem: int) -> None:
    package = Path(chapter4.__file__).parent
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        try:
            text = student.call("text_of", f"/grader/chapter4/{name}")
        except StudentError:
            assert not kept(name, problem)
        else:
            stub = "write your own" in text or not text
            assert (text == path.read_text()) == kept(name, problem), name
            assert stub != kept(name, problem), name


def test_every_public_name_is_there_or_a_stub(
    student: SandboxedStudent, problem: int
) -> None:
    for name, home in chapter4._HOME.items():
        there = kept(f"{home.replace('.', '/')}.py", problem)
        for module in ("chapter4", f"chapter4.{home}"):
            with pytest.raises(StudentError) as caught:
                student.call("call", module, name, *range(9))
            stub = f"{name} is not there while problem {problem} is graded: write your"
            assert (stub in caught.value.line) != there, name
    for name in ("smooth_grad", "grad_cam", "integrated_gradients"):
        with pytest.raises(StudentError, match=f"write your own {name}"):
            student.call("call", "chapter4.plain", name, *range(9))


def test_a_library_is_a_stub_where_it_has_the_method(
    student: SandboxedStudent, problem: int
) -> None:
    file = student.call("imported", "captum.attr")
    assert file.startswith("/grader/") == (problem in (2, 3, 5))
    more = ("pytorch_grad_cam", "torchcam") if problem == 5 else ()
    for package in ("captum", *more) if problem in (2, 3, 5) else ():
        for module in (package, f"{package}.attr"):
            with pytest.raises(StudentError, match="write your own Saliency"):
                student.call("call", module, "Saliency", 1)
        with pytest.raises(StudentError):
            student.call("imported", f"{package}.methods")
    if problem in (2, 3, 5):
        assert student.call("visible", str(_folder_of("captum"))) in (None, [])


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_photos_and_models_are_there(student: SandboxedStudent, problem: int) -> None:
    import torch

    logits, names = student.call("classify", "shapes")
    model = chapter4.load_classifier("shapes")
    expected = model(torch.zeros(1, 3, 64, 64)).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert names == list(model.class_names)
    assert student.call("visible", "/grader/chapter4/photos")
    if problem == 4:
        assert len(set(student.call("encode", "The cat sat on the mat"))) == 1


def test_a_folder_is_hidden_on_request(student: SandboxedStudent) -> None:
    hidden = _folder_of("pytest")
    assert student.call("visible", str(hidden)) == []
    assert student.call("visible", str(hidden.parent))


def test_nothing_is_left_when_it_is_closed(needs_bubblewrap: None) -> None:
    thread = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[99]).start()"
    )
    with Sandbox(2) as launcher:
        student = SandboxedStudent(launcher, [Cell("cell 1", f"{thread}\nf = abs")])
        assert student.call("f", -1) == 1
        started = below(os.getpid())
        running = {launcher._server.process.pid, *below(launcher._server.process.pid)}
    assert len(running) >= 4  # bubblewrap, its own, the fork server, the submission
    assert running <= started
    assert all_end(running)


def host_pids(sandbox: Sandbox) -> tuple[int, int]:
    """Bubblewrap's process and the fork server's, as this machine counts."""
    return sandbox._server.process.pid, sandbox._server._server


@pytest.fixture(scope="module")
def own(needs_bubblewrap: None) -> Iterator[Sandbox]:
    """A sandbox whose server may be harmed."""
    with Sandbox(2) as made:
        yield made


@pytest.mark.parametrize(
    ("whom", "sent"),
    [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)],
    ids=["bubblewrap-killed", "server-killed", "server-stopped"],
)
def test_a_server_that_dies_or_stops_is_replaced(
    own: Sandbox, whom: int, sent: signal.Signals
) -> None:
    """Whom it meets goes on, and has crashed when it happens again."""
    cells = [Cell("cell 1", "f = abs")]
    with SandboxedStudent(own, cells) as guilty:
        assert guilty.call("f", -1) == 1
        for starts in (1, 2):
            before = host_pids(own)
            os.kill(before[whom], sent)
            with SandboxedStudent(own, cells) as following:
                assert following.call("f", -2) == 2
            assert not {*before} & {*host_pids(own)}
            # What the guilty one started is gone with its server.
            assert all_end(before)
            assert guilty._starts == starts
            if starts == 1:
                assert guilty.call("f", -3) == 3
        with pytest.raises(StudentError, match="the process ended while f ran") as met:
            guilty.call("f", -1)
        assert met.value.kind == "crashed"
        after = host_pids(own)
        assert guilty.call("f", -3) == 3
    assert host_pids(own) == after


def test_a_sandbox_that_can_not_start_again_says_so_and_recommends_nothing(
    needs_bubblewrap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(2) as made:
        made._server.process.kill()
        made._command = ["/bin/false"]
        with pytest.raises(Lost, match="could not be started again: no answer") as met:
            made.open()
    assert "--unsafe" not in str(met.value)


def test_a_submission_is_in_a_session_of_its_own(own: Sandbox) -> None:
    cells = [
        Cell("cell 1", "import os\ndef f():\n    return [os.getsid(0), os.getpgrp()]")
    ]
    with SandboxedStudent(own, cells) as student:
        assert student.call("f") == [1, 1], "the first process of its process space"


def test_it_ends_with_the_grader(needs_bubblewrap: None) -> None:
    """A grader that is killed leaves no process behind."""
    code = """
from autograder.sandbox.launcher import Sandbox
import time
box = Sandbox(2)
process = box.open()
print("open", flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as grader:
        assert grader.stdout is not None
        assert grader.stdout.readline()
        running = below(grader.pid)
        assert len(running) >= 4
        grader.send_signal(signal.SIGKILL)
    assert all_end(running)


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("linux", ("bwrap is missing", "WSL", "container")),
        ("darwin", ("that needs Linux",)),
    ],
)
def test_without_bubblewrap_it_refuses_and_says_where_to_go(
    monkeypatch: pytest.MonkeyPatch, platform: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblew") as caught:
        Sandbox(2)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo bwrap: no permission >&2; exit 1", "bwrap: no permission"),
        ("exit 0", "no answer"),
    ],
)
def test_a_bubblewrap_that_may_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailable, match=f"could not start it here .{said}"):
        Sandbox(2)


def test_a_subprocess_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "python", lambda *_: ["/bin/false"])
    with (
        sandbox.Subprocess(2) as launcher,
        pytest.raises(OSError, match="did not start: can Python import torch"),
    ):
        launcher.open()


def test_bubblewrap_starts_in_an_empty_environment_and_shares_no_namespace(
    sandboxes: Callable[[int], Sandbox],
) -> None:
    """Each submission gets namespaces of its own; these are the fork server's."""
    bubblewrap = sandboxes(2)._server.process.pid
    inside = below(bubblewrap)
    assert len(inside) >= 2
    for pid in (bubblewrap, *inside):
        assert b"GRADER_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
    for pid in inside:
        for kind in ("ipc", "mnt", "net", "pid", "user", "uts"):
            own, ours = (os.readlink(f"/proc/{p}/ns/{kind}") for p in (pid, "self"))
            assert own != ours, kind
