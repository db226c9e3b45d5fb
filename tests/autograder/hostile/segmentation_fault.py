# ruff: noqa
# Reads address zero.
# expect: crashed
import ctypes


def FUNCTION(*args, **kwargs):
    return ctypes.string_at(0)
