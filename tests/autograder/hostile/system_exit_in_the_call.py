# ruff: noqa
# SystemExit when it is called.
# expect: raised
def FUNCTION(*args, **kwargs):
    raise SystemExit(0)
