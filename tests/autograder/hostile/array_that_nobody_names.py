# ruff: noqa
# Sends an array that its value does not name.
# expect: bad-reply
import json, struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    after = {"dict": [["changed", []], ["models", []]]}
    value = {"dict": [["value", 0.0], ["after", after]]}
    content = {"id": content["id"], "output": "", "value": value}
    header = json.dumps(
        {"content": content, "arrays": [{"dtype": "<f8", "shape": [2**20]}]}
    ).encode()
    body = bytes(2**23)
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), len(body)) + header + body)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
