# ruff: noqa
# Writes an answer into the pipe before anything was asked, in its first cell.
# expect: missing
# fakes: an answer
import json, os, struct

header = json.dumps(
    {"content": {"id": "0" * 16, "output": "", "value": 0.0}, "arrays": []}
).encode()
frame = struct.pack(">4sIQ", b"chA4", len(header), 0) + header
for descriptor in range(3, 300):
    try:
        os.write(descriptor, frame)
    except OSError:
        pass


def FUNCTION(*args, **kwargs):
    return 0.0
