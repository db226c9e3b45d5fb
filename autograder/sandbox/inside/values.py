"""What may cross the border between grader and student code.

Plain values, arrays and model recipes may, each checked for type, depth, size and
finite numbers.

``encode`` makes a JSON tree and a list of arrays; ``decode`` does the reverse. Both are
strict: they refuse what they do not know, with a ``ValueError`` in words that a student
can read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_DEPTH = 12
MAX_ITEMS = 20_000
MAX_TEXT = 100_000  # characters of all texts together
MAX_ARRAYS = 256
MAX_BYTES = 64 * 2**20
# The checks turn every array into float64, so each number counts as 8 bytes. 2 MB are
# left for all else.
MAX_NUMBERS = (MAX_BYTES - 2 * 2**20) // 8
# Integers below this have bits that every reader of JSON and every array can hold.
MAX_INTEGER = 2**63
# Little-endian numbers: no objects, no text, nothing with fields. The bytes are the
# numbers and nothing else.
DTYPES = frozenset(
    ["|b1", "|i1", "|u1"]
    + [f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)]
    + ["<f2", "<f4", "<f8"]
)


class BadValue(ValueError):
    """A value that may not cross the border.

    Attributes:
        reason: One word for programs: type, size, depth, not-finite or form.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Recipe:
    """How to make a model on either side of the border.

    Attributes:
        kind: One of the kinds that ``tiny_models.build`` knows.
        seed: What the weights are made from.
        options: What the kind takes besides.
    """

    kind: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def encode(value: Any, *, finite: bool = False) -> tuple[Any, list[np.ndarray]]:
    """A value as a JSON tree and the arrays that it holds.

    Tuples become lists, NumPy scalars become Python's numbers, and tensors become
    arrays with a mark.

    Args:
        value: What is to cross the border.
        finite: Refuse NaN and infinity.

    Returns:
        The JSON tree and the arrays.

    Raises:
        BadValue: The value may not cross the border.
    """
    arrays: list[np.ndarray] = []
    return _Encoder(arrays, finite).tree(value, MAX_DEPTH), arrays


class _Counter:
    """Bounds the items and the characters of a value."""

    items = characters = 0

    def item(self) -> None:
        self.items += 1
        if self.items > MAX_ITEMS:
            raise _too_large()

    def text(self, value: str) -> str:
        self.characters += len(value)
        if self.characters > MAX_TEXT:
            raise BadValue(f"texts of more than {MAX_TEXT:,} characters", "size")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                said = "a text with half a character in it"
                raise BadValue(said, "form") from None
        return value


class _Encoder(_Counter):
    def __init__(self, arrays: list[np.ndarray], finite: bool) -> None:
        self.arrays, self.finite, self.numbers = arrays, finite, 0

    def tree(self, value: Any, depth: int) -> Any:
        self.item()
        if depth == 0:
            raise _too_deep()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return self.number(float(value))
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, list | tuple):
            return [self.tree(item, depth - 1) for item in value]
        if isinstance(value, dict):
            return {"dict": [self.pair(k, v, depth) for k, v in value.items()]}
        if isinstance(value, Recipe):
            plain = [value.kind, value.seed, dict(value.options)]
            return {"model": self.tree(plain, depth - 1)}
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            return self.array(_from_tensor(value), "tensor")
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "U":  # words in an array are sent as words
                return self.tree(value.tolist(), depth)
            return self.array(value, "array")
        raise BadValue(
            f"a value of type {type(value).__name__} can't be sent: "
            "use arrays, tensors, numbers, text, lists or dictionaries",
            "type",
        )

    def pair(self, key: Any, value: Any, depth: int) -> list[Any]:
        if not isinstance(key, str):
            raise BadValue(
                f"a dictionary's keys are text, not {type(key).__name__}", "type"
            )
        return [self.text(str(key)), self.tree(value, depth - 1)]

    def number(self, value: float) -> Any:
        if math.isfinite(value):
            return value
        if self.finite:
            raise _not_finite()
        return {"float": repr(value)}

    def array(self, value: np.ndarray, mark: str) -> Any:
        array = np.asarray(value)
        dtype = array.dtype.newbyteorder("<")
        if dtype.str not in DTYPES:
            raise BadValue(
                f"an array of {array.dtype} can't be sent: use floats, integers or"
                " booleans",
                "type",
            )
        self.numbers += array.size
        if self.numbers > MAX_NUMBERS or len(self.arrays) >= MAX_ARRAYS:
            raise _too_large()
        if self.finite:
            _check_finite(array)
        # ascontiguousarray would turn a single number's shape () into (1,).
        self.arrays.append(np.array(array, dtype=dtype, order="C"))
        return {mark: len(self.arrays) - 1}


def decode(
    tree: Any,
    arrays: list[np.ndarray],
    *,
    finite: bool = True,
    whole: bool = False,
    tensor: Callable[[np.ndarray], Any] = lambda array: array,
    model: Callable[[Recipe], Any] | None = None,
) -> Any:
    """The value of a JSON tree and its arrays, made of base types only.

    Args:
        tree: The JSON tree.
        arrays: The arrays that it refers to, each at most once: a thousand names of one
            array would be a thousand arrays to whoever stacks them.
        finite: Refuse NaN and infinity.
        whole: Refuse arrays that the tree does not refer to.
        tensor: Makes something of an array with a mark; by default it stays an array.
        model: Makes something of a recipe; None refuses recipes.

    Returns:
        The value.

    Raises:
        BadValue: The tree follows no known form, or its value may not cross the border.
    """
    if finite:
        for array in arrays:
            _check_finite(array)
    decoder = _Decoder(arrays, finite, tensor, model)
    value = decoder.value(tree, MAX_DEPTH)
    if whole and decoder.unused:
        raise _bad_form()
    return value


class _Decoder(_Counter):
    def __init__(
        self,
        arrays: list[np.ndarray],
        finite: bool,
        tensor: Callable[[np.ndarray], Any],
        model: Callable[[Recipe], Any] | None,
    ) -> None:
        self.unused, self.finite = dict(enumerate(arrays)), finite
        self.tensor, self.model = tensor, model

    def value(self, tree: Any, depth: int) -> Any:
        self.item()
        if depth == 0:
            raise _too_deep()
        if tree is None or isinstance(tree, bool):
            return tree
        if isinstance(tree, int):
            return _integer(tree)
        if isinstance(tree, float):
            if not math.isfinite(tree):  # 1e999 is JSON as well
                raise _not_finite()
            return tree
        if isinstance(tree, str):
            return self.text(tree)
        if isinstance(tree, list):
            return [self.value(item, depth - 1) for item in tree]
        if isinstance(tree, dict) and len(tree) == 1:
            return self.marked(*next(iter(tree.items())), depth)
        raise _bad_form()

    def marked(self, mark: str, content: Any, depth: int) -> Any:
        if mark == "dict" and isinstance(content, list):
            return self.mapping(content, depth)
        if mark == "float" and content in ("nan", "inf", "-inf"):
            if self.finite:
                raise _not_finite()
            return float(content)
        if mark in ("array", "tensor"):
            if type(content) is not int or content not in self.unused:
                raise _bad_form()
            array = self.unused.pop(content)
            return self.tensor(array) if mark == "tensor" else array
        if mark == "model" and self.model is not None:
            match self.value(content, depth - 1):
                case [str(kind), int(seed), dict(options)]:
                    return self.model(Recipe(kind, seed, options))
        raise _bad_form()

    def mapping(self, pairs: list[Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for pair in pairs:
            match pair:
                case [str(key), value] if key not in result:
                    result[self.text(key)] = self.value(value, depth - 1)
                case _:
                    raise _bad_form()
        return result


def _from_tensor(value: Any) -> np.ndarray:
    import torch

    plain = value.detach().to("cpu")
    if plain.is_sparse or plain.is_quantized:
        plain = plain.to_dense() if plain.is_sparse else plain.dequantize()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    array: np.ndarray = plain.resolve_conj().resolve_neg().numpy()
    return array


def _integer(value: int) -> int:
    if not -MAX_INTEGER <= value < MAX_INTEGER:
        raise BadValue("an integer of more than 64 bits", "size")
    return value


def _check_finite(array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _not_finite()


def _not_finite() -> BadValue:
    return BadValue("the result holds NaN or infinity", "not-finite")


def _too_deep() -> BadValue:
    return BadValue(f"lists or dictionaries more than {MAX_DEPTH} deep", "depth")


def _too_large() -> BadValue:
    return BadValue(
        f"more than {MAX_NUMBERS:,} numbers in arrays, {MAX_ARRAYS} arrays or"
        f" {MAX_ITEMS:,} items",
        "size",
    )


def _bad_form() -> BadValue:
    return BadValue("a message that follows no known form", "form")
