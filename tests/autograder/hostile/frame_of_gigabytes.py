# ruff: noqa
# Announces a header and a body of gigabytes.
# expect: bad-reply
import struct
from autograder.sandbox.inside import protocol


def send(sock, *rest):
    sock.sendall(struct.pack(">4sIQ", b"chA4", 2**31, 2**40))


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
