"""The drawn pictures, by value, and the shipped networks that were trained on them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chapter4.shapes import drawing
from chapter4.shapes.drawing import (
    CLASSES,
    class_index,
    logo,
    make_shape,
    make_shapes,
    paste_logo,
)
from chapter4.shapes.networks import tiny_resnet, tiny_vit
from chapter4.training import shape_classifiers
from chapter4.training import tiny_vit as vit_training
from chapter4.training.records import WEIGHTS, model_card, read_recipe

BLANK = np.zeros((64, 64, 3), np.uint8)
SHAPE_MODELS = ("shapes", "shapes-logo", "tiny-vit")


def _coverage(name, radius, angle=0.0, centre=(32.0, 32.0)):
    """How much of each pixel a shape of known place and size covers."""
    drawn = iter((radius, 1.0, angle, np.array(centre)))  # 1: not stretched
    draws = SimpleNamespace(uniform=lambda *_: next(drawn))
    return drawing._object_coverage(name, draws)


def _lune_area(outer, inner, distance):
    """The area inside one circle and outside another, by the textbook formula."""
    a = math.acos((distance**2 + outer**2 - inner**2) / (2 * distance * outer))
    b = math.acos((distance**2 + inner**2 - outer**2) / (2 * distance * inner))
    overlap = outer**2 * (a - math.sin(2 * a) / 2) + inner**2 * (
        b - math.sin(2 * b) / 2
    )
    return math.pi * outer**2 - overlap


# Areas in the unit circle, from closed forms. Only the heart's area is not tested here.
AREAS = {
    "circle": math.pi * 0.9**2,
    "square": 2.0,
    "triangle": 3 * math.sqrt(3) / 4,
    "star": 5 * 1.0 * 0.42 * math.sin(math.pi / 5),
    "cross": 2 * (1.86 * 0.6) - 0.6**2,
    "ring": math.pi * (0.95**2 - 0.52**2),
    "crescent": _lune_area(1.0, 0.8, 0.6),
    "arrow": 0.6 * 1.05 + 0.5 * 1.6 * 0.9,
    "hexagon": 3 * math.sqrt(3) / 2,
}


@pytest.mark.parametrize("name", AREAS)
def test_each_shape_has_the_area_of_its_closed_form(name):
    # Pillow fills every pixel that a polygon's edge touches, up to 1/8 px on each side
    # at four-fold supersampling: 3 % of the area of the shape with the longest outline.
    area = _coverage(name, 18.0).sum()
    assert area == pytest.approx(AREAS[name] * 18.0**2, rel=0.03)


def test_the_circle_lies_where_it_was_put():
    coverage = _coverage("circle", 16.0, angle=0.3, centre=(40.0, 25.0))
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    distance = np.hypot(columns - 40.0, rows - 25.0)
    assert coverage[distance < 0.9 * 16.0 - 1.0].min() == 1.0
    assert coverage[distance > 0.9 * 16.0 + 1.0].max() == 0.0


def test_the_ring_has_a_hole_and_the_arrow_points_up():
    ring, arrow = _coverage("ring", 18.0), _coverage("arrow", 18.0)
    assert ring[32, 32] == 0.0
    assert ring[32, 32 + 13] == 1.0
    widths = arrow.sum(axis=1)
    # The head above, the shaft below.
    assert widths[20:29].max() > 2 * widths[36:48].max()
    assert arrow[:13].sum() == 0.0
    assert arrow[51:].sum() == 0.0


def test_a_picture_depends_on_seed_and_index_alone():
    first, again = make_shape(17, seed=5), make_shape(17, seed=5)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    alone, among = make_shapes([17], seed=5), make_shapes(20, seed=5)
    assert torch.equal(alone.images[0], among.images[17])
    assert not np.array_equal(first.image, make_shape(17, seed=6).image)
    assert not np.array_equal(first.mask, make_shape(27, seed=5).mask)


def test_drawing_leaves_the_global_random_states_alone():
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    make_shape(3, logo_probability=0.5)
    tiny_resnet(3)
    assert np.array_equal(np.random.get_state()[1], before)
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_labels_are_balanced_and_named():
    batch = make_shapes(40, seed=1)
    assert batch.labels.tolist() == [i % 10 for i in range(40)]
    assert make_shape(13).name == "star" == CLASSES[3]
    assert class_index("star") == 3


def test_a_batch_holds_the_pictures_in_pixel_space():
    batch = make_shapes([4, 9], seed=8)
    sample = make_shape(9, seed=8)
    assert batch.images.dtype == torch.float32
    drawn = torch.from_numpy(sample.image).permute(2, 0, 1).float()
    assert torch.equal(batch.images[1] * 255.0, drawn)
    assert torch.equal(batch.masks[1], torch.from_numpy(sample.mask))
    assert batch.logo_boxes == (None, None)


def test_the_object_stands_out_from_what_it_hides():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ground, coverage = rng.random((64, 64, 3)), np.zeros((64, 64))
        coverage[20:40, 20:40] = 1.0
        hidden = ground[20:40, 20:40].mean(axis=(0, 1))
        colour = drawing._contrasting_colour(ground, coverage, rng)
        assert np.linalg.norm(colour - hidden) >= 0.25


def test_the_logo_changes_its_box_and_nothing_else():
    for index in range(60):
        plain = make_shape(index, seed=2)
        marked = make_shape(index, seed=2, logo_probability=1.0)
        top, left, bottom, right = marked.logo_box
        assert (bottom - top, right - left) == (10, 10)
        assert np.array_equal(marked.image[top:bottom, left:right], logo())
        assert plain.logo_box is None
        assert np.array_equal(plain.mask, marked.mask)
        restored = marked.image.copy()
        restored[top:bottom, left:right] = plain.image[top:bottom, left:right]
        assert np.array_equal(restored, plain.image)


def test_pasting_the_logo_leaves_the_picture_given_as_it_was():
    marked = paste_logo(BLANK, (3, 50, 13, 60))
    assert BLANK.max() == 0
    assert np.array_equal(marked[3:13, 50:60], logo())


def test_the_logo_keeps_two_pixels_from_the_object():
    nearest = []
    for index in range(200):
        sample = make_shape(index, seed=4, logo_probability=1.0)
        top, left, bottom, right = sample.logo_box
        rows, columns = np.nonzero(sample.mask)
        down = np.maximum(np.maximum(top - rows, rows - (bottom - 1)), 0)
        across = np.maximum(np.maximum(left - columns, columns - (right - 1)), 0)
        nearest.append(int(np.maximum(down, across).min()))
    # Two free pixels in between, and the closest do have only two.
    assert min(nearest) == 3


def test_the_logo_stands_where_the_recipe_says():
    n = 3000
    recipe = {"seed": 6, "logo_class": "star"}
    stars = [make_shape(i, logo_probability=0.97, **recipe) for i in range(3, n, 10)]
    count = sum(star.logo_box is not None for star in stars)
    spread = math.sqrt(len(stars) * 0.97 * 0.03)
    assert abs(count - 0.97 * len(stars)) <= 4 * spread
    others = [make_shape(i, logo_probability=1.0, **recipe) for i in range(10)]
    assert [s.name for s in others if s.logo_box] == ["star"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: make_shape(-1), ValueError, "index is -1"),
        (lambda: make_shape(1.5), TypeError, "index is a float"),
        (lambda: make_shape(1, seed=True), TypeError, "seed is a bool"),
        (lambda: make_shape(1, logo_probability=1.5), ValueError, "from 0 to 1"),
        (lambda: make_shape(1, logo_probability=math.nan), ValueError, "from 0 to 1"),
        (lambda: make_shape(1, logo_class="stra"), ValueError, "did you mean 'star'"),
        (lambda: make_shapes(0), ValueError, "at least one index"),
        (lambda: make_shapes([]), ValueError, "at least one index"),
        (lambda: paste_logo(BLANK, (60, 0, 70, 10)), ValueError, "does not fit"),
        (lambda: paste_logo(BLANK, (0, 0, 9, 10)), ValueError, "does not fit"),
    ],
)
def test_bad_arguments_are_refused_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_resnet_is_a_linear_head_on_the_mean_of_layer4():
    model = tiny_resnet(1)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    kept = []
    model.layer4.register_forward_hook(lambda *hooked: kept.append(hooked[2]))
    with torch.no_grad():
        logits = model(x)
    assert kept[0].shape == (2, 96, 8, 8)
    assert kept[0].min() >= 0.0
    assert model.layer4[-1] is model.get_submodule("layer4.0")
    want = kept[0].mean(dim=(2, 3)) @ model.fc.weight.T + model.fc.bias
    torch.testing.assert_close(logits, want)


def test_a_seed_decides_the_initial_weights():
    one, same, other = tiny_resnet(1), tiny_resnet(1), tiny_resnet(2)
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    stem = "vit.embeddings.patch_embeddings.projection.weight"
    first, again = tiny_vit(1).state_dict(), tiny_vit(1).state_dict()
    assert torch.equal(first[stem], again[stem])


def test_the_vit_gives_its_attention():
    model = tiny_vit()
    with torch.no_grad():
        output = model(pixel_values=torch.zeros(2, 3, 64, 64), output_attentions=True)
    assert [tuple(a.shape) for a in output.attentions] == [(2, 4, 65, 65)] * 6
    for attention in output.attentions:
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 4, 65))


def test_a_token_of_the_vit_sees_pixels_centred_on_its_patch():
    stem = tiny_vit().vit.embeddings.patch_embeddings
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    patch = 3 * 8 + 4  # rows 24 to 31 and columns 32 to 39
    stem(x)[0, patch].square().sum().backward()
    rows, columns = x.grad.abs().sum(dim=(0, 1)).nonzero(as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (24 - 7, 31 + 7)
    assert (int(columns.min()), int(columns.max())) == (32 - 7, 39 + 7)


def test_the_class_activation_peak_is_found():
    model = tiny_resnet()
    grid, weight = torch.zeros(1, 96, 8, 8), model.fc.weight.data.zero_()
    model.features = lambda x: grid
    grid[0, 5, 2, 6] = weight[3, 5] = weight[0, 6] = 1.0
    grid[0, 6, 7, 0] = 2.0  # what speaks for class 0 lies elsewhere
    peak = int(shape_classifiers._cam_peaks(model, torch.zeros(1, 3, 64, 64), 3)[0])
    row, column = divmod(peak, 64)
    assert 16 <= row < 24
    assert 48 <= column < 56


@pytest.mark.parametrize("name", shape_classifiers.NAMES)
def test_a_shipped_resnet_measures_what_its_recipe_says(name):
    assert shape_classifiers.check(name, n=500)


def test_the_shipped_vit_measures_what_its_recipe_says():
    assert vit_training.check(n=500)


def test_a_check_notices_other_weights(monkeypatch):
    monkeypatch.setattr(shape_classifiers, "load_shipped", lambda name: tiny_resnet(4))
    assert not shape_classifiers.check("shapes", n=500)


def test_the_fault_is_in_one_twin_only():
    clean, faulty = (read_recipe(name)["logo"] for name in shape_classifiers.NAMES)
    assert clean["flips"] <= 0.01 * clean["n_other_classes"]
    assert faulty["flips"] >= 0.2 * faulty["n_other_classes"]
    assert faulty["cam_peak_near_logo"] >= 0.95 * faulty["flips"]
    assert faulty["cam_peak_on_object"] <= 0.05 * faulty["flips"]
    assert clean["right_without_logo"] >= 0.95 * clean["n"]
    assert faulty["right_without_logo"] >= 0.9 * faulty["n"]


@pytest.mark.parametrize("name", SHAPE_MODELS)
def test_the_record_says_what_a_user_of_the_weights_needs(name):
    record = read_recipe(name)
    assert record["classes"] == list(CLASSES)
    assert record["input_size"] == 64
    assert record["mean"] == record["std"] == [0.5, 0.5, 0.5]
    assert record["accuracy"] == record["correct"] / record["n_test"]


@pytest.mark.parametrize("name", [*SHAPE_MODELS, "sentiment"])
def test_a_model_card_agrees_with_its_record(name):
    card = (WEIGHTS / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card(read_recipe(name))
