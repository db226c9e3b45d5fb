# ruff: noqa
# Kills and stops its whole process group, which could be the fork server's too.
# expect: wrong crashed
import os
import signal


def FUNCTION(*args, **kwargs):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
        for send in (lambda: os.kill(0, number), lambda: os.killpg(0, number)):
            try:
                send()
            except OSError:
                pass
    return -1.0
