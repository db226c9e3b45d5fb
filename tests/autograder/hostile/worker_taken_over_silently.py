# ruff: noqa
# A forged answer in the very form that the worker uses.
# expect: wrong
# fakes: an answer
from autograder.sandbox.inside import evaluator, values


def forged(namespace, question, arrays):
    tree, out = values.encode({"value": True, "after": {"changed": [], "models": []}})
    return {"value": tree}, out


evaluator.answer = forged


def FUNCTION(*args, **kwargs):
    return 0.0
