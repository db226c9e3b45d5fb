# ruff: noqa
# Attaches to other processes as a debugger that does not stop them.
# expect: wrong
import ctypes


def FUNCTION(*args, **kwargs):
    libc = ctypes.CDLL(None)
    got = [pid for pid in range(1, 500) if libc.ptrace(0x4206, pid, 0, 0) == 0]
    return f"got {got}" if got else -1.0
