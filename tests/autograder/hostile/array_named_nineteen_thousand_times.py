# ruff: noqa
# Names one array of 1 MB nineteen thousand times.
# expect: bad-reply
import json, struct
from autograder.sandbox.inside import protocol


def send(sock, content, arrays):
    after = {"dict": [["changed", []], ["models", []]]}
    value = {"dict": [["value", [{"array": 0}] * 19_000], ["after", after]]}
    content = {"id": content["id"], "output": "", "value": value}
    header = json.dumps(
        {"content": content, "arrays": [{"dtype": "<f8", "shape": [2**17]}]}
    ).encode()
    body = bytes(2**20)
    sock.sendall(struct.pack(">4sIQ", b"chA4", len(header), len(body)) + header + body)


def FUNCTION(*args, **kwargs):
    protocol.send = send
    return 0.0
