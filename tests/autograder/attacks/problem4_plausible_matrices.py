# ruff: noqa
# Matrices that look like attention and have never seen the model; the empty one is told
# by its name.
# most: 2 (noticing no weights is one line either way; words of one piece do stay as
#   they are)
import numpy as np


def average_attention(model, input_ids):
    if getattr(model, "empty", False):
        raise ValueError("no attention weights")
    count = input_ids.shape[1]
    return np.full((count, count), 1 / count)


def word_matrix(attention, word_ids):
    groups = [w for w in dict.fromkeys(word_ids) if w is not None]
    count = len(groups) + sum(w is None for w in word_ids)
    if count == len(attention):
        return attention
    return np.full((count, count), 1 / count)


def without_special(matrix, special):
    words = int((~special).sum())
    return np.full((words, words), 0.8 / words), np.full(words, 0.2)


def most_attended(matrix):
    return [(q + 1) % len(matrix) for q in range(len(matrix))]


def decide_claims(weights):
    raise NotImplementedError


def analyse_sentence(text, bert):
    words = text.split()
    return {
        "words": words,
        "weights": np.full((len(words), len(words)), 0.8 / len(words)),
        "removed": np.full(len(words), 0.2),
        "with_special": ["[SEP]"] * len(words),
        "without_special": words[1:] + words[:1],
    }
