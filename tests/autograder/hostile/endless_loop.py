# ruff: noqa
# Never returns.
# expect: timed-out
# seconds: 0.2
def FUNCTION(*args, **kwargs):
    while True:
        pass
