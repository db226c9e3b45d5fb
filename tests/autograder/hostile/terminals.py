# ruff: noqa
# Opens terminals, of which the whole machine has so many.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    got = []
    for path in ("/dev/ptmx", "/dev/pts/ptmx"):
        try:
            got.append(os.open(path, os.O_RDWR | os.O_NOCTTY))
        except OSError:
            pass
    return f"got {len(got)} terminals" if got else -1.0
