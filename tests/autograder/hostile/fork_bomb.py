# ruff: noqa
# Forks without end, by every entry to the kernel there is.
# expect: wrong
import ctypes, os


def FUNCTION(*args, **kwargs):
    libc = ctypes.CDLL(None, use_errno=True)
    born = 0
    for _ in range(50):
        for number, flags in (
            (56, 17),
            (57, 0),
            (58, 0),
            (56, 0x10000000 | 17),
            (220, 17),
        ):
            result = libc.syscall(number, flags, 0, 0, 0, 0)
            if result == 0:
                os._exit(0)
            born += result > 0
        try:
            if os.fork() == 0:
                os._exit(0)
            born += 1
        except OSError:
            pass
    return f"got {born} processes" if born else -1.0
