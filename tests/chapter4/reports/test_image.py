"""Several methods on one photo, and the report of one prediction, by value.

The logits of the nets are known.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import SIZE, ByHand, ConvNet, built, image, stateful
from oracles.contract import same_state, snapshot
from PIL import Image
from torch import Tensor, nn

import chapter4
from chapter4.evidence import count_passes, randomize_, rank_correlation
from chapter4.evidence.map_evidence import LARGEST_DELTA, MapEvidence
from chapter4.inputs.images import Preprocessing
from chapter4.inputs.models import class_index
from chapter4.methods.gradcam import GradCAM, GradCAMPlusPlus
from chapter4.methods.gradients import gradient_input, smooth_grad, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.reports.image import (
    DebugReport,
    ImageClassifierInterpreter,
    debug_model_prediction,
    predict,
    true_class_rank,
)

ALL = ("gradcam", "gradcam++", "ig", "smoothgrad", "vanilla", "gradient_input")
# Two classes tie. The true class may be first, second, in the top five, or outside.
LOGITS = (2.0, 4.0, 3.0, 4.0, 1.0, 0.0, -1.0)
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


def known_logits(
    logits: tuple[float, ...] = LOGITS, names: tuple[str, ...] = NAMES
) -> tuple[nn.Module, Tensor]:
    """A net and an image (1, 3, 8, 6) of ones on which it gives these logits."""
    weight = torch.tensor(logits, dtype=torch.float64)[:, None, None, None].expand(
        -1, 3, *SIZE
    ) / (3 * 8 * 6)
    net = ByHand(weight.clone()).eval()
    net.class_names = names
    return net, torch.ones(1, 3, *SIZE, dtype=torch.float64)


def softmax(logits: tuple[float, ...] = LOGITS) -> np.ndarray:
    powers = np.exp(np.array(logits))
    return powers / powers.sum()


def by_hand(net: nn.Module, x: Any, target: int) -> dict[str, np.ndarray]:
    return {
        "gradcam": GradCAM(net, "features").generate_cam(x, target).map,
        "gradcam++": GradCAMPlusPlus(net, "features").generate_cam(x, target).map,
        "integrated_gradients": integrated_gradients(x, net, target).map,
        "smoothgrad": smooth_grad(x, net, target).map,
        "vanilla_gradients": vanilla_gradients(x, net, target).map,
        "gradient_input": gradient_input(x, net, target).map,
    }


def with_preprocessing(net: nn.Module) -> nn.Module:
    net.preprocessing = Preprocessing(8, (8, 6), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))
    return net


@pytest.fixture
def wide() -> Image.Image:
    """A photo three times as wide as high; nothing in it repeats."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- interpret ------------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 0, 3])
def test_maps_equal_the_methods_called_one_by_one(target: int | None) -> None:
    net, x = built(ConvNet), image()
    results = ImageClassifierInterpreter(net, target_layer="features").interpret(
        x, ALL, target
    )
    wanted = int(net(x).argmax()) if target is None else target
    assert {key for key in results if key not in ("image", "predictions")} == set(
        by_hand(net, x, wanted)
    )
    for key, values in by_hand(net, x, wanted).items():
        np.testing.assert_array_equal(results[key], values)
        assert results.details[key].target == wanted
        assert np.shares_memory(results[key], results.details[key].map)


def test_the_chapters_keys_by_default() -> None:
    net, x = built(ConvNet), image()
    results = ImageClassifierInterpreter(net).interpret(x)
    assert list(results) == [
        "image",
        "predictions",
        "gradcam",
        "integrated_gradients",
        "smoothgrad",
    ]
    assert set(results["predictions"]) == {"classes", "probabilities", "labels"}
    assert all(
        isinstance(results[key], np.ndarray) and results[key].shape == SIZE
        for key in list(results)[2:]
    )


def test_progress_names_each_method_before_it_runs() -> None:
    net, x = built(ConvNet), image()
    heard: list[str] = []
    ImageClassifierInterpreter(net).interpret(
        x, ["ig", "vanilla"], evidence=False, progress=heard.append
    )
    # The one that sees the image itself comes first: the predictions are its.
    assert heard == ["vanilla", "ig"]
    ImageClassifierInterpreter(net).interpret(x, ["gradcam"], progress=heard.append)
    assert heard[2:] == ["gradcam", "gradcam with a random last layer"]


@pytest.mark.parametrize("target", [None, 2])
def test_the_methods_share_their_forward_passes(target: int | None) -> None:
    """No more than the sum of the gradients and one forward pass, IG's baseline."""
    net, x = named(built(ConvNet)), image()
    with count_passes(net) as passes:
        results = ImageClassifierInterpreter(net).interpret(
            x, ALL, target, evidence=False
        )
    gradients = dict.fromkeys(results.details, 1)
    gradients |= {"integrated_gradients": 50, "smoothgrad": 50}
    assert passes.forward == sum(gradients.values()) + 1
    assert passes.backward == sum(gradients.values())


@pytest.mark.parametrize(
    ("methods", "forwards"),
    [(["ig"], 52), (["smoothgrad"], 51), (["vanilla"], 1), (["gradcam", "ig"], 52)],
)
def test_forward_passes_of_some_methods(methods: list[str], forwards: int) -> None:
    net = named(built(ConvNet))
    with count_passes(net) as passes:
        ImageClassifierInterpreter(net).interpret(image(), methods, evidence=False)
    assert passes.forward == forwards


def named(net: nn.Module) -> nn.Module:
    """As `load_classifier` gives them: Grad-CAM's layer is known."""
    net.target_layer = "features"
    return net


# --- evidence beside the maps ---------------------------------------------------------


def test_evidence_stands_beside_every_map() -> None:
    """The check with a random last layer is Spearman's correlation of two maps.

    They are the map, and the same net's map with that random layer.
    """
    net, x = named(built(ConvNet)), image()
    results = ImageClassifierInterpreter(net).interpret(x, ALL, 1)
    twin = copy.deepcopy(net)
    randomize_(twin, "head")
    for key, values in by_hand(twin, x, 1).items():
        known = results.evidence[key]
        assert known.stage == "head"
        assert known.rank_correlation == pytest.approx(
            rank_correlation(values, results[key]), nan_ok=True, abs=1e-12
        )
        assert known.blank == (not results[key].any())
        has_sum = key == "integrated_gradients"
        assert known.delta == (results.details[key].delta if has_sum else None)
    assert any(abs(e.rank_correlation or 0) < 0.99 for e in results.evidence.values())


def test_evidence_leaves_the_model_alone_and_can_be_left_out() -> None:
    net, x = named(built(ConvNet)), image()
    before = snapshot(net)
    results = ImageClassifierInterpreter(net).interpret(x, ["vanilla"], evidence=False)
    assert results.evidence["vanilla_gradients"].rank_correlation is None
    ImageClassifierInterpreter(net).interpret(x, ["vanilla"])
    same_state(before, snapshot(net))


def test_a_layer_given_as_a_module_is_found_in_the_random_copy() -> None:
    net, x = built(ConvNet), image()
    by_module = ImageClassifierInterpreter(net, target_layer=net.features)
    by_name = ImageClassifierInterpreter(net, target_layer="features")
    first, second = (i.interpret(x, ["gradcam"], 1) for i in (by_module, by_name))
    assert first.evidence == second.evidence


def test_figures_show_the_evidence() -> None:
    net, x = named(built(ConvNet)), image()
    interpreter = ImageClassifierInterpreter(net)
    results = interpreter.interpret(x, ["gradcam", "ig"], 1)
    results.evidence["integrated_gradients"] = MapEvidence(False, 0.234, "head", 0.5)
    figure = interpreter.visualize(results)
    shown = [text for axes in figure.axes for text in axes.texts]
    assert [text.get_text().splitlines() for text in shown] == [
        results.evidence["gradcam"].lines(),
        [
            "INCOMPLETE: completeness error 23.4%",
            "rank correlation with random head: 0.50",
        ],
    ]
    assert shown[0].get_color() != shown[1].get_color()


@pytest.mark.parametrize(
    ("delta", "incomplete", "words"),
    [
        (0.1, False, "completeness error 10.0%"),
        (0.101, True, "INCOMPLETE: completeness error 10.1%"),
        (
            float("nan"),
            False,
            "completeness error undefined (the score does not change)",
        ),
    ],
)
def test_a_large_completeness_error_is_marked(
    delta: float, incomplete: bool, words: str
) -> None:
    assert LARGEST_DELTA == 0.1
    known = MapEvidence(blank=False, delta=delta)
    assert known.incomplete is incomplete
    assert known.lines() == [words]
    assert known.facts()["incomplete"] is incomplete


def test_a_plain_dict_can_not_be_drawn() -> None:
    net, x = named(built(ConvNet)), image()
    interpreter = ImageClassifierInterpreter(net)
    results = interpreter.interpret(x, ["vanilla"], evidence=False)
    with pytest.raises(TypeError, match=r"takes what interpret returned.*a dict has"):
        interpreter.visualize(dict(results))


def test_grad_cam_at_a_patch_embedding_warns() -> None:
    vit = chapter4.load_vit()
    x = torch.zeros(1, 3, 64, 64)
    with pytest.warns(UserWarning, match="Grad-CAM there says little"):
        ImageClassifierInterpreter(vit).interpret(x, ["gradcam"], evidence=False)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("gradcamm", "gradcam"), ("smooth_grad", "smoothgrad"), ("vanila", "vanilla")],
)
def test_an_unknown_method_is_named_with_the_nearest(wrong: str, right: str) -> None:
    net, x = built(ConvNet), image()
    with pytest.raises(
        ValueError, match=f"no method '{wrong}'; did you mean '{right}'"
    ):
        ImageClassifierInterpreter(net).interpret(x, ["ig", wrong])


def test_one_name_instead_of_a_list_is_refused() -> None:
    net, x = built(ConvNet), image()
    with pytest.raises(TypeError, match=re.escape("['ig']")):
        ImageClassifierInterpreter(net).interpret(x, "ig")


def test_predictions_are_sorted_and_named() -> None:
    net, x = known_logits()
    found = ImageClassifierInterpreter(net).interpret(x, ["vanilla"])["predictions"]
    assert found["classes"].tolist() == [1, 3, 2, 0, 4]
    np.testing.assert_allclose(
        found["probabilities"], softmax()[[1, 3, 2, 0, 4]], rtol=1e-12
    )
    assert found["labels"] == ["bee", "dog", "cat", "ant", "elk"]


def test_gaps_in_the_labels_come_from_the_models_own_names() -> None:
    net, x = known_logits()
    labels = {3: "wolf", 0: "termite"}
    found = ImageClassifierInterpreter(net, imagenet_labels=labels).interpret(
        x, ["vanilla"]
    )["predictions"]
    assert found["labels"] == ["bee", "wolf", "cat", "termite", "elk"]
    net.class_names = NAMES[:3]
    found = ImageClassifierInterpreter(net, imagenet_labels=labels).interpret(
        x, ["vanilla"]
    )["predictions"]
    assert found["labels"] == ["bee", "wolf", "cat", "termite", "class 4"]


def test_a_difference_that_softmax_rounds_away_still_decides() -> None:
    net = ByHand(
        torch.tensor([0.0, 1e-10])[:, None, None, None].expand(-1, 3, *SIZE).clone()
    )
    classes, probabilities = predict(net, torch.ones(1, 3, *SIZE))
    assert classes.tolist() == [1, 0]
    assert probabilities[0] == probabilities[1]
    assert (
        ImageClassifierInterpreter(net)
        .interpret(torch.ones(3, *SIZE), ["vanilla"])
        .details["vanilla_gradients"]
        .target
        == vanilla_gradients(torch.ones(3, *SIZE), net).target
    )


def test_a_photo_a_path_and_a_tensor_are_one_image(
    tmp_path: Path, wide: Image.Image
) -> None:
    net = with_preprocessing(built(ConvNet, dtype=torch.float32))
    wide.save(tmp_path / "wide.png")
    x = net.preprocessing(wide)
    interpreter = ImageClassifierInterpreter(net)
    wanted = interpreter.interpret(x, ALL)
    for same in (wide, tmp_path / "wide.png", str(tmp_path / "wide.png"), x[None]):
        results = interpreter.interpret(same, ALL)
        for key in by_hand(net, x, wanted.details["gradcam"].target):
            np.testing.assert_array_equal(results[key], wanted[key])
        # The crop, not the photo: that is what the maps belong on.
        np.testing.assert_array_equal(
            np.asarray(results["image"]), np.asarray(net.preprocessing.crop_image(wide))
        )
        np.testing.assert_array_equal(
            results["predictions"]["classes"], wanted["predictions"]["classes"]
        )


def test_a_batch_is_refused() -> None:
    net = built(ConvNet)
    with pytest.raises(ValueError, match="takes one image, not 2"):
        ImageClassifierInterpreter(net).interpret(image(2))


def test_a_class_out_of_range_is_refused() -> None:
    net = built(ConvNet)
    with pytest.raises(ValueError, match="target class 4 is out of range"):
        ImageClassifierInterpreter(net).interpret(image(), ["vanilla"], 4)


def test_the_device_argument_moves_the_model() -> None:
    net = built(ConvNet)
    ImageClassifierInterpreter(net)
    assert {p.device.type for p in net.parameters()} == {"cpu"}
    moved = ImageClassifierInterpreter(net, device="meta")
    assert {p.device.type for p in moved.model.parameters()} == {"meta"}
    x = image()
    net = built(ConvNet)
    np.testing.assert_array_equal(
        ImageClassifierInterpreter(net, torch.device("cpu")).interpret(x, ["ig"])[
            "integrated_gradients"
        ],
        integrated_gradients(x, net).map,
    )


def test_an_empty_container_can_be_the_target_layer() -> None:
    # An empty nn.Sequential passes its input on, and is false as a condition.
    class Skips(ConvNet):
        def __init__(self) -> None:
            super().__init__()
            self.skip = nn.Sequential()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.skip(x))

    net, x = built(Skips), image()
    results = ImageClassifierInterpreter(net, target_layer=net.skip).interpret(
        x, ["gradcam"]
    )
    assert results.details["gradcam"].settings["target_layer"] == "skip"


def test_a_plain_resnet_with_random_weights() -> None:
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = resnet18(num_classes=7).train()
    before = snapshot(net)
    x = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    results = ImageClassifierInterpreter(net).interpret(x, ["gradcam", "vanilla"])
    same_state(before, snapshot(net))
    target = int(copy.deepcopy(net).eval()(x).argmax())
    np.testing.assert_array_equal(
        results["gradcam"], GradCAM(net, "layer4").generate_cam(x, target).map
    )
    np.testing.assert_array_equal(
        results["vanilla_gradients"], vanilla_gradients(x, net, target).map
    )
    assert results.details["gradcam"].settings["target_layer"].startswith("layer4")
    assert results["predictions"]["labels"][0] == f"class {target}"


def test_a_vgg_that_works_in_place() -> None:
    from torchvision.models.vgg import make_layers

    def vgg(in_place: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            body = make_layers([8, "M", 16, 16], batch_norm=False)
            head = nn.Linear(16, 5)
        for module in body:
            if isinstance(module, nn.ReLU):
                module.inplace = in_place
        parts = OrderedDict(
            features=body, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=head
        )
        return nn.Sequential(parts).double().eval()

    assert any(getattr(module, "inplace", False) for module in vgg(True).modules())
    x = torch.randn(
        1, 3, 16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    wanted = ImageClassifierInterpreter(vgg(False)).interpret(x, ALL)
    results = ImageClassifierInterpreter(vgg(True)).interpret(x, ALL)
    assert results.details["gradcam"].settings["target_layer"] == "features"
    for key in by_hand(vgg(False), x, 0):
        np.testing.assert_allclose(
            results[key], wanted[key], rtol=0, atol=1e-12 * wanted[key].max()
        )


def test_a_hugging_face_vit() -> None:
    from transformers import ViTConfig, ViTForImageClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=16,
            patch_size=8,
            num_labels=3,
        )
        net = ViTForImageClassification(config).double()
    x = torch.randn(
        3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    results = ImageClassifierInterpreter(net).interpret(x, ["ig", "smoothgrad"])
    found = results.details["integrated_gradients"]
    with torch.no_grad():
        black = (0 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
            [0.229, 0.224, 0.225]
        )
        start = black.double()[:, None, None].expand(3, 16, 16)
        logits, start_logits = (net.eval()(each[None]).logits[0] for each in (x, start))
    target = int(logits.argmax())
    assert found.target == target
    change = float(logits[target] - start_logits[target])
    assert found.attributions.sum() == pytest.approx(change, rel=1e-4)
    np.testing.assert_array_equal(
        results["smoothgrad"], smooth_grad(x, net, target).map
    )


def test_the_model_is_left_as_it_was() -> None:
    net, x = stateful(), image()
    before = snapshot(net)
    interpreter = ImageClassifierInterpreter(net, target_layer="features")
    results = interpreter.interpret(x, ALL)
    interpreter.visualize(results)
    same_state(before, snapshot(net))
    debug_model_prediction(net, x, 1, target_layer="features")
    same_state(before, snapshot(net))
    with pytest.raises(ValueError, match="no layer"):
        debug_model_prediction(net, x, 1, target_layer="feature")
    same_state(before, snapshot(net))
    # Eval mode, whatever the caller's: dropout would make two calls differ.
    np.testing.assert_array_equal(
        results["gradcam"], interpreter.interpret(x, ["gradcam"])["gradcam"]
    )


# --- visualize ------------------------------------------------------------------------


def test_the_figure_names_the_class_that_each_map_explains() -> None:
    net, x = known_logits()
    interpreter = ImageClassifierInterpreter(net)
    figure = interpreter.visualize(
        interpreter.interpret(x, ["gradcam", "ig"], target_class=5)
    )
    panels = [axes for axes in figure.axes if axes.images]
    first = [f"{n}. {NAMES[i]} {softmax()[i]:.1%}" for n, i in enumerate((1, 3, 2), 1)]
    assert panels[0].get_title().splitlines() == first
    assert [p.get_title().splitlines()[:2] for p in panels[1:]] == [
        ["Grad-CAM", "fox"],
        ["Integrated Gradients", "fox"],
    ]


def test_the_figure_has_the_maps_on_the_crop(wide: Image.Image) -> None:
    net = with_preprocessing(built(ConvNet, dtype=torch.float32))
    interpreter = ImageClassifierInterpreter(net)
    results = interpreter.interpret(wide, ["gradcam", "smoothgrad"])
    seen, cam, smooth = (
        axes.images for axes in interpreter.visualize(results).axes if axes.images
    )
    crop = np.asarray(net.preprocessing.crop_image(wide)) / 255
    np.testing.assert_allclose(seen[0].get_array(), crop, atol=1e-6)
    np.testing.assert_allclose(
        cam[0].get_array(), crop @ [0.299, 0.587, 0.114], atol=1e-6
    )
    np.testing.assert_array_equal(cam[1].get_array(), results["gradcam"])
    np.testing.assert_array_equal(smooth[0].get_array(), results["smoothgrad"])


# --- the report of one prediction -----------------------------------------------------


def rank_by_hand(logits: tuple[float, ...], truth: int) -> int:
    """1 + the classes that come before: a larger logit, or a tie and a lower index."""
    return 1 + sum(
        logit > logits[truth] or (logit == logits[truth] and i < truth)
        for i, logit in enumerate(logits)
    )


@pytest.mark.parametrize("truth", range(len(LOGITS)))
def test_rank_and_probability_of_the_true_class(
    truth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    net, x = known_logits()
    report = debug_model_prediction(net, x, truth)
    assert report.true_rank == rank_by_hand(LOGITS, truth)
    assert report.true_probability == pytest.approx(softmax()[truth], rel=1e-12)
    assert report.predicted_label == 1
    assert report.correct == (truth == 1)
    line = (
        f"True label: {NAMES[truth]} (rank {report.true_rank} of 7, probability"
        f" {softmax()[truth]:.2%})"
    )
    assert line in report.text.splitlines()
    # The tick in the list stands at the rank that the report names, or nowhere.
    marked = [line for line in report.text.splitlines() if line.startswith("  ✓")]
    wanted = f"  ✓ {report.true_rank}. {NAMES[truth]}: {softmax()[truth]:.2%}"
    assert marked == ([wanted] if report.true_rank <= 5 else [])
    assert capsys.readouterr().out == f"{report}\n" == report.text + "\n"


def test_the_rank_is_not_off_by_one() -> None:
    classes, probabilities = np.array([2, 0, 1]), np.array([0.5, 0.3, 0.2])
    assert [true_class_rank(classes, probabilities, truth) for truth in (2, 0, 1)] == [
        (1, 0.5),
        (2, 0.3),
        (3, 0.2),
    ]
    with pytest.raises(
        ValueError, match="class 3 is out of range: the model has classes 0 to 2"
    ):
        true_class_rank(classes, probabilities, 3)


VERDICTS = {
    # (true, expected), the prediction being bee (1)
    (1, 1): "Correct.",
    (1, 4): "Correct, and not the expected elk.",
    (4, 4): "Misclassified: bee instead of elk.",
    (4, 1): "Misclassified: bee instead of elk, as expected.",
    (4, 5): "Misclassified: bee instead of elk, and not the expected fox.",
}


@pytest.mark.parametrize(("true", "expected"), VERDICTS)
def test_true_predicted_and_expected(true: int, expected: int) -> None:
    net, x = known_logits()
    report = debug_model_prediction(net, x, true_label=true, expected_label=expected)
    assert (report.true_label, report.predicted_label, report.expected_label) == (
        true,
        1,
        expected,
    )
    lines = report.text.splitlines()
    assert VERDICTS[true, expected] in lines
    assert f"Expected label: {NAMES[expected]}" in lines
    assert f"Predicted label: bee (probability {softmax()[1]:.2%})" in lines
    by_name = debug_model_prediction(net, x, NAMES[true].upper(), f"{NAMES[expected]}")
    assert by_name.text == report.text


def test_every_combination_is_told_apart() -> None:
    net, x = known_logits()
    verdicts = set()
    for true, expected in itertools.product((1, 4, 5), repeat=2):
        text = debug_model_prediction(net, x, true, expected).text
        verdicts.add(
            next(
                line
                for line in text.splitlines()
                if line.startswith(("Correct", "Misclassified"))
            )
        )
    assert len(verdicts) == 9


def test_the_expected_label_is_the_truth_by_default() -> None:
    net, x = known_logits()
    assert debug_model_prediction(net, x, "elk").expected_label == 4


def test_labels_that_are_none_are_refused() -> None:
    net, x = known_logits()
    with pytest.raises(
        ValueError, match="no class is called 'elks'; did you mean 'elk'"
    ):
        debug_model_prediction(net, x, "elks")
    with pytest.raises(ValueError, match="class 7 is out of range"):
        debug_model_prediction(net, x, 1, 7)
    with pytest.raises(ValueError, match="takes one image, not 2"):
        debug_model_prediction(net, torch.cat([x, x]), 1)
    assert (
        debug_model_prediction(net, x, "wolf", imagenet_labels={3: "wolf"}).true_label
        == 3
    )


def flat(report: Any) -> str:
    """The text of a report without its line breaks."""
    return " ".join(report.text.split())


def peaked() -> tuple[nn.Module, Tensor]:
    """Class 0 looks at the brightness of everything.

    The image is 3 at row 5, column 2, and 1 at row 0, column 0.
    """
    net = ByHand(torch.stack([torch.ones(3, *SIZE), -torch.ones(3, *SIZE)]).double())
    x = torch.zeros(1, 3, *SIZE, dtype=torch.float64)
    x[..., 5, 2], x[..., 0, 0] = 3, 1
    return net, x


def test_the_evidence_by_value() -> None:
    net, x = peaked()
    report = debug_model_prediction(net, x, 0)
    # 1 of 48 pixels.
    assert (
        "Grad-CAM at features peaks at row 5, column 2 of the crop; 2% of it"
        in flat(report)
    )
    assert "Evidence, for the class 0 logit:" in flat(report)
    assert (
        "Integrated Gradients from black, 50 steps: relative completeness error 0.0%."
        in flat(report)
    )


def test_a_blank_map_is_said_and_nothing_is_nan() -> None:
    net, x = peaked()
    # Class 1 is predicted, and its cells all lower it.
    report = debug_model_prediction(net, -x, 0)
    assert report.predicted_label == 1
    with torch.no_grad():
        net.weight[1] = 0
        net.weight[0] = -1
    report = debug_model_prediction(net, x, 0)
    assert report.predicted_label == 1
    assert "Grad-CAM at features is blank" in flat(report)
    assert "relative completeness error undefined (the score does not change)" in flat(
        report
    )
    assert "nan" not in report.text.lower()
    panels = [axes for axes in report.figure.axes if axes.images]
    assert ["blank" in axes.get_title() for axes in panels] == [False, True, True]
    assert all(
        np.isfinite(drawn.get_array()).all() for axes in panels for drawn in axes.images
    )
    report.figure.draw_without_rendering()


def test_the_report_names_no_cause() -> None:
    net, x = known_logits()
    text = flat(debug_model_prediction(net, x, 4)).lower()
    assert not re.search(
        r"because|due to|confus|ambigu|bias|background|uncertain|spurious|overfit|wrong"
        r" object",
        text,
    )


def test_the_report_shows_its_facts_and_not_its_text_twice() -> None:
    net, x = known_logits()
    report = debug_model_prediction(net, x, 4)
    assert isinstance(report, DebugReport)
    assert "Model debug report" not in repr(report)
    assert "true_rank=5" in repr(report)


def test_the_shepherd_is_no_pug(classifier: Any) -> None:
    from chapter4.inputs.images import image_tensor, sample_photo

    # The chapter's call: the photo of a German shepherd, the label of a pug.
    classes, probabilities = predict(
        classifier, image_tensor(sample_photo("dog"), classifier)
    )
    assert [classifier.class_names[i] for i in (classes[0], 254)] == [
        "German shepherd",
        "pug",
    ]
    rank, probability = true_class_rank(classes, probabilities, 254)
    assert rank == 1 + int((probabilities > probability).sum()) > 1
    assert classes[rank - 1] == 254


# --- dtypes and labels that are none --------------------------------------------------


@pytest.mark.parametrize("method", ["gradcam", "ig", "smoothgrad", "vanilla"])
def test_other_dtypes_are_named(method: str) -> None:
    net, x = named(built(ConvNet, dtype=torch.float32)), image(dtype=torch.float32)
    explain = ImageClassifierInterpreter(net).interpret
    with pytest.raises(
        TypeError, match=r"image is torch\.float64 and the model torch\."
    ):
        explain(x.double(), [method])
    with pytest.raises(TypeError, match=r"no bfloat16: hand over image\.float"):
        explain(x.bfloat16(), [method])
    half = ImageClassifierInterpreter(copy.deepcopy(net).bfloat16())
    with pytest.raises(TypeError, match=r"no bfloat16: hand over model\.float"):
        half.interpret(x, [method])


def test_true_is_no_class_and_a_word_no_seed() -> None:
    net, x = named(built(ConvNet)), image()
    with pytest.raises(TypeError, match="by its index or its name, not by True"):
        class_index(net, True)
    with pytest.raises(TypeError, match="seed is an integer, not 'a'"):
        integrated_gradients(x, net, 1, seed="a")
