# ruff: noqa
# One gradient half-way, whatever n_steps says: right wherever the gradient is the same
# all along.
# most: 3 (form, linear and class, as the known mistake keeps)
import torch


def integrated_gradients(image, model, target_class, baseline, n_steps):
    x = image.reshape(1, *image.shape[-3:])
    b = baseline.reshape(x.shape)
    point = ((x + b) / 2).requires_grad_()
    was_training = model.training
    model.eval()
    grad = torch.autograd.grad(model(point)[0, target_class], point)[0]
    model.train(was_training)
    return ((x - b) * grad)[0]
