# ruff: noqa
# Imports the grader's checks.
# expect: raised
def FUNCTION(*args, **kwargs):
    import autograder.checks.problem2 as checks

    return checks
