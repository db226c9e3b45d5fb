# ruff: noqa
# Stops the clock, so that no time passes for it.
# expect: timed-out
# seconds: 0.2
import time

time.monotonic = time.time = time.perf_counter = lambda: 0.0


def FUNCTION(*args, **kwargs):
    while time.monotonic() < 1:
        pass
    return 0.0
