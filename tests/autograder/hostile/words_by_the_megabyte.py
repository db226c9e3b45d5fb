# ruff: noqa
# Many texts, each short enough alone.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return ["x" * 90] * 19_000
