# ruff: noqa
# An object that runs code wherever it is unpickled.
# expect: bad-reply
import os


class Bomb:
    def __reduce__(self):
        return os.system, ("touch SECRET.pickled",)


def FUNCTION(*args, **kwargs):
    return Bomb()
