# ruff: noqa
# A thread floods the pipe with forged answers while the grader waits.
# expect: bad-reply
# fakes: an answer
# seconds: 3
import json, os, struct, threading, time

header = json.dumps(
    {"content": {"id": "0" * 16, "output": "", "value": 0.0}, "arrays": []}
).encode()
frame = struct.pack(">4sIQ", b"chA4", len(header), 0) + header


def flood():
    time.sleep(0.3)
    while True:
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, frame)
            except OSError:
                pass


def FUNCTION(*args, **kwargs):
    threading.Thread(target=flood, daemon=True).start()
    time.sleep(1)
    return 0.0
