# ruff: noqa
# An exception whose text is 100 MB long.
# expect: raised
def FUNCTION(*args, **kwargs):
    raise ValueError("x" * 10**8)
