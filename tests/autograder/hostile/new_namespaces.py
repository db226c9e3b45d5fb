# ruff: noqa
# Asks for namespaces of its own, and for another root.
# expect: wrong
import ctypes


def FUNCTION(*args, **kwargs):
    libc = ctypes.CDLL(None)
    kinds = (0x10000000, 0x00020000, 0x20000000, 0x40000000)
    got = [hex(kind) for kind in kinds if libc.unshare(kind) == 0]
    if not got and libc.chroot(b"/tmp") == 0:
        got.append("root")
    return f"got {got}" if got else -1.0
