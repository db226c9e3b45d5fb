"""The columns of the table: the same tasks as each library's documentation does them.

A column is a class with one method per task; a task that it has no method for stays
empty. Every method takes the options of the task (``n`` samples or steps, ``chunk``)
and returns its maps, (H, W) or (N, H, W), so that the work ends where a user has an
array in hand.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.subjects import Subject

Maps = np.ndarray

# Task -> its words. `method` names of the columns are the keys.
TASKS = {
    "gradient_1": "vanilla gradient, 1 photo",
    "gradient_8": "vanilla gradient, 8 photos",
    "gradcam": "Grad-CAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "classes": "Grad-CAM of 5 classes",
    "cams_together": "Grad-CAM, Grad-CAM++, 5 classes",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "Integrated Gradients",
    "interpret": "interpret: Grad-CAM, IG, SmoothGrad",
    "interpret_all": "interpret: all six methods",
}
CHUNKED = ("smooth_grad", "integrated_gradients")
COLUMNS = {
    "forward": "forward pass",
    "ours": "chapter4",
    "separate": "chapter4, one by one",
    "printed": "printed chapter",
    "captum": "Captum",
    "captum_best": "Captum, best chunk",
    "pytorch_grad_cam": "pytorch-grad-cam",
    "torch_cam": "torch-cam",
}


class Forward:
    """The plain model, as loaded, without gradients: all else is compared with it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def run(self, task: str, **options: Any) -> Maps:
        """Any task: the logits of as many photos as it takes."""
        with torch.no_grad():
            count = 8 if task == "gradient_8" else 1
            return self.subject.model(self.subject.images[:count]).cpu().numpy()


class Column:
    """What the columns with methods share."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def run(self, task: str, **options: Any) -> Maps:
        """One task. NotImplementedError where the library does not do it."""
        method = getattr(self, task, None)
        if method is None:
            raise NotImplementedError(f"{type(self).__name__} has no {task}")
        with warnings.catch_warnings():
            if not isinstance(self, (Ours, Separate)):
                warnings.simplefilter("ignore")  # other libraries' own affair
            return method(**options)

    def gradient_1(self, **options: Any) -> Maps:
        """The vanilla gradient of one photo."""
        return self.gradient(1)

    def gradient_8(self, **options: Any) -> Maps:
        """The vanilla gradients of eight photos."""
        return self.gradient(8)

    def gradient(self, count: int) -> Maps:
        """The vanilla gradients of the first ``count`` photos, each for its target."""
        raise NotImplementedError(f"{type(self).__name__} has no input gradient")


class Ours(Column):
    """This package, by the calls of its book."""

    def gradient(self, count: int) -> Maps:
        from chapter4 import vanilla_gradients

        s = self.subject
        return vanilla_gradients(s.images[:count], s.model, s.targets[:count]).map

    def images(self, n: int, **options: Any) -> Maps:
        """Vanilla gradients of n photos in one batch; not a row of the table."""
        return self.gradient(n)

    def gradcam(self, **options: Any) -> Maps:
        from chapter4 import GradCAM

        s = self.subject
        return GradCAM(s.model, s.layer).generate_cam(s.image, s.targets[0]).map

    def gradcam_plus_plus(self, **options: Any) -> Maps:
        from chapter4 import GradCAMPlusPlus

        s = self.subject
        return GradCAMPlusPlus(s.model, s.layer).generate_cam(s.image, s.targets[0]).map

    def classes(self, **options: Any) -> Maps:
        from chapter4 import GradCAM

        s = self.subject
        found = GradCAM(s.model, s.layer).generate_cams(s.image, s.classes)
        return np.stack([result.map for result in found])

    def cams_together(self, **options: Any) -> Maps:
        """Both methods for all five classes: the first of them is the target."""
        from chapter4.methods.gradcam import cams

        s = self.subject
        found = cams(s.image, s.model, s.layer, s.classes)
        return np.stack([r.map for results in found.values() for r in results])

    def smooth_grad(self, n: int = 50, **options: Any) -> Maps:
        from chapter4 import smooth_grad

        s = self.subject
        return smooth_grad(s.image, s.model, s.targets[0], n).map

    def integrated_gradients(self, n: int = 50, **options: Any) -> Maps:
        from chapter4 import integrated_gradients

        s = self.subject
        return integrated_gradients(s.image, s.model, s.targets[0], n_steps=n).map

    def interpret(self, **options: Any) -> Maps:
        return self._interpret(["gradcam", "ig", "smoothgrad"])

    def interpret_all(self, **options: Any) -> Maps:
        from chapter4.reports.image import METHODS

        return self._interpret(list(METHODS))

    def _interpret(self, methods: list[str]) -> Maps:
        from chapter4 import ImageClassifierInterpreter
        from chapter4.reports.image import METHODS

        s = self.subject
        interpreter = ImageClassifierInterpreter(s.model, target_layer=s.layer)
        found = interpreter.interpret(s.image, methods, evidence=False)
        return np.stack([found[METHODS[method]] for method in methods])


class Separate(Column):
    """This package again: each of the interpreter's methods called by itself."""

    def interpret_all(self, **options: Any) -> Maps:
        from chapter4 import gradient_input

        s, ours = self.subject, Ours(self.subject)
        return np.stack(
            [
                ours.gradcam(),
                ours.gradcam_plus_plus(),
                ours.integrated_gradients(),
                ours.smooth_grad(),
                ours.gradient(1),
                gradient_input(s.image, s.model, s.targets[0]).map,
            ]
        )


class Printed(Column):
    """The printed chapter. Its Grad-CAM leaves hooks in the model and is made once."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._made: dict[str, Any] = {}

    def gradient(self, count: int) -> Maps:
        from benchmarks import printed

        s = self.subject
        if count == 1:
            return printed.vanilla_gradients(s.image, s.model, s.targets[0])[0]
        return printed.vanilla_gradients_of_batch(
            s.images[:count], s.model, s.targets[:count]
        )

    def gradcam(self, **options: Any) -> Maps:
        return self._cam("GradCAM", self.subject.targets[0])

    def gradcam_plus_plus(self, **options: Any) -> Maps:
        return self._cam("GradCAMPlusPlus", self.subject.targets[0])

    def classes(self, **options: Any) -> Maps:
        return np.stack([self._cam("GradCAM", c) for c in self.subject.classes])

    def cams_together(self, **options: Any) -> Maps:
        cam, plus = self.gradcam(), self.gradcam_plus_plus()
        return np.concatenate([cam[None], plus[None], self.classes()])

    def smooth_grad(self, n: int = 50, **options: Any) -> Maps:
        from benchmarks import printed

        s = self.subject
        return printed.smooth_grad(s.image, s.model, s.targets[0], n)[0]

    def integrated_gradients(self, n: int = 50, **options: Any) -> Maps:
        from benchmarks import printed

        s = self.subject
        return printed.integrated_gradients(s.image, s.model, s.targets[0], n)

    def interpret(self, **options: Any) -> Maps:
        from benchmarks import printed

        s = self.subject
        if "interpreter" not in self._made:
            self._made["interpreter"] = printed.ImageClassifierInterpreter(
                s.model, s.printed_layer
            )
        found = self._made["interpreter"].interpret(s.image)
        names = ("gradcam", "integrated_gradients", "smoothgrad")
        return np.stack([found[name] for name in names])

    def _cam(self, kind: str, target: int) -> Maps:
        from benchmarks import printed

        s = self.subject
        if kind not in self._made:
            self._made[kind] = getattr(printed, kind)(s.model, s.printed_layer)
        image = s.image.clone().requires_grad_()  # as the printed call has it
        return self._made[kind].generate_cam(image, target)[0]


class Captum(Column):
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
        maps = signed.abs().amax(dim=1).cpu().numpy()
        return maps[0] if count == 1 else maps

    def gradcam(self, target: int | None = None, **options: Any) -> Maps:
        s = self.subject
        raw = self.attr.LayerGradCam(s.model, s.layer).attribute(
            s.image,
            target=s.targets[0] if target is None else target,
            relu_attributions=True,
        )
        resized = self.attr.LayerAttribution.interpolate(
            raw.detach(), tuple(s.image.shape[-2:]), "bilinear"
        )
        return _scaled(resized[0, 0])

    def classes(self, **options: Any) -> Maps:
        return np.stack([self.gradcam(c) for c in self.subject.classes])

    def smooth_grad(
        self, n: int = 50, chunk: int | None = None, **options: Any
    ) -> Maps:
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

    def integrated_gradients(
        self, n: int = 50, chunk: int | None = None, **options: Any
    ) -> Maps:
        s = self.subject
        signed = self.attr.IntegratedGradients(s.model).attribute(
            s.image,
            s.black,
            target=s.targets[0],
            n_steps=n,
            internal_batch_size=chunk,
        )
        return signed.detach().abs().sum(dim=1)[0].cpu().numpy()

    def interpret(
        self, chunk: int | None = None, chunk_ig: int | None = None, **options: Any
    ) -> Maps:
        """One forward pass for the prediction, then Captum's three methods.

        Captum has no such call.
        """
        with torch.no_grad():
            self.subject.model(self.subject.image).softmax(dim=1).topk(5)
        return np.stack(
            [
                self.gradcam(),
                self.integrated_gradients(chunk=chunk_ig),
                self.smooth_grad(chunk=chunk),
            ]
        )


class CamLibrary(Column):
    """A CAM library: Grad-CAM and Grad-CAM++, and its maps of several classes."""

    kinds: tuple[Any, Any]

    def gradcam(self, **options: Any) -> Maps:
        return self._cams(self.kinds[0], self.subject.targets[:1])[0]

    def gradcam_plus_plus(self, **options: Any) -> Maps:
        return self._cams(self.kinds[1], self.subject.targets[:1])[0]

    def classes(self, **options: Any) -> Maps:
        return self._cams(self.kinds[0], self.subject.classes)

    def cams_together(self, **options: Any) -> Maps:
        cam, plus = self.gradcam(), self.gradcam_plus_plus()
        return np.concatenate([cam[None], plus[None], self.classes()])

    def _cams(self, kind: Any, targets: list[int]) -> Maps:
        raise NotImplementedError


class PytorchGradCam(CamLibrary):
    """pytorch-grad-cam. It scales its maps itself."""

    def __init__(self, subject: Subject) -> None:
        import pytorch_grad_cam

        super().__init__(subject)
        self.kinds = pytorch_grad_cam.GradCAM, pytorch_grad_cam.GradCAMPlusPlus

    def _cams(self, kind: Any, targets: list[int]) -> Maps:
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

    def _cams(self, kind: Any, targets: list[int]) -> Maps:
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


def _scaled(raw: Tensor) -> Maps:
    peak = raw.amax()
    return (raw / peak if peak > 0 else raw).cpu().numpy()
