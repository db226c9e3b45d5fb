"""The columns of the table: the same tasks as each library's documentation does them.

A column is a class with one method per task that its library has. A method returns its
maps, (H, W) or (N, H, W), so that the work ends where a user has an array in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import chapter4
from benchmarks import printed
from benchmarks.subjects import Subject
from chapter4.study import speed

Maps = np.ndarray

# Task -> its words. The keys are methods of the columns.
TASKS = {**speed.TASKS, "interpret_all": "interpret: all six methods"}
COLUMNS = {
    **speed.COLUMNS,
    "ours": "chapter4",
    "separate": "chapter4, one by one",
}


class Column:
    """A library that does tasks."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def run(self, task: str, **options: Any) -> Maps:
        """One task; ``n`` samples or steps, ``chunk`` of them in one batch."""
        return getattr(self, task)(**options)


class Forward(Column):
    """The plain model, as loaded, without gradients: all else is compared with it."""

    def run(self, task: str, **options: Any) -> Maps:
        """Any task: the logits of as many photos as it takes."""
        with torch.no_grad():
            count = 8 if task == "gradient_8" else 1
            return self.subject.model(self.subject.images[:count]).cpu().numpy()


class GradientLibrary(Column):
    """A library whose ``gradient(count)`` explains the first photos at once."""

    def gradient_1(self) -> Maps:
        return self.gradient(1)

    def gradient_8(self) -> Maps:
        return self.gradient(8)


class CamLibrary(Column):
    """A library whose ``cams(kind, targets)`` explains some classes of a photo.

    ``kinds`` are its Grad-CAM and its Grad-CAM++.
    """

    def gradcam(self) -> Maps:
        return self.cams(self.kinds[0], self.subject.targets[:1])

    def gradcam_plus_plus(self) -> Maps:
        return self.cams(self.kinds[1], self.subject.targets[:1])

    def cams_together(self) -> Maps:
        classes = self.cams(self.kinds[0], self.subject.classes)
        return np.concatenate([self.gradcam(), self.gradcam_plus_plus(), classes])


class Ours(GradientLibrary, CamLibrary):
    """This package, by the calls of its book."""

    kinds = chapter4.GradCAM, chapter4.GradCAMPlusPlus

    def gradient(self, count: int) -> Maps:
        s = self.subject
        found = chapter4.vanilla_gradients(s.images[:count], s.model, s.targets[:count])
        return found.map

    def images(self, n: int) -> Maps:
        """Vanilla gradients of n photos in one batch; not a row of the table."""
        return self.gradient(n)

    def cams(self, kind: Any, targets: Sequence[int]) -> Maps:
        s, cam = self.subject, kind(self.subject.model, self.subject.layer)
        return np.stack([cam.generate_cam(s.image, t).map for t in targets])

    def cams_together(self) -> Maps:
        """Both methods for all five classes: the first of them is the target."""
        from chapter4.methods.gradcam import cams

        s = self.subject
        found = cams(s.image, s.model, s.layer, s.classes)
        return np.stack([r.map for results in found.values() for r in results])

    def smooth_grad(self, n: int) -> Maps:
        s = self.subject
        return chapter4.smooth_grad(s.image, s.model, s.targets[0], n).map

    def integrated_gradients(self, n: int) -> Maps:
        s = self.subject
        return chapter4.integrated_gradients(
            s.image, s.model, s.targets[0], n_steps=n
        ).map

    def interpret_all(self) -> Maps:
        from chapter4.methods import METHODS

        s = self.subject
        interpreter = chapter4.ImageClassifierInterpreter(s.model, target_layer=s.layer)
        found = interpreter.interpret(s.image, list(METHODS), evidence=False)
        return np.stack([found[key] for key, _ in METHODS.values()])


class Separate(Column):
    """This package again: each of the interpreter's methods called by itself."""

    def interpret_all(self) -> Maps:
        s, ours = self.subject, Ours(self.subject)
        product = chapter4.gradient_input(s.image, s.model, s.targets[0])
        return np.stack(
            [
                *ours.gradcam(),
                *ours.gradcam_plus_plus(),
                ours.integrated_gradients(n=50),
                ours.smooth_grad(n=50),
                ours.gradient(1),
                product.map,
            ]
        )


class Printed(GradientLibrary, CamLibrary):
    """The printed chapter. Its Grad-CAM leaves hooks in the model and is made once."""

    kinds = printed.GradCAM, printed.GradCAMPlusPlus

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._made: dict[type, Any] = {}

    def gradient(self, count: int) -> Maps:
        s = self.subject
        pairs = zip(s.images[:count].split(1), s.targets[:count], strict=True)
        return np.stack([printed.vanilla_gradients(x, s.model, t)[0] for x, t in pairs])

    def cams(self, kind: Any, targets: Sequence[int]) -> Maps:
        s = self.subject
        if kind not in self._made:
            self._made[kind] = kind(s.model, s.printed_layer)
        image = s.image.clone().requires_grad_()  # as the printed call has it
        return np.stack([self._made[kind].generate_cam(image, t)[0] for t in targets])

    def smooth_grad(self, n: int) -> Maps:
        s = self.subject
        return printed.smooth_grad(s.image, s.model, s.targets[0], n)[0]

    def integrated_gradients(self, n: int) -> Maps:
        s = self.subject
        return printed.integrated_gradients(s.image, s.model, s.targets[0], n)


class Captum(GradientLibrary):
    """Captum.

    ``chunk``: SmoothGrad's samples or IG's steps in one batch; None is Captum's
    default, all of them.
    """

    def __init__(self, subject: Subject) -> None:
        import captum.attr

        super().__init__(subject)
        self.attr = captum.attr

    def gradient(self, count: int) -> Maps:
        s = self.subject
        signed = self.attr.Saliency(s.model).attribute(
            s.images[:count], target=s.targets[:count], abs=False
        )
        return signed.abs().amax(dim=1).cpu().numpy()

    def gradcam(self) -> Maps:
        s = self.subject
        raw = self.attr.LayerGradCam(s.model, s.layer).attribute(
            s.image, target=s.targets[0], relu_attributions=True
        )
        resized = self.attr.LayerAttribution.interpolate(
            raw.detach(), tuple(s.image.shape[-2:]), "bilinear"
        )
        return (resized[0, 0] / resized.amax()).cpu().numpy()

    def smooth_grad(self, n: int, chunk: int | None = None) -> Maps:
        s = self.subject
        signed = self.attr.NoiseTunnel(self.attr.Saliency(s.model)).attribute(
            s.image,
            nt_type="smoothgrad",
            nt_samples=n,
            nt_samples_batch_size=chunk,
            stdevs=s.sigma,
            target=s.targets[0],
            abs=False,
        )
        return signed.detach().abs().amax(dim=1)[0].cpu().numpy()

    def integrated_gradients(self, n: int, chunk: int | None = None) -> Maps:
        s = self.subject
        signed = self.attr.IntegratedGradients(s.model).attribute(
            s.image,
            s.black,
            target=s.targets[0],
            n_steps=n,
            internal_batch_size=chunk,
        )
        return signed.detach().abs().sum(dim=1)[0].cpu().numpy()


class PytorchGradCam(CamLibrary):
    """pytorch-grad-cam. It scales its maps itself."""

    def __init__(self, subject: Subject) -> None:
        import pytorch_grad_cam

        super().__init__(subject)
        self.kinds = pytorch_grad_cam.GradCAM, pytorch_grad_cam.GradCAMPlusPlus

    def cams(self, kind: Any, targets: Sequence[int]) -> Maps:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        s = self.subject
        with kind(model=s.model, target_layers=[s.layer]) as cam:
            return np.concatenate(
                [
                    cam(input_tensor=s.image, targets=[ClassifierOutputTarget(t)])
                    for t in targets
                ]
            )


class TorchCam(CamLibrary):
    """torch-cam.

    One forward pass serves all classes of one method. Its maps have the layer's grid;
    they are resized here.
    """

    def __init__(self, subject: Subject) -> None:
        import torchcam.methods

        super().__init__(subject)
        self.kinds = torchcam.methods.GradCAM, torchcam.methods.GradCAMpp

    def cams(self, kind: Any, targets: Sequence[int]) -> Maps:
        s = self.subject
        with kind(s.model, target_layer=s.layer) as extractor:
            scores = s.model(s.image)
            last = len(targets) - 1
            raw = [
                extractor(t, scores, retain_graph=i < last)[0]
                for i, t in enumerate(targets)
            ]
        resized = torch.nn.functional.interpolate(
            torch.stack(raw).detach(), s.image.shape[-2:], mode="bilinear"
        )
        return resized[:, 0].cpu().numpy()


MAKERS: dict[str, type] = {
    "forward": Forward,
    "ours": Ours,
    "separate": Separate,
    "printed": Printed,
    "captum": Captum,
    "captum_best": Captum,
    "pytorch_grad_cam": PytorchGradCam,
    "torch_cam": TorchCam,
}


def does(column: str, task: str) -> bool:
    """Whether a column has a task; Captum's chunks are another column of two tasks."""
    if column == "captum_best":
        return task in speed.SAMPLED
    return column == "forward" or hasattr(MAKERS[column], task)
