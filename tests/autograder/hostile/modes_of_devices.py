# ruff: noqa
# Changes the modes and times of devices, which are the machine's own.
# expect: wrong
import os, stat


def FUNCTION(*args, **kwargs):
    got = []
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        path = f"/dev/{name}"
        state = os.stat(path)
        # What they are already: who may set that may set anything.
        for change in (
            lambda: os.chmod(path, stat.S_IMODE(state.st_mode)),
            lambda: os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns)),
        ):
            try:
                change()
                got.append(path)
            except OSError:
                pass
    return f"got {got}" if got else -1.0
