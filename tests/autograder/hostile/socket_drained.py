# ruff: noqa
# Eats the next question, so that the worker never sees it.
# expect: timed-out wrong crashed
# seconds: 0.8
import os, threading, time


def eat():
    while True:
        for descriptor in range(3, 10):
            try:
                os.set_blocking(descriptor, False)
                os.read(descriptor, 10_000)
            except OSError:
                pass


threading.Thread(target=eat, daemon=True).start()
time.sleep(0.1)


def FUNCTION(*args, **kwargs):
    return 0.0
