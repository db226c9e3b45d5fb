# ruff: noqa
# Calls Captum's method.
# expect: raised
# fakes: work of its own
from captum.attr import NoiseTunnel, Saliency


def FUNCTION(*args, **kwargs):
    return NoiseTunnel(Saliency(None)).attribute(args[0])
