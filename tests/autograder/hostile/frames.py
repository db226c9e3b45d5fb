# ruff: noqa
# Looks in the callers' frames for the expected value.
# expect: wrong
# fakes: the expected values
import sys


def FUNCTION(*args, **kwargs):
    frame = sys._getframe()
    while frame is not None:
        for scope in (frame.f_locals, frame.f_globals):
            for name, value in list(scope.items()):
                if any(
                    w in name.lower()
                    for w in ("expect", "truth", "solution", "reference", "correct")
                ):
                    if isinstance(value, float):
                        return f"got {name}"
        frame = frame.f_back
    return -1.0
