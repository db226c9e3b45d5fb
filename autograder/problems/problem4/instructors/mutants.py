"""Problem 4's functions, right and wrong, as a student would write them.

They use nothing but torch and numpy. This file also runs as the code of a submission,
so it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def average_attention_with(mistake: str) -> Callable[..., Any]:
    """`average_attention` with one mistake; "" makes none."""

    def average_attention(model, input_ids):
        with torch.no_grad():
            outputs = model(input_ids=input_ids, output_attentions=True)
        count = input_ids.shape[1]
        if mistake == "model left in training mode":
            model.train()
        elif mistake == "requires_grad left off":
            model.requires_grad_(False)
        elif mistake == "hook left in the model":
            model.register_forward_hook(lambda *_: None)
        if not outputs.attentions:
            if mistake == "zeros where there is nothing":
                return np.zeros((count, count))
            if mistake == "NaN where there is nothing":
                return np.full((count, count), np.nan)
            if mistake == "an error without advice":
                raise ValueError("no attentions")
            if mistake == "stopped by accident":
                return torch.stack(outputs.attentions)
            raise ValueError(
                "no attention weights: load the model with eager attention"
            )
        weights = torch.stack(outputs.attentions)[:, 0].double()  # (L, H, T, T)
        mean = weights.mean(dim=(0, 1))
        wrong = {
            "transposed": lambda: mean.T,
            "symmetrised": lambda: (mean + mean.T) / 2,
            "last layer only": lambda: weights[-1].mean(dim=0),
            "first layer only": lambda: weights[0].mean(dim=0),
            "first head only": lambda: weights[:, 0].mean(dim=0),
            "one head of one layer": lambda: weights[-1, 0],
            "all summed": lambda: weights.sum(dim=(0, 1)),
            "heads summed": lambda: weights.sum(dim=1).mean(dim=0),
            "layers summed": lambda: weights.mean(dim=1).sum(dim=0),
            "largest head": lambda: weights.amax(dim=1).mean(dim=0),
            "largest layer": lambda: weights.mean(dim=1).amax(dim=0),
            "largest of all": lambda: weights.amax(dim=(0, 1)),
            "median": lambda: weights.flatten(0, 1).median(dim=0).values,
            "layers multiplied": lambda: _product(weights.mean(dim=1)),
            "rollout": lambda: _product((weights.mean(dim=1) + torch.eye(count)) / 2),
            "softmax again": lambda: mean.softmax(dim=-1),
            "columns scaled to sum 1": lambda: mean / mean.sum(dim=0),
            "scaled to maximum 1": lambda: mean / mean.max(),
            "diagonal taken out": lambda: mean - mean.diag().diag(),
            "layers averaged, heads not": lambda: weights.mean(dim=0),
            "heads averaged, layers not": lambda: weights.mean(dim=1),
            "nothing averaged": lambda: weights,
            "a batch axis kept": lambda: mean[None],
            "special tokens dropped silently": lambda: mean[1:-1, 1:-1],
        }
        return wrong.get(mistake, lambda: mean)().numpy()

    return average_attention


def _product(layers):
    result = layers[0]
    for layer in layers[1:]:
        result = layer @ result
    return result


def word_matrix_with(mistake: str) -> Callable[..., Any]:
    """`word_matrix` with one mistake."""

    def word_matrix(attention, word_ids):
        groups: list[list[int]] = []
        for i, word in enumerate(word_ids):
            joined = i > 0 and word == word_ids[i - 1]
            if mistake != "neighbouring special tokens merged":
                joined = joined and word is not None
            if joined:
                groups[-1].append(i)
            else:
                groups.append([i])
        if mistake == "special tokens merged":
            special = [i for i, word in enumerate(word_ids) if word is None]
            groups = [g for g in groups if word_ids[g[0]] is not None] + [special]
        elif mistake == "special tokens at the end":
            groups.sort(key=lambda g: word_ids[g[0]] is None)
        elif mistake == "special tokens dropped silently":
            groups = [g for g in groups if word_ids[g[0]] is not None]
        elif mistake == "pieces not merged":
            groups = [[i] for i in range(len(word_ids))]

        def mean(x):
            return x.mean(axis=0)

        def total(x):
            return x.sum(axis=0)

        def first(x):
            return x[0]

        def last(x):
            return x[-1]

        def largest(x):
            return x.max(axis=0)

        to, out = {
            "mean in both directions": (mean, mean),
            "mean in both directions, rows scaled": (mean, mean),
            "sum in both directions": (total, total),
            "sum and mean swapped": (mean, total),
            "first piece only": (first, first),
            "first piece for the row": (total, first),
            "first piece for the column": (first, mean),
            "last piece for the row": (total, last),
            "last piece only": (last, last),
            "largest piece": (largest, largest),
            "largest row": (total, largest),
            "largest column": (largest, mean),
        }.get(mistake, (total, mean))
        columns = np.stack([to(attention[:, g].T) for g in groups], axis=1)
        if mistake == "columns only":
            return columns
        matrix = np.stack([out(columns[g]) for g in groups])
        if mistake == "array changed in place":
            attention[:] = 0
        if mistake == "mean in both directions, rows scaled":
            matrix = matrix / matrix.sum(axis=1, keepdims=True)
        elif mistake == "transposed":
            matrix = matrix.T
        return matrix

    return word_matrix


def without_special_with(mistake: str) -> Callable[..., Any]:
    """`without_special` with one mistake."""

    def without_special(matrix, special):
        kept = special if mistake == "special tokens kept, words gone" else ~special
        weights = matrix[kept][:, kept]
        removed = matrix[kept][:, ~kept].sum(axis=1)
        if mistake == "array changed in place":
            matrix[:, special] = 0
        if mistake == "scaled to sum 1":
            weights = weights / weights.sum(axis=1, keepdims=True)
        elif mistake == "scaled to sum 1, nothing removed":
            return weights / weights.sum(axis=1, keepdims=True), 0 * removed
        elif mistake == "dropped silently":
            return weights
        elif mistake == "nothing removed":
            removed = 0 * removed
        elif mistake == "what special tokens give":
            removed = matrix[~kept][:, kept].sum(axis=0)
        elif mistake == "what is left":
            removed = weights.sum(axis=1)
        elif mistake == "mean instead of sum":
            removed = removed / max(int(special.sum()), 1)
        elif mistake == "first special token only":
            removed = matrix[kept][:, np.flatnonzero(special)[:1]].sum(axis=1)
        elif mistake == "last special token only":
            removed = matrix[kept][:, np.flatnonzero(special)[-1:]].sum(axis=1)
        elif mistake == "first and last taken for special":
            return matrix[1:-1, 1:-1], matrix[1:-1, [0, -1]].sum(axis=1)
        elif mistake == "share of what is left":
            removed = removed / weights.sum(axis=1)
        elif mistake == "one number for all":
            removed = removed.mean()
        elif mistake == "rows of special tokens too":
            removed = matrix[:, special].sum(axis=1)
        elif mistake == "columns only":
            weights = matrix[:, kept]
        elif mistake == "rows only":
            weights = matrix[kept]
        elif mistake == "set to 0":
            weights = matrix * np.outer(kept, kept)
        elif mistake == "transposed":
            weights = weights.T
        return weights, removed

    return without_special


def most_attended_with(mistake: str) -> Callable[..., Any]:
    """`most_attended` with one mistake."""

    def most_attended(matrix):
        if mistake == "array changed in place":
            given, matrix = matrix, matrix.copy()
            np.fill_diagonal(given, -1)
        others = matrix if mistake == "matrix changed in place" else matrix.copy()
        count = len(matrix)
        if mistake == "diagonal deleted before argmax":
            return [int(np.delete(row, q).argmax()) for q, row in enumerate(others)]
        if mistake != "self not excluded":
            np.fill_diagonal(others, -1)
        if mistake == "counted from 1":
            return (others.argmax(axis=1) + 1).tolist()
        if mistake == "who looks at the word":
            return others.argmax(axis=0).tolist()
        if mistake == "least attended":
            np.fill_diagonal(others, 2)
            return others.argmin(axis=1).tolist()
        if mistake == "second choice":
            return np.argsort(others, axis=1)[:, -2].tolist()
        if mistake == "second choice, self not excluded":
            return np.argsort(matrix, axis=1)[:, -2].tolist()
        if mistake == "weights, not positions":
            return others.max(axis=1).tolist()
        if mistake == "one choice for all":
            return int(others.sum(axis=0).argmax())
        if mistake == "most popular word for all":
            return [int(others.sum(axis=0).argmax())] * count
        return others.argmax(axis=1).tolist()

    return most_attended


def decide_claims_with(mistake: str) -> Callable[..., Any]:
    """`decide_claims` with one mistake."""
    the, cat, sat, on, article, mat = range(6)

    def decide_claims(weights):
        m = weights.T if mistake == "transposed" else weights

        def chooses(q, *keys):
            row = m[q].copy()
            if mistake != "the word itself among its choices":
                row[q] = -1
            order = [int(k) for k in np.argsort(-row)[: len(keys)]]
            if mistake == "order of the two demanded":
                return order == list(keys)
            if mistake == "one of the two is enough":
                return any(k in order for k in keys)
            if mistake == "first choice among the two":
                return order[0] in keys
            if mistake == "choice replaced by the even share":
                return all(m[q, k] > even(q) for k in keys)
            if mistake == "any weight counts":
                return all(m[q, k] > 0 for k in keys)
            return set(order) == set(keys)

        def rank(q, k):
            return 1 + sum(m[q, j] > m[q, k] for j in range(6) if j != q)

        def even(q):
            if mistake == "even share with the word itself":
                return m[q].mean()
            if mistake == "even share of the whole row":
                return m[q].sum() / 5
            if mistake == "a tenth in the even share's place":
                return 0.1
            if mistake == "even share of a row scaled to 1":
                return 1 / 5
            return (m[q].sum() - m[q, q]) / 5

        def mutual(a, b):
            both = (m[a, b] > even(a), m[b, a] > even(b))
            if mistake == "one direction is enough":
                return any(both)
            if mistake == "mutual means first two choices":
                return rank(a, b) <= 2 and rank(b, a) <= 2
            return all(both)

        pairs = [(cat, sat), (the, cat), (article, mat)]
        if mistake == "subject and verb alone":
            pairs = pairs[:1]
        elif mistake == "articles alone":
            pairs = pairs[1:]
        elif mistake == "first article for both nouns":
            pairs[2] = (the, mat)
        some = [mutual(a, b) for a, b in pairs]
        gap = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
        near, far = m[gap == 1], m[gap > 1]
        if mistake == "the word itself counted as a neighbour":
            near = m[gap <= 1]
        elif mistake == "the word itself counted as far":
            far = m[gap != 1]
        elif mistake == "next words only":
            near = np.diagonal(m, 1)
        local = near.mean() > far.mean()
        if mistake == "sums of unequal numbers":
            local = near.sum() > far.sum()
        elif mistake == "largest neighbour, largest far word":
            local = near.max() > far.max()
        elif mistake == "most first choices are neighbours":
            others = m - 2 * np.eye(6)
            local = sum(abs(int(others[q].argmax()) - q) == 1 for q in range(6)) > 3
        noun = m[on, mat] > m[on, cat]
        if mistake == "the preposition's first choice":
            noun = chooses(on, mat)
        elif mistake == "the preposition's even share":
            noun = m[on, mat] > even(on)
        elif mistake == "the nouns look, not the preposition":
            noun = m[mat, on] > m[cat, on]
        elif mistake == "the noun before":
            noun = m[on, mat] < m[on, cat]
        if mistake == "all true, as printed":
            return dict.fromkeys(NAMES, True)
        if mistake == "the verdicts on one model":
            return dict(zip(NAMES, (False,) * 3 + (True,) * 3))
        the_one = the if mistake == "first article for the mat" else article
        found = (
            chooses(cat, sat),
            chooses(sat, cat, on),
            chooses(mat, the_one, on),
            any(some) if mistake == "one pair is enough" else all(some),
            bool(local),
            bool(noun),
        )
        if mistake == "words, not True and False":
            return dict(zip(NAMES, map(str, found)))
        if mistake == "a list":
            return list(found)
        return dict(zip(NAMES, map(bool, found)))

    return decide_claims


NAMES = (
    "cat-attends-sat",
    "sat-attends-cat-and-on",
    "mat-attends-the-and-on",
    "mutual-syntax",
    "locality",
    "prepositions-to-nouns",
)


def analyse_sentence_with(mistake: str) -> Callable[..., Any]:
    """`analyse_sentence` with one mistake.

    The mistake is one of its own, or "part: mistake of that part".
    """
    part, _, inner = mistake.partition(": ")

    def of(name):
        return inner if name == part else ""

    average_attention = average_attention_with(of("average"))
    word_matrix = word_matrix_with(of("words"))
    without_special = without_special_with(of("special"))
    most_attended = most_attended_with(of("most"))

    def analyse_sentence(text, bert):
        model, tokenizer = bert
        if mistake == "the text reversed":
            text = " ".join(reversed(text.split()))
        encoded = tokenizer(text, return_tensors="pt")
        ids, word_ids = encoded["input_ids"], encoded.word_ids()
        if mistake == "no special tokens in the text":
            ids = ids[:, 1:-1]
            word_ids = word_ids[1:-1]
        tokens = tokenizer.convert_ids_to_tokens(ids[0])
        if mistake == "words left in pieces":
            word_ids = [None if w is None else i for i, w in enumerate(word_ids)]
        full = word_matrix(average_attention(model, ids), word_ids)
        names: list[str] = []
        for i, (token, word) in enumerate(zip(tokens, word_ids)):
            if word is not None and i and word == word_ids[i - 1]:
                names[-1] += token.removeprefix("##")
            else:
                names.append(token)
        if mistake == "marks of the pieces kept":
            names = [" ".join(tokenizer.tokenize(name)) for name in names]
        special = np.array([name in ("[CLS]", "[SEP]") for name in names])
        weights, removed = without_special(full, special)
        words = [name for name, s in zip(names, special) if not s]
        with_special = [names[k] for k in most_attended(full)]
        if mistake != "special tokens among those that look":
            with_special = [w for w, s in zip(with_special, special) if not s]
        without = [words[k] for k in most_attended(weights)]
        if mistake == "with and without swapped":
            with_special, without = without, with_special
        elif mistake == "with special tokens left out":
            with_special = without
        return {
            "words": names if mistake == "special tokens among the words" else words,
            "weights": weights,
            "removed": removed,
            "with_special": with_special,
            "without_special": without,
        }

    return analyse_sentence
