"""Right answers to each problem, each written in another way: they get every point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def right_submissions(problem: str) -> dict[str, str]:
    """Name -> the source of a right submission."""
    answers = importlib.import_module(f"accepted.{problem}")
    return {name: answers.source(*parts) for name, parts in answers.SUBMISSIONS.items()}


def source_of(
    header: str,
    names: Sequence[str],
    parts: Sequence[Callable[..., Any]],
    around: Iterable[Callable[..., Any]] = (),
) -> str:
    """The cell of a right submission.

    It holds the source of ``around`` and of ``parts``. The last of ``parts`` get the
    names ``names``.
    """
    answers = parts[-len(names) :]
    bound = [
        f"{name} = {part.__name__}" for name, part in zip(names, answers, strict=True)
    ]
    code = [inspect.getsource(part) for part in (*around, *parts)]
    return "\n\n".join([header, *code, "\n".join(bound)])
