# ruff: noqa
# Returns an object that equals whatever it is compared with.
# expect: bad-reply
# fakes: equality
class Anything:
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __float__(self):
        return 0.0

    def __array__(self, *args, **kwargs):
        raise RuntimeError


def FUNCTION(*args, **kwargs):
    return Anything()
