# ruff: noqa
# NaN, for which no comparison says "different enough".
# expect: bad-reply
def FUNCTION(*args, **kwargs):
    return float("nan")
