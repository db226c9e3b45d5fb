# ruff: noqa
# Installs a trace function that rewrites what the caller compares.
# expect: wrong
import sys, threading


def tracer(frame, event, argument):
    for name in ("expected", "value", "answer"):
        if name in frame.f_locals and isinstance(frame.f_locals[name], float):
            frame.f_locals[name] = 0.0
    return tracer


sys.settrace(tracer)
threading.settrace(tracer)
sys.setprofile(tracer)


def FUNCTION(*args, **kwargs):
    return 0.0
