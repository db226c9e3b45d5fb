# ruff: noqa
# Watches descriptors by epoll, of which all processes of a user may have so many.
# expect: wrong
import ctypes, os

LIBC = ctypes.CDLL(None)
ADD, MANY = 1, 20_000


def FUNCTION(*args, **kwargs):
    made, nothing = 0, bytes(12)
    groups = [g for g in (LIBC.epoll_create1(0) for _ in range(60)) if g >= 0]
    ends = [end for _ in range(20) for end in os.pipe()]
    for end in ends:
        for number in range(150, 250):  # a watch stays when its number is closed
            os.dup2(end, number)
            for group in groups:
                made += LIBC.epoll_ctl(group, ADD, number, nothing) == 0
            os.close(number)
            if made > MANY:
                return f"got {made} watches"
    return f"got {made} watches" if made else -1.0
