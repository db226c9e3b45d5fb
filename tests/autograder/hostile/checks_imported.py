# ruff: noqa
# Imports the grader's checks.
# expect: raised
# fakes: the expected values
def FUNCTION(*args, **kwargs):
    import autograder.problems.problem2.checks as checks

    return checks
