# ruff: noqa
# Gives the first question's answer for ever after.
# expect: wrong right
# fakes: an answer
# honest: before
honest, seen = FUNCTION, []


def FUNCTION(*args, **kwargs):
    seen.append(honest(*args, **kwargs))
    return seen[0]
