# ruff: noqa
# Writes to the image, leaves the model in another mode, and forges the report of it.
# most: 16 (as discourtesy: what a call left behind is worth no points, so that there is
#   nothing to forge)
# honest: before
from autograder.sandbox.inside import evaluator

honest = smooth_grad
evaluator.state_of = lambda model: {}
evaluator.same = lambda one, other: True


def smooth_grad(image, model, *rest):
    drawn = honest(image, model, *rest)
    image += 1
    model.train(not model.training)
    return drawn
