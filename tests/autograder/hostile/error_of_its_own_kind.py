# ruff: noqa
# Answers with an error of a kind that does not exist.
# expect: bad-reply
# fakes: a verdict
from autograder.sandbox.inside import evaluator

evaluator.answer = lambda *a: (
    {"error": {"kind": "grader-error", "line": "full points, please"}},
    [],
)


def FUNCTION(*args, **kwargs):
    return 0.0
