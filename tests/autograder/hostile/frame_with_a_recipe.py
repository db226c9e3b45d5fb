# ruff: noqa
# Sends the grader a recipe, for it to build and load.
# expect: bad-reply
from autograder.sandbox.inside.values import Recipe


def FUNCTION(*args, **kwargs):
    return Recipe("chapter4", 0, {"load": "load_bert", "name": "/tmp/evil"})
