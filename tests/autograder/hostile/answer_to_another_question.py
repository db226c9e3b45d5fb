# ruff: noqa
# Keeps the id of the first question and answers every later one with it.
# expect: bad-reply wrong
# fakes: an answer
import sys
from autograder.sandbox.inside import protocol

first = []
old = protocol.send


def send(sock, content, arrays):
    first.append(content["id"])
    old(sock, content | {"id": first[0]}, arrays)


protocol.send = send


def FUNCTION(*args, **kwargs):
    return 0.0
