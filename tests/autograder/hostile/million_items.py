# ruff: noqa
# A list of a million numbers.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return [0.0] * 1_000_000
