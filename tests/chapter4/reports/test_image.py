"""Several methods on one photo, and the report of one prediction, by value.

The logits of the nets are known.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nets import SIZE, ByHand, ConvNet, built, image, stateful
from oracles.contract import same_state, snapshot
from PIL import Image
from torch import Tensor, nn

from chapter4.evidence import count_passes, randomize_, rank_correlation
from chapter4.evidence.map_evidence import LARGEST_DELTA, MapEvidence
from chapter4.inputs.images import Preprocessing
from chapter4.methods.gradcam import GradCAM, GradCAMPlusPlus
from chapter4.methods.gradients import gradient_input, smooth_grad, vanilla_gradients
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.reports.image import (
    DebugReport,
    ImageClassifierInterpreter,
    Interpretation,
    debug_model_prediction,
    predict,
    true_class_rank,
)

ALL = ("gradcam", "gradcam++", "ig", "smoothgrad", "vanilla", "gradient_input")
# Two classes tie. The true class may be first, second, in the top five, or outside.
LOGITS = (2.0, 4.0, 3.0, 4.0, 1.0, 0.0, -1.0)
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
POWERS = np.exp(np.array(LOGITS))
SOFTMAX = POWERS / POWERS.sum()


def known_logits() -> tuple[nn.Module, Tensor]:
    """A net and an image (1, 3, 8, 6) of ones on which it gives LOGITS."""
    one_each = torch.tensor(LOGITS, dtype=torch.float64)[:, None, None, None]
    net = ByHand(one_each.repeat(1, 3, *SIZE) / (3 * 8 * 6)).eval()
    net.class_names = NAMES
    return net, torch.ones(1, 3, *SIZE, dtype=torch.float64)


def by_hand(net: nn.Module, x: Any, target: int) -> dict[str, np.ndarray]:
    return {
        "gradcam": GradCAM(net, "features").generate_cam(x, target).map,
        "gradcam++": GradCAMPlusPlus(net, "features").generate_cam(x, target).map,
        "integrated_gradients": integrated_gradients(x, net, target).map,
        "smoothgrad": smooth_grad(x, net, target).map,
        "vanilla_gradients": vanilla_gradients(x, net, target).map,
        "gradient_input": gradient_input(x, net, target).map,
    }


def interpret(net: nn.Module, x: Any, *arguments: Any, **options: Any) -> Any:
    return ImageClassifierInterpreter(net).interpret(x, *arguments, **options)


def named(net: nn.Module) -> nn.Module:
    """As `load_classifier` gives them: Grad-CAM's layer is known."""
    net.target_layer = "features"
    return net


def with_preprocessing(net: nn.Module) -> nn.Module:
    net.preprocessing = Preprocessing(8, (8, 6), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))
    return net


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


@pytest.fixture
def wide() -> Image.Image:
    """A photo three times as wide as high; nothing in it repeats."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- interpret ------------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 3])
def test_maps_equal_the_methods_called_one_by_one(target: int | None) -> None:
    net, x = built(ConvNet), image()
    interpreter = ImageClassifierInterpreter(net, target_layer="features")
    results = interpreter.interpret(x, ALL, target)
    wanted = by_hand(net, x, int(net(x).argmax()) if target is None else target)
    assert set(results) == {"image", "predictions", *wanted}
    for key, values in wanted.items():
        np.testing.assert_array_equal(results[key], values)
        assert np.shares_memory(results[key], results.details[key].map)


def test_the_chapters_keys_by_default() -> None:
    results = interpret(built(ConvNet), image())
    maps = ["gradcam", "integrated_gradients", "smoothgrad"]
    assert list(results) == ["image", "predictions", *maps]
    assert set(results["predictions"]) == {"classes", "probabilities", "labels"}
    assert all(results[key].shape == SIZE for key in maps)


def test_progress_names_each_method_before_it_runs() -> None:
    net, x = built(ConvNet), image()
    heard: list[str] = []
    results = interpret(
        net, x, ["ig", "vanilla"], evidence=False, progress=heard.append
    )
    # The one that sees the image itself comes first: the predictions are its.
    assert heard == ["vanilla", "ig"]
    assert results.evidence["vanilla_gradients"].rank_correlation is None
    interpret(net, x, ["gradcam"], progress=heard.append)
    assert heard[2:] == ["gradcam", "gradcam with a random last layer"]


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize(
    ("methods", "forward", "backward"),
    [
        (["ig"], 52, 50),
        (["smoothgrad"], 51, 50),
        (["vanilla"], 1, 1),
        (["gradcam", "ig"], 52, 51),
        (ALL, 105, 104),
    ],
)
def test_the_methods_share_their_forward_passes(
    methods: list[str], forward: int, backward: int, target: int | None
) -> None:
    """No more than the sum of the gradients and one forward pass, IG's baseline."""
    net = named(built(ConvNet))
    with count_passes(net) as passes:
        interpret(net, image(), methods, target, evidence=False)
    assert (passes.forward, passes.backward) == (forward, backward)


# --- evidence beside the maps ---------------------------------------------------------


def test_evidence_stands_beside_every_map() -> None:
    """The check with a random last layer is Spearman's correlation of two maps.

    They are the map, and the same net's map with that random layer.
    """
    net, x = named(built(ConvNet)), image()
    results = interpret(net, x, ALL, 1)
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


def test_a_layer_given_as_a_module_is_found_in_the_random_copy() -> None:
    net, x = built(ConvNet), image()
    first, second = (
        ImageClassifierInterpreter(net, target_layer=layer).interpret(x, ["gradcam"], 1)
        for layer in (net.features, "features")
    )
    assert first.evidence == second.evidence


def test_figures_show_the_evidence() -> None:
    net, x = named(built(ConvNet)), image()
    results = interpret(net, x, ["gradcam", "ig"], 1)
    results.evidence["integrated_gradients"] = MapEvidence(False, 0.234, "head", 0.5)
    figure = ImageClassifierInterpreter(net).visualize(results)
    cam, ig = (text for axes in figure.axes for text in axes.texts)
    assert cam.get_text().splitlines() == results.evidence["gradcam"].lines()
    assert ig.get_text().splitlines() == [
        "INCOMPLETE: completeness error 23.4%",
        "rank correlation with random head: 0.50",
    ]
    assert cam.get_color() != ig.get_color()


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


def test_grad_cam_at_a_patch_embedding_warns() -> None:
    # (3, 8, 6) in patches of 2 x 2, then layers that know of no grid.
    layers = [nn.Linear(48, 48) for _ in range(8)]
    net = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Flatten(), *layers).double()
    with pytest.warns(UserWarning, match="'0', number 1 of 9 .* says little"):
        interpret(net, image(), ["gradcam"], evidence=False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["ig", "gradcamm"],), ValueError, "no method 'gradcamm'; did you mean 'grad"),
        (("ig",), TypeError, re.escape("['ig']")),
        ((["vanilla"], 4), ValueError, "target class 4 is out of range"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        interpret(built(ConvNet), image(), *arguments)


def test_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="takes one image, not 2"):
        interpret(built(ConvNet), image(2))


def test_predictions_are_sorted_and_named() -> None:
    net, x = known_logits()
    found = interpret(net, x, ["vanilla"])["predictions"]
    assert found["classes"].tolist() == [1, 3, 2, 0, 4]
    wanted = SOFTMAX[[1, 3, 2, 0, 4]]
    np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-12)
    assert found["labels"] == ["bee", "dog", "cat", "ant", "elk"]


def test_gaps_in_the_labels_come_from_the_models_own_names() -> None:
    net, x = known_logits()
    labels = {3: "wolf", 0: "termite"}
    for names, last in ((NAMES, "elk"), (NAMES[:3], "class 4")):
        net.class_names = names
        interpreter = ImageClassifierInterpreter(net, imagenet_labels=labels)
        found = interpreter.interpret(x, ["vanilla"])["predictions"]
        assert found["labels"] == ["bee", "wolf", "cat", "termite", last]


def test_a_difference_that_softmax_rounds_away_still_decides() -> None:
    one_each = torch.tensor([0.0, 1e-10])[:, None, None, None]
    net, x = ByHand(one_each.repeat(1, 3, *SIZE)), torch.ones(1, 3, *SIZE)
    classes, probabilities = predict(net, x)
    assert classes.tolist() == [1, 0]
    assert probabilities[0] == probabilities[1]
    assert interpret(net, x, ["vanilla"]).details["vanilla_gradients"].target == 1


def test_a_photo_a_path_and_a_tensor_are_one_image(
    tmp_path: Path, wide: Image.Image
) -> None:
    net = with_preprocessing(built(ConvNet, dtype=torch.float32))
    wide.save(tmp_path / "wide.png")
    x = net.preprocessing(wide)
    wanted = interpret(net, x, ["vanilla"])
    crop = np.asarray(net.preprocessing.crop_image(wide))
    for same in (wide, tmp_path / "wide.png", str(tmp_path / "wide.png"), x[None]):
        results = interpret(net, same, ["vanilla"])
        np.testing.assert_array_equal(
            results["vanilla_gradients"], wanted["vanilla_gradients"]
        )
        # The crop, not the photo: that is what the maps belong on.
        np.testing.assert_array_equal(np.asarray(results["image"]), crop)


def test_the_device_argument_moves_the_model() -> None:
    net = built(ConvNet)
    ImageClassifierInterpreter(net)
    assert {p.device.type for p in net.parameters()} == {"cpu"}
    moved = ImageClassifierInterpreter(net, device="meta")
    assert {p.device.type for p in moved.model.parameters()} == {"meta"}


def test_an_empty_container_can_be_the_target_layer() -> None:
    # An empty nn.Sequential passes its input on, and is false as a condition.
    class Skips(ConvNet):
        def __init__(self) -> None:
            super().__init__()
            self.skip = nn.Sequential()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.skip(x))

    net = built(Skips)
    interpreter = ImageClassifierInterpreter(net, target_layer=net.skip)
    results = interpreter.interpret(image(), ["gradcam"])
    assert results.details["gradcam"].settings["target_layer"] == "skip"


@pytest.mark.parametrize("methods", [["ig"], ["vanilla", "ig"]])
def test_a_model_that_wraps_its_logits_as_those_of_hugging_face(
    methods: list[str],
) -> None:
    class Wraps(ConvNet):
        def forward(self, x: Tensor) -> Any:
            return SimpleNamespace(logits=super().forward(x))

    results, wanted = (
        interpret(built(make), image(), methods) for make in (Wraps, ConvNet)
    )
    np.testing.assert_array_equal(
        results["integrated_gradients"], wanted["integrated_gradients"]
    )
    assert results["predictions"]["labels"] == wanted["predictions"]["labels"]


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
    again = interpreter.interpret(x, ["gradcam"])
    np.testing.assert_array_equal(results["gradcam"], again["gradcam"])


# --- visualize ------------------------------------------------------------------------


def test_the_figure_names_the_class_that_each_map_explains() -> None:
    net, x = known_logits()
    results = interpret(net, x, ["gradcam", "ig"], target_class=5)
    seen, *maps = panels(ImageClassifierInterpreter(net).visualize(results))
    first = [f"{n}. {NAMES[i]} {SOFTMAX[i]:.1%}" for n, i in enumerate((1, 3, 2), 1)]
    assert seen.get_title().splitlines() == first
    titles = [axes.get_title().splitlines()[:2] for axes in maps]
    assert titles == [["Grad-CAM", "fox"], ["Integrated Gradients", "fox"]]
    with pytest.raises(TypeError, match=r"takes what interpret returned.*a dict has"):
        ImageClassifierInterpreter(net).visualize(dict(results))


def test_the_figure_has_the_maps_on_the_crop(wide: Image.Image) -> None:
    net = with_preprocessing(built(ConvNet, dtype=torch.float32))
    results = interpret(net, wide, ["gradcam", "smoothgrad"])
    seen, cam, smooth = (
        [each.get_array() for each in axes.images]
        for axes in panels(ImageClassifierInterpreter(net).visualize(results))
    )
    crop = np.asarray(net.preprocessing.crop_image(wide)) / 255
    np.testing.assert_allclose(seen[0], crop, atol=1e-6)
    np.testing.assert_allclose(cam[0], crop @ [0.299, 0.587, 0.114], atol=1e-6)
    np.testing.assert_array_equal(cam[1], results["gradcam"])
    np.testing.assert_array_equal(smooth[0], results["smoothgrad"])


# --- the report of one prediction -----------------------------------------------------


@pytest.mark.parametrize(("truth", "rank"), [(1, 1), (3, 2), (4, 5), (5, 6)])
def test_rank_and_probability_of_the_true_class(
    truth: int, rank: int, capsys: pytest.CaptureFixture[str]
) -> None:
    net, x = known_logits()
    report = debug_model_prediction(net, x, truth)
    assert report.true_rank == rank
    assert report.true_probability == pytest.approx(SOFTMAX[truth], rel=1e-12)
    assert report.predicted_label == 1
    assert report.correct == (truth == 1)
    share, lines = f"{SOFTMAX[truth]:.2%}", report.text.splitlines()
    line = f"True label: {NAMES[truth]} (rank {rank} of 7, probability {share})"
    assert line in lines
    # The tick in the list stands at the rank that the report names, or nowhere.
    marked = [line for line in lines if line.startswith("  ✓")]
    wanted = f"  ✓ {rank}. {NAMES[truth]}: {share}"
    assert marked == ([wanted] if rank <= 5 else [])
    assert capsys.readouterr().out == f"{report}\n" == report.text + "\n"


def test_the_rank_is_not_off_by_one() -> None:
    classes, probabilities = np.array([2, 0, 1]), np.array([0.5, 0.3, 0.2])
    found = [true_class_rank(classes, probabilities, truth) for truth in (2, 0, 1)]
    assert found == [(1, 0.5), (2, 0.3), (3, 0.2)]
    message = "class 3 is out of range: the model has classes 0 to 2"
    with pytest.raises(ValueError, match=message):
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
    report = debug_model_prediction(net, x, true, expected, evidence=False)
    labels = report.true_label, report.predicted_label, report.expected_label
    assert labels == (true, 1, expected)
    lines = report.text.splitlines()
    assert VERDICTS[true, expected] in lines
    assert f"Expected label: {NAMES[expected]}" in lines
    assert f"Predicted label: bee (probability {SOFTMAX[1]:.2%})" in lines


def test_labels_by_name() -> None:
    net, x = known_logits()
    report = debug_model_prediction(net, x, "ELK", "fox", evidence=False)
    assert (report.true_label, report.expected_label) == (4, 5)
    # The truth by default.
    report = debug_model_prediction(net, x, "elk", evidence=False)
    assert report.expected_label == 4
    own = debug_model_prediction(
        net, x, "wolf", imagenet_labels={3: "wolf"}, evidence=False
    )
    assert own.true_label == 3


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (("elks",), ValueError, "no class is called 'elks'; did you mean 'elk'"),
        ((1, 7), ValueError, "class 7 is out of range"),
        ((True,), TypeError, "by its index or its name, not by True"),
    ],
)
def test_labels_that_are_none_are_refused(
    labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        debug_model_prediction(*known_logits(), *labels)


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
    text = flat(debug_model_prediction(*peaked(), 0))
    # 1 of 48 pixels.
    assert "Grad-CAM at features peaks at row 5, column 2 of the crop; 2% of it" in text
    assert "Evidence, for the class 0 logit:" in text
    error = "Integrated Gradients from black, 50 steps: relative completeness error"
    assert f"{error} 0.0%." in text


def test_a_blank_map_is_said_and_nothing_is_nan() -> None:
    net, x = peaked()
    # Class 1 is predicted, and its cells all lower it.
    assert debug_model_prediction(net, -x, 0).predicted_label == 1
    with torch.no_grad():
        net.weight[1] = 0
        net.weight[0] = -1
    report = debug_model_prediction(net, x, 0)
    assert report.predicted_label == 1
    text = flat(report)
    assert "Grad-CAM at features is blank" in text
    assert "completeness error undefined (the score does not change)" in text
    assert "nan" not in text.lower()
    drawn = panels(report.figure)
    assert ["blank" in axes.get_title() for axes in drawn] == [False, True, True]
    assert all(
        np.isfinite(each.get_array()).all() for axes in drawn for each in axes.images
    )
    report.figure.draw_without_rendering()


def test_the_report_names_no_cause_and_its_repr_is_short() -> None:
    report = debug_model_prediction(*known_logits(), 4)
    cause = (
        r"because|due to|confus|ambigu|bias|background|uncertain|spurious|overfit|wrong"
        r" object"
    )
    assert not re.search(cause, flat(report).lower())
    assert isinstance(report, DebugReport)
    assert isinstance(report.results, Interpretation)
    assert "Model debug report" not in repr(report)
    assert "true_rank=5" in repr(report)


@pytest.mark.parametrize("method", ["gradcam", "ig"])
def test_other_dtypes_are_named(method: str) -> None:
    net, x = named(built(ConvNet, dtype=torch.float32)), image(dtype=torch.float32)
    with pytest.raises(TypeError, match=r"image is torch\.float64 and the model torch"):
        interpret(net, x.double(), [method])
    with pytest.raises(TypeError, match=r"no bfloat16: hand over image\.float"):
        interpret(net, x.bfloat16(), [method])
    with pytest.raises(TypeError, match=r"no bfloat16: hand over model\.float"):
        interpret(copy.deepcopy(net).bfloat16(), x, [method])
