"""The protocol: messages over a socket, as a JSON header and raw array bytes.

Sizes have caps, and whoever waits for a message decides for how long. There is no
pickle, and nothing in a message names code.

A frame has these parts, in this order:

- a mark of 4 bytes;
- the header's length and the body's length;
- the header: UTF-8 JSON of the content and of the arrays' dtypes and shapes;
- the body: the arrays' bytes in order.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from autograder.sandbox.inside.values import (
    DTYPES,
    MAX_ARRAYS,
    MAX_BYTES,
    MAX_ITEMS,
    MAX_NUMBERS,
)

MARK = b"chA4"
HEAD = struct.Struct(">4sIQ")
MAX_HEADER = 2 * 2**20
# Of the header's JSON. ``values`` makes at most 39 levels, and 4 parts for an item.
MAX_DEPTH = 50
MAX_PARTS = 5 * MAX_ITEMS
MAX_DIMENSIONS = 8
CHUNK = 2**20
# Returns when the socket can be written to (True) or read from (False).
Wait = Callable[[bool], None]


class Closed(ConnectionError):
    """The other side hung up."""


class BadFrame(ValueError):
    """Bytes that are not a message of ours."""


def for_ever(writing: bool) -> None:
    """Leaves the waiting to a socket that blocks."""


def send(
    sock: socket.socket,
    content: dict[str, Any],
    arrays: list[np.ndarray],
    wait: Wait = for_ever,
) -> None:
    """Writes one message.

    Args:
        sock: The socket to write to.
        content: What JSON can hold.
        arrays: Arrays of the dtypes in ``values.DTYPES``.
        wait: Waits for the socket. What it raises ends the message.

    Raises:
        Closed: The other side hung up.
    """
    described = [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays]
    header = json.dumps({"content": content, "arrays": described}, allow_nan=False)
    head = header.encode()
    size = sum(a.nbytes for a in arrays)
    try:
        _push(sock, HEAD.pack(MARK, len(head), size) + head, wait)
        for array in arrays:
            _push(sock, array.tobytes(), wait)
    except (BrokenPipeError, ConnectionResetError):
        raise Closed("the other side hung up") from None


def receive(
    sock: socket.socket, wait: Wait = for_ever
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Reads one message.

    What it becomes is bounded before anything is allocated: the header by its parts and
    depth, and the arrays by the memory that they take as float64.

    Args:
        sock: The socket to read from.
        wait: Waits for the socket. What it raises ends the message.

    Returns:
        The content, and the arrays, which are fresh and writable.

    Raises:
        Closed: The other side hung up.
        BadFrame: The bytes are not a message of ours.
    """
    mark, header_size, body_size = HEAD.unpack(_pull(sock, HEAD.size, wait))
    if mark != MARK or header_size > MAX_HEADER or body_size > MAX_BYTES:
        raise BadFrame("not a message, or one that is too large")
    header = _parsed(_pull(sock, header_size, wait))
    layouts = _layouts(header.get("arrays"), body_size)
    if sum(math.prod(shape) for _, shape in layouts) > MAX_NUMBERS:
        raise BadFrame("arrays that are too large")
    content = header.get("content")
    if not isinstance(content, dict) or len(header) != 2:
        raise BadFrame("a message without content")
    return content, [_array(sock, *layout, wait) for layout in layouts]


def _array(
    sock: socket.socket, dtype: np.dtype, shape: tuple[int, ...], wait: Wait
) -> np.ndarray:
    flat = np.empty(math.prod(shape), dtype)
    data = flat.view(np.uint8)
    _fill(sock, data.data, wait)
    if dtype.kind == "b" and data.max(initial=0) > 1:
        raise BadFrame("truth values that are neither true nor false")
    return flat.reshape(shape)


def _parsed(data: bytes | bytearray) -> dict[str, Any]:
    if not _small(data):
        raise BadFrame("a header of too many parts, or too deep")
    try:
        header = json.loads(
            data.decode(),
            object_pairs_hook=unique_keys,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError, MemoryError):
        raise BadFrame("a header that is no JSON of ours") from None
    if not isinstance(header, dict):
        raise BadFrame("a header that is no mapping")
    return header


def _small(data: bytes | bytearray) -> bool:
    """Whether JSON makes few objects and no deep ones; seen before it makes any."""
    # Without escaped quotes, every second piece between quotes is a text.
    pieces = data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
    plain = b"".join(pieces[::2])
    if sum(map(plain.count, (b"[", b"{", b","))) > MAX_PARTS:
        return False
    depth = 0
    for bracket in plain.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return False
    return True


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for JSON that refuses a key that comes twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key comes twice")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _layouts(described: Any, size: int) -> list[tuple[np.dtype, tuple[int, ...]]]:
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise BadFrame("no list of arrays, or too many")
    layouts, total = [], 0
    for item in described:
        match item:
            case {"dtype": str(name), "shape": list(shape), **rest} if (
                not rest
                and name in DTYPES
                and len(shape) <= MAX_DIMENSIONS
                and all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape)
            ):
                dtype = np.dtype(name)
                total += math.prod(shape) * dtype.itemsize
                # An empty array of shape (0, 10^9, 10^9) has no bytes, but numpy
                # refuses it.
                if math.prod(n or 1 for n in shape) > MAX_BYTES:
                    raise BadFrame("an array that is too large")
                layouts.append((dtype, tuple(shape)))
            case _:
                raise BadFrame("an array of an unknown kind")
    if total != size:
        raise BadFrame("arrays that do not fit their bytes")
    return layouts


def _push(sock: socket.socket, data: bytes, wait: Wait) -> None:
    view = memoryview(data)
    while view:
        wait(True)
        view = view[sock.send(view[:CHUNK]) :]


def _pull(sock: socket.socket, size: int, wait: Wait) -> bytearray:
    data = bytearray(size)
    _fill(sock, memoryview(data), wait)
    return data


def _fill(sock: socket.socket, view: memoryview, wait: Wait) -> None:
    while view:
        wait(False)
        try:
            count = sock.recv_into(view[:CHUNK])
        except ConnectionResetError:
            count = 0
        if not count:
            raise Closed("the other side hung up")
        view = view[count:]
