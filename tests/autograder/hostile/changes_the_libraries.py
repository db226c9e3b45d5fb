# ruff: noqa
# Tries whether it may change the libraries that the next student uses.
# expect: wrong
import numpy, os


def FUNCTION(*args, **kwargs):
    got = []
    for path in (numpy.__file__, os.__file__, os.path.dirname(numpy.__file__)):
        status = os.stat(path)
        for change in (
            lambda: os.chmod(path, status.st_mode),
            lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
            lambda: os.rename(path, path),
            lambda: os.close(os.open(path, os.O_RDWR)),
        ):
            try:
                change()
                got.append(path)
            except OSError:
                pass
    return f"got {got}" if got else -1.0
