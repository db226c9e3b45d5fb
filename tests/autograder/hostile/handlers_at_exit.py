# ruff: noqa
# Registers handlers for signals and for the end.
# expect: right
# honest: before
import atexit, os, signal


def evil(*args):
    open("SECRET.exit", "w").write("x")
    os._exit(0)


atexit.register(evil)
for number in range(1, 65):
    try:
        signal.signal(number, evil)
    except (OSError, ValueError):
        pass
