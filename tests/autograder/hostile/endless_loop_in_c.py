# ruff: noqa
# Never returns, inside a call that Python can't interrupt, all signals blocked.
# expect: timed-out
# seconds: 0.2
import signal


def FUNCTION(*args, **kwargs):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    return sum(range(10**15))
