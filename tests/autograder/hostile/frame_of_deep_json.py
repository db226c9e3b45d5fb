# ruff: noqa
# A header nested a hundred thousand deep.
# expect: bad-reply
import struct
from autograder.sandbox.inside import protocol


def send(sock, *rest):
    header = b"[" * 100_000 + b"]" * 100_000
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 0) + header)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
