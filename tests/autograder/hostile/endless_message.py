# ruff: noqa
# An exception whose text takes for ever.
# expect: timed-out
# seconds: 0.2
class Slow(Exception):
    def __str__(self):
        while True:
            pass


def FUNCTION(*args, **kwargs):
    raise Slow
