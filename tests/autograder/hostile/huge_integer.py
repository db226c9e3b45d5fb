# ruff: noqa
# An integer of ten thousand digits.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return 10**10_000
