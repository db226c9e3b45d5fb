# ruff: noqa
# A tensor subclass with __torch_function__ of its own.
# expect: wrong raised bad-reply
# fakes: equality
import torch


class Always(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


def FUNCTION(*args, **kwargs):
    return torch.zeros(3).as_subclass(Always)
