"""Messages over a socket come back whole; forged or endless ones do no harm."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograder.sandbox.inside import protocol

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Sockets]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def frame(header: Any, body: bytes = b"", *, size: int | None = None) -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(body) if size is None else size
    return protocol.HEAD.pack(protocol.MARK, len(data), size) + data + body


def test_a_message_comes_back(pair: Sockets) -> None:
    ours, theirs = pair
    arrays = [np.arange(6.0).reshape(2, 3), np.empty((0, 4), "<f4"), np.array(7)]
    protocol.send(theirs, {"text": "Grüße"}, arrays, soon())
    content, found = protocol.receive(ours, soon())
    assert content == {"text": "Grüße"}
    for array, expected in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)
        assert array.flags.writeable


def test_a_message_larger_than_the_pipe(pair: Sockets) -> None:
    ours, theirs = pair
    array = np.random.default_rng(0).standard_normal(2**20)
    sender = threading.Thread(target=protocol.send, args=(theirs, {}, [array], soon()))
    sender.start()
    _, found = protocol.receive(ours, soon())
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
    ],
    ids=range(29),
)
def test_a_forged_message_is_refused(pair: Sockets, forged: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(forged + bytes(64))
    with pytest.raises(protocol.BadFrame):  # at once: what it promises never comes
        protocol.receive(ours, soon())


@pytest.mark.parametrize("cut", [0, 3, 16, 20, -1])
def test_a_message_that_ends_early(pair: Sockets, cut: int) -> None:
    ours, theirs = pair
    theirs.sendall(frame(array_of("<f8", [1]), bytes(8))[:cut])
    theirs.close()
    with pytest.raises(protocol.Closed):
        protocol.receive(ours, soon())


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
    with pytest.raises(TimeoutError):  # the whole message takes a minute
        protocol.receive(ours, soon(0.2))
    stop.set()
    dripping.join()


def test_patience_ends_when_nobody_reads(pair: Sockets) -> None:
    with pytest.raises(TimeoutError):
        protocol.send(pair[0], {}, [np.zeros(2**20)], soon(0.2))


def test_nobody_is_there(pair: Sockets) -> None:
    pair[1].close()
    with pytest.raises(protocol.Closed):
        protocol.send(pair[0], {}, [np.zeros(2**20)], soon())
