# ruff: noqa
# A dictionary with keys of all kinds.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return {(): 1, 2: 3, None: 4}
