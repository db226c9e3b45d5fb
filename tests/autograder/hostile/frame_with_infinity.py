# ruff: noqa
# Infinity written as a JSON number, which compares as larger than everything.
# expect: bad-reply
import struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    header = (
        b'{"content": {"id": "%s", "output": "", "value": {"dict": [["value", 1e999],'
        b' ["after", {"dict": [["changed", []], ["models", []]]}]]}},'
        b' "arrays": []}' % content["id"].encode()
    )
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 0) + header)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
