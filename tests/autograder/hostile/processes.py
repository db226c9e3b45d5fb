# ruff: noqa
# Reads other processes' memory, environment and command lines.
# expect: raised
import os


def FUNCTION(*args, **kwargs):
    found = {}
    for pid in sorted(os.listdir("/proc")):
        if pid.isdigit():
            found[pid] = (
                open(f"/proc/{pid}/environ").read()
                + open(f"/proc/{pid}/cmdline").read()
            )
    open("/proc/self/mem", "rb").read(1)
    return found
