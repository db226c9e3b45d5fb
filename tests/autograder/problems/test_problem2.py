"""Problem 2: slips in a student's code, partial credit, and nets without a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from submissions import lost, student_of

from autograder.checking.runner import Shortfall, run_checks
from autograder.course import release
from autograder.problems.common import image, model
from autograder.problems.problem2 import noise_checks as sampling
from autograder.problems.problem2.instructors import mistakes
from autograder.sandbox.inside import tiny_models
from autograder.sandbox.notebook import cells_of

SOURCE = release.COURSE / "solutions" / "problem2" / "problem2.md"


# Mistakes as a student would make them in the sample solution. The code differs from
# that of the listed mistakes.
SLIPS = {
    "absolute values inside the mean": ("(score, noisy)[0]", "(score, noisy)[0].abs()"),
    "squares inside the mean": ("(score, noisy)[0]", "(score, noisy)[0] ** 2"),
    "sigma absolute": ("noise_level * (x.max() - x.min())", "noise_level"),
    "sigma divided by the range": ("noise_level * (x", "noise_level / (x"),
    "n - 1 samples, divided by n": ("range(n_samples)", "range(1, n_samples)"),
    "divided by n - 1": ("/ n_samples", "/ max(n_samples - 1, 1)"),
    "softmax instead of logit": ("model(noisy)[", "model(noisy).softmax(1)["),
    "signed sum": ("mean.abs().amax(dim=0)", "mean.sum(dim=0)"),
    "sum of absolute values": ("mean.abs().amax(dim=0)", "mean.abs().sum(dim=0)"),
    "scaled to 1": ("amax(dim=0)", "amax(dim=0) / mean.abs().max()"),
    "uniform noise": (
        "torch.randn(x.shape, generator=generator)",
        "torch.rand(x.shape, generator=generator) * 2 - 1",
    ),
    "noise added to the noisy image": ("noisy = (x +", "noisy = x = (x.detach() +"),
}


@pytest.mark.parametrize("name", SLIPS)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_slip_in_other_code_is_named_too(name: str, seed: int) -> None:
    cells = cells_of(release.source_notebook(SOURCE))
    source = "\n".join(c.source for c in cells if "self_check" not in c.source)
    source = source.partition("import chapter4")[0]
    old, new = SLIPS[name]
    assert source.count(old) == 1
    student = student_of(source.replace(old, new))
    failed = lost(run_checks("problem2", student, seed, task="smooth-grad"))
    assert {r.hint for r in failed} == {mistakes.HINTS["smooth-grad"][name]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pass", "returned None"),
        ("return 'a map'", "must return the map"),
        ("return image[0], 3", "several things"),
        ("return {}", "must return the map"),
        ("return image", "the maximum over the channels is missing"),
        ("return image[..., 0, :, :].reshape(-1)", "yours is (72,)"),
        ("return -abs(image.reshape(3, *image.shape[-2:])[0])", "ABSOLUTE"),
        ("return 0 * image.reshape(3, *image.shape[-2:])[0] / 0", "NaN"),
        ("raise KeyError('x')", "KeyError"),
    ],
)
def test_replies_of_other_forms_get_a_clear_line(body: str, words: str) -> None:
    source = f"def smooth_grad(image, *rest):\n    {body}\n"
    results = run_checks("problem2", student_of(source), 5, task="smooth-grad")
    failed = lost(results)
    assert sum(r.earned for r in results) == 0
    assert words in failed[0].message
    assert all("\n" not in r.message for r in failed)


# What an honest mistake leaves, of the 12 points.
LEFT = {
    "absolute values inside the mean": 10,
    "maximum before the mean": 7.6,
    "n - 1 samples": 10,
    "range of each channel": 9.6,
    "noise drawn once": 4.8,
    "gradient at the clean image": 3.6,
}


@pytest.mark.parametrize("name", LEFT)
def test_one_mistake_leaves_its_partial_credit(name: str) -> None:
    source = mistakes.wrong_submission("smooth-grad", name)
    results = run_checks("problem2", student_of(source), 7, task="smooth-grad")
    assert sum(r.earned for r in results) == pytest.approx(LEFT[name])


class Knows:
    """Answers with its function in this process; right on every net with a formula."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def call(self, name: str, *arguments: Any) -> Any:
        built = [tiny_models.build(a) if hasattr(a, "kind") else a for a in arguments]
        return self.function(*built)


# n copies; whether gradients change their signs; what is no mean over n.
STAND_INS = [
    (1, True, "gradient at the clean image"),
    (24, True, "gradient at the clean image"),
    (24, True, "one sample of less noise"),
    (24, True, "noise drawn once"),
    (24, False, "one sample of less noise"),
    (24, False, "gradient at the clean image"),
]


@pytest.mark.parametrize(("n_samples", "rising", "mistake"), STAND_INS)
@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_formula_only_sampling_helps(
    n_samples: int, rising: bool, mistake: str, seed: int
) -> None:
    size, level = ((48, 40), 0.15) if n_samples == 1 else ((20, 16), 0.3)
    channels = (2,) if rising else (0, 1, 2)

    def ask(function: Any) -> None:
        rng = np.random.default_rng(seed)
        sampling.ask_without_formula(
            Knows(function),
            rng,
            size,
            n_samples,
            level,
            **{"channels": channels, "rising": rising},
        )

    ask(mistakes.mutants.smooth_grad_with(""))
    with pytest.raises(Shortfall, match="wrong where it has none"):
        ask(mistakes.mutants.smooth_grad_with(mistake))


def test_an_error_curve_without_a_formula_must_be_measured() -> None:
    def law(image: Any, model: Any, target: int, counts: Any, seeds: Any) -> Any:
        x = image.numpy()
        scale = 0.15 * np.ptp(x) / np.sqrt((x**2).mean())
        return [scale * (1 / n + 1 / (16 * max(counts))) ** 0.5 for n in counts]

    def ask(function: Any) -> None:
        rng = np.random.default_rng(3)
        sampling.ask_curve_without_formula(Knows(function), rng, (20, 16), 8, 3)

    ask(mistakes.mutants.error_curve_with(""))
    with pytest.raises(Shortfall, match="measure it"):
        ask(law)


def test_where_the_net_rises_no_gradient_changes_its_sign_in_any_class() -> None:
    rng = np.random.default_rng(5)
    recipe = model("deep-net", rng, (9, 7), channels=[2], rising=True, centre=6.0)
    x = image(rng.uniform(5, 7, (4, 3, 9, 7))).requires_grad_()
    scores = tiny_models.build(recipe)(x)
    maps = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in scores.T]
    for gradient in maps:
        assert gradient[:, :2].abs().max() == 0
        assert (gradient[:, 2] > 0).all() or (gradient[:, 2] < 0).all()
        assert torch.equal(gradient.abs(), maps[0].abs())


def test_a_maps_standing_is_counted_in_standard_deviations() -> None:
    """Three maps of one pixel: 0, 3 and 6.

    They lie 4.5, 0 and 4.5 from the mean of the two others.
    """
    maps = np.array([0.0, 3.0, 6.0]).reshape(3, 1, 1)
    own = np.array([4.5, 0.0, 4.5])
    for value in (3.0, 30.0):
        right = (abs(value - 3) - own.mean()) / own.std(ddof=1)
        assert sampling.standing(np.full((1, 1), value), maps) == pytest.approx(right)
