# ruff: noqa
# Sends a large frame byte by byte, each just before patience ends.
# expect: timed-out
# seconds: 0.3
import struct, time
from autograder.sandbox.inside import protocol


def send(sock, *rest):
    sock.sendall(struct.pack(">4sIQ", b"chA4", 10_000, 0))
    while True:
        time.sleep(0.1)
        sock.send(b" ")


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
