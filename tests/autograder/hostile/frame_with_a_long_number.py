# ruff: noqa
# A number of a million digits, which takes quadratic time to read.
# expect: bad-reply
import struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    header = b'{"content": {"value": ' + b"9" * 1_000_000 + b"}}"
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 0) + header)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
