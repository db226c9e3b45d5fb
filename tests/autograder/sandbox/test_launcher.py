"""What the sandbox shows and what it forbids, and what happens where there is none."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import all_end, below

import chapter4
from autograder.sandbox import launcher as sandbox
from autograder.sandbox.inside import seccomp
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
    allowed |= {p.parts[1] for p in sandbox.shown()}
    assert set(seen) <= allowed
    assert student.call("visible", "/proc") == []
    assert student.call("visible", "/student") == []
    assert student.call("visible", "/grader/autograder") == ["__init__.py", "sandbox"]
    inside = "/grader/autograder/sandbox"
    assert student.call("visible", inside) == ["__init__.py", "inside"]
    parts = Path(sandbox.__file__).with_name("inside").glob("*.py")
    assert student.call("visible", f"{inside}/inside") == sorted(p.name for p in parts)


def test_of_the_project_only_the_environment_is_there(
    student: SandboxedStudent,
) -> None:
    seen = student.call("visible", str(PROJECT))
    assert seen is None or set(seen) <= {p.name for p in sandbox.shown()}
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
        running = {launcher._bwrap.pid, *below(launcher._bwrap.pid)}
    assert len(running) >= 4  # bubblewrap, its own, the fork server, the submission
    assert running <= started
    assert all_end(running)


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
        ("linux", ("bwrap is missing", "WSL", "container", "--unsafe-no-sandbox")),
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
    bubblewrap = sandboxes(2)._bwrap.pid
    inside = below(bubblewrap)
    assert len(inside) >= 2
    for pid in (bubblewrap, *inside):
        assert b"GRADER_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
    for pid in inside:
        for kind in ("ipc", "mnt", "net", "pid", "user", "uts"):
            own, ours = (os.readlink(f"/proc/{p}/ns/{kind}") for p in (pid, "self"))
            assert own != ours, kind


def run_filter(machine: str, architecture: int, number: int, argument: int = 0) -> int:
    """What the filter says to one system call: classic BPF by the book."""
    record = {seccomp.NUMBER: number, seccomp.ARCHITECTURE: architecture}
    record[seccomp.FIRST_ARGUMENT] = argument
    program = seccomp.filter_program(machine)
    steps = [program[i : i + 8] for i in range(0, len(program), 8)]
    at, held = 0, 0
    while True:
        code = int.from_bytes(steps[at][:2], "little")
        yes, no = steps[at][2:4]
        operand = int.from_bytes(steps[at][4:], "little")
        at += 1
        if code == seccomp.LOAD:
            held = record[operand]
        elif code == seccomp.RETURN:
            return operand
        else:
            met: dict[int, Any] = {
                seccomp.EQUAL: held == operand,
                seccomp.AT_LEAST: held >= operand,
                seccomp.ANY_BIT: bool(held & operand),
            }
            at += yes if met[code] else no


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_knows_every_machine(machine: str) -> None:
    column, architecture, clone, clone3 = seccomp.MACHINES[machine]
    numbers = {numbers[column] for numbers in seccomp.FORBIDDEN.values()} - {None}
    refused = seccomp.ERRNO | seccomp.EPERM
    for number in range(600):
        said = run_filter(machine, architecture, number, 17)
        if number in numbers or number == clone:
            assert said == refused
        elif number == clone3:
            assert said == seccomp.ERRNO | seccomp.ENOSYS
        else:
            assert said == seccomp.ALLOW
    assert run_filter(machine, architecture, clone, 0x3D0F00) == seccomp.ALLOW
    assert run_filter(machine, architecture, seccomp.X32 + 57) == seccomp.KILL
    assert run_filter(machine, architecture + 1, 0) == seccomp.KILL
    with pytest.raises(OSError, match="no filter of system calls for riscv64"):
        seccomp.filter_program("riscv64")


def test_the_table_is_the_kernels() -> None:
    """Against the kernel's own header, where it is installed for this machine."""
    header = Path("/usr/include/asm-generic/unistd.h")
    native = Path(f"/usr/include/{os.uname().machine}-linux-gnu/asm/unistd_64.h")
    checked = 0
    for path, column in ((native, 0), (header, 1)):
        for line in path.read_text().splitlines() if path.exists() else ():
            words = line.split()
            if len(words) == 3 and words[0] == "#define" and words[2].isdecimal():
                name = words[1].removeprefix("__NR3264_").removeprefix("__NR_")
                if name in seccomp.FORBIDDEN:
                    assert seccomp.FORBIDDEN[name][column] == int(words[2]), name
                    checked += 1
    assert checked > 60 or not (native.exists() or header.exists())
