"""Known mistakes and right answers, as runnable code: per problem a table here, its code in problemN_code.py.

What the tables share stands in this file. A task's maker gives its function with one mistake; "" makes none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from autograder.diagnose import Mistake

# Task -> the name of its function, and its maker.
Functions = Mapping[str, tuple[str, Callable[[str], Callable[..., Any]]]]


def right_functions(functions: Functions) -> dict[str, Callable[..., Any]]:
    """Task -> its function without a mistake."""
    return {task: make("") for task, (_, make) in functions.items()}


def mistakes(
    functions: Functions, hints: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Mistake]]:
    """Task -> the mistakes that its numbers tell."""
    return {
        task: [
            Mistake(name, hint, partial(make, name))
            for name, hint in hints[task].items()
        ]
        for task, (_, make) in functions.items()
    }


def source_with(code: ModuleType, functions: Functions, task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    lines = [inspect.getsource(code)]
    for name, (function, make) in functions.items():
        made = mistake if name == task else ""
        lines.append(f"{function} = {make.__name__}({made!r})")
    return "\n".join(lines) + "\n"


def source_of(
    header: str,
    names: Sequence[str],
    parts: Sequence[Callable[..., Any]],
    around: Iterable[Callable[..., Any]] = (),
) -> str:
    """The cell of a right submission: the source of `around` and of `parts`, whose last ones answer to `names`."""
    answers = parts[-len(names) :]
    bound = [
        f"{name} = {part.__name__}" for name, part in zip(names, answers, strict=True)
    ]
    code = [inspect.getsource(part) for part in (*around, *parts)]
    return "\n\n".join([header, *code, "\n".join(bound)])
