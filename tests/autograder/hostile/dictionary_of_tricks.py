# ruff: noqa
# A dictionary that gives the same key twice when it is sent.
# expect: bad-reply
class Twice(dict):
    def items(self):
        return [("value", 1.0), ("value", 2.0)]


def FUNCTION(*args, **kwargs):
    return Twice(value=1.0)
