# ruff: noqa
# Sends every answer twice.
# expect: bad-reply wrong
# fakes: an answer
from autograder.sandbox.inside import protocol

old = protocol.send


def send(*args):
    old(*args)
    old(*args)


protocol.send = send


def FUNCTION(*args, **kwargs):
    return 0.0
