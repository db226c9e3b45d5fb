"""The randomisation check, on networks whose maps are known before and after."""

from __future__ import annotations

import math

import nets
import numpy as np
import pytest
import torch
from oracles.contract import same_state, snapshot
from scipy.stats import spearmanr
from torch import Tensor, nn

import chapter4
from chapter4.shapes.networks import tiny_resnet


class TwoParts(nn.Module):
    """F = second(first(x)); a map can be read off the weights of `first`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 8)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)).flatten(1))


def of_first(model: nn.Module) -> np.ndarray:
    return model.get_submodule("first").weight[0, 0].detach().numpy()


@pytest.fixture
def model() -> nn.Module:
    net = nets.built(TwoParts, dtype=torch.float32)
    net.norm.running_mean.fill_(3)
    return net


def test_a_map_changes_when_its_weights_do_and_not_before(model: nn.Module) -> None:
    found = chapter4.randomization_check(of_first, model, seed=4)
    assert found.stages == ("second", "norm", "first")
    twin = nets.built(TwoParts, dtype=torch.float32)
    chapter4.randomize_(twin, "first", seed=4)
    maps = (np.abs(of_first(each)).ravel() for each in (model, twin))
    expected = spearmanr(*maps).statistic
    assert found.correlations == pytest.approx((1, 1, expected))
    assert abs(expected) < 0.5
    assert not any(found.blank)


def test_independent_stages_are_put_back(model: nn.Module) -> None:
    order = ["first", "second"]
    cascade = chapter4.randomization_check(of_first, model, order)
    alone = chapter4.randomization_check(of_first, model, order, mode="independent")
    assert cascade.correlations[0] == cascade.correlations[1] == alone.correlations[0]
    assert alone.correlations[1] == pytest.approx(1)


def test_several_parts_make_one_stage(model: nn.Module) -> None:
    stages = ["second", ("norm", "first")]
    found = chapter4.randomization_check(of_first, model, stages, seed=4)
    assert found.stages == ("second", "norm + first")
    last = chapter4.randomization_check(of_first, model, seed=4).correlations[-1]
    assert found.correlations == pytest.approx((1, last))


def test_a_map_of_the_image_alone_stays(model: nn.Module) -> None:
    # The failure that the check is for: an edge detector.
    edges = np.abs(np.diff(nets.image()[0, 0].numpy(), axis=1))
    found = chapter4.randomization_check(lambda _: edges, model)
    assert found.correlations == pytest.approx((1, 1, 1))


def test_the_sign_of_a_map_does_not_count_and_a_blank_map_has_no_correlation(
    model: nn.Module,
) -> None:
    trained = of_first(model).copy()
    for factor, correlation in ((-1, 1), (0, math.nan)):
        found = chapter4.randomization_check(
            lambda m, factor=factor: trained if m is model else factor * trained,
            model,
            ["second"],
        )
        assert found.correlations == pytest.approx((correlation,), nan_ok=True)
        assert found.blank == (factor == 0,)


def test_the_callers_model_is_not_touched() -> None:
    model = nets.stateful()
    before = snapshot(model)
    seen: list[nn.Module] = []

    def explain(m: nn.Module) -> chapter4.Attribution:
        seen.append(m)
        return chapter4.vanilla_gradients(nets.image(), m, 1)

    found = chapter4.randomization_check(explain, model, seed=1)
    assert seen[0] is model
    assert all(m is not model for m in seen[1:])
    same_state(before, snapshot(model))
    again = chapter4.randomization_check(explain, model, seed=1)
    assert again.correlations == found.correlations
    other = chapter4.randomization_check(explain, model, seed=2)
    assert other.correlations != found.correlations


def test_new_weights_keep_the_size_of_the_signal() -> None:
    net = nn.Sequential(nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.Linear(50, 300))
    with torch.no_grad():
        for tensor in (*net.parameters(), net[1].running_mean, net[1].running_var):
            tensor.fill_(9.0)
    before = net[2].weight.clone()
    for stage in ("0", "1"):
        chapter4.randomize_(net, stage)
    assert torch.equal(net[2].weight, before)
    chapter4.randomize_(net, "2")
    for layer, fan_in in ((net[0], 16 * 9), (net[2], 50)):
        spread = layer.weight.std().item()
        assert spread == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
        assert abs(layer.weight.mean().item()) < 0.01
        assert not layer.bias.any()
    norm, ones = net[1], torch.ones(64)
    assert torch.equal(norm.weight, ones)
    assert torch.equal(norm.running_var, ones)
    assert not norm.bias.any()
    assert not norm.running_mean.any()


def test_a_stage_gets_the_same_weights_in_any_company() -> None:
    one, two = tiny_resnet(1), tiny_resnet(1)
    chapter4.randomize_(one, "layer3", seed=7)
    for stage in ("fc", "layer4", "layer3"):
        chapter4.randomize_(two, stage, seed=7)
    assert torch.equal(one.layer3[0].conv1.weight, two.layer3[0].conv1.weight)
    first, second = one.layer3[0].conv2.weight, two.layer4[0].conv2.weight
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_stages_from_the_logits_down(classifier: nn.Module) -> None:
    small = "fc layer4 layer3 layer2 layer1 bn1 conv1"
    assert chapter4.default_stages(tiny_resnet()) == small.split()
    stages = chapter4.default_stages(classifier)
    assert stages[:5] == ["classifier", "bn2", "conv_head", "blocks.6", "blocks.5.3"]
    assert stages[-3:] == ["blocks.0", "bn1", "conv_stem"]
    # Every weight is in exactly one of them.
    covered = [
        name
        for stage in stages
        for name, _ in classifier.get_submodule(stage).named_parameters(prefix=stage)
    ]
    assert sorted(covered) == sorted(name for name, _ in classifier.named_parameters())


def test_a_random_network_explains_nothing_of_the_trained_one() -> None:
    model = chapter4.load_classifier("shapes")
    case = chapter4.off_centre_shapes(model, 1)[0]
    found = chapter4.randomization_check(
        lambda m: chapter4.GradCAM(m, "layer4").generate_cam(case.image, case.target),
        model,
    )
    random = [c for c in found.correlations[1:] if not math.isnan(c)]
    assert len(random) >= 3
    assert max(random) < 0.9


@pytest.mark.parametrize(
    ("stages", "mode", "words"),
    [
        (["secnd"], "cascading", "no part 'secnd'; did you mean 'second'"),
        ([], "cascading", "no stage"),
        ([()], "cascading", "no stage"),
        (None, "cascade", "'cascading' or 'independent'"),
    ],
)
def test_what_is_refused(
    model: nn.Module, stages: list[str], mode: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        chapter4.randomization_check(of_first, model, stages, mode=mode)


def test_a_stage_without_weights_and_a_class_that_changes_are_refused() -> None:
    net = nets.built(nets.ConvNet)
    with pytest.raises(ValueError, match=r"'features.1' has no weights"):
        chapter4.randomization_check(lambda m: np.eye(2), net, ["features.1"])

    def predicted(m: nn.Module) -> chapter4.Attribution:
        chosen = 0 if m is net else 1
        return chapter4.vanilla_gradients(nets.image(), m, chosen)

    with pytest.raises(ValueError, match="class changed from 0 to 1"):
        chapter4.randomization_check(predicted, net, ["head"])
