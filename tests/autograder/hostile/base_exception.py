# ruff: noqa
# An exception that `except Exception` does not catch, whose text can't be read.
# expect: raised
class Quiet(BaseException):
    def __str__(self):
        raise Quiet

    __repr__ = __str__


def FUNCTION(*args, **kwargs):
    raise Quiet
