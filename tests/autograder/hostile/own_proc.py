# ruff: noqa
# Uncovers /proc, or mounts one of its own.
# expect: wrong
import ctypes, os


def FUNCTION(*args, **kwargs):
    libc = ctypes.CDLL(None)
    if libc.unshare(0x00020000) == 0:  # with mounts of its own it could do all the rest
        return "got mounts of its own"
    libc.umount2(b"/proc", 2)
    libc.mount(b"proc", b"/tmp", b"proc", 0, None)
    found = [
        n
        for n in os.listdir("/proc") + os.listdir("/tmp")
        if n.isdigit() or n == "self"
    ]
    return f"got {found}" if found else -1.0
