# ruff: noqa
# A list that holds itself.
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    loop = []
    loop.append(loop)
    return loop
