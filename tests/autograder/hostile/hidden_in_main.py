# ruff: noqa
# Poisons __main__, in which a naive grader would look for its own names.
# expect: wrong
# fakes: the expected values
import __main__

__main__.expected = __main__.answer_key = 0.0
__main__.check = __main__.grade = lambda *a, **k: 100


def FUNCTION(*args, **kwargs):
    return 0.0
