# ruff: noqa
# Registers an audit hook that raises from now on.
# expect: raised bad-reply crashed wrong timed-out missing
import sys


def hook(event, arguments):
    if event in ("compile", "exec", "import", "open"):
        raise RuntimeError("no more")


sys.addaudithook(hook)


def FUNCTION(*args, **kwargs):
    return 0.0
