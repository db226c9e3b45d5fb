# ruff: noqa
# Calls itself for ever, with Python's own limit lifted.
# expect: crashed raised
import sys

sys.setrecursionlimit(2**31 - 1)


def FUNCTION(*args, **kwargs):
    return [FUNCTION(*args, **kwargs)][0]
