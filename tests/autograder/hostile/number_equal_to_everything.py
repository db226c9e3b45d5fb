# ruff: noqa
# Returns a float whose comparisons all say yes.
# expect: wrong
# fakes: equality
class Always(float):
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True
    __sub__ = __rsub__ = lambda self, other: 0.0
    __abs__ = lambda self: 0.0
    __hash__ = float.__hash__


def FUNCTION(*args, **kwargs):
    return Always(1.5)
