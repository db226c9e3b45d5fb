"""A submission's cells run as in Jupyter: what runs in a fresh kernel there runs here.

The cases below are asked of the sandbox, and a slow test asks them of Jupyter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.sandbox.launcher import Sandbox, Subprocess
from autograder.sandbox.notebook import Cell
from autograder.sandbox.student import LocalStudent, SandboxedStudent

# A name -> the cells of a notebook, and an expression with its value after them.
NOTEBOOKS: dict[str, tuple[tuple[str, ...], str, Any]] = {
    "await": (
        ("import asyncio\nx = await asyncio.sleep(0.01, 3)",),
        "x",
        3,
    ),
    "task-of-an-earlier-cell": (
        (
            "import asyncio\ntask = asyncio.create_task(asyncio.sleep(0.01, 4))",
            "async def double(): return 2 * await task",
            "x = await asyncio.gather(double(), double())",
        ),
        "x",
        [8, 8],
    ),
    "last-results": (
        ("2 + 3", "_ * 2", "x = [_, __, Out[1], _2, In[1]]"),
        "x",
        [10, 5, 5, 10, "2 + 3"],
    ),
    "semicolon": (("2 + 3", "7;", "x = _"), "x", 5),
    "future-import-stays": (
        ("from __future__ import annotations", "def f(a: nothing): return a"),
        "f.__annotations__",
        {"a": "nothing"},
    ),
    "written-module": (
        ("import json", "%%writefile mine.py\ndef f(): return 5", "import mine"),
        "mine.f()",
        5,
    ),
    "written-name": (
        ("name = 'own'", "%%writefile {name}.txt\nabc", "%%writefile -a {name}.txt\nd"),
        "open('own.txt').read()",
        "abc\nd\n",
    ),
    "autoreload": (
        (
            "%load_ext autoreload\n%autoreload 2",
            "%%writefile changing.py\nx = 1",
            "import changing, os\nbefore = changing.x",
            "%%writefile changing.py\nx = 23",
            "os.utime('changing.py', (9e9, 9e9))",
            "pass",
        ),
        "[before, changing.x]",
        [1, 23],
    ),
    "run": (
        ("%%writefile script.py\ny = __name__", "%run script.py"),
        "y",
        "__main__",
    ),
    "time": (
        ("%%time\n\nx = 1\nx + 1", "y = %time x + 3\n%time z = 4"),
        "[x, y, z]",
        [1, 4, 4],
    ),
    "timeit": (
        ("n = 0\nt = %timeit -n 2 -r 3 -o n", "%%timeit -q n\nn + 1"),
        "[t.loops, t.repeat]",
        [2, 3],
    ),
    "prun": (("%%prun -q\nx = 2", "%prun -q y = 3"), "[x, y]", [2, 3]),
    "capture": (
        ("%%capture out\nprint(1)\n2", "%%capture\n%%time\nx = 3"),
        "[out.stdout, x]",
        ["1\n", 3],
    ),
    "help": (("len?", "?len", "len??", "%pinfo len\n%pdoc len", "x = 1"), "x", 1),
    "settings": (
        (
            "%config InlineBackend.figure_format = 'svg'",
            "%config Completer.use_jedi = False",
            "%precision 3\n%xmode Plain\n%pdb off",
            "x = %config ZMQInteractiveShell.ast_node_interactivity",
        ),
        "x",
        "last_expr",
    ),
    "every-expression": (
        (
            "from IPython.core.interactiveshell import InteractiveShell\n"
            "InteractiveShell.ast_node_interactivity = 'all'",
            "5\n6",
        ),
        "Out[2]",
        6,
    ),
    "environment": (
        (
            "import os\n%env MINE=3\nstart = os.getcwd()",
            "os.mkdir('sub')\n%cd -q sub\nwhere = %pwd",
            "%cd -q -\n%cd -q nowhere",
        ),
        "[os.environ['MINE'], where == f'{start}/sub', os.getcwd() == str(_dh[0])]",
        ["3", True, True],
    ),
    "where-it-runs": (
        ("import sys\nkind = get_ipython().__class__.__name__",),
        "[kind, 'google.colab' in sys.modules, __name__]",
        ["ZMQInteractiveShell", False, "__main__"],
    ),
    "where-it-runs-by-a-try": (
        (
            "try:\n    import google.colab  # noqa\n    where = 'there'\n"
            "except ImportError:\n    where = 'here'",
            "def at_home():\n    try:\n        if where:\n"
            "            from google.colab import drive\n        return False\n"
            "    except Exception:\n        return True",
        ),
        "[where, at_home()]",
        ["here", True],
    ),
    "command-line": (
        (
            "import argparse\nparser = argparse.ArgumentParser()\n"
            "parser.add_argument('-f')\nx = parser.parse_known_args()[0].f is not None",
        ),
        "x",
        True,
    ),
    "folders": (
        ("import os\nos.mkdir('b')", "%cd b", "%cd ..\n%who\nx = os.path.isdir('b')"),
        "x",
        True,
    ),
    "names": (("a, b = 1, 2", "x = %who_ls int", "%whos\n%history"), "x", ["a", "b"]),
    "stored": (("a = 5\n%store a", "del a", "%store -r a"), "a", 5),
    "contexts": (
        (
            "import numpy as np, decimal\nold = np.seterr(over='raise')",
            "decimal.getcontext().prec = 4",
            "import asyncio\nawait asyncio.sleep(0)",
            "x = [np.geterr()['over'], decimal.getcontext().prec]",
        ),
        "x",
        ["raise", 4],
    ),
    "classes": (
        (
            "import dataclasses, inspect, pickle\n"
            "@dataclasses.dataclass\nclass A:\n    x: int = 3\n",
            "\n\ndef f():\n    return A()\n",
            "x = [pickle.loads(pickle.dumps(A())).x, inspect.getsource(f)]",
        ),
        "x",
        [3, "def f():\n    return A()\n"],
    ),
    "figures": (
        (
            "import matplotlib.pyplot as plt\nplt.plot([1, 2]); a = plt.get_fignums()",
            "%matplotlib inline\nb = plt.get_fignums()\nfig, ax = plt.subplots()\n"
            "fig.savefig('a.png')\nplt.show()\nc = plt.get_fignums()",
        ),
        "[a, b, c, open('a.png', 'rb').read(4)[1:] == b'PNG']",
        [[1], [], [], True],
    ),
    "shown": (
        (
            "from IPython.display import HTML, Image, Markdown, clear_output\n"
            "x = display(HTML('<b>'), Markdown('*'), {'a': 1}, display_id='d')\n"
            "clear_output(wait=True)",
            "%%html\n<b>b</b>",
            "%%javascript\n1",
            "%%latex\n$x$",
            "%%markdown\n*a*",
            "class Own:\n    def _repr_html_(self): return 'x'\nOwn()",
        ),
        "type(x).__name__",
        "DisplayHandle",
    ),
    "output": (
        (
            "import sys, logging, faulthandler\nprint('a', file=sys.stderr)\n"
            "sys.stdout.write('b')\nsys.stdout.flush()\nlogging.warning('c')\n"
            "faulthandler.enable()",
        ),
        "[sys.stdout.encoding.lower(), sys.stdout.isatty()]",
        ["utf-8", False],
    ),
    "progress": (
        ("from tqdm.auto import tqdm\nx = sum(tqdm(range(4)))",),
        "x",
        6,
    ),
    "threads": (
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(2) as pool: x = list(pool.map(abs, [-1, -2]))",
        ),
        "x",
        [1, 2],
    ),
    "indented": (("  x = 1\n  if x:\n      x = 2",), "x", 2),
    "a-cell-that-fails": (("x = 1", "x = 2\n1 / 0\nx = 3", "y = x"), "y", 2),
    "error-in-capture": (("%%capture\nx = 1\n1 / 0", "y = x"), "y", 1),
    "value-that-can-not-be-shown": (
        ("class A:\n    def __repr__(self): raise ValueError\nA()", "x = 1"),
        "x",
        1,
    ),
    "reset": (("a = 1", "%reset -f\nb = 2"), "['a' in globals(), b]", [False, 2]),
}

Start = Callable[..., SandboxedStudent]


@pytest.fixture
def start(sandboxes: Callable[[int], Sandbox]) -> Iterator[Start]:
    with ExitStack() as students:

        def new(*sources: str, **settings: Any) -> SandboxedStudent:
            cells = [Cell(f"cell {i}", s) for i, s in enumerate(sources, start=1)]
            return students.enter_context(
                SandboxedStudent(sandboxes(2), cells, **settings)
            )

        yield new


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_runs_in_jupyter_runs_in_the_sandbox(start: Start, name: str) -> None:
    cells, expression, value = NOTEBOOKS[name]
    student = start(*cells, f"def answer(): return {expression}")
    assert student.call("answer") == value


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_runs_in_the_sandbox_runs_in_jupyter(name: str, tmp_path: Path) -> None:
    """So the values above are not ours."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    cells, expression, value = NOTEBOOKS[name]
    notebook = new_notebook(
        cells=[*map(new_code_cell, [*cells, f"print(repr({expression}))"])]
    )
    client = NotebookClient(
        notebook, allow_errors=True, resources={"metadata": {"path": tmp_path}}
    )
    # IPython's own folder is a new one, and no test has chosen a backend.
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    client.execute(env={**environment, "IPYTHONDIR": str(tmp_path / "new")})
    (output,) = notebook.cells[-1].outputs
    assert eval(output["text"]) == value


# A cell -> how the line begins that says why it failed.
FAILURES = {
    "\n\nx = 1\n1 / 0": "cell 1, line 4: ZeroDivisionError: division by zero",
    "\n%%time\n\nx = 1\n1 / 0": "cell 1, line 5: ZeroDivisionError",
    "%%capture\n%%time\n\n1 / 0": "cell 1, line 4: ZeroDivisionError",
    "x = 1\n%time 1 / 0": "cell 1, line 2: ZeroDivisionError",
    "%%timeit\nx = 1\n1 / 0": "cell 1, line 3: ZeroDivisionError",
    "import asyncio\nawait asyncio.sleep(0)\n1 / 0": "cell 1, line 3: ZeroDivision",
    "x = 1\n\nx = = 2": "cell 1, line 3: SyntaxError: invalid syntax",
    "%%time\nx = 1\nx = = 2": "cell 1, line 3: SyntaxError: invalid syntax",
    "if 1:\nx = 1": "cell 1, line 2: IndentationError: expected an indented block",
    "x = 1\nreturn x": "cell 1, line 2: SyntaxError: 'return' outside function",
    "x = 1\n%nothing": "cell 1, line 2: UsageError: Line magic function `%nothing`",
    "class A:\n  def __repr__(self): 1 / 0\nA()": "cell 1, line 2: ZeroDivision",
    "input('name: ')": "cell 1, line 1: EOFError",
    "import os\nexit()": "cell 1, line 2: SystemExit",
    "import sys\nsys.exit(3)": "cell 1, line 2: SystemExit: 3",
    "raise KeyboardInterrupt": "cell 1, line 1: KeyboardInterrupt",
    "import subprocess\nsubprocess.run(['ls'])": "cell 1, line 2: PermissionError",
    "import os\nos.fork()": "cell 1, line 2: PermissionError",
    "import socket\nsocket.socket()": "cell 1, line 2: PermissionError",
    "from urllib.request import urlopen\nurlopen('http://a')": "cell 1, line 2: URLErr",
    "import cv3": "cell 1, line 1: ModuleNotFoundError: No module named 'cv3'",
    # IPython would show the values of all names, which can last for ever.
    "%xmode Verbose\nclass A:\n  def __repr__(self):\n    while True: pass\n"
    "a = A()\n1 / 0": "cell 1, line 6: ZeroDivisionError",
}


@pytest.mark.parametrize("source", FAILURES)
def test_an_error_has_the_line_of_the_students_cell(start: Start, source: str) -> None:
    student = start(source, "f = abs", cell_seconds=5.0)
    assert student.call("f", -1) == 1
    assert student.failed_cells.pop("cell 1").startswith(FAILURES[source])
    assert student.failed_cells == {}


def printed(student: SandboxedStudent, source: str) -> str:
    """What one more cell prints."""
    question = {"op": "run", "source": source, "name": "cell 9"}
    return str(student.exchange(question, [], "cell 9", 10.0)[0]["output"])


NOT_RUN = {
    "!ls -l": "not run here: !ls -l\n",
    "x = !ls\nprint(x)": "not run here: !ls\n[]\n",
    "x = %system ls": "not run here: !ls\n",
    "%pip install nothing": "not run here: %pip install nothing\n",
    "%conda install nothing": "not run here: %conda install nothing\n",
    "%%bash\nls": "not run here: %%bash \n",
    "%%sh -e\nls": "not run here: %%sh -e\n",
    "%%script perl\n1": "not run here: %%script perl\n",
    "%%python3\n1": "not run here: %%python3 \n",
    "%autosave 60": "not run here: %autosave 60\n",
    "%clear": "not run here: %clear \n",
    "from google.colab import drive\ndrive.mount('/content/drive')": (
        "not run here: google.colab.drive.mount\n"
    ),
    "import google.colab.files as f\nprint(f.upload())": (
        "not run here: google.colab.files.upload\n{}\n"
    ),
    "from google.colab import userdata\nprint([userdata.get('KEY')])": (
        "not run here: google.colab.userdata.get\n['']\n"
    ),
    "from google.colab.patches import cv2_imshow\ncv2_imshow(1)": (
        "not run here: google.colab.patches.cv2_imshow\n"
    ),
    "import google.colab\ngoogle.colab.output.clear()\ngoogle.colab.auth.a()": (
        "not run here: google.colab.output.clear\nnot run here: google.colab.auth.a\n"
    ),
}


@pytest.mark.parametrize("source", NOT_RUN)
def test_what_is_not_run_says_so_and_the_cell_goes_on(
    start: Start, source: str
) -> None:
    student = start("f = abs")
    assert student.call("f", -1) == 1
    said = printed(student, f"{source}\nafter = 1\nprint('after')")
    magic = source.startswith("%%")  # all below its line is the magic's
    assert said == NOT_RUN[source] + "after\n" * (not magic)


def test_workers_load_in_the_process_itself(start: Start) -> None:
    student = start(
        "import multiprocessing, torch\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "data = TensorDataset(torch.arange(5))\n"
        "context = multiprocessing.get_context('spawn')\n"
        "class Own(DataLoader):\n    pass\n"
        "a = DataLoader(data, 2, num_workers=2, persistent_workers=True,\n"
        "    prefetch_factor=4, timeout=3, multiprocessing_context=context)\n"
        "b = Own(data, 2, False, None, None, 1, drop_last=True)\n"
        "x = [[batch[0].tolist() for batch in loader] for loader in (a, b)]",
        "def f(): return x",
    )
    assert student.call("f") == [[[0, 1], [2, 3], [4]], [[0, 1], [2, 3]]]


FOR_ALL = {
    "torch.set_default_dtype(torch.float64)": "torch's default dtype",
    "torch.set_default_device('meta')": "torch's default device",
    "torch.set_grad_enabled(False)": "whether torch computes gradients",
    "mode = torch.inference_mode(); mode.__enter__()": "whether torch computes grad",
    "torch.use_deterministic_algorithms(True)": "torch's deterministic algorithms",
    "torch.autograd.set_detect_anomaly(True)": "torch's search for anomalies",
    "torch.autocast('cpu').__enter__()": "torch's autocast",
    "torch.set_float32_matmul_precision('medium')": "the precision of torch's matrix",
    "np.seterr(all='raise')": "what NumPy does about overflow",
}
STATE = """
import numpy as np, torch
def state():
    x = torch.ones(2, 2, requires_grad=True)
    return [str(x.dtype), str(x.device), (x @ x).requires_grad, str((x @ x).dtype),
        torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(), torch.get_float32_matmul_precision(),
        np.geterr()["over"]]
"""
FRESH = [
    *("torch.float32", "cpu", True, "torch.float32"),
    *(False, False, False, "highest", "warn"),
]


@pytest.mark.parametrize("source", FOR_ALL)
def test_what_a_cell_sets_for_all_is_put_back_for_questions(
    start: Start, source: str
) -> None:
    student = start(STATE, source, f"def f():\n    {source}\n    return state()")
    assert student.call("state") == FRESH
    assert student.call("f") != FRESH
    assert student.call("state") == FRESH, "f has set it, too"
    (warning,) = student.warnings  # those of calls are not kept
    assert warning.startswith(f"cell 2 changed {FOR_ALL[source]}")


def test_ones_own_kernel_is_left_as_it_was() -> None:
    namespace: dict[str, Any] = {}
    exec(STATE, namespace)
    student = LocalStudent(namespace)
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        assert student.call("state") == FRESH
        assert torch.get_default_dtype() is torch.float64
        assert not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def test_random_numbers_start_where_the_seed_says(start: Start) -> None:
    draws = (
        "import random, numpy as np, torch\n"
        "x = [random.random(), np.random.rand(), torch.rand(1).item()]\n"
        "def f(): return x"
    )
    seeds = (3, 3, 2**48 - 1)
    one, same, other = (start(draws, seed=seed).call("f") for seed in seeds)
    assert one == same
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_cells_output_keeps_its_end(start: Start) -> None:
    student = start("f = abs")
    assert student.call("f", -1) == 1
    said = printed(student, "display('a' * 10**7)\n'b' * 10**7")
    assert said == "b" * 3998 + "'\n"


def test_the_shell_starts_no_thread_and_leaves_no_file(start: Start) -> None:
    student = start(
        "import os, threading\nx = [threading.active_count(), os.listdir('.')]",
        "def f(): return x + [threading.active_count(), os.listdir('.')]",
    )
    assert student.call("f") == [1, [], 1, []]


def test_the_same_without_a_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ``autograder check``; the student's own IPython is left alone."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    picked = ("await", "figures", "time", "classes", "where-it-runs")
    # Some notebooks use the same names, so each value is taken before the next one.
    last = "def answer(): return found"
    cells = ["found = []", "%%writefile beside.py\nx = 1"]
    for name in picked:
        cells += [*NOTEBOOKS[name][0], f"found.append({NOTEBOOKS[name][1]})"]
    named = [Cell(f"cell {i}", s) for i, s in enumerate([*cells, last], start=1)]
    with Subprocess(2) as launcher, SandboxedStudent(launcher, named) as student:
        found = student.call("answer")
        assert student.failed_cells == {}
    assert found == [NOTEBOOKS[name][2] for name in picked]
    assert list(tmp_path.iterdir()) == [], "nothing is left beside the notebook"
