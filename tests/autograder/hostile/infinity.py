# ruff: noqa
# Infinity.
# expect: bad-reply
import torch


def FUNCTION(*args, **kwargs):
    return {"map": [torch.tensor(float("inf"))]}
