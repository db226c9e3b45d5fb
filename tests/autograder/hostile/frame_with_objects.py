# ruff: noqa
# An array of objects, byte by byte: its bytes would be pointers.
# expect: bad-reply
import json, struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    content = {"id": content["id"], "output": "", "value": {"array": 0}}
    header = json.dumps(
        {"content": content, "arrays": [{"dtype": "|O", "shape": [1]}]}
    ).encode()
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 8) + header + b"AAAAAAAA")


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
