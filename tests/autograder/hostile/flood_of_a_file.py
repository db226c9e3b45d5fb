# ruff: noqa
# Writes one file as large as it likes.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    got = -1.0
    with open("large", "wb") as file:
        try:
            os.ftruncate(file.fileno(), 2**40)  # a hole: it takes no place
            got = "got a file of a terabyte"
        except OSError:
            pass
    os.unlink("large")
    return got
