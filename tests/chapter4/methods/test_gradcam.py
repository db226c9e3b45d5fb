"""Section 4.2: Grad-CAM and Grad-CAM++."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measures import EXACT, Oracle, close, record, relative_l2
from nets import ConvNet, SideBranch, Watched, built, cat, cat_in_float64, image
from oracles.contract import same_state, snapshot
from oracles.gradcam import GRAD_CAM, GRAD_CAM_PLUS, head_weights, resized, summed
from torch import Tensor, nn

from chapter4 import GradCAM, GradCAMPlusPlus
from chapter4.methods.gradcam import cams, default_target_layer

EACH = [(GradCAM, GRAD_CAM), (GradCAMPlusPlus, GRAD_CAM_PLUS)]
BOTH = pytest.mark.parametrize("cam", [GradCAM, GradCAMPlusPlus])


@pytest.mark.parametrize(
    ("cam", "oracle"),
    [(cam, oracle) for cam, oracles in EACH for oracle in oracles],
    ids=lambda each: each.__name__,
)
def test_values(cam: Any, oracle: Oracle) -> None:
    oracle(cam)


@BOTH
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("side", "the score does not depend on the layer 'side'"),
        ("unused", "forward pass does not call the layer 'unused'"),
        ("flat", r"that gives \(N, channels, h, w\); 'flat' gives \(1, 96\)"),
        ("pair", "'pair' gives tuple"),
    ],
)
def test_a_layer_without_influence_is_refused_and_nothing_stays(
    cam: Any, layer: str, message: str
) -> None:
    net, x = built(SideBranch), image()
    before = snapshot(net)
    with pytest.raises(ValueError, match=message):
        cam(net, layer).generate_cam(x, 1)
    same_state(before, snapshot(net))


@BOTH
def test_a_gradient_that_is_no_number_is_refused(cam: Any) -> None:
    """The square root at 0: its value is finite, its slope is not.

    A map of zeros would look like a result.
    """

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return (0 * self.features(x)).square().sum(dim=(2, 3)).sqrt()

    with pytest.raises(ValueError, match="gradient of the score holds NaN"):
        cam(Root(), "features").generate_cam(image(), 1)


@BOTH
@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        ("feature", ValueError, "no layer 'feature'; did you mean 'features'"),
        ("features.2", ValueError, r"'features\.2'; did you mean 'features\.[01]'"),
        (nn.ReLU(), ValueError, "the ReLU given as target layer is not a part of"),
        (None, TypeError, "its dotted name, not NoneType"),
        (3, TypeError, "its dotted name, not int"),
    ],
)
def test_layers_that_are_none(
    cam: Any, layer: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        cam(built(ConvNet), layer)


def test_the_score_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="score is 'logit' or 'probability'"):
        GradCAM(built(ConvNet), "features").generate_cam(image(), 1, score="softmax")


def test_a_layer_that_runs_twice_is_explained_where_it_runs_last() -> None:
    """Like the one ReLU of each block of torchvision's ResNet.

    The score depends on its last call directly.
    """

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU(inplace=True)
            self.head = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.relu(self.relu(x) - 0.5).mean(dim=(2, 3)))

    net, x = built(Twice), image()
    grid = (x.relu() - 0.5).relu()[0]
    for target in range(4):
        want = summed(head_weights(net)[target] / 48, grid)
        got = GradCAM(net, "relu").generate_cam(x, target)
        close("Grad-CAM: a layer that runs twice", got.raw, want, EXACT)


def test_a_layer_with_two_names_has_the_one_nearer_to_the_top() -> None:
    net = built(ConvNet)
    layer = nn.Sequential(nn.ReLU())
    net.deep = nn.Sequential(nn.Sequential(layer))
    net.near = nn.Sequential(layer)
    for part, name in ((layer, "near.0"), (layer[0], "near.0.0"), (net, "ConvNet")):
        cam = GradCAM(net, part)
        assert (cam.target_layer, cam.layer_name) == (part, name)
    assert GradCAM(net, "deep.0.0").target_layer is layer


def test_several_classes_and_both_methods_share_one_pass() -> None:
    net, x = Watched(built(ConvNet)), image(2)
    wanted = [None, [0, 1], [2, 0], [1, 2]]
    together = cams(x, net, "features", wanted)
    # No two classes may be taken for each other.
    assert len({each.raw.tobytes() for each in together["gradcam"]}) == len(wanted)
    some = GradCAM(net, "features").generate_cams(x, wanted)
    assert [len(batch) for batch in net.batches] == [2, 2]
    assert list(together) == ["gradcam", "gradcam++"]
    for cam in (GradCAM, GradCAMPlusPlus):
        alone = [cam(net, "features").generate_cam(x, each) for each in wanted]
        for got, want in zip(together[cam.method], alone, strict=True):
            assert (got.raw == want.raw).all()
            assert (got.map == want.map).all()
            for part in ("target", "score", "blank", "method", "settings"):
                assert getattr(got, part) == getattr(want, part)
    for got, want in zip(some, together["gradcam"], strict=True):
        assert (got.raw == want.raw).all()
    assert cams(x[0], net, net.features, [2])["gradcam++"][0].map.shape == (8, 6)
    assert list(cams(x[0], net, "features", methods=["gradcam++"])) == ["gradcam++"]
    assert cams(x, net, "features", []) == {"gradcam": [], "gradcam++": []}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"methods": ["grad-cam"]}, ValueError, "no method 'grad-cam'; did you mean"),
        ({"methods": "gradcam"}, TypeError, "a list of names, not the text 'gradcam'"),
        ({"target_classes": 3}, TypeError, "one entry for each map, not 3"),
        ({"target_classes": [1, 4]}, ValueError, "target class 4 is out of range"),
        ({"score": "softmax"}, ValueError, "score is 'logit' or 'probability'"),
    ],
)
def test_cams_refuses(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        cams(image(), built(ConvNet), "features", **options)


def test_the_graph_starts_at_the_layer() -> None:
    """Below it no gradient is kept: neither the image nor a weight asks for one."""

    class Below(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = built(ConvNet)

        def forward(self, x: Tensor) -> Tensor:
            below = self.inner.features[0](x)
            wanted.append(below.requires_grad)
            grid = self.inner.features[1](below)
            wanted.append(grid.requires_grad)
            return self.inner.head(grid.flatten(1))

    wanted: list[bool] = []
    net = Below()
    GradCAM(net, net.inner.features[1]).generate_cam(image(), 1)
    assert wanted == [False, True]


@pytest.mark.parametrize(
    ("layers", "want"),
    [
        ([nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()], "1"),
        ([nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten()], "0"),
        ([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, (6, 4)), nn.Flatten()], "0"),
        ([nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), nn.Flatten()], "0"),
    ],
)
def test_the_default_layer_is_the_last_grid(layers: list[nn.Module], want: str) -> None:
    net = nn.Sequential(*layers)
    net.train()
    before = snapshot(net)
    assert default_target_layer(net, image(dtype=torch.float32)) == want
    same_state(before, snapshot(net))


def test_no_default_layer_without_a_grid() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 4)).double()
    with pytest.raises(ValueError, match="Sequential has no layer that gives a grid"):
        default_target_layer(net, image())


def test_hooks_of_the_search_go_when_the_model_raises() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 4)).double()
    before = snapshot(net)
    with pytest.raises(RuntimeError):
        default_target_layer(net, image())
    same_state(before, snapshot(net))


def test_the_models_own_layer_comes_first() -> None:
    model, x = cat()
    assert default_target_layer(model, x) == model.target_layer == "bn2"


def test_a_real_network_against_captum() -> None:
    from captum.attr import LayerGradCam

    model, x = cat()
    own = GradCAM(model, "bn2").generate_cam(x, 282)
    captum = LayerGradCam(model, model.bn2)
    peer = captum.attribute(x, 282, relu_attributions=True).detach()[0, 0]
    exact = GradCAM(cat_in_float64()[0], "bn2").generate_cam(cat_in_float64()[1], 282)
    assert own.raw.shape == (7, 7)
    for name, other in (("Captum", peer), ("float32 against float64", exact.raw)):
        deviation = relative_l2(own.raw, other)
        assert deviation <= 1e-2, name
        record(f"cat, Grad-CAM: {name}, relative L2", deviation, 1e-2)
    drawn = resized(own.raw, (224, 224))
    close("Grad-CAM: 7 x 7 resized to 224 x 224", own.map, drawn / drawn.max(), 1e-5)


def test_a_real_head_makes_the_raw_map_a_cam() -> None:
    """EfficientNet ends in global average pooling and a linear layer.

    The raw map is CAM / Z.
    """
    model, x = cat_in_float64()
    grids: list[Tensor] = []
    handle = model.bn2.register_forward_hook(
        lambda module, inputs, output: grids.append(output.detach().clone())
    )
    with torch.no_grad():
        model(x)
    handle.remove()
    grid, weight = grids[0][0], model.classifier.weight[282].detach()
    got = GradCAM(model, "bn2").generate_cam(x, 282)
    close("cat in float64: CAM / Z", got.raw, summed(weight / 49, grid), EXACT)
    # The slope is constant in space there, so that Grad-CAM++ is Grad-CAM with weights
    # relu(w) / (2 Z + sum(A) w).
    weights = weight.relu() / (2 + grid.sum(dim=(1, 2)) * weight / 49)
    plus = GradCAMPlusPlus(model, "bn2").generate_cam(x, 282)
    close("cat in float64: Grad-CAM++", plus.raw, summed(weights, grid), EXACT)
