"""Section 4.4: attention weights, words, rollout and figures, worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from oracles.contract import same_state, snapshot
from tiny_text_models import random_bert
from torch import nn

from chapter4.attention.vit import (
    VitAttention,
    cls_attention,
    vit_attention,
    vit_attention_weights,
)
from chapter4.attention.weights import (
    TextAttention,
    attention_rollout,
    attention_weights,
    average_attention,
    eager_attention,
)
from chapter4.attention.words import (
    attention_by_distance,
    attention_pair,
    merge_pieces,
    most_attended,
    word_attention,
)
from chapter4.inputs.images import Preprocessing, sample_photo
from chapter4.inputs.models import TextModel, load_bert
from chapter4.plots.attention import (
    draw_patches,
    visualize_attention,
    visualize_multi_head_attention,
    visualize_vit_attention,
    visualize_word_attention,
)
from chapter4.shapes.networks import tiny_vit

CAT = "The cat sat on the mat"


@pytest.fixture(scope="module")
def bert() -> TextModel:
    """The embedded MiniLM."""
    return load_bert()


@pytest.fixture(scope="module")
def cat(bert: TextModel) -> TextAttention:
    """MiniLM's attention for the chapter's sentence."""
    return attention_weights(CAT, bert)


# On paper: [CLS] un ##real cat [SEP], one layer, one head.
PAPER = np.array(
    [
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.4, 0.1, 0.2, 0.2, 0.1],
        [0.2, 0.1, 0.1, 0.4, 0.2],
        [0.3, 0.2, 0.3, 0.1, 0.1],
        [0.6, 0.1, 0.1, 0.1, 0.1],
    ]
)


def paper(weights: np.ndarray = PAPER[None, None]) -> TextAttention:
    tokens, words = ["[CLS]", "un", "##real", "cat", "[SEP]"], ["unreal", "cat"]
    of_words = [None, 0, 0, 1, None]
    special = np.array([word is None for word in of_words])
    return TextAttention(weights, tokens, words, of_words, special, "paper")


def plain(matrix: Any, words: str) -> TextAttention:
    """One token a word, no special ones."""
    names = words.split()
    weights = np.array(matrix, dtype=float)[None, None]
    none = np.zeros(len(names), bool)
    return TextAttention(weights, names, names, list(range(len(names))), none, "paper")


# --- the weights themselves -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_weights_are_softmax_of_queries_and_keys(kind: str) -> None:
    """The first layer's matrix, from the model's own embeddings and projections."""
    small = random_bert(kind)
    text = "An unbelievably good film"
    result = attention_weights(text, small)
    model: Any = small.model
    with torch.no_grad():
        hidden = model.embeddings(torch.tensor([small.tokenizer(text)["input_ids"]]))
        layer = model.encoder.layer[0] if kind == "bert" else model.transformer.layer[0]
        inner = layer.attention.self if kind == "bert" else layer.attention
        names = ("query", "key") if kind == "bert" else ("q_lin", "k_lin")
        query, key = (
            getattr(inner, name)(hidden)[0].reshape(-1, 2, 8).transpose(0, 1)
            for name in names
        )
        expected = (query @ key.transpose(1, 2) / 8**0.5).softmax(dim=-1).numpy()
    assert np.allclose(result.weights[0], expected, atol=1e-6)
    assert not np.allclose(result.weights[0], expected.swapaxes(1, 2), atol=1e-3)
    assert result.weights.shape == (3, 2, 10, 10)


def test_rows_sum_to_one_and_positions_count_from_the_end(cat: TextAttention) -> None:
    assert cat.weights.dtype == np.float32
    assert np.abs(cat.weights.sum(axis=-1) - 1).max() < 1e-6
    assert np.abs(cat.weights.sum(axis=-2) - 1).max() > 0.5  # columns do not
    assert np.array_equal(cat.head(-1, -12), cat.weights[5, 0])
    assert np.array_equal(cat.head(2, 3), cat.weights[2, 3])


def test_tokens_words_and_special_tokens(bert: TextModel) -> None:
    result = attention_weights("Unbelievably, the café isn't open [SEP]", bert)
    assert result.tokens[:6] == ["[CLS]", "un", "##bel", "##ie", "##va", "##bly"]
    assert result.words == ["unbelievably", ",", "the", "cafe", "isn", "'", "t", "open"]
    assert result.word_ids == [None, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, None, None]
    # A [SEP] that stands in the text is a [SEP] to the model, whatever the tokenizer's
    # mask says.
    assert result.special.tolist() == [i is None for i in result.word_ids]
    assert result.model_name == "minilm"


def test_double_precision_stays() -> None:
    small = random_bert()
    double = TextModel(small.model.double(), small.tokenizer)
    assert attention_weights(CAT, double).weights.dtype == np.float64


def test_embedded_model_is_the_default(cat: TextAttention) -> None:
    assert np.array_equal(attention_weights(CAT).weights, cat.weights)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    def stop(*_: Any) -> None:
        raise RuntimeError("stop")

    small = random_bert(hidden_dropout_prob=0.5)
    quiet = attention_weights(CAT, small).weights
    model: Any = small.model.train()
    model.encoder.layer[1].eval()
    model.embeddings.word_embeddings.weight.requires_grad_(False)
    if fails:
        model.encoder.layer[2].register_forward_hook(stop)
    before = snapshot(model)
    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            attention_weights(CAT, small)
    else:
        # No dropout on the way.
        assert np.array_equal(attention_weights(CAT, small).weights, quiet)
    assert model.config._attn_implementation == "sdpa"
    same_state(before, snapshot(model))


def test_eager_attention_only_inside() -> None:
    model: Any = random_bert().model
    with eager_attention(model):
        assert model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "sdpa"


# --- errors ---------------------------------------------------------------------------


class NoWeights(nn.Module):
    """Returns an empty attentions tuple, as SDPA does, whatever is asked."""

    def __init__(self, attentions: Any = ()) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.config = SimpleNamespace(
            _attn_implementation="sdpa", max_position_embeddings=512, patch_size=8
        )
        self.attentions = attentions

    def set_attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name

    def forward(self, **_: Any) -> Any:
        return SimpleNamespace(attentions=self.attentions)


@pytest.mark.parametrize("attentions", [(), None, (None, None)])
def test_empty_attentions_are_noticed(bert: TextModel, attentions: Any) -> None:
    silent = NoWeights(attentions)
    with pytest.raises(ValueError, match="NoWeights returned no attention weights"):
        attention_weights(CAT, TextModel(silent, bert.tokenizer))
    assert silent.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("  \n\t", "the text is empty"),
        ("[SEP]", "holds no word"),
        ("a " * 600, r"has 602 tokens .* minilm takes at most 512"),
    ],
)
def test_a_text_that_can_not_be_read(bert: TextModel, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_weights(text, bert)


def test_longest_text_and_one_more() -> None:
    small = random_bert(max_position_embeddings=10)
    assert attention_weights("a " * 8, small).weights.shape[-1] == 10
    message = r"has 11 tokens with the special ones; BertModel takes at most 10"
    with pytest.raises(ValueError, match=message):
        attention_weights("a " * 9, small)


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (
            6,
            0,
            "layer 6 is out of range: minilm has layers 0 to 5; "
            "-1 to -6 count from the end",
        ),
        (-7, 0, "layer -7 is out of range"),
        (0, 12, "head 12 is out of range: minilm has heads 0 to 11"),
        (0, -13, "head -13 is out of range"),
    ],
)
def test_out_of_range(cat: TextAttention, layer: int, head: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cat.head(layer, head)
    with pytest.raises(ValueError, match=message):
        average_attention(cat, layers=layer, heads=head)


def test_wrong_types(bert: TextModel, cat: TextAttention) -> None:
    with pytest.raises(TypeError, match="text is one string, not list"):
        attention_weights([CAT], bert)
    with pytest.raises(TypeError, match=r"bert is what load_bert\(name\) returns"):
        attention_weights(CAT, "minilm")
    with pytest.raises(TypeError, match="layer is an integer, not True"):
        cat.head(True, 0)
    with pytest.raises(TypeError, match=r"head is an integer, not 0\.5"):
        cat.head(0, 0.5)
    other = TextModel(nn.Linear(2, 2), bert.tokenizer)
    with pytest.raises(TypeError, match="a Hugging Face Transformer, not Linear"):
        attention_weights(CAT, other)


# --- averages, rollout ----------------------------------------------------------------

# Two layers of two heads over two tokens; every partial mean differs from every other.
FOUR = np.array(
    [
        [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]],
        [[[0.0, 1.0], [0.5, 0.5]], [[0.1, 0.9], [1.0, 0.0]]],
    ]
)


@pytest.mark.parametrize(
    ("chosen", "mean"),
    [
        ({}, [[0.4, 0.6], [0.5, 0.5]]),
        ({"layers": 0}, [[0.75, 0.25], [0.25, 0.75]]),
        ({"heads": 0}, [[0.5, 0.5], [0.25, 0.75]]),
        ({"layers": [-1], "heads": [1]}, FOUR[1, 1]),
        ({"heads": range(1, 2)}, [[0.3, 0.7], [0.75, 0.25]]),
    ],
)
def test_average_is_over_layers_and_heads(chosen: dict[str, Any], mean: Any) -> None:
    assert np.allclose(average_attention(FOUR, **chosen), mean)
    assert np.allclose(average_attention(torch.from_numpy(FOUR), **chosen), mean)


def test_average_refuses_nothing_and_other_shapes() -> None:
    with pytest.raises(ValueError, match="no layer was chosen"):
        average_attention(FOUR, layers=[])
    with pytest.raises(ValueError, match=r"\(layers, heads, T, T\), not \(2, 2, 2\)"):
        average_attention(FOUR[0])


def test_rollout_on_paper() -> None:
    first, last = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    both = np.stack([first, last])
    # A'_1 = [[1, 0], [1/2, 1/2]], A'_2 = [[1/2, 1/2], [1/4, 3/4]]; the last layer
    # stands leftmost. The other order gives [[0.5, 0.5], [0.375, 0.625]].
    assert np.allclose(attention_rollout(both), [[0.75, 0.25], [0.625, 0.375]])
    assert np.allclose(attention_rollout(both, residual=False), first)


def test_rollout_averages_heads_and_scales_rows() -> None:
    # (1, 2, 2, 2)
    heads = np.array([[[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]])
    # Mean [[1/2, 1/2], [1, 0]], plus I, halved.
    assert np.allclose(attention_rollout(heads), [[0.75, 0.25], [0.5, 0.5]])
    # Rows that do not sum to 1 are scaled after the identity is added.
    rows = np.array([[[1.0, 2.0], [0.0, 0.0]]])
    assert np.allclose(attention_rollout(rows), [[0.5, 0.5], [0.0, 1.0]])


def test_rollout_of_a_model(cat: TextAttention) -> None:
    rolled = attention_rollout(cat)
    expected = np.eye(8)
    for layer in cat.weights.astype(float).mean(axis=1)[::-1]:
        expected = expected @ (layer + np.eye(8)) / 2
    assert np.allclose(rolled, expected, atol=1e-6)
    assert np.allclose(rolled.sum(axis=1), 1, atol=1e-5)


SHAPE, VALUES = "rollout takes weights", "attention weights are finite"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.eye(3), SHAPE),
        (np.ones((2, 3, 4)), SHAPE),
        (-np.ones((1, 2, 2)), VALUES),
        (np.full((1, 2, 2), np.nan), VALUES),
        (np.zeros((1, 2, 2)), VALUES),
    ],
)
def test_rollout_refuses(bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_rollout(bad, residual=False)


# --- words ----------------------------------------------------------------------------


def test_to_a_word_sum_from_a_word_mean() -> None:
    merged = merge_pieces(PAPER, [[0], [1, 2], [3], [4]])
    assert np.allclose(merged[1], [0.3, 0.25, 0.3, 0.15])
    assert np.allclose(merged[2], [0.3, 0.5, 0.1, 0.1])
    assert np.allclose(merged.sum(axis=1), 1)


def test_special_tokens_kept() -> None:
    words = word_attention(paper())
    assert words.words == ["[CLS]", "unreal", "cat", "[SEP]"]
    assert words.special.tolist() == [True, False, False, True]
    assert words.pieces == [1, 2, 1, 1]
    rows = [[0.3, 0.25, 0.3, 0.15], [0.3, 0.5, 0.1, 0.1]]
    assert np.allclose(words.weights[1:3], rows)
    assert not words.removed.any()


def test_special_tokens_removed_and_rows_scaled_only_when_asked() -> None:
    words = word_attention(paper(), keep_special=False)
    assert words.words == ["unreal", "cat"]
    assert np.allclose(words.weights, [[0.25, 0.3], [0.5, 0.1]])
    assert np.allclose(words.removed, [0.45, 0.4])
    assert not words.renormalized
    words = word_attention(paper(), keep_special=False, renormalize=True)
    scaled = [[0.25 / 0.55, 0.3 / 0.55], [0.5 / 0.6, 0.1 / 0.6]]
    assert np.allclose(words.weights, scaled)
    assert np.allclose(words.removed, [0.45, 0.4])
    assert words.renormalized


def test_word_attention_of_one_layer_and_of_a_matrix() -> None:
    both, eye = paper(np.stack([PAPER, np.eye(5)])[:, None]), np.eye(5)
    first = word_attention(both, layers=0).weights
    assert np.allclose(first, word_attention(paper()).weights)
    own = word_attention(both, eye, keep_special=False, source="an identity")
    assert np.allclose(own.weights, np.eye(2))
    assert own.source == "an identity"
    mean = word_attention(both, keep_special=False).weights
    assert np.allclose(mean, [[0.625, 0.15], [0.25, 0.55]])
    last = word_attention(both, layers=(i for i in [-1]))
    assert last.source == "paper, layer 1, head 0"
    with pytest.raises(ValueError, match="not both"):
        word_attention(both, eye, layers=0)
    message = r"5 tokens, so the matrix is \(5, 5\), not \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        word_attention(both, np.eye(4))


def test_pair_against_the_even_share() -> None:
    pair = attention_pair(paper(), "cat", "unreal")
    assert (pair.from_index, pair.to_index, pair.rank, pair.among) == (1, 0, 1, 1)
    assert pair.weight == pytest.approx(0.5)
    assert pair.uniform == pytest.approx(2 / 5)  # two of five tokens
    assert pair.even_share == pytest.approx(0.5)
    assert str(pair) == "cat (1) -> unreal (0): 0.500, rank 1 of 1, even share 0.500"
    words = word_attention(paper(), keep_special=False, renormalize=True)
    scaled = attention_pair(words, "cat", "unreal")
    assert scaled.weight == pytest.approx(0.5 / 0.6)
    assert scaled.uniform == pytest.approx(2 / 3)
    kept = attention_pair(word_attention(paper()), "cat", "unreal")
    # .9 goes to the four other pieces.
    assert kept.even_share == pytest.approx(0.9 * 2 / 4)


def test_most_attended_leaves_the_word_itself_out() -> None:
    rows = [[0.6, 0.1, 0.3], [0.2, 0.7, 0.1], [0.25, 0.25, 0.5]]
    found = most_attended(plain(rows, "a b c"))
    best = [(m.word, m.best.to_word, m.best.weight) for m in found]
    assert best == [("a", "c", 0.3), ("b", "a", 0.2), ("c", "a", 0.25)]
    runners = [m.runner_up for m in found if m.runner_up is not None]
    # A tie shares its rank.
    ranks = [(r.to_word, r.rank) for r in runners]
    assert ranks == [("b", 2), ("c", 2), ("b", 1)]


def test_most_attended_with_and_without_special_tokens() -> None:
    kept, without = most_attended(word_attention(paper())), most_attended(paper())
    assert [m.best.to_word for m in kept] == ["[CLS]", "unreal"]
    assert [m.best.to_word for m in without] == ["cat", "unreal"]
    assert [m.runner_up for m in without] == [None, None]


def test_attention_by_distance_on_paper() -> None:
    rows = [[0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]
    found = attention_by_distance(plain(rows, "a b c"))
    assert list(found) == [-2, -1, 0, 1, 2]
    assert np.allclose(list(found.values()), [0.6, 0.2, 0.8 / 3, 0.45, 0.3])


def test_words_by_name_and_by_position() -> None:
    twice = plain(np.full((3, 3), 1 / 3), "the cat the")
    assert attention_pair(twice, 2, "CAT").from_index == 2
    assert attention_pair(twice, -1, "cat").from_index == 2
    both = plain(np.full((3, 3), 1 / 3), "The cat the")
    assert attention_pair(both, "The", "cat").from_index == 0
    assert attention_pair(both, "the", "cat").from_index == 2
    with pytest.raises(ValueError, match="'THE' stands at 0 and 2"):
        attention_pair(both, "THE", "cat")


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("the", "cat", "'the' stands at 0 and 2; give the position"),
        ("cta", 0, "there is no word 'cta'; did you mean 'cat'"),
        (3, 0, "word 3 is out of range: this text has words 0 to 2"),
        ("cat", 1, "is both ends"),
    ],
)
def test_words_that_can_not_be_found(start: Any, end: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_pair(plain(np.full((3, 3), 1 / 3), "the cat the"), start, end)


def test_what_can_not_be_ranked() -> None:
    with pytest.raises(ValueError, match="it takes two"):
        most_attended(plain([[1.0]], "alone"))
    with pytest.raises(TypeError, match="expected a result of word_attention"):
        most_attended(np.eye(2))


# --- what MiniLM does (problem 4) -----------------------------------------------------


def test_every_token_attends_most_to_cls(cat: TextAttention) -> None:
    average = average_attention(cat)
    assert (average.argmax(axis=1) == 0).all()
    assert 0.395 < average[:, 0].min() < average[:, 0].max() < 0.795
    assert (word_attention(cat, keep_special=False).removed > 0.45).all()


def test_problem_4_answers(cat: TextAttention) -> None:
    found = most_attended(cat)
    assert [m.word for m in found] == CAT.lower().split()
    best = [(m.best.to_word, m.best.to_index) for m in found]
    cat_1 = ("cat", 1)
    assert best == [cat_1, ("the", 0), cat_1, ("sat", 2), ("mat", 5), cat_1]


def test_printed_observations_by_the_numbers(cat: TextAttention) -> None:
    """What the printed chapter says that every BERT shows, asked of this one."""
    cat_sat = attention_pair(cat, "cat", "sat")
    assert (cat_sat.rank, cat_sat.among) == (2, 5)
    assert cat_sat.even_share < cat_sat.weight < cat_sat.uniform / 2
    # The preposition looks back at its verb first.
    assert attention_pair(cat, "on", "mat").rank == 2
    assert attention_pair(cat, "on", "sat").rank == 1
    first = attention_by_distance(word_attention(cat, layers=0, keep_special=False))
    assert max(first, key=lambda d: first[d]) == -1
    assert first[-1] > 1.5 * first[1]


# --- figures of texts -----------------------------------------------------------------


def drawn(axes: Any) -> np.ndarray:
    """The matrix of a heat map as printed: first row on top, first column left."""
    mesh = axes.collections[0]
    count = mesh.get_coordinates().shape[0] - 1
    values = np.asarray(mesh.get_array()).reshape(count, -1)
    values = values if axes.yaxis_inverted() else values[::-1]
    return values[:, ::-1] if axes.xaxis_inverted() else values


def labels(ticks: Any) -> list[str]:
    return [tick.get_text() for tick in ticks]


def test_rows_are_queries(bert: TextModel, cat: TextAttention) -> None:
    figure = visualize_attention(CAT, layer=2, head=-1, bert=bert)
    axes, bar = figure.axes
    assert np.array_equal(drawn(axes), cat.weights[2, 11])
    assert not np.allclose(drawn(axes), cat.weights[2, 11].T, atol=0.1)
    assert labels(axes.get_yticklabels()) == cat.tokens
    assert labels(axes.get_xticklabels()) == cat.tokens
    middles = [i + 0.5 for i in range(8)]
    assert axes.get_yticks().tolist() == axes.get_xticks().tolist() == middles
    assert axes.get_ylabel().startswith("Query")
    assert axes.get_xlabel().startswith("Key")
    assert axes.collections[0].get_clim() == (0, 1)
    assert "weight" in bar.get_ylabel()
    assert figure.get_suptitle().startswith("minilm: attention in layer 2, head 11")
    with pytest.raises(ValueError, match="layer 6 is out of range"):
        visualize_attention(CAT, 6, bert=bert)


@pytest.mark.parametrize(
    ("heads", "kind"), [(6, "bert"), (5, "distilbert"), (1, "bert")]
)
def test_all_heads_on_one_scale(heads: int, kind: str) -> None:
    small = random_bert(kind, heads)
    weights = attention_weights("The quick brown fox", small).weights
    figure = visualize_multi_head_attention("The quick brown fox", layer=-1, bert=small)
    *grid, bar = figure.axes
    assert len(grid) == heads
    for head, axes in enumerate(grid):
        assert np.array_equal(drawn(axes), weights[2, head])
        assert axes.get_title() == f"head {head}"
        assert axes.collections[0].get_clim() == (0, 1)
    assert "weight" in bar.get_ylabel()
    tokens = ["[CLS]", "the", "quick", "brown", "fox", "[SEP]"]
    assert labels(grid[0].get_yticklabels()) == tokens
    assert labels(grid[-1].get_xticklabels()) == tokens
    assert "layer 2 (of 0 to 2)" in figure.get_suptitle()


@pytest.mark.parametrize("times", [1, 2, 8])
def test_labels_do_not_overlap(times: int) -> None:
    small, text = random_bert(heads=6, layers=1), " ".join([CAT] * times)
    for figure in (
        visualize_attention(text, bert=small),
        visualize_multi_head_attention(text, bert=small),
    ):
        figure.canvas.draw()
        for axes in figure.axes[:-1]:
            across, down = (
                [each.get_window_extent() for each in ticks if each.get_text()]
                for ticks in (axes.get_xticklabels(), axes.get_yticklabels())
            )
            assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(across))
            assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(down))


def test_dollar_signs_are_no_formula() -> None:
    figure = visualize_attention(r"$\frac$ costs $5", bert=random_bert())
    figure.canvas.draw()
    assert labels(figure.axes[0].get_xticklabels())[1] == "$"


def test_word_figure_names_the_removed_mass() -> None:
    figure = visualize_word_attention(paper())
    axes, bar = figure.axes
    assert np.allclose(drawn(axes), [[0.25, 0.3], [0.5, 0.1]])
    rows = ["unreal (45% removed)", "cat (40% removed)"]
    assert labels(axes.get_yticklabels()) == rows
    assert labels(axes.get_xticklabels()) == ["unreal", "cat"]
    assert axes.collections[0].get_clim() == (0, 0.5)
    assert "nothing scaled" in bar.get_ylabel()


def test_white_on_a_dark_style() -> None:
    with plt.style.context("dark_background"):
        figure = visualize_attention(CAT, bert=random_bert())
        assert plt.rcParams["text.color"] == "white"
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.axes[0].get_xticklabels()[0].get_color() == "black"


# --- images ---------------------------------------------------------------------------

# Kind and options of a random model, the image's size, the number of tokens before the
# patches, and the grid.
VITS: dict[str, tuple[str, dict[str, Any], tuple[int, int], int, tuple[int, int]]] = {
    "wide": ("vit", {"image_size": (32, 64), "patch_size": 8}, (32, 64), 1, (4, 8)),
    "oblong patches": (
        "vit",
        {"image_size": (32, 48), "patch_size": (16, 8)},
        (32, 48),
        1,
        (2, 6),
    ),
    "distilled": ("deit", {"image_size": 32, "patch_size": 8}, (32, 32), 2, (4, 4)),
    "registers": (
        "dinov2_with_registers",
        {"image_size": 42, "patch_size": 14, "num_register_tokens": 4},
        (44, 60),
        5,
        (3, 4),
    ),
}


def random_vit(name: str) -> Any:
    from transformers import AutoConfig, AutoModel

    kind, options, *_ = VITS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        **options,
    )
    return AutoModel.from_config(config)


@pytest.mark.parametrize("name", VITS)
def test_cls_map_past_the_prefix(name: str) -> None:
    model = random_vit(name)
    _, _, size, prefix, grid = VITS[name]
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    attention = vit_attention_weights(image, model)
    assert (attention.prefix, attention.grid) == (prefix, grid)
    model.eval().set_attn_implementation("eager")
    with torch.no_grad():
        given = model(pixel_values=image[None], output_attentions=True).attentions
    expected = given[1][0, :, 0, prefix:].reshape(2, *grid).numpy()
    for head, wanted in ((0, expected[0]), (1, expected[1]), (None, expected.mean(0))):
        found = vit_attention(image, model, layer=-1, head=head)
        assert np.allclose(found, wanted, atol=1e-6)


def hot() -> VitAttention:
    """[CLS] looks at row 1, column 3 of a 2 x 5 grid of patches.

    The crop has three rows and two columns of pixels left over.
    """
    weights = np.zeros((2, 2, 12, 12), np.float32)
    weights[..., 0] = 1
    weights[1, 0, 0] = 0
    weights[1, 0, 0, 2 + 1 * 5 + 3] = 1
    return VitAttention(weights, (2, 5), (16, 8), np.zeros((35, 42, 3)), "hot")


def test_hot_patch_in_the_grid() -> None:
    expected = np.zeros((2, 5))
    expected[1, 3] = 1
    assert np.array_equal(cls_attention(hot(), layer=-1, head=0), expected)
    assert np.array_equal(cls_attention(hot(), layer=-1, head=None), expected / 2)
    assert not cls_attention(hot(), layer=0, head=0).any()
    with pytest.raises(ValueError, match="layer 2 is out of range: hot has layers 0"):
        cls_attention(hot(), layer=2)


def test_rollout_up_to_a_layer() -> None:
    # Layer 0: every token looks at [CLS].
    assert not cls_attention(hot(), layer=0, rollout=True).any()
    rolled = cls_attention(hot(), layer=1, rollout=True)
    # Row 0 of A'_2 is 3/4 [CLS] + 1/4 patch; A'_1 leaves half of the patch's share with
    # the patch.
    assert rolled[1, 3] == pytest.approx(1 / 8)
    assert rolled.sum() == pytest.approx(1 / 8)


def test_hot_patch_lands_on_its_pixels() -> None:
    """Every painted pixel of the crop.

    It is bright on the hot patch and nowhere else, and bare beyond the grid.
    """
    figure = Figure(figsize=(4.2, 3.5), dpi=100)  # ten points a pixel
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    attention = hot()
    draw_patches(axes, attention.crop, cls_attention(attention), attention.patch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    painted = np.asarray(canvas.buffer_rgba())[5::10, 5::10, :3].astype(int)
    assert painted.shape == (35, 42, 3)
    bright, cold, bare = painted[24, 28], painted[0, 0], painted[34, 41]
    assert len({tuple(c) for c in (bright, cold, bare)}) == 3
    expected = np.broadcast_to(bare, painted.shape).copy()
    expected[:32, :40] = cold
    expected[16:32, 24:32] = bright
    assert np.array_equal(painted, expected)


def test_figure_of_an_image() -> None:
    model: Any = tiny_vit()
    model.preprocessing = Preprocessing(64, (64, 64), (0.5,) * 3, (0.5,) * 3)
    photo = sample_photo("cat")
    figure = visualize_vit_attention(photo, layer=-2, head=1, model=model)
    seen, alone, both, bar = figure.axes
    grid = vit_attention(photo, model, -2, 1)
    assert np.array_equal(alone.images[0].get_array(), grid)
    assert np.array_equal(both.images[1].get_array(), grid)
    crop = vit_attention_weights(photo, model).crop
    assert np.array_equal(seen.images[0].get_array(), crop)
    assert both.images[1].get_extent() == [-0.5, 63.5, 63.5, -0.5]
    assert alone.images[0].get_clim() == both.images[1].get_clim() == (0, grid.max())
    assert "[CLS]" in bar.get_ylabel()
    assert "layer 4 (of 0 to 5), head 1 (of 0 to 3)" in figure.get_suptitle()
    rolled = visualize_vit_attention(photo, model=model, rollout=True)
    assert "rollout through layers 0 to 5" in rolled.get_suptitle()
    mean = visualize_vit_attention(photo, head=None, model=model)
    assert "mean of 4 heads" in mean.get_suptitle()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((3, 32, 64), "takes images of 64 x 64 pixels, not 32 x 64"),
        ((2, 3, 64, 64), "one image at a time, not for 2"),
        ((3, 64, 64), "head 4 is out of range"),
    ],
)
def test_image_errors(size: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vit_attention(torch.zeros(size), tiny_vit(), head=4)


def test_models_without_a_cls_map() -> None:
    image = torch.zeros(3, 64, 64)
    with pytest.raises(TypeError, match="expected a Hugging Face Vision Transformer"):
        vit_attention(image, nn.Conv2d(3, 1, 3))
    with pytest.raises(ValueError, match="returned no attention weights"):
        vit_attention(image, NoWeights())
    message = r"has no \[CLS\] token: 64 tokens for 8 x 8 patches"
    with pytest.raises(ValueError, match=message):
        vit_attention(image, NoWeights((torch.full((1, 1, 64, 64), 1 / 64),)))


def test_vit_is_put_back() -> None:
    model, image = random_vit("wide"), torch.zeros(3, 32, 64)
    vit_attention(image, model)  # transformers hangs hooks of its own in a new model
    before = snapshot(model.train())
    vit_attention(image, model)
    assert model.config._attn_implementation == "sdpa"
    same_state(before, snapshot(model))
    assert not image.any()
