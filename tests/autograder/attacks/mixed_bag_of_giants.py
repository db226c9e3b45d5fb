# ruff: noqa
# Finite numbers so large or small that the checks' own arithmetic could break on them.
# most: 1 (one point for the form)
import itertools
import numpy as np

GIANTS = itertools.cycle([1e308, 1e154, 5e-324, 1e-160, -1e308, 3.4e38])
kinds = itertools.count()


def smooth_grad(image, *rest):
    h, w = image.shape[-2:]
    k, big = next(kinds), next(GIANTS)
    drawn = np.full((h, w), big)
    if k % 3 == 1:
        drawn[::2] = 0
    if k % 3 == 2:
        drawn[::2] = -drawn[::2]
    return drawn


def error_curve(image, model, target_class, counts, seeds):
    return [abs(next(GIANTS)) for _ in counts]


def samples_needed(errors, counts, tolerance):
    return next(GIANTS)
