# ruff: noqa
# Opens a file of the grader's by its path.
# expect: raised
def FUNCTION(*args, **kwargs):
    return open("SECRET").read()
