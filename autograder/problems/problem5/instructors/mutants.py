"""Problem 5's functions, right and wrong, as a student would write them.

They use nothing but torch, numpy and Pillow. This file also runs as the code of a
submission, so it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

REMOVES = {
    "without the mark": "mark",
    "without the cover": "occlusion",
    "without the noise": "noise",
}


def standing_with(mistake: str) -> Callable[..., Any]:
    """`standing` with one mistake; "" makes none."""

    def standing(logits, true_class):
        logits = torch.as_tensor(logits)
        shares = logits.softmax(dim=0)
        if mistake == "sigmoid":
            shares = logits.sigmoid()
        elif mistake == "logits given as probabilities":
            shares = logits
        elif mistake == "percent":
            shares = 100 * shares
        elif mistake == "rounded":
            shares = (100 * shares).round() / 100
        order = logits.argsort(descending=True)
        larger = logits > logits[true_class]
        rank = {
            "rank from 0": lambda: larger.sum(),
            "rank one too large": lambda: larger.sum() + 2,
            "rank of probabilities": lambda: (shares > shares[true_class]).sum() + 1,
            "rank counts ties of probabilities": (
                lambda: (shares >= shares[true_class]).sum()
            ),
            "rank from the other end": lambda: (logits < logits[true_class]).sum() + 1,
            "argsort read as rank": lambda: order[true_class] + 1,
            "rank within the top 5": lambda: min(larger.sum() + 1, torch.tensor(6)),
        }.get(mistake, lambda: larger.sum() + 1)()
        top = order[:5]
        if mistake == "top 5 worst first":
            top = top.flip(0)
        elif mistake == "top 5 the smallest":
            top = logits.argsort()[:5]
        elif mistake == "top 3":
            top = order[:3]
        elif mistake == "top 5 of five classes at least":
            top = logits.topk(5).indices
        predicted = int(order[0])
        of_true = shares[true_class]
        if mistake == "probability of the predicted class twice":
            of_true = shares[predicted]
        reply = {
            "predicted": predicted,
            "predicted_probability": float(shares[predicted]),
            "top5": top.tolist(),
            "true": int(true_class),
            "true_rank": int(rank),
            "true_probability": float(of_true),
        }
        if mistake == "true class missing":
            reply = {k: v for k, v in reply.items() if not k.startswith("true")}
        return reply

    return standing


def grad_cam_with(mistake: str) -> Callable[..., Any]:
    """`grad_cam` with one mistake."""

    def grad_cam(images, model, layer, classes):
        was_training = model.training
        if mistake != "training mode while explaining":
            model.eval()
        kept = []
        handle = model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output: kept.append(output)
        )
        x = images.clone().requires_grad_()
        logits = model(x)
        if mistake != "hook left in the model":
            handle.remove()
        rows = torch.arange(len(x))
        columns = torch.as_tensor(classes)
        if mistake == "one class for the whole batch":
            columns = columns[:1].expand(len(x))
        elif mistake == "the next class":
            columns = (columns + 1) % logits.shape[1]
        elif mistake == "the predicted class":
            columns = logits.argmax(dim=1)
        scores = logits
        if mistake == "softmax instead of logit":
            scores = logits.softmax(dim=1)
        chosen = scores[rows, columns].sum()
        if mistake == "all classes in every image":
            chosen = scores[:, columns].sum()
        gradient = torch.autograd.grad(chosen, kept[0])[0]
        grid = kept[0].detach()
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        if mistake == "gradients summed, not averaged":
            weights = gradient.sum(dim=(2, 3), keepdim=True)
        elif mistake == "absolute weights":
            weights = weights.abs()
        elif mistake == "negative weights cut off":
            weights = weights.relu()
        elif mistake == "weights averaged over the batch":
            weights = weights.mean(dim=0, keepdim=True)
        elif mistake == "no weights":
            weights = torch.ones_like(weights)
        summed = (weights * grid).sum(dim=1)
        cams = {
            "no ReLU": lambda: summed,
            "absolute value instead of ReLU": lambda: summed.abs(),
            "ReLU before the sum": lambda: (weights * grid).relu().sum(dim=1),
            "channels averaged": lambda: (weights * grid).mean(dim=1).relu(),
            "each cell's own gradient": lambda: (gradient * grid).sum(dim=1).relu(),
        }.get(mistake, summed.relu)()
        if mistake == "scaled to 1":
            cams = cams / (cams.amax(dim=(1, 2), keepdim=True) + 1e-12)
        elif mistake == "NaN on a blank map":
            cams = cams / cams.amax(dim=(1, 2), keepdim=True)
        elif mistake == "minimum subtracted":
            cams = cams - cams.amin(dim=(1, 2), keepdim=True)
        elif mistake == "blank map filled":
            peak = cams.amax(dim=(1, 2), keepdim=True)
            cams = torch.where(peak == 0, torch.ones_like(cams), cams)
        elif mistake == "resized to the image":
            cams = interpolate(cams[:, None], size=x.shape[-2:])[:, 0]
        elif mistake == "first image only":
            cams = cams[0]
        elif mistake == "image changed in place":
            images += 1
        elif mistake == "requires_grad left off":
            model.requires_grad_(False)
        if mistake != "model left in eval mode":
            model.train(was_training)
        return cams.detach().numpy()

    return grad_cam


def integrated_gradients_with(mistake: str) -> Callable[..., Any]:
    """`integrated_gradients` with one mistake."""

    def integrated_gradients(image, model, target_class, n_steps):
        if mistake == "twenty steps, whatever n_steps":
            n_steps = 20
        was_training = model.training
        if mistake != "training mode while explaining":
            model.eval()
        x = image.detach()
        normalize = model.preprocessing.normalize
        start = normalize(torch.zeros_like(x))
        start = {
            "zeros as the baseline": torch.zeros_like(x),
            "-1 as the baseline": -torch.ones_like(x),
            "white as the baseline": normalize(torch.ones_like(x)),
            "black normalised twice": normalize(start),
        }.get(mistake, start)
        total = torch.zeros_like(x)
        steps = (np.arange(n_steps) + 0.5) / n_steps
        if mistake == "gradient at the image only":
            steps = np.ones(n_steps)
        elif mistake == "gradient at the baseline only":
            steps = np.zeros(n_steps)
        elif mistake == "one step too many":
            steps = np.arange(n_steps + 1) / n_steps
        elif mistake == "one step too few":
            steps = (np.arange(n_steps - 1) + 0.5) / n_steps
        for alpha in steps:
            point = (start + float(alpha) * (x - start))[None].requires_grad_()
            logits = model(point)
            if mistake == "softmax instead of logit":
                logits = logits.softmax(dim=1)
            k = target_class
            if mistake == "the predicted class":
                k = int(model(x[None]).argmax())
            elif mistake == "the next class":
                k = (k + 1) % logits.shape[1]
            gradient = torch.autograd.grad(logits[0, k], point)[0][0]
            if mistake == "absolute values inside the sum":
                gradient = gradient.abs()
            total += gradient
        if mistake != "summed, not averaged":
            total = total / n_steps
        signed = total * (x - start)
        if mistake == "x - x' missing":
            signed = total
        elif mistake == "times x":
            signed = total * x
        elif mistake == "sign turned":
            signed = -signed
        elif mistake == "absolute values":
            signed = signed.abs()
        elif mistake == "scaled to 1":
            signed = signed / signed.abs().max()
        elif mistake == "channels summed":
            signed = signed.sum(dim=0)
        elif mistake == "rounded":
            signed = (100 * signed).round() / 100
        elif mistake == "image changed in place":
            image += 1
        if mistake != "model left in eval mode":
            model.train(was_training)
        return signed.numpy()

    return integrated_gradients


def both_maps_with(mistake: str) -> Callable[..., Any]:
    """`both_maps` with one mistake, on right maps."""
    grad_cam, integrated_gradients = grad_cam_with(""), integrated_gradients_with("")

    def both_maps(photo, model, layer, true_class, n_steps):
        own = model.preprocessing
        whole = Image.fromarray(np.asarray(photo))
        crop = own.crop_image(whole)
        if mistake == "the whole photo squashed":
            crop = whole.resize(own.crop[::-1])
        elif mistake == "the crop's corner":
            crop = whole.crop((0, 0, own.crop[1], own.crop[0]))
        seen = np.asarray(crop) / 255
        x = own.normalize(torch.tensor(seen).permute(2, 0, 1).float())
        with torch.no_grad():
            logits = model(x[None])[0]
            empty = model(own.normalize(torch.zeros_like(x))[None])[0]
        predicted = int(logits.argmax())
        pair = [predicted, true_class]
        if mistake == "true class first":
            pair = [true_class, predicted]
        elif mistake == "predicted class twice":
            pair = [predicted, predicted]
        elif mistake == "true class twice":
            pair = [true_class, true_class]
        raw = torch.tensor(grad_cam(torch.stack([x, x]), model, layer, pair))
        blank = [not bool(cam.any()) for cam in raw]
        how: dict[str, Any] = {"mode": "bilinear", "align_corners": False}
        if mistake == "corners aligned":
            how = {"mode": "bilinear", "align_corners": True}
        elif mistake == "nearest cell":
            how = {"mode": "nearest"}
        cams = interpolate(raw[:, None], size=x.shape[-2:], **how)[:, 0].numpy()
        signed = [integrated_gradients(x, model, k, n_steps) for k in pair]
        gain = (logits - empty)[pair].numpy()
        if mistake == "delta after scaling":
            sums = np.array([(s / np.abs(s).max()).sum() for s in signed])
        elif mistake == "delta of absolute values":
            sums = np.array([np.abs(s).sum() for s in signed])
        else:
            sums = np.array([s.sum() for s in signed])
        delta = np.abs(sums - gain)
        if mistake == "delta of another output":
            p = logits.softmax(dim=0) - empty.softmax(dim=0)
            gain = p[pair].numpy()
            delta = np.abs(sums - gain)
        if mistake != "delta not relative":
            delta = delta / np.abs(gain)
        igs = np.abs(np.stack(signed)).sum(axis=1)
        if mistake == "channels summed with their signs":
            igs = np.abs(np.stack(signed).sum(axis=1))
        elif mistake == "maximum over the channels":
            igs = np.abs(np.stack(signed)).max(axis=1)
        limits = [np.full((2, 1, 1), maps.max()) for maps in (cams, igs)]
        if mistake in ("maps scaled separately", "0 / 0 on a blank map"):
            limits = [maps.max(axis=(1, 2), keepdims=True) for maps in (cams, igs)]
        elif mistake == "one scale for both methods":
            limits = [np.maximum(*limits)] * 2
        elif mistake == "Grad-CAM scaled separately":
            limits[0] = cams.max(axis=(1, 2), keepdims=True)
        elif mistake == "unscaled":
            limits = [np.ones((2, 1, 1))] * 2
        elif mistake == "each map's minimum subtracted":
            cams = cams - cams.min(axis=(1, 2), keepdims=True)
            igs = igs - igs.min(axis=(1, 2), keepdims=True)
            limits = [np.full((2, 1, 1), maps.max()) for maps in (cams, igs)]
        if mistake != "0 / 0 on a blank map":
            limits = [np.where(limit > 0, limit, 1) for limit in limits]
        with np.errstate(invalid="ignore"):
            cams, igs = cams / limits[0], igs / limits[1]
        if mistake == "blank never noticed":
            blank = [False, False]
        elif mistake == "overlay on the un-cropped photo":
            seen = np.asarray(whole) / 255
            size = seen.shape[:2]
            cams, igs = (
                interpolate(torch.tensor(m)[None], size=size)[0].numpy()
                for m in (cams, igs)
            )
        elif mistake == "normalised instead of pixels":
            seen = x.permute(1, 2, 0).numpy()
        elif mistake == "pixels up to 255":
            seen = np.asarray(crop)
        reply = {
            "seen": seen,
            "predicted": predicted,
            "gradcam": cams,
            "ig": igs,
            "blank": blank,
            "delta": delta.tolist(),
        }
        if mistake == "predicted class only":
            reply |= {"gradcam": cams[:1], "ig": igs[:1]}
        return reply

    return both_maps


def cover_test_with(mistake: str) -> Callable[..., Any]:
    """`cover_test` with one mistake."""

    def cover_test(image, model, true_class, box):
        top, left, bottom, right = box
        if mistake == "columns before rows":
            left, top, right, bottom = box
        elif mistake == "bottom and right included":
            bottom, right = bottom + 1, right + 1
        elif mistake == "height and width read from the box":
            bottom, right = top + bottom, left + right
        height, width = bottom - top, right - left
        mean = image.mean(dim=(1, 2), keepdim=True)
        fill = {
            "covered with zeros": torch.zeros_like(mean),
            "covered with black": model.preprocessing.normalize(torch.zeros_like(mean)),
            "one mean for all channels": image.mean().expand_as(mean),
        }.get(mistake, mean)
        given, image = image, image.clone()

        def answer(row, column):
            view = image if mistake == "covers pile up" else image.clone()
            part = view[:, row : row + height, column : column + width]
            part[:] = fill
            if mistake == "covered with the part's own mean":
                whole = image[:, row : row + height, column : column + width]
                part[:] = whole.mean(dim=(1, 2), keepdim=True)
            with torch.no_grad():
                logits = model(view[None])[0]
            shares = logits.softmax(dim=0)
            if mistake == "logit instead of probability":
                shares = logits
            k = true_class
            if mistake == "probability of the answer":
                k = int(logits.argmax())
            return float(shares[k])

        covered = answer(top, left)
        rows = range(0, image.shape[1] - height + 1, height)
        columns = range(0, image.shape[2] - width + 1, width)
        if mistake == "last row and column forgotten":
            rows = range(0, image.shape[1] - height, height)
            columns = range(0, image.shape[2] - width, width)
        places = [(row, column) for row in rows for column in columns]
        if mistake == "column by column":
            places = [(row, column) for column in columns for row in rows]

        def apart(row, column):
            if mistake == "suspect among the controls":
                return True
            if mistake == "neighbours that overlap":
                return (row, column) != (top, left)
            return (
                row >= bottom
                or row + height <= top
                or column >= right
                or column + width <= left
            )

        elsewhere = [answer(*place) for place in places if apart(*place)]
        if mistake == "image changed in place":
            given[:, top:bottom, left:right] = fill
        if mistake == "controls averaged":
            return {"covered": covered, "elsewhere": float(np.mean(elsewhere))}
        if mistake == "no controls":
            return {"covered": covered}
        return {"covered": covered, "elsewhere": elsewhere}

    return cover_test


def find_cause_with(mistake: str) -> Callable[..., Any]:
    """`find_cause` with one mistake."""

    def find_cause(image, model, true_class, changes):
        with torch.no_grad():
            logits = model(image[None])[0]
            answers = {k: model(pictures) for k, pictures in changes.items()}
        predicted = int(logits.argmax())

        def probability(k):
            return float(answers[k].softmax(dim=1)[:, true_class].mean())

        def share(k):
            if mistake == "mean probability instead of answers":
                return probability(k)
            answer = answers[k].argmax(dim=1)
            counted = answer == true_class
            if mistake == "any other answer counts":
                counted = answer != predicted
            elif mistake == "first picture only":
                counted = counted[:1]
            elif mistake == "share of the predicted class":
                counted = answer == predicted
            elif mistake == "true class in the top 5":
                counted = (answers[k].topk(5).indices == true_class).any(dim=1)
            return float(counted.double().mean())

        shares = {k: share(k) for k in changes}
        best = max(REMOVES, key=lambda k: shares[k])
        enough = {
            "any picture will do, harmless too": shares[best] > 0,
            "more than half, harmless too": shares[best] > 0.5,
            "all pictures, harmless too": shares[best] == 1,
            "any picture will do": shares[best] > 0,
            "more than half": shares[best] > 0.5,
            "all pictures": shares[best] == 1,
            "a third is enough": shares[best] > 1 / 3,
            "never not found": True,
        }.get(mistake, shares[best] >= 0.5)
        cause = REMOVES[best] if enough else "not found"
        if mistake in ("first that will do", "last that will do"):
            found = [c for k, c in REMOVES.items() if shares[k] >= 0.5]
            last = mistake == "last that will do"
            cause = [*(found[::-1] if last else found), "not found"][0]
        elif mistake == "largest change of the pixels":
            most = max(REMOVES, key=lambda k: float((changes[k] - image).abs().mean()))
            cause = REMOVES[most]
        elif mistake == "largest gain in probability":
            cause = REMOVES[max(REMOVES, key=probability)]
        tie = {
            "any picture will do, harmless too": shares["harmless"] > 0,
            "more than half, harmless too": shares["harmless"] > 0.5,
            "all pictures, harmless too": shares["harmless"] == 1,
        }.get(mistake, shares["harmless"] >= 0.5)
        if tie and mistake != "harmless changes ignored":
            cause = "near tie"
        if mistake == "harmless changes as one more cause" and (
            shares["harmless"] < shares[best]
        ):
            cause = REMOVES[best]
        if mistake == "printed rule":
            rank = 1 + int((logits > logits[true_class]).sum())
            cause = "near tie" if rank <= 5 else "occlusion"
            if logits.softmax(dim=0)[true_class] < 0.01:
                cause = "not found"
        elif mistake == "always the mark":
            cause = "mark"
        if predicted == true_class and mistake != "image itself not asked":
            cause = "no mistake"
        if mistake == "the mark, even where there is no mistake":
            cause = "mark"
        if mistake == "cause without evidence":
            return {"cause": cause}
        if mistake == "evidence for the named cause only":
            named = {k: v for k, v in shares.items() if REMOVES.get(k) == cause}
            return {"cause": cause, "evidence": named}
        if mistake == "evidence in words":
            return {"cause": cause, "evidence": "the map is bright on the mark"}
        return {"cause": cause, "evidence": shares}

    return find_cause
