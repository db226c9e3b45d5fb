# ruff: noqa
# Calls the reference instead of writing one.
# expect: raised
# fakes: work of its own
import chapter4


def FUNCTION(*args, **kwargs):
    return chapter4.FUNCTION(*args, **kwargs)
