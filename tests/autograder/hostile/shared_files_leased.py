# ruff: noqa
# Takes leases on files that all share: who writes to them waits until it gives them up.
# expect: wrong
import fcntl, os, sys


def FUNCTION(*args, **kwargs):
    got = []
    for path in (os.__file__, sys.executable, "/grader/chapter4/__init__.py"):
        file = open(path)
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            got.append(path)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            pass
    return f"got a lease on {got}" if got else -1.0
