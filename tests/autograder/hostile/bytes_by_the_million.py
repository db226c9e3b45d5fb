# ruff: noqa
# An array of single bytes: 60 MB, which are 480 MB once they are numbers.
# expect: bad-reply
import numpy as np


def FUNCTION(*args, **kwargs):
    return np.zeros(60 * 2**20, np.uint8)
