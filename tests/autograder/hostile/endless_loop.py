# ruff: noqa
# Never returns.
# expect: timed-out
# seconds: 0.5
def FUNCTION(*args, **kwargs):
    while True:
        pass
