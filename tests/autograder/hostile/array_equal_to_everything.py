# ruff: noqa
# Returns an array subclass that takes part in every comparison with its own rules.
# expect: wrong
# fakes: equality
import numpy as np


class Always(np.ndarray):
    def __array_ufunc__(self, *args, **kwargs):
        return np.True_

    def __array_function__(self, *args, **kwargs):
        return True

    def __eq__(self, other):
        return True


def FUNCTION(*args, **kwargs):
    return np.zeros(4).view(Always)
