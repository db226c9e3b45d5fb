"""Problem 5: right answers, each written in another way.

They must all get every point. A submission takes one function for each of the names;
``source`` writes it as a student's cell would contain it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from accepted import source_of

# The submission's own functions take their places.
grad_cam: Any = None
integrated_gradients: Any = None

# --- standing


def standing_sorted(logits, true_class):
    order = sorted(range(len(logits)), key=lambda k: -float(logits[k]))
    p = torch.softmax(logits, -1)
    return {
        "predicted": order[0],
        "predicted_probability": p[order[0]].item(),
        "top5": order[:5],
        "true": true_class,
        "true_rank": order.index(true_class) + 1,
        "true_probability": p[true_class].item(),
    }


def standing_numpy(logits, true_class):
    """NumPy all the way, float64, arrays and 0-d values in the answer."""
    z = np.asarray(logits, dtype=np.float64)
    p = np.exp(z - np.logaddexp.reduce(z))
    order = np.argsort(z)[::-1]
    return {
        "true": np.int64(true_class),
        "true_rank": np.flatnonzero(order == true_class)[0] + 1,
        "true_probability": p[true_class],
        "predicted": order[0],
        "predicted_probability": p.max(),
        "top5": order[:5].copy(),
    }


def standing_topk(logits, true_class):
    """Tensors left as they are; argsort of argsort for the rank."""
    logits = logits.double().flatten()
    p = logits.log_softmax(0).exp()
    rank = (-logits).argsort().argsort()[true_class] + 1
    classes = logits.topk(min(5, logits.numel())).indices
    return {
        "top5": classes,
        "true": torch.tensor(true_class),
        "true_rank": rank,
        "predicted": classes[0],
        "true_probability": p[true_class],
        "predicted_probability": p[classes[0]],
        "top5_probabilities": p[classes],
        "model_is_right": bool(rank == 1),
    }


# --- grad_cam


def cam_hook(images, model, layer, classes):
    kept = {}
    module = dict(model.named_modules())[layer]
    handle = module.register_forward_hook(lambda m, i, o: kept.update(a=o))
    training = model.training
    model.eval()
    try:
        logits = model(images.clone().requires_grad_(True))
        score = logits.gather(1, torch.tensor(classes)[:, None]).sum()
        (g,) = torch.autograd.grad(score, kept["a"])
    finally:
        handle.remove()
        model.train(training)
    w = g.mean(dim=(2, 3), keepdim=True)
    return (w * kept["a"]).sum(1).clamp(min=0).detach().numpy()


def cam_loop(images, model, layer, classes):
    """One image after the other, hooks on the tensor, backward()."""
    was = [m.training for m in model.modules()]
    model.eval()
    found = []
    for x, k in zip(images, classes):
        store = []

        def forward(module, inputs, output, store=store):
            store.append(output.detach().clone())
            output.register_hook(lambda g: store.append(g.clone()))

        handle = model.get_submodule(layer).register_forward_hook(forward)
        model.zero_grad()
        model(x.unsqueeze(0))[0, k].backward()
        handle.remove()
        activation, gradient = store
        alpha = gradient[0].flatten(1).mean(1)
        found.append(torch.relu(torch.tensordot(alpha, activation[0], dims=1)))
    for m, mode in zip(model.modules(), was):
        m.training = mode
    return torch.stack(found)


class Camera:
    """The usual class with two hooks, as a context manager."""

    def __init__(self, model, layer):
        self.model, self.module = model, model
        for name in layer.split("."):
            self.module = getattr(self.module, name)

    def __enter__(self):
        self.handles = [
            self.module.register_forward_hook(self.keep_activation),
            self.module.register_full_backward_hook(self.keep_gradient),
        ]
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()

    def keep_activation(self, module, inputs, output):
        self.activation = output

    def keep_gradient(self, module, inputs, outputs):
        self.gradient = outputs[0]

    def __call__(self, x, classes):
        logits = self.model(x)
        one_hot = F.one_hot(torch.as_tensor(classes), logits.shape[1])
        (logits * one_hot).sum().backward()
        weights = F.adaptive_avg_pool2d(self.gradient, 1)
        return F.relu((weights * self.activation).sum(dim=1))


def cam_class(images, model, layer, classes):
    mode = model.training
    model.eval()
    with Camera(model, layer) as camera:
        cams = camera(images.detach().requires_grad_(), classes)
    model.train(mode)
    return cams.detach().cpu().numpy().astype(np.float64)


def cam_einsum(images, model, layer, classes):
    """A copy of the model in float64, NumPy for the sums."""
    net = copy.deepcopy(model).double().eval()
    acts = []
    net.get_submodule(layer).register_forward_hook(lambda m, i, o: acts.append(o))
    out = net(images.double().requires_grad_())
    rows = np.arange(len(images))
    grads = torch.autograd.grad(out[rows, classes].sum(), acts[0])[0].numpy()
    a = acts[0].detach().numpy()
    z = a.shape[2] * a.shape[3]
    return np.maximum(np.einsum("nkij,nkuv->nuv", grads / z, a), 0)


def cam_injected(images, model, layer, classes):
    """The layer's output replaced by a leaf: the graph starts there."""
    leaf = None

    def replace(module, inputs, output):
        nonlocal leaf
        leaf = output.detach().requires_grad_(True)
        return leaf.clone()

    modes = {m: m.training for m in model.modules()}
    handle = model.get_submodule(layer).register_forward_hook(replace)
    try:
        model.eval()
        model(images)[torch.arange(len(images)), list(classes)].sum().backward()
    finally:
        handle.remove()
        for m, training in modes.items():
            m.training = training
    assert leaf is not None
    weights = leaf.grad.mean((-1, -2))
    maps = torch.einsum("nk,nkhw->nhw", weights, leaf.detach())
    return maps.where(maps > 0, torch.zeros(())).tolist()


# --- integrated_gradients


def ig_loop(image, model, target_class, n_steps):
    """Midpoints, one after the other."""
    pre = model.preprocessing
    black = pre.normalize(torch.zeros_like(image))
    mode = model.training
    model.eval()
    total = 0
    for i in range(n_steps):
        z = black + (i + 0.5) / n_steps * (image - black)
        z = z.detach().unsqueeze(0).requires_grad_()
        total = total + torch.autograd.grad(model(z)[0, target_class], z)[0][0]
    model.train(mode)
    return (image - black) * total / n_steps


def ig_gauss(image, model, target_class, n_steps):
    """Gauss-Legendre, all points in one batch, float64."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
        for v in (model.preprocessing.mean, model.preprocessing.std)
    )
    base = (-mean / std).expand(image.shape)
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    alphas = torch.tensor((nodes + 1) / 2).view(-1, 1, 1, 1)
    net = copy.deepcopy(model).double().eval()
    points = (base + alphas * (image.double() - base)).requires_grad_()
    net(points)[:, target_class].sum().backward()
    mean_gradient = torch.einsum("n,nchw->chw", torch.tensor(weights / 2), points.grad)
    return ((image - base) * mean_gradient).numpy()


def ig_right(image, model, target_class, n_steps):
    """The book's right sum, in chunks of eight."""
    x0 = model.preprocessing.normalize(torch.zeros(image.shape))
    alphas = torch.arange(1, n_steps + 1) / n_steps
    was_training, _ = model.training, model.eval()
    gradients = torch.zeros_like(image)
    for part in alphas.split(8):
        path = torch.lerp(x0[None], image[None], part[:, None, None, None])
        path.requires_grad_()
        gradients += torch.autograd.grad(model(path)[:, target_class].sum(), path)[
            0
        ].sum(0)
    model.train(was_training)
    return ((image - x0) * gradients / n_steps).detach().numpy()


def ig_trapezoid(image, model, target_class, n_steps):
    """Trapezoids between n_steps + 1 points."""
    black = (0 - np.array(model.preprocessing.mean)) / np.array(model.preprocessing.std)
    x = image.numpy().astype(np.float64)
    start = np.broadcast_to(black[:, None, None], x.shape)
    training = model.training
    model.eval()
    gradients = []
    for t in np.linspace(0, 1, n_steps + 1):
        z = torch.tensor(start + t * (x - start), dtype=image.dtype)[None]
        z.requires_grad_()
        model(z).select(1, target_class).backward()
        gradients.append(z.grad[0].numpy())
    model.train(training)
    mean = (np.array(gradients)[:-1] + np.array(gradients)[1:]).mean(axis=0) / 2
    return (x - start) * mean


# --- both_maps


def maps_plain(photo, model, layer, true_class, n_steps):
    crop = model.preprocessing.crop_image(Image.fromarray(photo))
    seen = np.asarray(crop, dtype=np.float32) / 255
    x = model.preprocessing.normalize(torch.from_numpy(seen).permute(2, 0, 1))
    black = model.preprocessing.normalize(torch.zeros_like(x))
    with torch.no_grad():
        logits, dark = model(torch.stack([x, black]))
    predicted = logits.argmax().item()
    cams, igs, blank, delta = [], [], [], []
    for k in (predicted, true_class):
        raw = torch.as_tensor(np.asarray(grad_cam(x[None], model, layer, [k])))
        cams.append(F.interpolate(raw[None], x.shape[1:], mode="bilinear")[0, 0])
        blank.append(bool(raw.max() == 0))
        signed = np.asarray(integrated_gradients(x, model, k, n_steps))
        igs.append(np.abs(signed).sum(axis=0))
        gain = float(logits[k] - dark[k])
        delta.append(abs(signed.sum() - gain) / abs(gain))

    def on_one_scale(pair):
        pair = np.stack([np.asarray(m) for m in pair])
        return pair / pair.max() if pair.max() > 0 else pair

    return {
        "seen": seen,
        "predicted": predicted,
        "gradcam": on_one_scale(cams),
        "ig": on_one_scale(igs),
        "blank": blank,
        "delta": delta,
    }


def maps_batched(photo, model, layer, true_class, n_steps):
    """chapter4's way to the tensor, one batch for both classes, Pillow, float64."""
    from chapter4.inputs.images import image_tensor, seen_pixels

    x = image_tensor(Image.fromarray(photo), model)
    seen = seen_pixels(x[0], model)
    start = torch.tensor(model.preprocessing.mean) / torch.tensor(
        model.preprocessing.std
    )
    with torch.no_grad():
        both = model(torch.cat([x, (-start[:, None, None]).expand_as(x[0])[None]]))
    label = int(torch.argmax(both[0]))
    classes = [label, true_class]
    raw = np.asarray(grad_cam(x.repeat(2, 1, 1, 1), model, layer, classes), np.float32)
    size = seen.shape[1::-1]
    big = [np.array(Image.fromarray(r).resize(size, Image.BILINEAR)) for r in raw]
    signed = [
        np.asarray(integrated_gradients(x[0], model, k, n_steps), np.float64)
        for k in classes
    ]
    gains = (both[0] - both[1]).double().numpy()[classes]
    sums = np.array([s.sum() for s in signed])
    ig = np.array([np.linalg.norm(s, ord=1, axis=0) for s in signed])
    return {
        "predicted": label,
        "seen": seen.astype("float64"),
        "gradcam": np.array(big) / max(np.max(big), 1e-30),
        "ig": ig / max(ig.max(), 1e-30),
        "blank": ~raw.any(axis=(1, 2)),
        "delta": np.abs((sums - gains) / gains),
    }


def maps_scaled_first(photo, model, layer, true_class, n_steps):
    """Scaled in the grid, then enlarged; tensors in the answer."""
    crop = model.preprocessing.crop_image(Image.fromarray(photo.astype("uint8")))
    seen = torch.tensor(np.array(crop)).double() / 255
    x = model.preprocessing.normalize(seen.movedim(2, 0)).float()
    with torch.no_grad():
        out = model(x[None]).squeeze(0)
        out0 = model(model.preprocessing.normalize(0 * x)[None]).squeeze(0)
    pred = out.max(0).indices
    k = torch.stack([pred, torch.tensor(true_class)])
    raw = torch.cat(
        [
            torch.as_tensor(np.array(grad_cam(x[None], model, layer, [int(c)])))
            for c in k
        ]
    ).float()
    a = torch.stack(
        [torch.as_tensor(integrated_gradients(x, model, int(c), n_steps)) for c in k]
    )
    peak = raw.max()
    cam = F.interpolate(
        raw.unsqueeze(1) / (peak if peak > 0 else 1),
        size=tuple(x.shape[-2:]),
        mode="bilinear",
        align_corners=False,
    ).squeeze(1)
    ig = a.abs().sum(1)
    change = (out - out0)[k]
    return {
        "seen": seen,
        "predicted": pred,
        "gradcam": cam,
        "ig": ig / ig.max(),
        "blank": (raw.amax((1, 2)) <= 0).tolist(),
        "delta": ((a.sum((1, 2, 3)) - change) / change).abs(),
        "layer": layer,
    }


# --- cover_test


def cover_loop(image, model, true_class, box):
    def probability(top, left, bottom, right):
        view = image.clone()
        for c in range(3):
            view[c, top:bottom, left:right] = image[c].mean()
        with torch.no_grad():
            return model(view[None]).softmax(1)[0, true_class].item()

    top, left, bottom, right = box
    h, w = bottom - top, right - left
    elsewhere = []
    for r in range(0, image.shape[1], h):
        for c in range(0, image.shape[2], w):
            if r + h > image.shape[1] or c + w > image.shape[2]:
                continue
            rows = max(r, top) < min(r + h, bottom)
            columns = max(c, left) < min(c + w, right)
            if not (rows and columns):
                elsewhere.append(probability(r, c, r + h, c + w))
    return {"covered": probability(*box), "elsewhere": elsewhere}


@torch.no_grad()
def cover_masks(image, model, true_class, box):
    """Masks, one batch, a set of pixels for what overlaps."""
    t, l, b, r = (int(v) for v in box)  # noqa: E741  # as students write
    suspect = torch.zeros(image.shape[1:], dtype=torch.bool)
    suspect[t:b, l:r] = True
    masks = [suspect]
    for i in range((image.shape[1]) // (b - t)):
        for j in range((image.shape[2]) // (r - l)):
            mask = torch.zeros_like(suspect)
            mask[i * (b - t) : (i + 1) * (b - t), j * (r - l) : (j + 1) * (r - l)] = 1
            if not torch.any(mask & suspect):
                masks.append(mask)
    mask = torch.stack(masks)[:, None]
    mean = image.mean((1, 2), keepdim=True)
    p = torch.softmax(model(torch.where(mask, mean, image)), dim=1)[:, true_class]
    return {"covered": p[0], "elsewhere": p[1:]}


def cover_numpy(image, model, true_class, box):
    x = image.numpy()
    fill = x.reshape(3, -1).mean(axis=1, dtype=np.float64)
    top, left, bottom, right = box

    def ask(row, column):
        y = x.copy()
        y[:, row : row + bottom - top, column : column + right - left] = fill[
            :, None, None
        ]
        z = model(torch.from_numpy(y)[None]).detach().numpy()[0].astype(np.float64)
        return float(np.exp(z[true_class]) / np.exp(z).sum())

    tiles = [
        (row, column)
        for row in np.arange(0, x.shape[1] - (bottom - top) + 1, bottom - top)
        for column in np.arange(0, x.shape[2] - (right - left) + 1, right - left)
    ]
    free = [
        (row, column)
        for row, column in tiles
        if abs(row - top) >= bottom - top or abs(column - left) >= right - left
    ]
    return {"covered": ask(top, left), "elsewhere": [ask(*tile) for tile in free]}


# --- find_cause


def cause_plain(image, model, true_class, changes):
    def share(pictures):
        with torch.no_grad():
            return (model(pictures).argmax(1) == true_class).float().mean().item()

    evidence = {name: share(pictures) for name, pictures in changes.items()}
    causes = {
        "without the mark": "mark",
        "without the cover": "occlusion",
        "without the noise": "noise",
    }
    if share(image[None]) == 1:
        cause = "no mistake"
    elif evidence["harmless"] >= 0.5:
        cause = "near tie"
    else:
        best = max(causes, key=evidence.get)
        cause = causes[best] if evidence[best] >= 0.5 else "not found"
    return {"cause": cause, "evidence": evidence}


def cause_one_by_one(image, model, true_class, changes):
    """Picture by picture, counts, several returns."""

    def right(picture):
        return (
            int(torch.argmax(model(picture.unsqueeze(0)).detach(), dim=1)) == true_class
        )

    evidence = {}
    for name in changes:
        hits = [right(picture) for picture in changes[name]]
        evidence[name] = hits.count(True) / len(hits)
    if right(image):
        return {"evidence": evidence, "cause": "no mistake"}
    if evidence["harmless"] >= 1 / 2:
        return {"evidence": evidence, "cause": "near tie"}
    names = ["mark", "cover", "noise"]
    shares = [evidence[f"without the {name}"] for name in names]
    if max(shares) < 1 / 2:
        return {"evidence": evidence, "cause": "not found"}
    suspect = names[int(np.argmax(shares))]
    return {
        "evidence": evidence,
        "cause": "occlusion" if suspect == "cover" else suspect,
    }


def cause_in_one_batch(image, model, true_class, changes):
    names, sizes = list(changes), [len(c) for c in changes.values()]
    everything = torch.cat([image[None], *changes.values()])
    with torch.inference_mode():
        hit = model(everything).argmax(-1).eq(true_class).double()
    first, *rest = hit.split([1, *sizes])
    evidence = dict(zip(names, (part.mean() for part in rest)))
    words = {"cover": "occlusion"}
    ranked = sorted(
        (-float(v), k.rsplit(" ", 1)[-1])
        for k, v in evidence.items()
        if k != "harmless"
    )
    value, name = ranked[0]
    cause = words.get(name, name) if -value >= 0.5 else "not found"
    cause = "near tie" if evidence["harmless"] >= 0.5 else cause
    return {"cause": "no mistake" if first.item() else cause, "evidence": evidence}


SUBMISSIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "hook and autograd.grad": (
        standing_sorted,
        cam_hook,
        ig_loop,
        maps_plain,
        cover_loop,
        cause_plain,
    ),
    "one image after the other": (
        standing_topk,
        cam_loop,
        ig_trapezoid,
        maps_batched,
        cover_masks,
        cause_one_by_one,
    ),
    "a class with two hooks": (
        Camera,
        standing_numpy,
        cam_class,
        ig_right,
        maps_scaled_first,
        cover_numpy,
        cause_in_one_batch,
    ),
    "float64 and einsum": (
        standing_numpy,
        cam_einsum,
        ig_gauss,
        maps_plain,
        cover_masks,
        cause_plain,
    ),
    "a leaf in the layer's place": (
        standing_sorted,
        cam_injected,
        ig_loop,
        maps_batched,
        cover_numpy,
        cause_one_by_one,
    ),
    "book's sum": (
        standing_topk,
        cam_hook,
        ig_right,
        maps_scaled_first,
        cover_loop,
        cause_in_one_batch,
    ),
    "trapezoids": (
        standing_numpy,
        cam_loop,
        ig_trapezoid,
        maps_plain,
        cover_masks,
        cause_in_one_batch,
    ),
    "a class and Gauss-Legendre": (
        Camera,
        standing_sorted,
        cam_class,
        ig_gauss,
        maps_batched,
        cover_loop,
        cause_plain,
    ),
    "einsum, scaled in the grid": (
        standing_topk,
        cam_einsum,
        ig_loop,
        maps_scaled_first,
        cover_numpy,
        cause_one_by_one,
    ),
}
_HEADER = (
    "import copy\n\nimport numpy as np\nimport torch\nimport torch.nn.functional as F\n"
    "from PIL import Image\n"
)
NAMES = (
    "standing",
    "grad_cam",
    "integrated_gradients",
    "both_maps",
    "cover_test",
    "find_cause",
)


def source(*parts: Callable[..., Any]) -> str:
    """The cell of a submission; the last six parts get the six names."""
    return source_of(_HEADER, NAMES, parts)
