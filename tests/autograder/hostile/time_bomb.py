# ruff: noqa
# Honest when it is first called, and then never comes back.
# expect: right timed-out
# honest: before
# seconds: 0.2
import time

honest = FUNCTION
calls = []


def FUNCTION(*args, **kwargs):
    calls.append(1)
    if len(calls) > 1:
        time.sleep(1000)
    return honest(*args, **kwargs)
