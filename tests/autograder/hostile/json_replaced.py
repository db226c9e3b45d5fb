# ruff: noqa
# Replaces the JSON writer with one that writes what it likes.
# expect: bad-reply
import json

forged = lambda *a, **k: (
    '{"content": {"status": "passed", "points": 1e6}, "arrays": []}'
)


def FUNCTION(*args, **kwargs):
    json.dumps = forged
    return 0.0
