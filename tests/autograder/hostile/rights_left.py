# ruff: noqa
# Asks the kernel which rights it still has, or could get back.
# expect: wrong
import ctypes, struct


def FUNCTION(*args, **kwargs):
    libc, rights = ctypes.CDLL(None), ctypes.create_string_buffer(24)
    libc.capget(struct.pack("Ii", 0x20080522, 0), rights)
    got = [part for part in struct.unpack("6I", rights.raw) if part]
    got += [right for right in range(41) if libc.prctl(23, right, 0, 0, 0) > 0]
    got += [] if libc.prctl(39, 0, 0, 0, 0) == 1 else ["new privileges"]
    return f"got {got}" if got else -1.0
