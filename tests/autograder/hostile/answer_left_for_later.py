# ruff: noqa
# Leaves an answer in the pipe for the next question, from a thread.
# pause: 0.5
# expect: wrong bad-reply
# fakes: an answer
import json, os, struct

header = json.dumps(
    {"content": {"id": "0" * 16, "output": "", "value": 0.0}, "arrays": []}
).encode()
frame = struct.pack(">4sIQ", b"chA4", len(header), 0) + header
import threading, time


def later():
    time.sleep(0.2)
    for descriptor in range(3, 300):
        try:
            os.write(descriptor, frame)
        except OSError:
            pass


def FUNCTION(*args, **kwargs):
    threading.Thread(target=later).start()
    return 0.0
