# ruff: noqa
# Looks among all objects for functions and values of the checks.
# expect: wrong
# fakes: the expected values
import gc, types


def FUNCTION(*args, **kwargs):
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and "checks" in (
            thing.__module__ or ""
        ):
            return f"got {thing}"
        if isinstance(thing, dict) and isinstance(thing.get("expected"), float):
            return "got the expected value"
    return -1.0
