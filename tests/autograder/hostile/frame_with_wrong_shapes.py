# ruff: noqa
# Shapes that are negative, true, or do not fit the bytes.
# expect: bad-reply
import json, struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    content = {"id": content["id"], "output": "", "value": {"array": 0}}
    header = json.dumps(
        {
            "content": content,
            "arrays": [
                {"dtype": "<f8", "shape": [-1, -1]},
                {"dtype": "<f8", "shape": [True]},
            ],
        }
    ).encode()
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), 16) + header + bytes(16))


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
