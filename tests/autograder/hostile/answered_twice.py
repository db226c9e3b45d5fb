# ruff: noqa
# Sends every answer twice.
# expect: bad-reply wrong
# fakes: an answer
from autograder import wire

old = wire.send


def send(*args):
    old(*args)
    old(*args)


wire.send = send


def FUNCTION(*args, **kwargs):
    return 0.0
