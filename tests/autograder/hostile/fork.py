# ruff: noqa
# Forks.
# expect: raised
import os


def FUNCTION(*args, **kwargs):
    return os.fork()
