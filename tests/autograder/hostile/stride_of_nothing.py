# ruff: noqa
# An array of terabytes that takes eight bytes of memory.
# expect: bad-reply raised
import numpy as np


def FUNCTION(*args, **kwargs):
    return np.broadcast_to(np.float64(1), (10**6, 10**6))
