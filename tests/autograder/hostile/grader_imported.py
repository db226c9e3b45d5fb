# ruff: noqa
# Imports the grader's own side and asks it for a student.
# expect: raised
def FUNCTION(*args, **kwargs):
    from autograder.sandbox.student import LocalStudent

    return LocalStudent(globals()).call("FUNCTION", *args)
