"""Messages over a socket come back whole; forged or endless ones do no harm."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.values import MAX_DEPTH, MAX_ITEMS, MAX_NUMBERS, encode

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Sockets]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Late(Exception):
    """Whoever waited has waited long enough."""


def until(sock: socket.socket, seconds: float) -> protocol.Wait:
    """Waits for a socket, all in all for so many seconds."""
    end = time.monotonic() + seconds
    sock.setblocking(False)

    def wait(writing: bool) -> None:
        left = max(0.0, end - time.monotonic())
        both = ([], [sock]) if writing else ([sock], [])
        if left == 0.0 or not any(select.select(*both, [], left)):
            raise Late

    return wait


def frame(header: Any, body: bytes = b"", *, size: int | None = None) -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(body) if size is None else size
    return protocol.HEAD.pack(protocol.MARK, len(data), size) + data + body


def test_a_message_comes_back(pair: Sockets) -> None:
    ours, theirs = pair
    arrays = [np.arange(6.0).reshape(2, 3), np.empty((0, 4), "<f4"), np.array(7)]
    protocol.send(theirs, {"text": "Grüße"}, arrays)
    content, found = protocol.receive(ours)
    assert content == {"text": "Grüße"}
    for array, expected in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)
        assert array.flags.writeable


def test_a_message_larger_than_the_pipe(pair: Sockets) -> None:
    ours, theirs = pair
    array = np.random.default_rng(0).standard_normal(2**20)
    sender = threading.Thread(target=protocol.send, args=(theirs, {}, [array]))
    sender.start()
    _, found = protocol.receive(ours)
    sender.join()
    np.testing.assert_array_equal(found[0], array)


def array_of(dtype: Any, shape: Any, **more: Any) -> dict[str, Any]:
    return {"content": {}, "arrays": [{"dtype": dtype, "shape": shape, **more}]}


@pytest.mark.parametrize(
    "forged",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        protocol.HEAD.pack(protocol.MARK, 2**31, 0),
        protocol.HEAD.pack(protocol.MARK, 2, 2**40),
        frame(b"not json"),
        frame(b"\xff\xfe"),
        frame([]),
        frame({}),
        frame({"content": [], "arrays": []}),
        frame({"content": {}, "arrays": {}}),
        frame({"content": {}, "arrays": [], "more": 1}),
        frame({"content": {}, "arrays": [1]}),
        frame(b'{"content": {"a": 1, "a": 2}, "arrays": []}'),
        frame(b'{"content": {"a": NaN}, "arrays": []}'),
        frame(b"[" * 100_000 + b"]" * 100_000),
        frame(b'{"content": ' + b"9" * 10_000 + b"}"),
        frame({"content": {}, "arrays": [{"dtype": "<f8", "shape": []}] * 300}),
        frame(array_of("O", [1]), bytes(8)),
        frame(array_of("|V8", [1]), bytes(8)),
        frame(array_of(">f8", [1]), bytes(8)),
        frame(array_of("<f8", [2]), bytes(8)),
        frame(array_of("<f8", [1]), bytes(16)),
        frame(array_of("<f8", [-1]), bytes(8)),
        frame(array_of("<f8", [-1, -1]), bytes(8)),
        frame(array_of("<f8", [True]), bytes(8)),
        frame(array_of("<f8", [1.0]), bytes(8)),
        frame(array_of("<f8", [1] * 9), bytes(8)),
        frame(array_of("<f8", [0, 2**20, 2**20])),
        frame(array_of("<f8", [1], order="F"), bytes(8)),
        frame(array_of(["<f8"], [1]), bytes(8)),
        frame(array_of("|b1", [2]), bytes([0, 2])),
        frame(array_of("|u1", [MAX_NUMBERS + 1]), size=MAX_NUMBERS + 1),
    ],
    ids=range(31),
)
def test_a_forged_message_is_refused(pair: Sockets, forged: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(forged + bytes(64))
    with pytest.raises(protocol.BadFrame):  # at once: what it promises never comes
        protocol.receive(ours)


@pytest.mark.parametrize("many", [[0] * 50, [[]] * 25, [{"a": 0}] * 25])
def test_a_message_of_many_parts_is_refused(
    pair: Sockets, many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = frame({"content": {"a": many}, "arrays": []})
    for most in (54, 52):
        monkeypatch.setattr(protocol, "MAX_PARTS", most)
        pair[1].sendall(message)
        if most == 54:
            assert protocol.receive(pair[0])[0] == {"a": many}
        else:
            with pytest.raises(protocol.BadFrame, match="too many parts"):
                protocol.receive(pair[0])


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize("deeper", [0, 1])
def test_a_message_is_so_deep_and_no_deeper(pair: Sockets, deeper: int) -> None:
    # The header and its content are two levels, and the last list is one more.
    content = {"a": nested(protocol.MAX_DEPTH - 3 + deeper)}
    pair[1].sendall(frame({"content": content, "arrays": []}))
    if deeper:
        with pytest.raises(protocol.BadFrame, match="too deep"):
            protocol.receive(pair[0])
    else:
        assert protocol.receive(pair[0]) == (content, [])


def in_dictionaries(value: Any, depth: int) -> Any:
    return {"a": in_dictionaries(value, depth - 1)} if depth else value


@pytest.mark.parametrize(
    "value",
    [
        in_dictionaries(float("nan"), MAX_DEPTH - 1),
        {f"{i:x}": {} for i in range(MAX_ITEMS - 1)},
        ['[{,"\\', "\\", '"', '\\"', "[" * 90_000],
        [np.zeros(MAX_NUMBERS, np.int8)],
    ],
    ids=["deep", "many", "text that looks like parts", "large"],
)
def test_the_largest_values_still_cross(pair: Sockets, value: Any) -> None:
    tree, arrays = encode(value)
    message = (pair[1], {"value": tree}, arrays)
    sender = threading.Thread(target=protocol.send, args=message)
    sender.start()
    content, found = protocol.receive(pair[0])
    sender.join()
    assert content["value"] == tree
    assert [a.shape for a in found] == [a.shape for a in arrays]


@pytest.mark.parametrize("cut", [0, 3, 16, 20, -1])
def test_a_message_that_ends_early(pair: Sockets, cut: int) -> None:
    ours, theirs = pair
    theirs.sendall(frame(array_of("<f8", [1]), bytes(8))[:cut])
    theirs.close()
    with pytest.raises(protocol.Closed):
        protocol.receive(ours)


def test_patience_ends_however_slowly_a_message_comes(pair: Sockets) -> None:
    ours, theirs = pair
    stop = threading.Event()

    def drip() -> None:
        for byte in frame(array_of("<f8", [1000]), bytes(8000)):
            theirs.sendall(bytes([byte]))
            if stop.wait(0.01):
                break

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises(Late):  # the whole message takes a minute
        protocol.receive(ours, until(ours, 0.2))
    stop.set()
    dripping.join()


def test_patience_ends_when_nobody_reads(pair: Sockets) -> None:
    with pytest.raises(Late):
        protocol.send(pair[0], {}, [np.zeros(2**20)], until(pair[0], 0.2))


def test_nobody_is_there(pair: Sockets) -> None:
    pair[1].close()
    with pytest.raises(protocol.Closed):
        protocol.send(pair[0], {}, [np.zeros(2**20)])
