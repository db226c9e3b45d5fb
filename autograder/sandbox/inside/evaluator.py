"""The evaluator: it answers the grader's questions inside the sandbox.

It runs a submission's cells one by one and calls its functions. Nothing here is
trusted, and the grader believes none of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import selectors
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython import get_ipython

from autograder.sandbox.inside import protocol, settings, stand_ins, values
from autograder.sandbox.inside.shell import Shell

MAX_OUTPUT = 4_000
MAX_COPY = 2**22


class Output(io.TextIOBase):
    """Keeps the end of what was printed, however much it was."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.kept = ""

    def fileno(self) -> int:  # faulthandler wants one
        return 2

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.kept = (self.kept + str(text)[-MAX_OUTPUT:])[-MAX_OUTPUT:]
        return len(text)

    def taken(self) -> str:
        text, self.kept = self.kept, ""
        return text.encode(errors="replace").decode()


def main() -> None:
    """Where there is no sandbox: calls the grader back and answers it."""
    given = json.loads(sys.argv[1])
    preload(given["modules"])  # our own time, so nobody waits for an answer yet
    with socket.create_connection(("127.0.0.1", given["port"])) as sock:
        sock.sendall(given["token"].encode())
        serve(sock)


def preload(modules: list[str]) -> None:
    """Imports what submissions will want, and makes the shell for their cells."""
    torch.set_num_threads(1)
    for name in modules:
        importlib.import_module(name)
    # The sandbox has no epoll. Windows has no poll.
    usual = selectors.DefaultSelector
    vars(selectors)["DefaultSelector"] = getattr(selectors, "PollSelector", usual)
    stand_ins.install()
    Shell.instance()


def serve(sock: socket.socket) -> None:
    """Answers the grader's questions until it hangs up."""
    # The names of the module __main__, where classes and dataclasses find their module.
    namespace = Shell.instance().user_ns
    # As in Jupyter: %cd knows this folder, and what %%writefile writes can be imported.
    namespace["_dh"][:] = [Path.cwd()]
    sys.path.insert(0, "")
    sys.argv = ["ipykernel_launcher.py", "-f", "kernel.json"]  # and not our own
    output = Output()
    sys.stdout = sys.stderr = output
    while True:
        question, arrays = protocol.receive(sock)
        content, results = answer(namespace, question, arrays)
        content |= {"id": question["id"], "output": output.taken()}
        protocol.send(sock, content, results)


def answer(
    namespace: dict[str, Any], question: dict[str, Any], arrays: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The answer to one question.

    Args:
        namespace: The submission's names.
        question: ``{"op": "run", "source", "name"}`` runs a cell,
            ``{"op": "call", "name", "args", "kwargs"}`` calls a function, and
            ``{"op": "seed", "seed"}`` decides the random numbers that follow.
        arrays: The question's arrays.

    Returns:
        The answer and its arrays. The answer has "value", or it has "error" with "kind"
        (missing, raised or bad-reply), "line" and, for a bad-reply, "reason". Its
        "warnings" are lines that say what code has set for all code after it.
    """
    run = question["op"] == "run"
    before = settings.present() if run else settings.usual()
    content: dict[str, Any] = {"value": None}
    results: list[np.ndarray] = []
    with contextlib.ExitStack() as stack:
        # A warning costs nothing, even where the notebook, or whoever started us, turns
        # warnings into errors.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not run:
            stack.enter_context(settings.as_in_a_fresh_kernel())
        try:
            if run:
                Shell.instance().run(question["source"], question["name"])
            elif question["op"] == "seed":
                settings.seed(question["seed"])
            else:
                content, results = call(namespace, question, arrays)
        except values.BadValue as error:
            said = {"kind": "bad-reply", "line": str(error), "reason": error.reason}
            content = {"error": said}
        except Missing as error:
            content = {"error": {"kind": "missing", "line": str(error)}}
        except BaseException as error:  # a submission may raise SystemExit or worse
            content = {"error": {"kind": "raised", "line": line_of(error)}}
        changed = settings.changed_since(before)
    if changed:
        content["warnings"] = [f"{question['name']} {words}" for words in changed]
    return content, results


class Missing(Exception):
    """No function of that name."""


def call(
    namespace: dict[str, Any], question: dict[str, Any], arrays: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Calls one of the namespace's functions.

    Returns:
        The answer and its arrays. The answer's "value" encodes ``{"value", "after"}``:
        the function's value, and what the call left behind.

    Raises:
        Missing: There is no function of that name.
        values.BadValue: The function's value can't be sent.
    """
    function = namespace.get(question["name"])
    if not callable(function):
        raise Missing("not defined" if function is None else "not a function")
    watch = Watch()
    args = [watch.decoded(i, tree, arrays) for i, tree in enumerate(question["args"])]
    kwargs = {k: watch.decoded(k, tree, arrays) for k, tree in question["kwargs"]}
    value = function(*args, **kwargs)
    tree, results = values.encode({"value": value, "after": watch.after()})
    return {"value": tree}, results


class Watch:
    """Remembers how arguments were when they were handed over."""

    def __init__(self) -> None:
        self.tensors: dict[str, tuple[Any, Any]] = {}
        self.models: list[tuple[Any, dict[str, Any]]] = []

    def decoded(self, name: int | str, tree: Any, arrays: list[np.ndarray]) -> Any:
        """An argument; tensors and models in it are remembered under its name."""
        from autograder.sandbox.inside import tiny_models

        def tensor(array: np.ndarray) -> Any:
            made = torch.from_numpy(array)
            self.tensors[str(name)] = (made, made.clone())
            return made

        def model(recipe: values.Recipe) -> Any:
            made = tiny_models.build(recipe)
            if isinstance(made, torch.nn.Module):
                self.models.append((made, state_of(made)))
            return made

        value = values.decode(tree, arrays, finite=False, tensor=tensor, model=model)
        if isinstance(value, np.ndarray):
            self.tensors[str(name)] = (value, value.copy())
        return value

    def after(self) -> dict[str, Any]:
        """What is no longer as it was.

        Returns:
            The names of changed arguments, and for each model what changed and the
            inputs that it recorded.
        """
        from autograder.sandbox.inside import tiny_models

        changed = [n for n, (now, then) in self.tensors.items() if not same(now, then)]
        models = []
        for model, before in self.models:
            now = state_of(model)
            differs = [key for key in before if not same(before[key], now[key])]
            models.append({"changed": differs, "asked": tiny_models.log_of(model)})
        return {"changed": changed, "models": models}


def state_of(model: Any) -> dict[str, Any]:
    """Everything in a model that a method must leave as it was."""
    small = sum(p.numel() for p in model.parameters()) <= MAX_COPY
    weights = model.state_dict() if small else {}
    return {
        "mode": [m.training for m in model.modules()],
        "hooks": [hooks_of(module) for module in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "gradients": [p.grad is not None for p in model.parameters()],
        "weights": {name: w.detach().clone() for name, w in weights.items()},
    }


def hooks_of(module: Any) -> list[int]:
    """How many hooks of each kind a module has."""
    kinds = ("forward", "forward_pre", "backward", "backward_pre")
    return [len(getattr(module, f"_{kind}_hooks")) for kind in kinds]


def same(one: Any, other: Any) -> bool:
    """Equality of plain values, arrays and tensors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if hasattr(one, "shape"):
        return one.shape == other.shape and bool((one == other).all())
    return bool(one == other)


def line_of(error: BaseException) -> str:
    """One line: the error's type and message, and the cell and line where it arose."""
    said, places = "", []
    with contextlib.suppress(BaseException):  # a message that raises when it is asked
        said = str(error)
        for frame, line in traceback.walk_tb(error.__traceback__):
            places.append((frame.f_code.co_filename, line))
        if isinstance(error, SyntaxError) and error.msg:
            said = str(error.msg)
            places.append((str(error.filename), error.lineno or 0))
    said = said[:MAX_OUTPUT].strip().split("\n")[0][:300]
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    cells = [(cell, line) for file, line in places if (cell := cell_of(file))]
    return f"{text} ({cells[-1][0]}, line {cells[-1][1]})" if cells else text


def cell_of(file: str) -> str:
    """The cell whose code has this file name, or "".

    In a kernel it is the number that stands beside the cell.
    """
    if file.startswith("cell "):
        return file
    shell = get_ipython()
    known = shell and shell.compile.format_code_name(file)
    return known[1].replace("In", "cell ") if known else ""


@contextlib.contextmanager
def quiet_streams() -> Iterator[Callable[[], str]]:
    """Catches standard output and standard error.

    Yields:
        A function that returns the end of what was printed.
    """
    output = Output()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output.taken


if __name__ == "__main__":
    main()
