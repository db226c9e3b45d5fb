"""Problem 6's function, right and wrong, as a student would write it."""

import torch


def gap_with(mistake):
    """`gap` with one mistake; "" makes none."""

    def gap(image, model, target_class):
        x = image.detach()[None].clone().requires_grad_()
        scores = model(x)
        if mistake == "softmax instead of logit":
            scores = scores.softmax(dim=1)
        score = scores[0, target_class]
        (gradient,) = torch.autograd.grad(score, x)
        shares = x * gradient
        if mistake == "absolute shares":
            shares = shares.abs()
        if mistake == "gradients alone":
            shares = gradient
        left = float(score - shares.sum())
        return -left if mistake == "turned around" else left

    return gap
