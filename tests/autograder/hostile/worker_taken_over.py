# ruff: noqa
# Replaces the worker's loop with one that answers "passed" to everything.
# expect: wrong bad-reply
# fakes: an answer
from autograder.sandbox.inside import evaluator

evaluator.answer = lambda namespace, question, arrays: (
    {"value": "passed", "points": 100, "status": "passed"},
    [],
)


def FUNCTION(*args, **kwargs):
    return 0.0
