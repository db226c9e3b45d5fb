# ruff: noqa
# Replaces the language's own functions.
# expect: wrong bad-reply raised crashed missing
import builtins

builtins.isinstance = lambda *a: True
builtins.len = lambda thing: 0
builtins.print = builtins.float = builtins.sum = lambda *a, **k: 0


def FUNCTION(*args, **kwargs):
    return 0.0
