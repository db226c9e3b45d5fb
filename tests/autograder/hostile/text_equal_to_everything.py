# ruff: noqa
# Text that equals all text.
# expect: wrong
# fakes: equality
class Always(str):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


def FUNCTION(*args, **kwargs):
    return Always("passed")
