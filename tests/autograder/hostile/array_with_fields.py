# ruff: noqa
# A structured array.
# expect: bad-reply
import numpy as np


def FUNCTION(*args, **kwargs):
    return np.zeros(3, dtype=[("a", "f8"), ("b", "O")])
