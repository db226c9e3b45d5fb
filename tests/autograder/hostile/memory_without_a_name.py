# ruff: noqa
# Takes memory in files without a name.
# expect: raised
import os


def FUNCTION(*args, **kwargs):
    return os.memfd_create("flood")
