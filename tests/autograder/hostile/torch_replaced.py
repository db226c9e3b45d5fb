# ruff: noqa
# Replaces torch's comparisons and its conversion to arrays.
# expect: wrong bad-reply raised
# fakes: equality
import torch

torch.allclose = torch.equal = lambda *a, **k: True
torch.Tensor.numpy = lambda self: 0


def FUNCTION(*args, **kwargs):
    return torch.zeros(1)
