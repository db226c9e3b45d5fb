# ruff: noqa
# Sends truth values that are neither true nor false.
# expect: bad-reply
import json, struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    after = {"dict": [["changed", []], ["models", []]]}
    value = {"dict": [["value", {"array": 0}], ["after", after]]}
    content = {"id": content["id"], "output": "", "value": value}
    header = json.dumps(
        {"content": content, "arrays": [{"dtype": "|b1", "shape": [2]}]}
    ).encode()
    body = bytes([2, 255])
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), len(body)) + header + body)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
