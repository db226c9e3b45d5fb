"""Problem 5: the known mistakes, written anew by somebody who had seen no other."""

from __future__ import annotations

IMPORTS = """import numpy as np
import torch
from PIL import Image
"""

# Task -> a right answer.
RIGHT = {
    "standing": '''
def standing(logits, true_class):
    """Ranks and probabilities of the predicted and true class, and the top five."""
    scores = logits.detach()
    probabilities = torch.softmax(scores, dim=0)
    how_many = min(5, len(scores))
    top = torch.topk(scores, how_many).indices.tolist()
    predicted = top[0]
    better = int((scores > scores[true_class]).sum())
    rank = better + 1
    report = {
        "predicted": predicted,
        "predicted_probability": float(probabilities[predicted]),
        "top5": top,
    }
    report["true"] = int(true_class)
    report["true_rank"] = rank
    report["true_probability"] = float(probabilities[true_class])
    return report
''',
    "grad-cam": '''
def keep_output(store):
    """A forward hook that keeps what the layer puts out (later layers get a copy)."""

    def hook(module, inputs, output):
        store["A"] = output
        return output.clone()

    return hook


def grad_cam(images, model, layer, classes):
    """Raw Grad-CAM maps (N, h, w), one class per image."""
    modes = [(part, part.training) for part in model.modules()]
    store = {}
    handle = model.get_submodule(layer).register_forward_hook(keep_output(store))
    model.eval()
    try:
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_(True)
            logits = model(inputs)
            score = sum(logits[i, c] for i, c in enumerate(classes))
            (slopes,) = torch.autograd.grad(score, store["A"])
    finally:
        handle.remove()
        for part, was_training in modes:
            part.training = was_training
    maps = store["A"].detach()
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    total = (weights * maps).sum(dim=1)
    cam = torch.relu(total)
    return cam
''',
    "integrated-gradients": '''
def integrated_gradients(image, model, target_class, n_steps):
    """Signed attributions (3, H, W) of the logit, from black."""
    was_training = model.training
    model.eval()
    pixels = torch.zeros_like(image)
    black = model.preprocessing.normalize(pixels)
    way = image - black
    total = torch.zeros_like(image)
    for step in range(n_steps):
        alpha = (step + 0.5) / n_steps
        point = (black + alpha * way).detach().requires_grad_(True)
        output = model(point[None])[0]
        (slope,) = torch.autograd.grad(output[target_class], point)
        total = total + slope
    mean_slope = total / n_steps
    attributions = way * mean_slope
    model.train(was_training)
    return attributions
''',
    "both-maps": '''
def enlarge(grids, size):
    """Maps (2, h, w) made as large as the image."""
    stack = grids[None]
    big = torch.nn.functional.interpolate(
        stack, size=tuple(size), mode="bilinear", align_corners=False
    )
    return big[0]


def on_one_scale(maps):
    """Both maps divided by the larger of their maxima."""
    largest = maps.max()
    if largest <= 0:
        return maps
    return maps / largest


def both_maps(photo, model, layer, true_class, n_steps):
    """Grad-CAM and Integrated Gradients for the predicted and the true class."""
    preparation = model.preprocessing
    whole = Image.fromarray(np.asarray(photo).astype(np.uint8))
    crop = preparation.crop_image(whole)
    seen = np.asarray(crop).astype(np.float32) / 255
    x = preparation.normalize(torch.from_numpy(seen).permute(2, 0, 1))
    black = preparation.normalize(torch.zeros_like(x))
    with torch.no_grad():
        f_image, f_black = model(torch.stack([x, black]))
    predicted = int(f_image.argmax())
    pair = [predicted, int(true_class)]

    grids = grad_cam(torch.stack([x, x]), model, layer, pair)
    blank = [bool(grid.max() <= 0) for grid in grids]
    cams = enlarge(grids, x.shape[1:])

    signed = torch.stack([integrated_gradients(x, model, c, n_steps) for c in pair])
    strength = signed.abs().sum(dim=1)

    sums = signed.sum(dim=(1, 2, 3))
    change = f_image[pair] - f_black[pair]
    delta = (sums - change).abs() / change.abs()

    gradcam = on_one_scale(cams)
    ig = on_one_scale(strength)
    return {
        "seen": seen,
        "predicted": predicted,
        "gradcam": gradcam.numpy(),
        "ig": ig.numpy(),
        "blank": blank,
        "delta": delta.tolist(),
    }
''',
    "cover-test": '''
def probability_of(image, model, which):
    """The softmax probability of one class for one image."""
    with torch.no_grad():
        logits = model(image.unsqueeze(0)).squeeze(0)
    probabilities = logits.softmax(dim=0)
    return probabilities[which].item()


def cover(image, place, colour):
    """A copy of the image with one place filled."""
    top, left, bottom, right = place
    copy = image.clone()
    copy[:, top:bottom, left:right] = colour
    return copy


def overlap(one, other):
    """Do two boxes share a pixel?"""
    apart = one[2] <= other[0] or other[2] <= one[0]
    return not (apart or one[3] <= other[1] or other[3] <= one[1])


def cover_test(image, model, true_class, box):
    """The true class's probability with the suspect, then other places, covered."""
    top, left, bottom, right = box
    suspect = (top, left, bottom, right)
    height = bottom - top
    width = right - left
    colour = image.mean(dim=(1, 2)).reshape(3, 1, 1)
    rows = range(0, image.shape[1] - height + 1, height)
    columns = range(0, image.shape[2] - width + 1, width)
    tiles = [(r, c, r + height, c + width) for r in rows for c in columns]
    others = [tile for tile in tiles if not overlap(tile, suspect)]
    elsewhere = []
    for tile in others:
        changed = cover(image, tile, colour)
        elsewhere.append(probability_of(changed, model, true_class))
    covered = cover(image, suspect, colour)
    return {
        "covered": probability_of(covered, model, true_class),
        "elsewhere": elsewhere,
    }
''',
    "find-cause": '''
REMOVALS = {
    "mark": "without the mark",
    "occlusion": "without the cover",
    "noise": "without the noise",
}


def answers(pictures, model):
    """The model's answer to each picture."""
    with torch.no_grad():
        return model(pictures).argmax(dim=1)


def enough(share):
    """Is that enough evidence?"""
    return share >= 0.5


def find_cause(image, model, true_class, changes):
    """The cause of a mistake, and what each change does to it."""
    answer = int(answers(image[None], model)[0])
    evidence = {}
    for name, pictures in changes.items():
        right = answers(pictures, model) == true_class
        evidence[name] = right.double().mean().item()
    shares = {cause: evidence[name] for cause, name in REMOVALS.items()}
    best = max(shares, key=shares.get)

    if answer == true_class:
        cause = "no mistake"
    elif enough(evidence["harmless"]):
        cause = "near tie"
    elif enough(shares[best]):
        cause = best
    else:
        cause = "not found"
    return {"evidence": evidence, "cause": cause}
''',
    "words": '''
def in_own_words():
    """Suspect, intervention and doubt, in two or three sentences each."""
    suspect = (
        "On one scale the Grad-CAM map of the predicted class, star, is brightest on "
        "the logo: 14 percent of it lies on the logo's 2.4 percent of the picture. The "
        "map of the true class, arrow, reaches 0.36 and has nothing there; Integrated "
        "Gradients has 6 percent of the star's map on the logo and 2 of the arrow's. "
        "This makes the logo a suspect, but it is not yet a cause."
    )
    intervention = (
        "I covered the logo with the mean colour, and the probability of arrow rose "
        "from 0.03 to 0.90, from rank 2 to rank 1. The same cover at 34 other places "
        "left it between 0.001 and 0.09, so it is not the covering. Drawn again "
        "without its logo, the same scene is an arrow with a probability of 0.90."
    )
    doubt = (
        "A near tie is unlikely, for the mirror and four shifts by one pixel left the "
        "answer at star (arrow had 0.14 at most), and nothing hides the arrow. "
        "Of 40 other pictures with a logo that I did not choose, 11 were wrong, and "
        "all 11 were right without it. I did not test other logos, or noise."
    )
    return {"suspect": suspect, "intervention": intervention, "doubt": doubt}
''',
}

_TRUE_LINES = """    report["true"] = int(true_class)
    report["true_rank"] = rank
    report["true_probability"] = float(probabilities[true_class])
"""

_RESTORE = """        for part, was_training in modes:
            part.training = was_training
"""

_ONE_SCALE = """    largest = maps.max()
    if largest <= 0:
        return maps
    return maps / largest
"""

_EACH_ITS_OWN = """    scaled = []
    for one in maps:
        scaled.append(one / one.max() if one.max() > 0 else one)
    return torch.stack(scaled)
"""

_TILES_LOOP = """    for tile in others:
        changed = cover(image, tile, colour)
"""

_NEAR_TIE = """    elif enough(evidence["harmless"]):
        cause = "near tie"
"""

# Task -> mistake -> what changes in the right answer, as (old, new) pairs.
MISTAKES = {
    "standing": {
        "sigmoid": [("torch.softmax(scores, dim=0)", "torch.sigmoid(scores)")],
        "logits given as probabilities": [("torch.softmax(scores, dim=0)", "scores")],
        "percent": [
            ("torch.softmax(scores, dim=0)", "100 * torch.softmax(scores, dim=0)")
        ],
        "rank from 0": [("rank = better + 1", "rank = better")],
        # reading: the class itself is counted among the better ones, and 1 is added
        "rank one too large": [
            ("(scores > scores[true_class])", "(scores >= scores[true_class])")
        ],
        "rank of probabilities": [
            (
                "(scores > scores[true_class])",
                "(probabilities > probabilities[true_class])",
            ),
        ],
        "rank counts ties of probabilities": [
            (
                "(scores > scores[true_class])",
                "(probabilities >= probabilities[true_class])",
            ),
            ("rank = better + 1", "rank = better"),
        ],
        "rank from the other end": [
            ("(scores > scores[true_class])", "(scores < scores[true_class])")
        ],
        "argsort read as rank": [
            (
                "rank = better + 1",
                "rank = int(scores.argsort(descending=True)[true_class]) + 1",
            ),
        ],
        # reading: a class outside the top 5 has no rank (another: it has rank 6)
        "rank within the top 5": [
            (
                "rank = better + 1",
                "rank = top.index(true_class) + 1 if true_class in top else None",
            ),
        ],
        "top 5 worst first": [('"top5": top,', '"top5": top[::-1],')],
        "top 5 the smallest": [
            (
                '"top5": top,',
                '"top5": torch.topk(scores, how_many, largest=False).indices.tolist(),',
            ),
        ],
        "top 3": [('"top5": top,', '"top5": top[:3],')],
        "probability of the predicted class twice": [
            (
                'report["true_probability"] = float(probabilities[true_class])',
                'report["true_probability"] = float(probabilities[predicted])',
            ),
        ],
        "true class missing": [(_TRUE_LINES, "")],
        # reading: five are asked for whatever the number of classes
        "top 5 of five classes at least": [
            ("how_many = min(5, len(scores))", "how_many = 5")
        ],
    },
    "grad-cam": {
        "one class for the whole batch": [
            (
                "logits[i, c] for i, c in enumerate(classes)",
                "logits[i, classes[0]] for i in range(len(images))",
            ),
        ],
        "all classes in every image": [
            (
                "sum(logits[i, c] for i, c in enumerate(classes))",
                "logits[:, list(classes)].sum()",
            ),
        ],
        "the next class": [
            ("logits[i, c] for", "logits[i, (c + 1) % logits.shape[1]] for")
        ],
        "the predicted class": [
            (
                "sum(logits[i, c] for i, c in enumerate(classes))",
                "logits.max(dim=1).values.sum()",
            ),
        ],
        "softmax instead of logit": [
            ("logits = model(inputs)", "logits = model(inputs).softmax(dim=1)")
        ],
        "gradients summed, not averaged": [
            (
                "slopes.mean(dim=(2, 3), keepdim=True)",
                "slopes.sum(dim=(2, 3), keepdim=True)",
            ),
        ],
        "absolute weights": [
            (
                "slopes.mean(dim=(2, 3), keepdim=True)",
                "slopes.mean(dim=(2, 3), keepdim=True).abs()",
            ),
        ],
        "negative weights cut off": [
            (
                "slopes.mean(dim=(2, 3), keepdim=True)",
                "slopes.mean(dim=(2, 3), keepdim=True).clamp(min=0)",
            ),
        ],
        "weights averaged over the batch": [
            (
                "slopes.mean(dim=(2, 3), keepdim=True)",
                "slopes.mean(dim=(0, 2, 3), keepdim=True)",
            ),
        ],
        "each cell's own gradient": [
            ("slopes.mean(dim=(2, 3), keepdim=True)", "slopes")
        ],
        "no weights": [("(weights * maps).sum(dim=1)", "maps.sum(dim=1)")],
        "no ReLU": [("cam = torch.relu(total)", "cam = total")],
        "absolute value instead of ReLU": [
            ("cam = torch.relu(total)", "cam = total.abs()")
        ],
        "ReLU before the sum": [
            ("(weights * maps).sum(dim=1)", "torch.relu(weights * maps).sum(dim=1)")
        ],
        "channels averaged": [
            ("(weights * maps).sum(dim=1)", "(weights * maps).mean(dim=1)")
        ],
        "scaled to 1": [
            (
                "return cam\n",
                "return cam / cam.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)\n",
            ),
        ],
        # reading: with ones (another: with what there was before the ReLU)
        "blank map filled": [
            (
                "return cam\n",
                "empty = cam.amax(dim=(1, 2)) == 0\n"
                "    cam[empty] = 1.0\n    return cam\n",
            ),
        ],
        "minimum subtracted": [
            ("return cam\n", "return cam - cam.amin(dim=(1, 2), keepdim=True)\n")
        ],
        # reading: only the blank map changes (scaled, and scaled back); another: the
        # maps are divided by their maxima, which is "scaled to 1" elsewhere
        "NaN on a blank map": [
            (
                "return cam\n",
                "peak = cam.amax(dim=(1, 2), keepdim=True)\n"
                "    shape = cam / peak\n    return shape * peak\n",
            ),
        ],
        "hook left in the model": [("        handle.remove()\n", "")],
        # reading: model.eval() is forgotten (another: model.train() is called)
        "training mode while explaining": [("    model.eval()\n", "")],
        "model left in eval mode": [(_RESTORE, "")],
        "resized to the image": [
            (
                "return cam\n",
                "return torch.nn.functional.interpolate(\n"
                '        cam[:, None], images.shape[2:], mode="bilinear"\n'
                "    )[:, 0]\n",
            ),
        ],
        "first image only": [("return cam\n", "return cam[:1]\n")],
    },
    "integrated-gradients": {
        "zeros as the baseline": [("model.preprocessing.normalize(pixels)", "pixels")],
        "-1 as the baseline": [("model.preprocessing.normalize(pixels)", "pixels - 1")],
        "white as the baseline": [
            ("pixels = torch.zeros_like(image)", "pixels = torch.ones_like(image)")
        ],
        "black normalised twice": [
            (
                "black = model.preprocessing.normalize(pixels)",
                "black = model.preprocessing.normalize(pixels)\n"
                "    black = model.preprocessing.normalize(black)",
            ),
        ],
        "gradient at the image only": [("(step + 0.5) / n_steps", "1.0")],
        "gradient at the baseline only": [("(step + 0.5) / n_steps", "0.0")],
        # reading: both ends are points; n_steps + 1 gradients are divided by n_steps
        "one step too many": [
            ("range(n_steps)", "range(n_steps + 1)"),
            ("(step + 0.5) / n_steps", "step / n_steps"),
        ],
        # reading: neither end is a point; n_steps - 1 gradients are divided by n_steps
        "one step too few": [
            ("range(n_steps)", "range(1, n_steps)"),
            ("(step + 0.5) / n_steps", "step / n_steps"),
        ],
        "softmax instead of logit": [
            ("model(point[None])[0]", "model(point[None])[0].softmax(dim=0)")
        ],
        "the predicted class": [("output[target_class]", "output[output.argmax()]")],
        "the next class": [
            ("output[target_class]", "output[(target_class + 1) % len(output)]")
        ],
        "absolute values inside the sum": [("total + slope", "total + slope.abs()")],
        "summed, not averaged": [("total / n_steps", "total")],
        "x - x' missing": [("way * mean_slope", "mean_slope")],
        "times x": [("way * mean_slope", "image * mean_slope")],
        "sign turned": [("way * mean_slope", "(black - image) * mean_slope")],
        "absolute values": [("way * mean_slope", "(way * mean_slope).abs()")],
        "scaled to 1": [
            ("return attributions", "return attributions / attributions.abs().max()")
        ],
        "channels summed": [("return attributions", "return attributions.sum(dim=0)")],
    },
    "both-maps": {
        "the whole photo squashed": [
            (
                "crop = preparation.crop_image(whole)",
                "h, w = preparation.crop\n"
                "    crop = whole.resize((w, h), Image.Resampling.BILINEAR)",
            ),
        ],
        # reading: resized as it should be, then cut at the upper left corner
        "the crop's corner": [
            (
                "crop = preparation.crop_image(whole)",
                "factor = preparation.resize / min(whole.size)\n"
                "    size = [round(side * factor) for side in whole.size]\n"
                "    h, w = preparation.crop\n"
                "    small = whole.resize(size, Image.Resampling.BILINEAR)\n"
                "    crop = small.crop((0, 0, w, h))",
            ),
        ],
        "true class first": [
            ("[predicted, int(true_class)]", "[int(true_class), predicted]")
        ],
        "predicted class twice": [
            ("[predicted, int(true_class)]", "[predicted, predicted]")
        ],
        "true class twice": [
            ("[predicted, int(true_class)]", "[int(true_class), int(true_class)]")
        ],
        "corners aligned": [("align_corners=False", "align_corners=True")],
        "nearest cell": [('mode="bilinear", align_corners=False', 'mode="nearest"')],
        # reading: the sum stays signed (another: the absolute value of the sum)
        "channels summed with their signs": [
            ("signed.abs().sum(dim=1)", "signed.sum(dim=1)")
        ],
        "maximum over the channels": [
            ("signed.abs().sum(dim=1)", "signed.abs().amax(dim=1)")
        ],
        "maps scaled separately": [(_ONE_SCALE, _EACH_ITS_OWN)],
        "Grad-CAM scaled separately": [
            (
                "gradcam = on_one_scale(cams)",
                "gradcam = torch.stack([on_one_scale(cam) for cam in cams])",
            ),
        ],
        "one scale for both methods": [
            (
                "gradcam = on_one_scale(cams)",
                "every = on_one_scale(torch.cat([cams, strength]))\n"
                "    gradcam = every[:2]",
            ),
            ("ig = on_one_scale(strength)", "ig = every[2:]"),
        ],
        "unscaled": [
            ("gradcam = on_one_scale(cams)", "gradcam = cams"),
            ("ig = on_one_scale(strength)", "ig = strength"),
        ],
        # reading: one minimum for the pair, as there is one maximum
        "each map's minimum subtracted": [
            (
                "    largest = maps.max()\n",
                "    maps = maps - maps.min()\n    largest = maps.max()\n",
            ),
        ],
        "normalised instead of pixels": [
            ('"seen": seen,', '"seen": x.permute(1, 2, 0).numpy(),')
        ],
        "pixels up to 255": [('"seen": seen,', '"seen": np.asarray(crop),')],
        "overlay on the un-cropped photo": [
            ('"seen": seen,', '"seen": np.asarray(photo) / 255,')
        ],
        "0 / 0 on a blank map": [("    if largest <= 0:\n        return maps\n", "")],
        "blank never noticed": [
            ("[bool(grid.max() <= 0) for grid in grids]", "[False, False]")
        ],
        # reading: one map of each method, for the predicted class
        "predicted class only": [
            ("[predicted, int(true_class)]", "[predicted]"),
            ("torch.stack([x, x])", "torch.stack([x])"),
        ],
        # reading: the signed attributions are divided by the map's scale before the sum
        "delta after scaling": [
            (
                "sums = signed.sum(dim=(1, 2, 3))",
                "sums = (signed / strength.max()).sum(dim=(1, 2, 3))",
            ),
        ],
        "delta of absolute values": [
            (
                "sums = signed.sum(dim=(1, 2, 3))",
                "sums = signed.abs().sum(dim=(1, 2, 3))",
            ),
        ],
        # reading: F is the probability (another: the logit of another class)
        "delta of another output": [
            (
                "f_image[pair] - f_black[pair]",
                "f_image.softmax(dim=0)[pair] - f_black.softmax(dim=0)[pair]",
            ),
        ],
        "delta not relative": [(" / change.abs()", "")],
    },
    "cover-test": {
        # reading: the box is read as (left, top, right, bottom)
        "columns before rows": [
            (
                "    top, left, bottom, right = box\n",
                "    left, top, right, bottom = box\n",
            )
        ],
        # reading: where places are filled, box and tiles; the tiles stay where they are
        "bottom and right included": [
            (
                "copy[:, top:bottom, left:right]",
                "copy[:, top:bottom + 1, left:right + 1]",
            ),
        ],
        "height and width read from the box": [
            (
                "    top, left, bottom, right = box\n",
                "    top, left, height, width = box\n"
                "    bottom, right = top + height, left + width\n",
            ),
        ],
        "covered with zeros": [("image.mean(dim=(1, 2)).reshape(3, 1, 1)", "0.0")],
        "covered with black": [
            (
                "image.mean(dim=(1, 2)).reshape(3, 1, 1)",
                "model.preprocessing.normalize(torch.zeros(3, 1, 1))",
            ),
        ],
        "one mean for all channels": [
            ("image.mean(dim=(1, 2)).reshape(3, 1, 1)", "image.mean()")
        ],
        "covered with the part's own mean": [
            (
                "    copy[:, top:bottom, left:right] = colour\n",
                "    part = copy[:, top:bottom, left:right]\n"
                "    part[:] = part.mean(dim=(1, 2), keepdim=True)\n",
            ),
        ],
        # reading: each tile stays covered when the next is (the suspect alone is right)
        "covers pile up": [
            (
                _TILES_LOOP,
                "    changed = image\n    for tile in others:\n"
                "        changed = cover(changed, tile, colour)\n",
            ),
        ],
        "logit instead of probability": [("logits.softmax(dim=0)", "logits")],
        # reading: the largest probability of the covered picture (another: that of the
        # class that the whole picture was given)
        "probability of the answer": [
            ("probabilities[which].item()", "probabilities.max().item()")
        ],
        "last row and column forgotten": [
            ("image.shape[1] - height + 1", "image.shape[1] - height"),
            ("image.shape[2] - width + 1", "image.shape[2] - width"),
        ],
        "column by column": [
            ("for r in rows for c in columns", "for c in columns for r in rows")
        ],
        # reading: no tile is left out for the box
        "suspect among the controls": [
            ("[tile for tile in tiles if not overlap(tile, suspect)]", "tiles")
        ],
        # reading: only a tile that is the box itself is left out (another: tiles at a
        # smaller step than their size, which overlap with one another)
        "neighbours that overlap": [
            ("if not overlap(tile, suspect)", "if tile != suspect")
        ],
        "no controls": [('"elsewhere": elsewhere,', '"elsewhere": [],')],
        # reading: one number in place of the list
        "controls averaged": [
            ('"elsewhere": elsewhere,', '"elsewhere": float(np.mean(elsewhere)),')
        ],
    },
    "find-cause": {
        # reading: any answer but the one the picture itself got
        "any other answer counts": [
            (
                "answers(pictures, model) == true_class",
                "answers(pictures, model) != answer",
            )
        ],
        "mean probability instead of answers": [
            (
                "        right = answers(pictures, model) == true_class\n",
                "        with torch.no_grad():\n"
                "            right = model(pictures).softmax(dim=1)[:, true_class]\n",
            ),
        ],
        "first picture only": [
            ("right = answers(pictures, model)", "right = answers(pictures[:1], model)")
        ],
        "share of the predicted class": [
            (
                "answers(pictures, model) == true_class",
                "answers(pictures, model) == answer",
            )
        ],
        "true class in the top 5": [
            (
                "        right = answers(pictures, model) == true_class\n",
                "        with torch.no_grad():\n"
                "            order = model(pictures).argsort(dim=1, descending=True)\n"
                "        right = (order[:, :5] == true_class).any(dim=1)\n",
            ),
        ],
        # reading: of the threshold, for the harmless changes too; the shares stay
        "any picture will do": [("share >= 0.5", "share > 0")],
        "more than half": [("share >= 0.5", "share > 0.5")],
        # reading: of the threshold, for the harmless changes too; the shares stay
        "all pictures": [("share >= 0.5", "share == 1")],
        "never not found": [
            (
                "    elif enough(shares[best]):\n        cause = best\n    else:\n"
                '        cause = "not found"\n',
                "    else:\n        cause = best\n",
            ),
        ],
        "first that will do": [
            (
                "    best = max(shares, key=shares.get)\n",
                "    good = [cause for cause in shares if enough(shares[cause])]\n"
                '    best = good[0] if good else "mark"\n',
            ),
        ],
        # reading: of the three, the one that changes most, if its evidence is enough
        "largest change of the pixels": [
            (
                "    best = max(shares, key=shares.get)\n",
                "    size = {\n"
                "        cause: float((changes[name] - image).abs().mean())\n"
                "        for cause, name in REMOVALS.items()\n"
                "    }\n"
                "    best = max(size, key=size.get)\n",
            ),
        ],
        # reading: of the three, the one with the largest mean gain, if that is enough
        "largest gain in probability": [
            (
                "    best = max(shares, key=shares.get)\n",
                "    with torch.no_grad():\n"
                "        before = model(image[None]).softmax(dim=1)[0, true_class]\n"
                "        gain = {}\n"
                "        for cause, name in REMOVALS.items():\n"
                "            after = model(changes[name]).softmax(1)[:, true_class]\n"
                "            gain[cause] = float(after.mean() - before)\n"
                "    best = max(gain, key=gain.get)\n",
            ),
        ],
        "harmless changes ignored": [(_NEAR_TIE, "")],
        "harmless changes as one more cause": [
            (
                "    best = max(shares, key=shares.get)\n",
                '    shares["near tie"] = evidence["harmless"]\n'
                "    best = max(shares, key=shares.get)\n",
            ),
            (_NEAR_TIE, ""),
        ],
        # reading: whatever the evidence (the evidence itself is right)
        "always the mark": [
            ('    return {"evidence"', '    cause = "mark"\n    return {"evidence"')
        ],
        "image itself not asked": [
            (
                '    if answer == true_class:\n        cause = "no mistake"\n    elif',
                "    if",
            ),
            ("    answer = int(answers(image[None], model)[0])\n", ""),
        ],
        # reading: the dictionary has no evidence (another: it has an empty one)
        "cause without evidence": [
            ('return {"evidence": evidence, "cause": cause}', 'return {"cause": cause}')
        ],
        # reading: the entry of the cause alone; of no cause, nothing
        "evidence for the named cause only": [
            (
                '    return {"evidence": evidence,',
                '    keys = {**REMOVALS, "near tie": "harmless"}\n'
                "    key = keys.get(cause)\n"
                "    evidence = {key: evidence[key]} if key else {}\n"
                '    return {"evidence": evidence,',
            ),
        ],
        "evidence in words": [
            (
                '    return {"evidence": evidence,',
                "    evidence = {\n"
                '        name: f"{share:.0%} of the pictures are right"\n'
                "        for name, share in evidence.items()\n"
                "    }\n"
                '    return {"evidence": evidence,',
            ),
        ],
    },
}
