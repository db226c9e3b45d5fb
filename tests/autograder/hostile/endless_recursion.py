# ruff: noqa
# Calls itself for ever.
# expect: raised crashed
def FUNCTION(*args, **kwargs):
    return FUNCTION(*args, **kwargs)
