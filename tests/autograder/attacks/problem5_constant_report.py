# ruff: noqa
# The same plausible report on every picture, and attributions that agree with it.
import numpy as np
import torch


def grad_cam(images, model, layer, classes):
    with torch.no_grad():
        shape = model.get_submodule(layer.split(".")[0])(images).shape
    return np.zeros((len(images), *shape[2:]))


def integrated_gradients(image, model, target_class, n_steps):
    return np.zeros(image.shape)


def both_maps(photo, model, layer, true_class, n_steps):
    own = model.preprocessing
    height, width = photo.shape[:2]
    if height == 64:
        left = (width - 64) // 2
        photo = photo[:, left : left + 64]
    x = own.normalize(torch.tensor(photo / 255).permute(2, 0, 1).float())
    with torch.no_grad():
        predicted = int(model(x[None]).argmax())
    maps = np.zeros((2, *photo.shape[:2]))
    maps[0] = 1
    return {
        "seen": photo / 255,
        "predicted": predicted,
        "gradcam": maps,
        "ig": maps,
        "blank": [False, True],
        "delta": [1.0, 1.0],
    }


def standing(logits, true_class):
    order = logits.argsort(descending=True).tolist()
    return {
        "predicted": order[0],
        "predicted_probability": 0.9,
        "top5": order[:5],
        "true": true_class,
        "true_rank": 2,
        "true_probability": 0.05,
    }


def cover_test(image, model, true_class, box):
    return {"covered": 0.9, "elsewhere": [0.1] * 18}


def find_cause(image, model, true_class, changes):
    shares = {change: float(change == "without the mark") for change in changes}
    return {"cause": "mark", "evidence": shares}


# most: 1 (what the model sees is as asked)
