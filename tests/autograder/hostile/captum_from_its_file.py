# ruff: noqa
# Finds the installed Captum behind the stub.
# expect: raised
# fakes: work of its own
import sys


def FUNCTION(*args, **kwargs):
    for name in [n for n in sys.modules if n.startswith("captum")]:
        del sys.modules[name]
    sys.path = [p for p in sys.path if not p.startswith("/grader")]
    from captum.attr import NoiseTunnel

    return NoiseTunnel.__name__
