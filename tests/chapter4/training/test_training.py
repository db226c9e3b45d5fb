"""The training loop: a run that was cut off ends where an unbroken one ends."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from chapter4.shapes.drawing import make_shape
from chapter4.training import cache, loop, records
from chapter4.training.loop import Recipe

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    learning_rate=0.01,
    warmup_steps=2,
    weight_decay=0.1,
    flip=True,
    seed=5,
)


def _data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 3, 8, 8), generator=generator)
    return images.to(torch.uint8), torch.arange(30) % 2


def _model():
    torch.manual_seed(1)
    first = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(144, 2))


@pytest.fixture
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAPTER4_TRAINING_CACHE", str(tmp_path))
    return tmp_path


def test_a_resumed_run_equals_one_that_was_never_cut_off(
    cache_of_its_own, monkeypatch, capsys
):
    data = _data()
    whole = _model()
    loop.fit("whole", whole, data, data, RECIPE)

    calls = []

    def save_then_stop(path, state):
        cache.save_checkpoint(path, state)
        calls.append(state["epoch"])
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        loop.fit("cut", _model(), data, data, RECIPE)
    resumed = _model()
    loop.fit("cut", resumed, data, data, RECIPE)
    assert calls == [1, 2, 3]
    assert "goes on after epoch 2" in capsys.readouterr().out
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not resumed.training


def test_a_checkpoint_of_another_run_is_not_resumed(cache_of_its_own, capsys):
    data, other = _data(), dataclasses.replace(RECIPE, learning_rate=0.02)
    loop.fit("model", _model(), data, data, RECIPE)
    changed = _model()
    changed[0].bias.data[0] += 0.5
    loop.fit("model", changed, data, data, RECIPE)
    loop.fit("model", _model(), (data[0].flip(0), data[1]), data, RECIPE)
    loop.fit("model", _model(), data, data, other)
    assert "goes on" not in capsys.readouterr().out


def test_the_learning_rate_rises_and_falls_as_written():
    rates = [loop._learning_rate(step, 12, RECIPE) for step in range(12)]
    assert rates[:3] == pytest.approx([0.005, 0.01, 0.01])
    assert rates[7] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert rates == sorted(rates[:3]) + sorted(rates[3:], reverse=True)


def test_pixels_are_normalised_to_minus_one_and_one():
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8)
    torch.testing.assert_close(loop.normalise(pixels), torch.tensor([-1.0, 1.0, -0.6]))


def test_prediction_does_not_depend_on_the_batch_size():
    images, _ = _data()
    model = _model().eval()
    by_hand = model(images.float() / 127.5 - 1.0).argmax(dim=1)
    assert torch.equal(loop.predict(model, images, batch_size=7), by_hand)


def test_cached_pictures_are_the_drawn_ones(cache_of_its_own):
    settings = {"seed": 9, "logo_probability": 1.0, "logo_class": "star"}
    fresh, stored = (cache.pictures(12, **settings) for _ in range(2))
    drawn = make_shape(3, **settings)
    for images, labels in (fresh, stored):
        assert torch.equal(images[3], torch.from_numpy(drawn.image).permute(2, 0, 1))
        assert labels.tolist() == [*range(10), 0, 1]
    plain, _ = cache.pictures(12, seed=9)
    assert not torch.equal(plain[3], fresh[0][3])
    assert len(list(cache_of_its_own.iterdir())) == 2


def test_a_count_may_differ_by_one_in_a_thousand():
    assert records.compare_counts("m", "right", 1988, 1990, 2000)
    assert not records.compare_counts("m", "right", 1987, 1990, 2000)
    assert records.compare_counts("m", "right", 23, 24, 24)  # one in any case
    assert not records.compare_counts("m", "right", 22, 24, 24)


def test_a_model_that_was_not_trained_has_no_record():
    with pytest.raises(FileNotFoundError, match="for 'nothing': train it first"):
        records.read_recipe("nothing")
