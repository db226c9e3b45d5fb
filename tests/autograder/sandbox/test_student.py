"""Calls to student code, and every failure as a StudentError in one line.

The values are the same through the sandbox, in a subprocess and in one's own kernel.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from accepted import right_submissions

from autograder.sandbox.inside import protocol, tiny_models, values
from autograder.sandbox.inside.values import Recipe
from autograder.sandbox.launcher import Limits, Sandbox, Subprocess
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import (
    LocalStudent,
    SandboxedStudent,
    StudentError,
    one_line,
)

CODE = """
import torch
from dataclasses import dataclass

@dataclass
class Box:
    size: int = 3

class Adder:
    def __call__(self, a, b):
        return a + b

add = Adder()

def gradient(image, model, target_class=0):
    x = image.clone().requires_grad_()
    model(x)[0, target_class].backward()
    print("so many:", x.numel())
    return x.grad, {"target": target_class, "kinds": (True, None, Box().size)}

def spoils(image, model):
    image += 1
    model.train()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.head.bias.requires_grad_(False)
    model.features[0].register_forward_hook(lambda *args: None)
    with torch.no_grad():
        model.head.weight.mul_(2)
    return 0

def kinds(array, tensor, model, nothing, mapping):
    return [type(v).__name__ for v in (array, tensor, model, nothing, mapping)]

def broken(x):
    return 1 / x

def nan():
    return float("nan")

def odd():
    return object()
"""
CELLS = [Cell("cell 2", CODE)]
RECIPE = Recipe("conv-net", 5, {"size": [3, 8, 6]})


@pytest.fixture(params=["local", "plain", "sandbox"], scope="module")
def student(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One submission, in each of the three ways to ask it."""
    if request.param == "local":
        namespace: dict[str, Any] = {"__name__": "local_student"}
        exec(CODE.replace("@dataclass\n", ""), namespace)
        yield LocalStudent(namespace)
    elif request.param == "plain":
        with Subprocess(2) as launcher, SandboxedStudent(launcher, CELLS) as made:
            yield made
    else:
        launcher = request.getfixturevalue("sandboxes")(2)
        with SandboxedStudent(launcher, CELLS) as made:
            yield made


def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 8, 6)))


def test_a_value_is_that_of_the_same_code_here(student: Any) -> None:
    x = image().float()
    found, told = student.call("gradient", x, RECIPE, target_class=2)
    here = x.clone().requires_grad_()
    tiny_models.build(RECIPE)(here)[0, 2].backward()
    assert here.grad is not None
    np.testing.assert_array_equal(found, here.grad.numpy())
    assert told == {"target": 2, "kinds": [True, None, 3]}


def test_the_weights_of_a_model_are_those_of_its_seed() -> None:
    size, classes = (3, 8, 6), 4
    for seed in (5, 6):
        model = tiny_models.build(Recipe("power", seed))
        rng = np.random.default_rng(seed)
        weight = rng.standard_normal((classes, *size)) / np.sqrt(np.prod(size))
        np.testing.assert_allclose(model.weight.detach(), weight, rtol=1e-6)
        bias = rng.standard_normal(classes)
        np.testing.assert_allclose(model.bias.detach(), bias, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "shape", "dtype", "words"),
    [
        ("power", (3, 8, 6), torch.float32, "add it with image[None]"),
        ("deep-conv-net", (3, 9, 9), torch.float32, "add it with image[None]"),
        ("stateful", (8, 6), torch.float32, "(N, 3, H, W), and was given (8, 6)"),
        ("relu-net", (2, 3, 6, 8), torch.float32, "(N, 3, 8, 6), and was given (2"),
        ("conv-net", (1, 1, 8, 6), torch.float32, "(N, 3, H, W), and was given (1"),
        ("signs", (1, 3, 8, 6), torch.float64, "image.float() is the same image"),
        ("deep-net", (1, 3, 8, 6), torch.uint8, "float32, and was given uint8"),
        ("relu-of-dot", (3, 8, 6, 1), torch.float32, "and was given (3, 8, 6, 1)"),
    ],
)
def test_a_model_says_what_is_wrong_with_its_input(
    kind: str, shape: tuple[int, ...], dtype: torch.dtype, words: str
) -> None:
    model = tiny_models.build(Recipe(kind, 5))
    with pytest.raises(ValueError, match=re.escape(words)):
        model(torch.zeros(shape, dtype=dtype))


def test_a_model_takes_no_array_and_its_own_precision() -> None:
    model = tiny_models.build(Recipe("power", 5, {"dtype": "float64"}))
    with pytest.raises(ValueError, match=r"given ndarray: torch\.from_numpy"):
        model(np.zeros((1, 3, 8, 6)))
    with pytest.raises(ValueError, match=r"image\.double\(\)"):
        model(torch.zeros(1, 3, 8, 6))
    assert model(torch.zeros(2, 3, 8, 6).double()).shape == (2, 4)
    anywhere = tiny_models.build(Recipe("conv-net", 5))
    assert anywhere(torch.zeros(1, 3, 20, 10)).shape == (1, 4)


def test_arguments_arrive_as_what_they_are(student: Any) -> None:
    names = student.call(
        "kinds", np.zeros(2), torch.zeros(2), RECIPE, None, {"a": (1,)}
    )
    assert names == ["ndarray", "Tensor", "ConvNet", "NoneType", "dict"]
    assert student.call("add", 1, b=2.5) == 3.5


def test_what_a_call_left_behind(student: Any) -> None:
    x = image().float()
    before = x.clone()
    clean = student.observe("gradient", x, RECIPE)
    assert (clean.changed, clean.models[0].changed) == ((), ("gradients",))
    assert clean.output == "so many: 144\n"
    spoilt = student.observe("spoils", image=x, model=RECIPE)
    assert spoilt.changed == ("image",)
    kinds = {"mode", "hooks", "requires_grad", "gradients", "weights"}
    assert set(spoilt.models[0].changed) == kinds
    assert torch.equal(x, before)


def test_a_model_that_records_what_it_is_asked(student: Any) -> None:
    x = image().float()
    recipe = Recipe("conv-net", 5, {"size": [3, 8, 6], "record": True})
    asked = student.observe("gradient", x, recipe).models[0].asked
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], x.numpy())


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "line"),
    [
        ("nothing", (), "missing", "nothing is not defined in the notebook"),
        ("RECIPE", (), "missing", "RECIPE is not defined in the notebook"),
        ("broken", (0,), "raised", "broken raised ZeroDivisionError"),
        ("broken", (), "raised", "broken raised TypeError: broken() missing 1 requi"),
        ("nan", (), "bad-reply", "nan gave no usable value: the result holds NaN"),
        ("odd", (), "bad-reply", "odd gave no usable value: a value of type object"),
    ],
)
def test_a_failure_in_one_line(
    student: Any, name: str, arguments: tuple[Any, ...], kind: str, line: str
) -> None:
    with pytest.raises(StudentError) as caught:
        student.call(name, *arguments)
    assert caught.value.kind == kind
    assert caught.value.line.startswith(line)


def test_nan_where_it_is_allowed(student: Any) -> None:
    assert np.isnan(student.call("nan", finite=False))


Start = Callable[..., SandboxedStudent]


@pytest.fixture
def sandbox(sandboxes: Callable[[int], Sandbox]) -> Sandbox:
    return sandboxes(2)


@pytest.fixture
def start(sandbox: Sandbox) -> Iterator[Start]:
    with ExitStack() as students:

        def new(*sources: str, **settings: Any) -> SandboxedStudent:
            cells = [Cell(f"cell {i}", s) for i, s in enumerate(sources, start=1)]
            return students.enter_context(SandboxedStudent(sandbox, cells, **settings))

        yield new


def test_a_broken_cell_does_not_lose_the_others(start: Start) -> None:
    cells = ["def one(): return 1", "1 / 0", "def two(): return", "two = one"]
    student = start(*cells)
    assert student.call("two") == 1
    zero = "cell 2, line 1: ZeroDivisionError: division by zero"
    assert student.failed_cells == {"cell 2": zero}
    assert student.first_failure == zero


LOST = {
    # What a cell before it lost, and the cell that explains it.
    "the cell that imports a package": ("net", "cell 1, line 1: ModuleNotFoundError"),
    "the cell that defines a function": ("three", r"cell 3, line \d+: SyntaxError"),
    "no cell, so that it is the first": ("four", "cell 1, line 1: ModuleNotFoundError"),
    "the cell that sets a number": ("scaled", "cell 4, line 1: ZeroDivisionError"),
}


@pytest.mark.parametrize(("name", "cause"), LOST.values(), ids=LOST)
def test_a_failed_cell_explains_what_fails_later(
    start: Start, name: str, cause: str
) -> None:
    student = start(
        "import no_such_package\nfrom torch import nn, optim",
        "def net():\n    return nn.Linear(1, 1)\ndef scaled():\n    return SCALE",
        "def three(:\n    return 3",
        "OTHER, SCALE = 1 / 0, 2",
        "def fine():\n    return 1\ndef wrong():\n    return [][0]",
    )
    with pytest.raises(StudentError) as caught:
        student.call(name)
    assert re.match(cause, caught.value.cause)
    assert re.match("cell 1, line 1: ModuleNotFoundError", student.first_failure)
    assert student.call("fine") == 1
    with pytest.raises(StudentError, match="IndexError in cell 5, line 4:") as caught:
        student.call("wrong")
    assert caught.value.cause == ""


REMEDIES = {
    "import no_such_package": "(it is not installed where notebooks are graded)",
    "open('my_cat.jpg')": "(only the notebook is graded, without files beside it)",
    "who = input('name: ')": "(nobody can answer input() while a notebook is graded)",
    "import urllib.request\nurllib.request.urlopen('https://example.org')": (
        "(there is no network where notebooks are graded)"
    ),
    "import transformers\ntransformers.AutoConfig.from_pretrained('org/none')": (
        "(there is no network where notebooks are graded)"
    ),
}


@pytest.mark.parametrize("source", REMEDIES, ids=range(len(REMEDIES)))
def test_what_stops_in_grading_alone_comes_with_the_reason(
    start: Start, source: str
) -> None:
    student = start(source, "f = abs")
    assert student.call("f", -1) == 1
    line = source.count("\n") + 1
    assert student.first_failure.startswith(f"cell 1, line {line}: ")
    assert student.first_failure.endswith(REMEDIES[source])


def test_why_a_cell_failed_is_what_came_before_any_question(start: Start) -> None:
    """A process that replaces another cannot tell more: here it knows a question."""
    student = start(
        "import os\nraise ValueError(len(os.listdir('.')))", "import os\nf = os._exit"
    )
    with pytest.raises(StudentError, match="ended while f ran"):
        student.call("f", 0)
    first = dict(student.failed_cells)
    student._cells[0] = Cell("cell 1", "raise ValueError('the question was 0')")
    student._cells.append(Cell("cell 3", "raise ValueError('at 32.82 by the clock')"))
    with pytest.raises(StudentError):
        student.call("f", 0)
    assert student.failed_cells == first


def test_the_line_of_an_error_is_the_students(start: Start) -> None:
    student = start(
        "x = 1\n\ndef f():\n    import numpy as np\n    return np.ones(2) @ np.ones(3)",
        "\nf()",
        "def g(): raise ValueError('x' * 1000)",
    )
    with pytest.raises(StudentError, match=r"^f raised ValueError in cell 1, line 5: "):
        student.call("f")
    with pytest.raises(StudentError, match=r"^g raised ValueError in cell 3, line 1: "):
        student.call("g")
    why = "cell 2 raised ValueError in cell 1, line 5: matmul"
    assert student.first_failure.startswith(why)


def test_a_cell_that_hangs_or_dies_is_left_out(start: Start) -> None:
    student = start(
        "import os; os._exit(3)", "while True: pass", "f = len", cell_seconds=1.0
    )
    assert student.call("f", "abc") == 3
    assert student.failed_cells == {
        "cell 1": "the process ended while cell 1 ran (exit code 3)",
        "cell 2": "cell 2 used more than 1 seconds of computing",
    }


def test_the_next_call_finds_a_new_process(start: Start) -> None:
    source = "import os, time\nf = os._exit\ng = time.sleep\nh = abs"
    student = start(source, idle_seconds=0.3)
    with pytest.raises(StudentError, match=r"ended while f ran \(exit code 7\)"):
        student.call("f", 7)
    with pytest.raises(StudentError, match=r"g waits: for 0\.3 seconds it neither"):
        student.call("g", 60)
    assert student.call("h", -1) == 1


def test_not_for_ever(start: Start) -> None:
    student = start("import os\nf = os._exit")
    lines = set()
    for _ in range(8):
        with pytest.raises(StudentError) as caught:
            student.call("f", 0)
        assert caught.value.kind == "crashed"
        lines.add(caught.value.line)
    assert "the notebook ended its process too often" in lines


def test_the_kernel_limits_computing_time_too(
    sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "limits", Limits(cpu_seconds=1))
    student = start("def f():\n    while True: pass", call_seconds=100)
    with pytest.raises(StudentError, match="more than 1 seconds of comput") as caught:
        student.call("f")
    assert caught.value.kind == "timed-out"


def test_memory_is_limited(start: Start) -> None:
    student = start("def f(n): return len(bytearray(n))")
    assert student.call("f", 2**28) == 2**28
    with pytest.raises(StudentError, match="MemoryError"):
        student.call("f", 3 * 2**30)


def test_source_and_classes_as_in_a_notebook(start: Start) -> None:
    student = start(
        "import inspect, pickle, copy, dataclasses\n@dataclasses.dataclass\nclass A:\n "
        "   x: int\ndef f(): return [inspect.getsource(f),"
        " pickle.loads(pickle.dumps(A(3))).x, __name__]"
    )
    source, number, name = student.call("f")
    assert source.startswith("def f()")
    assert (number, name) == (3, "__main__")


def test_submissions_do_not_see_each_other(start: Start) -> None:
    paths = "('/tmp/a', 'a', '/dev/shm/a')"
    writes = f"import torch\ntorch.left = 1\nfor p in {paths}: open(p, 'w').write('x')"
    looks = (
        "import torch, os\ndef f(): return [hasattr(torch, 'left'),"
        f" *map(os.path.exists, {paths})]"
    )
    assert start(writes, "f = abs").call("f", 1) == 1
    assert start(looks).call("f") == [False] * 4


def test_a_line_is_printable_whatever_it_was() -> None:
    wild = "a\x00\x1b[31m\u202eb\n\r\u2028c\t<b>\ud800 " + "x" * 1000
    line = one_line(wild)
    assert line.startswith("a [31m b c <b> x")
    assert len(line) == 300
    assert line.encode()


def test_a_process_that_replaces_another_draws_the_same_numbers(start: Start) -> None:
    source = "import os, torch\nx = torch.rand(1).item()\ndef f(): return x"
    student = start(source, "g = os._exit", seed=5)
    drawn = student.call("f")
    with pytest.raises(StudentError, match="ended"):
        student.call("g", 1)
    assert student.call("f") == drawn


FORGED = """
from autograder.sandbox.inside import protocol
honest = protocol.send

def send(sock, content, arrays):
    honest(sock, {**content, **FORGED}, arrays)

protocol.send = send
f = abs
"""


def test_an_output_of_megabytes_is_cut(start: Start) -> None:
    student = start(FORGED.replace("FORGED", "{'output': 'x' * 10**6 + 'end'}"))
    output = student.observe("f", -1).output
    assert output.endswith("xend")
    assert len(output) == 4_000


def test_warnings_are_kept_a_few_and_none_twice(start: Start) -> None:
    told = ["odd\x1b[31m", "odd\x1b[31m", *map(str, range(100)), "x" * 10**5]
    student = start(FORGED.replace("FORGED", f"{{'warnings': {told}}}"))
    assert student.call("f", -1) == 1
    assert student.call("f", -2) == 2
    assert student.warnings == ["odd [31m", *map(str, range(8))]


def test_a_warning_does_not_tell_what_a_call_was_asked(start: Start) -> None:
    told = "{'warnings': ['ran' if content['value'] is None else 'asked']}"
    student = start(FORGED.replace("FORGED", told))
    assert student.call("f", -1) == 1
    assert student.warnings == ["ran"]


@pytest.mark.parametrize("told", ["1", "[1]", "'text'", "{}", "None"])
def test_warnings_of_another_form_are_no_answer(start: Start, told: str) -> None:
    student = start(FORGED.replace("FORGED", f"{{'warnings': {told}}}"))
    with pytest.raises(StudentError, match="none of the worker's") as caught:
        student.call("f", -1)
    assert caught.value.kind == "bad-reply"


def test_what_does_not_fit_into_memory_is_no_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = start("f = abs")
    assert student.call("f", -1) == 1
    for module, name in ((values, "decode"), (protocol, "receive")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, Mock(side_effect=MemoryError))
            with pytest.raises(StudentError) as caught:
                student.call("f", -1)
        assert (caught.value.kind, caught.value.reason) == ("bad-reply", "size")
    assert student.call("f", -1) == 1


def test_an_interrupted_check_is_interrupted() -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalStudent({"f": stopped}).call("f")


NOISY = """
import logging, sys, warnings
import numpy as np
warnings.simplefilter("error")  # as whoever wants to see them all does

def f(x):
    warnings.warn("old", DeprecationWarning)
    warnings.warn("wrong")
    np.log(np.zeros(1))
    print("loud " * 1000)
    print("louder", file=sys.stderr)
    logging.getLogger("mine").warning("loudest")
    return x
"""


@pytest.mark.filterwarnings("error")
def test_warnings_cost_nothing(start: Start) -> None:
    student = start(NOISY)
    assert student.call("f", 3) == 3


@pytest.mark.filterwarnings("error")
def test_warnings_and_prints_in_ones_own_kernel(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither points nor the report suffer.

    That holds even where the kernel makes warnings and NumPy's giants errors.
    """
    from autograder.checking.runner import run_checks

    source = next(iter(right_submissions("problem2").values()))
    wrapped = (
        "\n_plain = smooth_grad\ndef smooth_grad(*a, **k):\n    f(0)\n    return"
        " _plain(*a, **k)"
    )
    namespace: dict[str, Any] = {"__name__": "__main__"}
    before = np.seterr(all="raise")
    try:
        with warnings.catch_warnings():
            exec(source + NOISY + wrapped, namespace)
            # Libraries that the first run imports may add filters of their own.
            run_checks("problem2", LocalStudent(namespace), 4)
            warnings.simplefilter("error")
            results = run_checks("problem2", LocalStudent(namespace), 4)
            assert warnings.filters[0][0] == "error", "left as it was"
        assert np.geterr()["over"] == "raise"
    finally:
        np.seterr(**before)
    assert {r.status for r in results} == {"passed"}
    assert capfd.readouterr() == ("", "")


def test_pictures_in_ones_own_kernel_are_not_shown_with_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import IPython
    import matplotlib.pyplot as plt
    from IPython.core import getipython

    mine = plt.figure()
    publish = Mock()
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=publish))
    publisher = shell.display_pub
    for module in (IPython, getipython):
        monkeypatch.setattr(module, "get_ipython", lambda: shell)

    def f() -> int:
        plt.figure()
        IPython.get_ipython().display_pub.publish({"text/plain": "a picture"})
        return 1

    assert LocalStudent({"f": f}).call("f") == 1
    publish.assert_not_called()
    assert shell.display_pub is publisher
    assert plt.get_fignums() == [mine.number]
