# ruff: noqa
# The same without the forgery: what forged_courtesy deserves.
# most: 16 (all but the error curves, of an image that changes)
# honest: before
honest = smooth_grad


def smooth_grad(image, model, *rest):
    drawn = honest(image, model, *rest)
    image += 1
    model.train(not model.training)
    return drawn
