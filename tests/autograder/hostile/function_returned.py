# ruff: noqa
# Returns a function, to be called on the other side.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return lambda *a: True
