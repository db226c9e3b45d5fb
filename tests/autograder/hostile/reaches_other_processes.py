# ruff: noqa
# Looks for processes that it could kill, and sends itself every signal there is.
# expect: wrong
import os, signal


def FUNCTION(*args, **kwargs):
    got = []
    for pid in [-1, *range(2, 5000)]:
        try:
            os.kill(pid, 0)  # asks whether it may, and does nothing
            got.append(pid)
        except OSError:
            pass
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL, signal.SIGHUP):
        os.kill(os.getpid(), number)
    return f"got {got}" if got else -1.0
