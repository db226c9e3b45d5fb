"""Calls to student code, and every failure as a StudentError in one line.

The values are the same through the sandbox, in a subprocess and in one's own kernel.
"""

from __future__ import annotations

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

from autograder.sandbox.inside import tiny_models
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
        ("broken", (0,), "raised", "broken raised ZeroDivisionError: division by zero"),
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
    """A function that it lost is missing, and the cell is named."""
    cells = ["def one(): return 1", "1 / 0", "def two(): return", "two = one"]
    student = start(*cells, "def three() return 3")
    assert student.call("two") == 1
    lost = r"three is not defined.*cell 5.*SyntaxError"
    with pytest.raises(StudentError, match=lost):
        student.call("three")
    failed = student.failed_cells
    assert "SyntaxError" in failed.pop("cell 5")
    assert failed == {
        "cell 2": "cell 2 raised ZeroDivisionError: division by zero (cell 2, line 1)"
    }


def test_the_line_of_an_error_is_the_students(start: Start) -> None:
    student = start(
        "x = 1\n\ndef f():\n    import numpy as np\n    return np.ones(2) @ np.ones(3)"
    )
    with pytest.raises(StudentError, match=r"raised ValueError: .*\(cell 1, line 5\)"):
        student.call("f")


def test_a_cell_that_hangs_or_dies_is_left_out(start: Start) -> None:
    student = start(
        "import os; os._exit(3)", "while True: pass", "f = len", cell_seconds=1.0
    )
    assert student.call("f", "abc") == 3
    assert student.failed_cells == {
        "cell 1": "the process ended while cell 1 ran (exit code 3)",
        "cell 2": "cell 2 gave no answer within 1 seconds",
    }


def test_the_next_call_finds_a_new_process(start: Start) -> None:
    student = start("import os, time\nf = os._exit\ng = time.sleep\nh = abs")
    with pytest.raises(StudentError, match=r"ended while f ran \(exit code 7\)"):
        student.call("f", 7)
    with pytest.raises(StudentError, match=r"g gave no answer within 0\.2 seconds"):
        student.call("g", 60, deadline=0.2)
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


def test_the_time_of_all_calls_together_is_limited(start: Start) -> None:
    student = start("import time\nf = time.sleep", budget_seconds=100)
    for _ in range(2):
        student.call("f", 0.2)
    assert student._budget <= 100 - 2 * 0.2
    student._budget = 0.1
    for seconds in (60, 0, 0):
        with pytest.raises(StudentError, match="used up its time of 100 s") as caught:
            student.call("f", seconds)
        assert caught.value.kind == "timed-out"


def test_computing_time_is_limited(
    sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "limits", Limits(cpu_seconds=1))
    student = start("def f():\n    while True: pass")
    with pytest.raises(StudentError, match="more than 1 seconds of comput") as caught:
        student.call("f", deadline=100)
    assert caught.value.kind == "timed-out"


def test_memory_is_limited(start: Start) -> None:
    student = start("def f(n): return len(bytearray(n))")
    assert student.call("f", 2**28) == 2**28
    with pytest.raises(StudentError, match="MemoryError"):
        student.call("f", 3 * 2**30)


def test_magics_shell_lines_and_plots_cost_nothing(start: Start) -> None:
    student = start(
        "%matplotlib inline\n!echo hi\nimport math\nfiles = !ls",
        "%%time\ndef f(): return math.pi",
        "%time g = 3\n%timeit -n 1 g\nlen?\nh = 7 % 4",
        "%%bash\nrm -rf /",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\n"
        "plt.savefig('a.png')",
        "import os\ndef total():\n"
        "    return [f(), g, h, len(files), os.path.getsize('a.png') > 0]",
    )
    assert student.call("total") == [pytest.approx(np.pi), 3, 3, 0, True]
    assert student.failed_cells == {}


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
