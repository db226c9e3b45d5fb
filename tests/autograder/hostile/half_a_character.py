# ruff: noqa
# Text that no encoding can write.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return "\ud800"
