# ruff: noqa
# An array over the cap.
# expect: bad-reply
import numpy as np


def FUNCTION(*args, **kwargs):
    return np.zeros(100 * 2**17)
