"""What may cross the border: allowed values come back as sent, others are refused."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from autograder.sandbox.inside import values
from autograder.sandbox.inside.values import BadValue, Recipe, decode, encode


def there_and_back(value: Any, **settings: Any) -> Any:
    tree, arrays = encode(value)
    return decode(tree, arrays, **settings)


Pair = namedtuple("Pair", "map target")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (0.1, 0.1),
        ("Grüße 🐱", "Grüße 🐱"),
        ((1, [2.5, "x"]), [1, [2.5, "x"]]),
        ({"a": {"b": ()}}, {"a": {"b": []}}),
        (Pair(1, 2), [1, 2]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("word"), "word"),
        (np.array(["the", "cat"]), ["the", "cat"]),
    ],
)
def test_plain_values_come_back(value: Any, expected: Any) -> None:
    found = there_and_back(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i8", "<f2", "<f4", "<f8", ">f8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_arrays_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    found = there_and_back({"map": array})["map"]
    assert type(found) is np.ndarray
    assert found.shape == shape
    assert found.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(found, array)


def test_an_array_is_a_copy() -> None:
    array = np.zeros(3)
    there_and_back(array)[0] = 1
    assert array[0] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_come_back_as_arrays_or_as_tensors(dtype: torch.dtype) -> None:
    tensor = torch.arange(6.0, dtype=dtype, requires_grad=True).reshape(2, 3).T
    found = there_and_back([tensor, np.ones(2)])
    assert type(found[0]) is np.ndarray
    np.testing.assert_array_equal(found[0], [[0, 3], [1, 4], [2, 5]])
    tensors = there_and_back([tensor, np.ones(2)], tensor=torch.from_numpy)
    assert isinstance(tensors[0], torch.Tensor)
    assert isinstance(tensors[1], np.ndarray)


def test_a_recipe_becomes_a_model_only_where_models_are_made() -> None:
    recipe = Recipe("conv-net", 7, {"size": [3, 8, 6]})
    assert there_and_back([recipe], model=lambda made: made) == [recipe]
    with pytest.raises(BadValue, match="no known form"):
        there_and_back([recipe])


class Odd:
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Odd(), "type"),
        (lambda: 1, "type"),
        ({1, 2}, "type"),
        (b"bytes", "type"),
        (1j, "type"),
        (np.array([Odd()]), "type"),
        (np.zeros(2, complex), "type"),
        (np.zeros(2, "datetime64[s]"), "type"),
        (np.zeros(1, [("a", "f8")]), "type"),
        ({1: 2}, "type"),
        (2**63, "size"),
        ("x" * (values.MAX_TEXT + 1), "size"),
        (["x" * 1000] * (values.MAX_TEXT // 1000 + 1), "size"),
        ({f"{i:05}": i for i in range(values.MAX_ITEMS - 1)} | {"y" * 10: 0}, "size"),
        (np.zeros(values.MAX_NUMBERS + 1, np.uint8), "size"),
        ([np.zeros(values.MAX_NUMBERS // 2 + 1, bool)] * 2, "size"),
        ([0] * values.MAX_ITEMS, "size"),
        ([np.zeros(1)] * (values.MAX_ARRAYS + 1), "size"),
        (np.broadcast_to(np.float64(1), (10**6, 10**6)), "size"),
        (LOOP, "depth"),
        ("\ud800", "form"),
    ],
    ids=range(21),
)
def test_all_else_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(BadValue) as caught:
        encode(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        np.array([1, np.nan]),
        torch.tensor([math.inf]),
        {"a": [math.nan]},
    ],
)
def test_nan_and_infinity_cross_only_where_they_may(value: Any) -> None:
    tree, arrays = encode(value)
    with pytest.raises(BadValue, match="NaN or infinity") as caught:
        decode(tree, arrays)
    assert caught.value.reason == "not-finite"
    with pytest.raises(BadValue, match="NaN or infinity"):
        encode(value, finite=True)
    np.testing.assert_equal(decode(tree, arrays, finite=False), value)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"unknown": 1},
        {"array": 0, "dict": []},
        {"array": 1},
        {"array": -1},
        {"array": True},
        {"array": "0"},
        {"float": "1"},
        {"float": [1]},
        {"dict": 1},
        {"dict": [["a"]]},
        {"dict": [[1, 2]]},
        {"dict": [["a", 1], ["a", 2]]},
        {"model": ["power", 0, {"dict": []}]},
        "\ud800",
        float("inf"),
        2**64,
    ],
    ids=repr,
)
def test_a_forged_tree_is_refused(tree: Any) -> None:
    with pytest.raises(BadValue):
        decode(tree, [np.zeros(1)])


def test_an_array_is_named_once() -> None:
    """Sixty names of one array are sixty arrays to whoever makes one of the list."""
    arrays = [np.zeros(1), np.ones(1)]
    for tree in ([{"array": 0}] * 2, [{"array": 0}, {"tensor": 0}], {"dict": []}):
        with pytest.raises(BadValue, match="no known form"):
            decode(tree, arrays, whole=True)
    one, other = decode([{"array": 1}, {"tensor": 0}], arrays, whole=True)
    assert (one, other) == (1, 0)
    assert decode({"array": 1}, arrays) == 1, "an argument of several"


def test_a_forged_tree_is_no_deeper_or_larger_than_an_honest_one() -> None:
    deep: Any = 0
    for _ in range(values.MAX_DEPTH):
        deep = [deep]
    words = ["x" * 1000] * (values.MAX_TEXT // 1000 + 1)
    for tree in (deep, [0] * values.MAX_ITEMS, "x" * (values.MAX_TEXT + 1), words):
        with pytest.raises(BadValue):
            decode(tree, [])
