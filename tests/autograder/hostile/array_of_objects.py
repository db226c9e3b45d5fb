# ruff: noqa
# An object array, which only pickle could carry.
# expect: bad-reply
import numpy as np


class Bomb:
    def __reduce__(self):
        return eval, ("open('SECRET.pickled', 'w')",)


def FUNCTION(*args, **kwargs):
    return np.array([Bomb(), Bomb()], dtype=object)
