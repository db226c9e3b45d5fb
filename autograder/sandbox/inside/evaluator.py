"""The evaluator: it answers the grader's questions inside the sandbox.

It runs a submission's cells one by one and calls its functions. Nothing here is
trusted, and the grader believes none of it.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import json
import linecache
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from autograder.sandbox.inside import protocol, values
from autograder.sandbox.inside.magics import plain_python, stand_in_for_ipython

FOREVER = 10.0**7
MAX_OUTPUT = 4_000
MAX_COPY = 2**22


class Output(io.TextIOBase):
    """Keeps the end of what was printed, however much it was."""

    def __init__(self) -> None:
        self.kept = ""

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
    settings = json.loads(sys.argv[1])
    with socket.create_connection(("127.0.0.1", settings["port"])) as sock:
        sock.sendall(settings["token"].encode())
        preload(settings["modules"])
        serve(sock)


def preload(modules: list[str]) -> None:
    """Imports what submissions will want."""
    import torch

    torch.set_num_threads(1)
    for name in modules:
        importlib.import_module(name)


def serve(sock: socket.socket) -> None:
    """Answers the grader's questions until it hangs up."""
    namespace = fresh_namespace()
    output = Output()
    sys.stdout = sys.stderr = output
    while True:
        question, arrays = protocol.receive(sock, time.monotonic() + FOREVER)
        content, results = answer(namespace, question, arrays)
        content |= {"id": question["id"], "output": output.taken()}
        protocol.send(sock, content, results, time.monotonic() + FOREVER)


def fresh_namespace() -> dict[str, Any]:
    """The names that a notebook starts with.

    They are the module ``__main__``, so that classes and dataclasses find their module.
    """
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    vars(module).update(stand_in_for_ipython(vars(module)))
    vars(module)["__builtins__"] = builtins
    return vars(module)


def answer(
    namespace: dict[str, Any], question: dict[str, Any], arrays: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The answer to one question.

    Args:
        namespace: The submission's names.
        question: ``{"op": "run", "source", "name"}`` runs a cell, and
            ``{"op": "call", "name", "args", "kwargs"}`` calls a function.
        arrays: The question's arrays.

    Returns:
        The answer and its arrays. The answer has "value", or it has "error" with "kind"
        (missing, raised or bad-reply), "line" and, for a bad-reply, "reason".
    """
    try:
        with warnings.catch_warnings():
            # A warning costs nothing, even where the notebook, or whoever started us,
            # turns warnings into errors.
            warnings.simplefilter("ignore")
            if question["op"] == "run":
                run_cell(namespace, question["source"], question["name"])
                return {"value": None}, []
            return call(namespace, question, arrays)
    except values.BadValue as error:
        said = {"kind": "bad-reply", "line": str(error), "reason": error.reason}
        return {"error": said}, []
    except Missing as error:
        return {"error": {"kind": "missing", "line": str(error)}}, []
    except BaseException as error:  # a submission may raise SystemExit or worse
        return {"error": {"kind": "raised", "line": line_of(error)}}, []


class Missing(Exception):
    """No function of that name."""


def run_cell(namespace: dict[str, Any], source: str, name: str) -> None:
    """Runs one cell as a notebook would; magics and shell lines do nothing."""
    source = plain_python(source)
    # inspect.getsource and the lines of a traceback need this.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    code: CodeType = compile(source, name, "exec", dont_inherit=True)
    exec(code, namespace)


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
    start = time.perf_counter()
    value = function(*args, **kwargs)
    seconds = time.perf_counter() - start
    both = {"value": value, "after": watch.after() | {"seconds": seconds}}
    tree, results = values.encode(both)
    return {"value": tree}, results


class Watch:
    """Remembers how arguments were when they were handed over."""

    def __init__(self) -> None:
        self.tensors: dict[str, tuple[Any, Any]] = {}
        self.models: list[tuple[Any, dict[str, Any]]] = []

    def decoded(self, name: int | str, tree: Any, arrays: list[np.ndarray]) -> Any:
        """An argument; tensors and models in it are remembered under its name."""
        import torch

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
    try:
        said = str(error).strip().split("\n")[0]
    except BaseException:  # a message that raises when it is asked for
        said = ""
    text = f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__
    cells = []
    if isinstance(error, SyntaxError) and str(error.filename).startswith("cell "):
        cells.append((error.filename, error.lineno))
    with contextlib.suppress(BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        cells += [(f.filename, f.lineno) for f in frames if f.filename[:5] == "cell "]
    return f"{text} ({cells[-1][0]}, line {cells[-1][1]})" if cells else text


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
