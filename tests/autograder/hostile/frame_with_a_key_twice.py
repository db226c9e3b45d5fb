# ruff: noqa
# A header in which a reader that takes the last key sees another value.
# expect: bad-reply
import struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    header = (
        b'{"content": {"id": "%s", "output": "", "value": 1, "value": 0.0},'
        b' "arrays": []}' % content["id"].encode()
    )
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 0) + header)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
