"""Problem 4: right answers, each written in another way.

They must all get every point. A submission takes one function for each of the names;
``source`` writes it as a student's cell would contain it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, permutations, product
from typing import Any

import numpy as np
import torch

from accepted import source_of

# The submission's own functions take their places.
average_attention: Any = None
word_matrix: Any = None
without_special: Any = None
most_attended: Any = None


class NoWeights(ValueError):
    pass


def average_stack(model, input_ids):
    with torch.no_grad():
        outputs = model(input_ids=input_ids, output_attentions=True)
    if not outputs.attentions:
        raise ValueError("the model gives no weights; load it with eager attention")
    return torch.stack(outputs.attentions)[:, 0].mean(dim=(0, 1)).numpy()


def average_loop(model, input_ids):
    """Layer by layer, head by head; gradients left on."""
    attentions = model(input_ids, output_attentions=True).attentions
    if attentions is None or len(attentions) == 0:
        raise NoWeights("no attentions: switch to the eager implementation")
    total, n = 0, 0
    for layer in attentions:
        for head in layer.squeeze(0):
            total = total + head.detach().numpy().astype(float)
            n += 1
    return total / n


def average_einsum(model, input_ids):
    with torch.inference_mode():
        out = model(input_ids=input_ids, output_attentions=True)
    layers = [a[0].double() for a in out.attentions]
    if layers == []:
        raise ValueError("empty tuple of attentions: SDPA?")
    weights = torch.stack(layers)
    size = weights.shape[0] * weights.shape[1]
    return torch.einsum("lhqk->qk", weights) / size


def average_twice(model, input_ids):
    """The mean over heads of each layer first, then over layers; nested lists."""
    mask = torch.ones_like(input_ids)
    with torch.no_grad():
        out = model(input_ids=input_ids, attention_mask=mask, output_attentions=True)
    if len(out.attentions) < 1:
        raise ValueError("set attn_implementation to eager when you load the model")
    return sum(a.mean(1)[0] for a in out.attentions).div(len(out.attentions)).tolist()


def groups_of(word_ids):
    groups = []
    for i, word in enumerate(word_ids):
        if word is not None and i > 0 and word_ids[i - 1] == word:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def words_groups(attention, word_ids):
    groups = groups_of(word_ids)
    columns = np.stack([attention[:, g].sum(axis=1) for g in groups], axis=1)
    return np.stack([columns[g].mean(axis=0) for g in groups])


def words_indicator(attention, word_ids):
    """A matrix of memberships on both sides."""
    number, labels = -1, []
    for i, word in enumerate(word_ids):
        if i == 0 or word is None or word != word_ids[i - 1]:
            number += 1
        labels.append(number)
    member = np.equal.outer(np.arange(number + 1), labels).astype(float)  # (G, T)
    return (member / member.sum(axis=1, keepdims=True)) @ attention @ member.T


def words_dictionary(attention, word_ids):
    """A dictionary from a key to its tokens; special tokens have keys of their own."""
    members: dict[object, list[int]] = {}
    for i, word in enumerate(word_ids):
        members.setdefault(("special", i) if word is None else word, []).append(i)
    lists = list(members.values())
    return [
        [sum(attention[i][j] for i in rows for j in cols) / len(rows) for cols in lists]
        for rows in lists
    ]


def words_reduceat(attention, word_ids):
    """Sums of runs by np.add.reduceat; the rows divided by the runs' lengths."""
    starts = [
        i for i, w in enumerate(word_ids) if i == 0 or w is None or w != word_ids[i - 1]
    ]
    lengths = np.diff([*starts, len(word_ids)])
    sums = np.add.reduceat(np.add.reduceat(attention, starts, axis=0), starts, axis=1)
    return sums / lengths[:, None]


def words_torch(attention, word_ids):
    """index_add on tensors."""
    a = torch.as_tensor(attention)
    keys = [f"s{i}" if w is None else f"w{w}" for i, w in enumerate(word_ids)]
    order = list(dict.fromkeys(keys))
    at = torch.tensor([order.index(k) for k in keys])
    n = len(order)
    both = a.new_zeros(n, len(a)).index_add(0, at, a)
    both = a.new_zeros(n, n).index_add(1, at, both)
    return both / torch.bincount(at, minlength=n)[:, None]


def words_groupby(attention, word_ids):
    """itertools.groupby, with special tokens told apart by their place."""
    marked = enumerate(word_ids)
    runs = [
        [i for i, _ in run]
        for _, run in groupby(marked, key=lambda p: (p[1], p[0] if p[1] is None else 0))
    ]
    result = np.zeros((len(runs), len(runs)))
    for (a, rows), (b, cols) in product(enumerate(runs), enumerate(runs)):
        result[a, b] = attention[np.ix_(rows, cols)].sum() / len(rows)
    return result


def part_mask(matrix, special):
    kept = ~special
    return matrix[kept][:, kept], matrix[kept][:, special].sum(axis=1)


def part_ix(matrix, special):
    words = [i for i, s in enumerate(special) if not s]
    weights = matrix[np.ix_(words, words)]
    return [weights, matrix[words].sum(axis=1) - weights.sum(axis=1)]


def part_lists(matrix, special):
    n = range(len(special))
    weights = [[matrix[q, k] for k in n if not special[k]] for q in n if not special[q]]
    removed = [sum(matrix[q, k] for k in n if special[k]) for q in n if not special[q]]
    return np.array(weights), np.array(removed, dtype=float)


def part_delete(matrix, special):
    gone = np.flatnonzero(special)
    rows = np.delete(matrix, gone, axis=0)
    return np.delete(rows, gone, axis=1), rows @ np.asarray(special, dtype=float)


def part_torch(matrix, special):
    m, s = torch.from_numpy(np.array(matrix)), torch.from_numpy(np.array(special))
    return m[~s][:, ~s], m.masked_fill(~s, 0)[~s].sum(1)


def most_filled(matrix):
    others = np.array(matrix, dtype=float)
    np.fill_diagonal(others, -1)
    return others.argmax(axis=1)


def most_loop(matrix):
    found = []
    for q in range(len(matrix)):
        row = matrix[q].copy()
        row[q] = -np.inf
        found.append(int(np.argmax(row)))
    return found


def most_keys(matrix):
    n = len(matrix)
    return [
        max((k for k in range(n) if k != q), key=lambda k: matrix[q][k])
        for q in range(n)
    ]


def most_sorted(matrix):
    order = np.argsort(-matrix, axis=1, kind="stable")
    return [int(next(k for k in row if k != q)) for q, row in enumerate(order)]


def most_delete(matrix):
    """The word cut out of its row; positions behind it count one more."""
    found = []
    for q in range(len(matrix)):
        k = int(np.delete(matrix[q], q).argmax())
        found.append(k + (k >= q))
    return found


def most_torch(matrix):
    m = torch.tensor(np.asarray(matrix))
    return m.masked_fill(torch.eye(len(m), dtype=torch.bool), -1.0).argmax(dim=1)


def claims_rank(weights):
    the, cat, sat, on, article, mat = range(6)
    n = len(weights)

    def rank(q, k):
        return 1 + sum(
            weights[q, j] > weights[q, k] for j in range(n) if j not in (q, k)
        )

    def even(q):
        return (weights[q].sum() - weights[q, q]) / (n - 1)

    def mutual(a, b):
        return weights[a, b] > even(a) and weights[b, a] > even(b)

    gap = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return {
        "cat-attends-sat": rank(cat, sat) == 1,
        "sat-attends-cat-and-on": rank(sat, cat) <= 2 and rank(sat, on) <= 2,
        "mat-attends-the-and-on": rank(mat, article) <= 2 and rank(mat, on) <= 2,
        "mutual-syntax": mutual(cat, sat) and mutual(the, cat) and mutual(article, mat),
        "locality": weights[gap == 1].mean() > weights[gap > 1].mean(),
        "prepositions-to-nouns": weights[on, mat] > weights[on, cat],
    }


def claims_sets(weights):
    """Sets of first choices; the even share as a mean over the other five."""
    w = np.array(weights, dtype=float)
    np.fill_diagonal(w, np.nan)

    def top(q, n):
        return set(np.argsort(-np.nan_to_num(w[q], nan=-1.0))[:n].tolist())

    above = w > np.nanmean(w, axis=1, keepdims=True)
    both = above & above.T
    near = np.concatenate([np.diag(w, 1), np.diag(w, -1)])
    far = np.concatenate([np.diag(w, d) for d in range(-5, 6) if abs(d) > 1])
    return {
        "locality": bool(np.mean(near) > np.mean(far)),
        "mutual-syntax": bool(both[1, 2] & both[0, 1] & both[4, 5]),
        "prepositions-to-nouns": bool(w[3, 5] > w[3, 1]),
        "cat-attends-sat": top(1, 1) == {2},
        "sat-attends-cat-and-on": top(2, 2) == {1, 3},
        "mat-attends-the-and-on": top(5, 2) == {3, 4},
    }


def claims_python(weights):
    """Plain lists and loops, torch tensors of one truth value as the answer."""
    rows = [[float(x) for x in row] for row in weights]
    names = ["the", "cat", "sat", "on", "the2", "mat"]

    def choices(word):
        q = names.index(word)
        pairs = sorted(
            ((x, names[k]) for k, x in enumerate(rows[q]) if k != q), reverse=True
        )
        return [name for _, name in pairs]

    def strong(a, b):
        others = [x for k, x in enumerate(rows[names.index(a)]) if names[k] != a]
        return rows[names.index(a)][names.index(b)] * 5 > sum(others)

    near, far = [], []
    for q, k in permutations(range(6), 2):
        (near if abs(q - k) == 1 else far).append(rows[q][k])
    pairs = [("cat", "sat"), ("the", "cat"), ("the2", "mat")]
    found = {
        "cat-attends-sat": choices("cat")[0] == "sat",
        "sat-attends-cat-and-on": sorted(choices("sat")[:2]) == ["cat", "on"],
        "mat-attends-the-and-on": sorted(choices("mat")[:2]) == ["on", "the2"],
        "mutual-syntax": all(strong(a, b) and strong(b, a) for a, b in pairs),
        "locality": sum(near) / len(near) > sum(far) / len(far),
        "prepositions-to-nouns": (
            choices("on").index("mat") < choices("on").index("cat")
        ),
    }
    return {name: torch.tensor(value) for name, value in found.items()}


def analyse_ids(text, bert):
    model, tokenizer = bert
    inputs = tokenizer(text, return_tensors="pt")
    word_ids = inputs.word_ids()
    matrix = np.asarray(
        word_matrix(average_attention(model, inputs["input_ids"]), word_ids)
    )
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    names = []
    for i, (token, word) in enumerate(zip(tokens, word_ids)):
        if word is not None and i and word == word_ids[i - 1]:
            names[-1] += token[2:]
        else:
            names.append(token)
    special = np.array([name in ("[CLS]", "[SEP]") for name in names])
    weights, removed = without_special(matrix, special)
    words = [n for n, s in zip(names, special) if not s]
    first = most_attended(matrix)
    return {
        "words": words,
        "weights": weights,
        "removed": removed,
        "with_special": [names[k] for k, s in zip(first, special) if not s],
        "without_special": [words[int(k)] for k in most_attended(weights)],
    }


def analyse_split(text, bert):
    """Words as the text has them, split at blanks; [CLS] first and [SEP] last."""
    encoded = bert.tokenizer([text], return_tensors="pt", padding=True)
    attention = average_attention(bert.model, encoded.input_ids)
    full = np.array(word_matrix(np.asarray(attention), encoded.word_ids(0)))
    names = ["[CLS]", *text.split(), "[SEP]"]
    special = np.zeros(len(names), dtype=bool)
    special[[0, -1]] = True
    between, lost = without_special(full, special)
    all_first = list(most_attended(full))[1:-1]
    between_first = most_attended(np.asarray(between))
    return dict(  # noqa: C408  # as students write
        words=text.split(),
        weights=between,
        removed=lost,
        with_special=[names[int(k)] for k in all_first],
        without_special=np.array(text.split())[np.asarray(between_first)],
    )


def analyse_offsets(text, bert):
    """Words by their offsets in the text; the tokenizer's mask of special tokens."""
    model, tokenizer = bert
    enc = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids = torch.tensor([enc["input_ids"]])
    spans: list[list[Any]] = []
    for word, (start, end), special in zip(
        enc.word_ids(), enc["offset_mapping"], enc["special_tokens_mask"]
    ):
        if spans and word is not None and spans[-1][0] == word:
            spans[-1][2] = end
        else:
            spans.append([word, start, end, bool(special)])
    full = word_matrix(np.asarray(average_attention(model, ids)), enc.word_ids())
    full = np.asarray(full)
    mask = np.array([s[3] for s in spans])
    label = [text[s[1] : s[2]] if not s[3] else "[CLS]" for s in spans[:-1]] + ["[SEP]"]
    inner = [name for name, s in zip(label, mask) if not s]
    weights, removed = without_special(full, mask)
    best, best_inner = most_attended(full), most_attended(np.asarray(weights))
    return {
        "words": inner,
        "weights": torch.as_tensor(weights),
        "removed": list(map(float, removed)),
        "with_special": [label[int(best[i])] for i in np.flatnonzero(~mask)],
        "without_special": tuple(inner[int(k)] for k in best_inner),
    }


# Helpers come first; the last six parts get the six names.
SUBMISSIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "stacked": (
        groups_of,
        average_stack,
        words_groups,
        part_mask,
        most_filled,
        claims_rank,
        analyse_ids,
    ),
    "loops": (
        average_loop,
        words_dictionary,
        part_ix,
        most_loop,
        claims_python,
        analyse_ids,
    ),
    "einsum": (
        average_einsum,
        words_indicator,
        part_delete,
        most_sorted,
        claims_sets,
        analyse_split,
    ),
    "layer by layer": (
        average_twice,
        words_reduceat,
        part_lists,
        most_keys,
        claims_rank,
        analyse_offsets,
    ),
    "torch": (
        average_einsum,
        words_torch,
        part_torch,
        most_torch,
        claims_python,
        analyse_offsets,
    ),
    "groupby": (
        average_stack,
        words_groupby,
        part_mask,
        most_delete,
        claims_sets,
        analyse_split,
    ),
    "lists": (
        average_twice,
        words_dictionary,
        part_lists,
        most_keys,
        claims_python,
        analyse_split,
    ),
    "memberships": (
        average_loop,
        words_indicator,
        part_ix,
        most_torch,
        claims_rank,
        analyse_offsets,
    ),
    "runs": (
        average_stack,
        words_reduceat,
        part_delete,
        most_delete,
        claims_sets,
        analyse_ids,
    ),
}
NAMES = (
    "average_attention",
    "word_matrix",
    "without_special",
    "most_attended",
    "decide_claims",
    "analyse_sentence",
)
_HEADER = """from itertools import groupby, permutations, product
from typing import Any

import numpy as np
import torch


class NoWeights(ValueError):
    pass
"""


def source(*parts: Callable[..., Any]) -> str:
    """The cell of a submission; the last six parts get the six names."""
    return source_of(_HEADER, NAMES, parts)
