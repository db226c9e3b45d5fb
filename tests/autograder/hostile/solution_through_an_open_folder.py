# ruff: noqa
# Goes up from every open file descriptor.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    for descriptor in range(300):
        try:
            return "got " + str(
                os.open("../" * 20 + "SECRET"[1:], os.O_RDONLY, dir_fd=descriptor)
            )
        except OSError:
            pass
    return -1.0
