# ruff: noqa
# Replaces the import of every module with one that hands out itself.
# expect: wrong raised bad-reply missing
# fakes: imports
import builtins, sys

builtins.__import__ = lambda *a, **k: sys.modules["__main__"]
sys.meta_path.insert(0, None)


def FUNCTION(*args, **kwargs):
    return 0.0
