# ruff: noqa
# Puts modules of its own in the place of the worker's.
# expect: wrong raised
import sys, types

for name in (
    "autograder.sandbox.inside.values",
    "autograder.sandbox.inside.tiny_models",
    "autograder.sandbox.inside.protocol",
    "numpy",
):
    sys.modules[name] = types.ModuleType(name)


def FUNCTION(*args, **kwargs):
    return 0.0
