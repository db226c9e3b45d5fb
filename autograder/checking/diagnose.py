"""Finds the known mistake that explains a student's numbers.

All known mistakes of a task run on the student's inputs, and the numbers are compared.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch

from autograder.sandbox.inside import tiny_models, values
from autograder.sandbox.inside.values import Recipe

Features = Callable[[Any], Any]
# Task -> the name of its function, and the function's maker. `maker(mistake)` returns
# the function with that mistake, and `maker("")` returns it without any.
Functions = Mapping[str, tuple[str, Callable[[str], Callable[..., Any]]]]
Reseed = Callable[[tuple[Any, ...], int], tuple[Any, ...]]

# How often a variant that draws random numbers is run, each time with other seeds. FEW
# runs rule out most variants.
FEW, REPEATS = 4, 12
# Number of runs -> by how many standard errors two random results may differ and still
# count as alike. With 11 degrees of freedom, Student's t exceeds 6 once in 10,000
# times; with 3 degrees of freedom it exceeds 22 as seldom.
ALIKE = {FEW: 22.0, REPEATS: 6.0}
ROUNDING = 1e-4  # relative to the largest feature; the models are float32
MOST = 2**18  # features of a reply; right ones have less than 30,000
KEPT = 200 * 2**20  # bytes of replies
NONE = object()  # the reply of a function that raised an exception


@dataclass(frozen=True)
class Mistake:
    """A known mistake.

    Attributes:
        name: Its name in the catalogue of mistakes.
        hint: What a student who made the mistake should read.
        build: Makes the wrong function.
    """

    name: str
    hint: str
    build: Callable[[], Callable[..., Any]]


def right_functions(functions: Functions) -> dict[str, Callable[..., Any]]:
    """Each task's function without a mistake."""
    return {task: make("") for task, (_, make) in functions.items()}


def mistakes(
    functions: Functions, hints: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Mistake]]:
    """Each task's mistakes that can be recognised from its numbers."""
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


@dataclass(frozen=True)
class _Probe:
    arguments: tuple[Any, ...]
    features: Features
    reseed: Reseed | None
    seen: np.ndarray
    cost: float


class Transcript:
    """What one student's functions were asked and what their replies looked like.

    Args:
        problem: The problem, such as "problem2".
        seed: Decides what is asked. Everybody with one seed is asked the same.
    """

    def __init__(self, problem: str, seed: int) -> None:
        self._problem = problem
        self._replies = _replies_to_the_same(problem, seed)
        self._probes: dict[str, list[_Probe]] = {}
        self._hints: dict[str, str] = {}

    def note(
        self,
        task: str,
        arguments: tuple[Any, ...],
        reply: Any,
        features: Features,
        reseed: Reseed | None = None,
        cost: float = 1,
    ) -> None:
        """Keep one reply.

        Args:
            task: The task that the question belongs to.
            arguments: What the student's function was called with.
            reply: What it returned.
            features: Turns a reply into a few numbers that tell the mistakes apart.
            reseed: Turns (arguments, k) into the same question with other random
                numbers; None where the reply does not depend on any.
            cost: What the question costs. Cheap questions are compared first.
        """
        seen = _numbers(features, reply)
        if seen is not None:
            probe = _Probe(arguments, features, reseed, seen, cost)
            self._probes.setdefault(task, []).append(probe)
            self._hints.pop(task, None)

    def hint(self, task: str) -> str:
        """The hint of the mistake that explains every reply in this task.

        Returns:
            The hint, or two hints in one text where two explain the replies. "" if the
            replies are right, or if no hint or more than two explain them.
        """
        if task not in self._hints:
            self._hints[task] = self._explain(task)
        return self._hints[task]

    def _explain(self, task: str) -> str:
        # Questions that need no repeats come first: they rule out most mistakes.
        probes = sorted(
            self._probes.get(task, []), key=lambda p: (p.reseed is not None, p.cost)
        )
        known = _known_mistakes(self._problem)
        if not probes or task not in getattr(known, "RIGHT", {}):
            return ""
        right, mistakes = known.RIGHT[task], known.MISTAKES[task]
        if self._explained(right, right, probes):
            return ""  # the numbers are right; the check says what is wrong
        hints = [m.hint for m in mistakes if self._explained(m, m.build(), probes)]
        hints = list(dict.fromkeys(hints))
        if len(hints) == 2:
            return f"One of two things: {hints[0]} Or: {hints[1]}"
        return hints[0] if len(hints) == 1 else ""

    def _explained(
        self, variant: Hashable, function: Callable[..., Any], probes: list[_Probe]
    ) -> bool:
        return all(self._alike(variant, function, probe) for probe in probes)

    def _alike(
        self, variant: Hashable, function: Callable[..., Any], probe: _Probe
    ) -> bool:
        rows: list[np.ndarray] = []
        for k in range(REPEATS if probe.reseed else 1):
            arguments = (
                probe.reseed(probe.arguments, k) if probe.reseed else probe.arguments
            )
            question = variant, *map(_key, arguments)
            reply = self._replies.to(question, function, arguments)
            row = None if reply is NONE else _numbers(probe.features, reply)
            if row is None or row.shape != probe.seen.shape:
                return False
            rows.append(row)
            count = len(rows)
            if count in ALIKE or not probe.reseed:
                table = np.stack(rows)
                allowed = ROUNDING * np.abs(table).max() + 1e-12
                if count > 1:
                    error = table.std(axis=0, ddof=1) * (1 + 1 / count) ** 0.5
                    allowed = allowed + ALIKE[count] * error
                if (np.abs(probe.seen - table.mean(axis=0)) > allowed).any():
                    return False
        return True


class _Replies:
    """What the known mistakes replied; when it gets too much, all is forgotten."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}
        self._bytes = 0

    def to(
        self, question: Hashable, function: Callable[..., Any], arguments: Iterable[Any]
    ) -> Any:
        if question not in self._known:
            reply = _reply(function, arguments)
            self._bytes += _bytes(reply)
            if self._bytes > KEPT:
                self._known.clear()
                self._bytes = _bytes(reply)
            self._known[question] = reply
        return self._known[question]


@lru_cache(maxsize=1)
def _replies_to_the_same(problem: str, seed: int) -> _Replies:
    """What the known mistakes replied to whom was asked with this seed before."""
    return _Replies()


def _bytes(reply: Any) -> int:
    """About how much memory a reply takes."""
    if isinstance(reply, (list, tuple, dict)):
        parts = reply.values() if isinstance(reply, dict) else reply
        return 100 + sum(map(_bytes, parts))
    return 200 + int(getattr(reply, "nbytes", 0))


def _known_mistakes(problem: str) -> Any:
    try:
        return importlib.import_module(
            f"autograder.problems.{problem}.instructors.mistakes"
        )
    except ModuleNotFoundError:  # students have no folder of that name
        return None


def _reply(function: Callable[..., Any], arguments: Iterable[Any]) -> Any:
    """What a variant returns; ``NONE`` if it is too wrong for this question."""
    try:
        return function(*map(_built, arguments))
    except Exception:
        return NONE


def _key(argument: Any) -> Hashable:
    """Equal for equal arguments."""
    try:
        tree, arrays = values.encode(argument)
    except values.BadValue:  # a model that is loaded once: it equals itself alone
        return argument
    forms = [(array.dtype.str, array.shape) for array in arrays]
    digest = hashlib.sha256(repr((tree, forms)).encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def _built(argument: Any) -> Any:
    """A fresh copy of an argument: a variant may change what it is given."""
    if isinstance(argument, Recipe):
        return tiny_models.build(argument)
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _numbers(features: Features, reply: Any) -> np.ndarray | None:
    """The features as a flat float64 array.

    None if the reply has another form, is not finite or is far too large to be kept.
    """
    try:
        values = np.asarray(features(reply), dtype=np.float64).ravel()
    except (ValueError, TypeError, IndexError, AttributeError):
        return None
    fits = 0 < values.size <= MOST and np.isfinite(values).all()
    return values if fits else None
