"""Problem 4: the known mistakes, written anew by a second author.

Who wrote them had not seen the first version.
"""

from __future__ import annotations

IMPORTS = """import numpy as np
import torch
"""

# Task -> a right answer.
RIGHT = {
    "average-attention": """
def average_attention(model, input_ids):
    with torch.no_grad():
        result = model(input_ids=input_ids, output_attentions=True)
    layers = result.attentions
    if not layers:
        raise ValueError(
            "The model returned no attention weights: load it again with "
            "attn_implementation='eager', which forms them."
        )
    stacked = torch.cat(list(layers), dim=0)  # (layers, heads, T, T)
    per_layer = stacked.mean(dim=1)
    average = per_layer.mean(dim=0)
    return average
""",
    "word-matrix": """
def word_matrix(attention, word_ids):
    attention = np.asarray(attention, dtype=float)
    groups = []
    previous = -1
    for position, word in enumerate(word_ids):
        if word is not None and word == previous:
            groups[-1].append(position)
        else:
            groups.append([position])
        previous = word
    size = len(groups)
    result = np.zeros((size, size))
    for row, looking in enumerate(groups):
        for column, looked_at in enumerate(groups):
            block = attention[np.ix_(looking, looked_at)]
            received = block.sum(axis=1)
            result[row, column] = received.mean()
    return result
""",
    "without-special": """
def without_special(matrix, special):
    matrix = np.asarray(matrix, dtype=float)
    special = np.asarray(special, dtype=bool)
    words = ~special
    weights = matrix[words][:, words]
    given = matrix[words][:, special]
    removed = given.sum(axis=1)
    return weights, removed
""",
    "most-attended": """
def most_attended(matrix):
    scores = torch.tensor(np.asarray(matrix), dtype=torch.float64)
    scores.fill_diagonal_(-float("inf"))
    choices = scores.argmax(dim=1)
    return choices.tolist()
""",
    "claims": """
def decide_claims(weights):
    weights = np.asarray(weights, dtype=float)
    first_the, cat, sat, on, second_the, mat = range(6)

    def ranking(word):
        order = np.argsort(-weights[word])
        return [int(other) for other in order if other != word]

    def even_share(word):
        given = weights[word].sum() - weights[word, word]
        return given / 5

    def each_other(one, two):
        there = weights[one, two] > even_share(one)
        back = weights[two, one] > even_share(two)
        return there and back

    near, far = [], []
    for q in range(6):
        for k in range(6):
            distance = abs(q - k)
            if distance == 1:
                near.append(weights[q, k])
            elif distance > 1:
                far.append(weights[q, k])

    cat_to_sat = ranking(cat)[0] == sat
    sat_to_both = set(ranking(sat)[:2]) == {cat, on}
    mat_to_both = set(ranking(mat)[:2]) == {second_the, on}
    pairs = [(cat, sat), (first_the, cat), (second_the, mat)]
    mutual = all(each_other(one, two) for one, two in pairs)
    local = np.mean(near) > np.mean(far)
    noun_behind = weights[on, mat] > weights[on, cat]
    return {
        "cat-attends-sat": bool(cat_to_sat),
        "sat-attends-cat-and-on": bool(sat_to_both),
        "mat-attends-the-and-on": bool(mat_to_both),
        "mutual-syntax": bool(mutual),
        "locality": bool(local),
        "prepositions-to-nouns": bool(noun_behind),
    }
""",
    "sentence": """
def analyse_sentence(text, bert):
    model, tokenizer = bert
    encoded = tokenizer(text, return_tensors="pt")
    input_ids = encoded["input_ids"]
    word_ids = encoded.word_ids(0)
    tokens = tokenizer.convert_ids_to_tokens(input_ids[0].tolist())

    # Step 1: the mean over layers and heads.
    with torch.no_grad():
        attentions = model(input_ids=input_ids, output_attentions=True).attentions
    stacked = torch.stack(list(attentions))[:, 0]  # (layers, heads, T, T)
    average = stacked.mean(dim=(0, 1)).double().numpy()

    # Step 2: pieces to words.
    groups = []
    for position, word in enumerate(word_ids):
        if word is not None and position > 0 and word_ids[position - 1] == word:
            groups[-1].append(position)
        else:
            groups.append([position])
    belongs = np.zeros((len(tokens), len(groups)))
    for number, group in enumerate(groups):
        belongs[group, number] = 1.0
    lengths = belongs.sum(axis=0)
    rows = (belongs / lengths).T
    columns = belongs
    matrix = rows @ average @ columns
    names = []
    for group in groups:
        pieces = [tokens[position] for position in group]
        names.append("".join(piece.removeprefix("##") for piece in pieces))

    # Step 3: special tokens away.
    special = np.array([word_ids[group[0]] is None for group in groups])
    keep = np.flatnonzero(~special)
    weights = matrix[np.ix_(keep, keep)]
    removed = matrix[keep][:, special].sum(axis=1)
    words = [names[number] for number in keep]

    # Step 4: the first choices.
    def first_choices(square):
        scores = square.copy()
        np.fill_diagonal(scores, -np.inf)
        return scores.argmax(axis=1)

    among_all = first_choices(matrix)
    among_words = first_choices(weights)
    with_special = [names[among_all[number]] for number in keep]
    without = [words[choice] for choice in among_words]
    return {
        "words": words,
        "weights": weights,
        "removed": removed,
        "with_special": with_special,
        "without_special": without,
    }
""",
}

# Task -> mistake -> what changes in the right answer, as (old, new) pairs; or a whole
# answer.
MISTAKES = {
    "average-attention": {
        "transposed": [("return average", "return average.T")],
        "symmetrised": [("return average", "return (average + average.T) / 2")],
        "last layer only": [("per_layer.mean(dim=0)", "per_layer[-1]")],
        "first layer only": [("per_layer.mean(dim=0)", "per_layer[0]")],
        # reading: the first head of every layer, averaged over the layers
        "first head only": [("stacked.mean(dim=1)", "stacked[:, 0]")],
        # reading: the first head of the last layer
        "one head of one layer": """
def average_attention(model, input_ids):
    with torch.no_grad():
        layers = model(input_ids=input_ids, output_attentions=True).attentions
    if len(layers) == 0:
        raise ValueError("No attention weights: use attn_implementation='eager'.")
    return layers[-1][0, 0]
""",
        "all summed": [
            ("stacked.mean(dim=1)", "stacked.sum(dim=1)"),
            ("per_layer.mean(dim=0)", "per_layer.sum(dim=0)"),
        ],
        "heads summed": [("stacked.mean(dim=1)", "stacked.sum(dim=1)")],
        "layers summed": [("per_layer.mean(dim=0)", "per_layer.sum(dim=0)")],
        # reading: entry by entry the largest over the heads, then the mean over layers
        "largest head": [("stacked.mean(dim=1)", "stacked.amax(dim=1)")],
        # reading: entry by entry the largest over the layers of the mean over heads
        "largest layer": [("per_layer.mean(dim=0)", "per_layer.amax(dim=0)")],
        "largest of all": [
            ("stacked.mean(dim=1)", "stacked.amax(dim=1)"),
            ("per_layer.mean(dim=0)", "per_layer.amax(dim=0)"),
        ],
        # reading: over all heads of all layers at once, by torch (the lower of the two
        # in the middle)
        "median": [
            ("stacked.mean(dim=1)", "stacked.flatten(0, 1)"),
            ("per_layer.mean(dim=0)", "per_layer.median(dim=0).values"),
        ],
        # reading: the matrix product, the later layer on the left
        "layers multiplied": [
            (
                "average = per_layer.mean(dim=0)",
                "average = per_layer[0]\n"
                "    for layer in per_layer[1:]:\n"
                "        average = layer @ average",
            )
        ],
        "rollout": [
            (
                "average = per_layer.mean(dim=0)",
                "identity = torch.eye(per_layer.shape[-1])\n"
                "    average = identity\n"
                "    for layer in per_layer:\n"
                "        average = (0.5 * layer + 0.5 * identity) @ average",
            )
        ],
        # reading: on the mean, over the last axis
        "softmax again": [("return average", "return torch.softmax(average, dim=-1)")],
        "columns scaled to sum 1": [
            ("return average", "return average / average.sum(dim=0, keepdim=True)")
        ],
        # reading: the largest of the whole matrix
        "scaled to maximum 1": [("return average", "return average / average.max()")],
        # reading: set to 0, nothing scaled
        "diagonal taken out": [
            ("return average", "average.fill_diagonal_(0)\n    return average")
        ],
        "layers averaged, heads not": [
            ("stacked.mean(dim=1)", "stacked"),
        ],
        "heads averaged, layers not": [("per_layer.mean(dim=0)", "per_layer")],
        "nothing averaged": [
            ("stacked.mean(dim=1)", "stacked"),
            ("per_layer.mean(dim=0)", "per_layer"),
        ],
        "a batch axis kept": """
def average_attention(model, input_ids):
    with torch.no_grad():
        layers = model(input_ids=input_ids, output_attentions=True).attentions
    if len(layers) == 0:
        raise ValueError("No attention weights: use attn_implementation='eager'.")
    total = 0
    for layer in layers:
        total = total + layer.mean(dim=1)
    return total / len(layers)
""",
        "special tokens dropped silently": [
            ("return average", "return average[1:-1, 1:-1]")
        ],
        "zeros where there is nothing": """
def average_attention(model, input_ids):
    with torch.no_grad():
        layers = model(input_ids=input_ids, output_attentions=True).attentions
    length = input_ids.shape[1]
    total = torch.zeros(length, length)
    for layer in layers:
        total += layer[0].mean(dim=0)
    return total / max(len(layers), 1)
""",
        "NaN where there is nothing": """
def average_attention(model, input_ids):
    with torch.no_grad():
        layers = model(input_ids=input_ids, output_attentions=True).attentions
    length = input_ids.shape[1]
    total = np.zeros((length, length))
    for layer in layers:
        total += layer[0].mean(dim=0).numpy()
    return total / np.float64(len(layers))
""",
        # reading: no check at all, so that a later line fails with words of its own
        "stopped by accident": """
def average_attention(model, input_ids):
    with torch.no_grad():
        layers = model(input_ids=input_ids, output_attentions=True).attentions
    average = layers[0][0].mean(dim=0)
    for layer in layers[1:]:
        average = average + layer[0].mean(dim=0)
    return average / len(layers)
""",
    },
    "word-matrix": {
        "mean in both directions": [("block.sum(axis=1)", "block.mean(axis=1)")],
        "mean in both directions, rows scaled": [
            ("block.sum(axis=1)", "block.mean(axis=1)"),
            ("return result", "return result / result.sum(axis=1, keepdims=True)"),
        ],
        "sum in both directions": [("received.mean()", "received.sum()")],
        "sum and mean swapped": [
            ("block.sum(axis=1)", "block.mean(axis=1)"),
            ("received.mean()", "received.sum()"),
        ],
        # reading: for the row and for the column
        "first piece only": [("received.mean()", "block[0, 0]")],
        "first piece for the row": [("received.mean()", "received[0]")],
        "first piece for the column": [("block.sum(axis=1)", "block[:, 0]")],
        "last piece for the row": [("received.mean()", "received[-1]")],
        # reading: for the row and for the column
        "last piece only": [("received.mean()", "block[-1, -1]")],
        # reading: the largest weight between any two pieces
        "largest piece": [("received.mean()", "block.max()")],
        # reading: the largest over the row's pieces of the sum over the column's
        "largest row": [("received.mean()", "received.max()")],
        # reading: the mean over the row's pieces of the largest over the column's
        "largest column": [("block.sum(axis=1)", "block.max(axis=1)")],
        "special tokens at the end": [
            (
                "    size = len(groups)",
                "    words = [g for g in groups if word_ids[g[0]] is not None]\n"
                "    others = [g for g in groups if word_ids[g[0]] is None]\n"
                "    groups = words + others\n"
                "    size = len(groups)",
            )
        ],
        # reading: the right matrix, turned
        "transposed": [("return result", "return result.T")],
        "pieces not merged": [
            (
                "if word is not None and word == previous:",
                "if False:",
            )
        ],
        # reading: pieces merged in the columns, rows left to the tokens, (T, G)
        "columns only": [
            ("np.zeros((size, size))", "np.zeros((len(attention), size))"),
            (
                "for row, looking in enumerate(groups):",
                "for row, looking in enumerate([t] for t in range(len(attention))):",
            ),
        ],
        # reading: all of them into one, which stands where the first one stood
        "special tokens merged": """
def word_matrix(attention, word_ids):
    attention = np.asarray(attention, dtype=float)
    groups = {}
    for position, word in enumerate(word_ids):
        groups.setdefault(word, []).append(position)
    groups = list(groups.values())
    to_words = np.stack([attention[:, g].sum(axis=1) for g in groups], axis=1)
    return np.stack([to_words[g].mean(axis=0) for g in groups])
""",
        "neighbouring special tokens merged": [
            ("if word is not None and word == previous:", "if word == previous:")
        ],
        "special tokens dropped silently": [
            (
                "        if word is not None and word == previous:",
                "        if word is None:\n"
                "            continue\n"
                "        if word == previous:",
            )
        ],
    },
    "without-special": {
        "scaled to sum 1": [
            (
                "return weights, removed",
                "return weights / weights.sum(axis=1, keepdims=True), removed",
            )
        ],
        # reading: the mass is measured after the scaling, and so 0
        "scaled to sum 1, nothing removed": [
            (
                "    given = matrix[words][:, special]",
                "    weights = weights / weights.sum(axis=1, keepdims=True)",
            ),
            ("given.sum(axis=1)", "1 - weights.sum(axis=1)"),
        ],
        # reading: the mass is 0, the weights are right
        "nothing removed": [("given.sum(axis=1)", "np.zeros(len(weights))")],
        "what special tokens give": [
            ("matrix[words][:, special]", "matrix[special][:, words]"),
            ("given.sum(axis=1)", "given.sum(axis=0)"),
        ],
        # reading: the mass is what remains among the words
        "what is left": [("given.sum(axis=1)", "weights.sum(axis=1)")],
        "mean instead of sum": [
            (
                "given.sum(axis=1)",
                "given.mean(axis=1) if special.any() else np.zeros(len(weights))",
            )
        ],
        "first special token only": [("given.sum(axis=1)", "given[:, :1].sum(axis=1)")],
        "last special token only": [("given.sum(axis=1)", "given[:, -1:].sum(axis=1)")],
        "first and last taken for special": [
            (
                "    words = ~special",
                "    special = np.zeros(len(matrix), dtype=bool)\n"
                "    special[[0, -1]] = True\n"
                "    words = ~special",
            )
        ],
        # reading: the mass removed, divided by the mass that is left
        "share of what is left": [
            ("given.sum(axis=1)", "given.sum(axis=1) / weights.sum(axis=1)")
        ],
        # reading: the weights turned, the mass right
        "transposed": [("return weights, removed", "return weights.T, removed")],
        # reading: the mass is not returned at all
        "dropped silently": [("return weights, removed", "return weights")],
        # reading: the mean over the rows
        "one number for all": [("given.sum(axis=1)", "given.sum(axis=1).mean()")],
        # reading: the mass has an entry for special tokens as well, (G,)
        "rows of special tokens too": [
            ("given = matrix[words][:, special]", "given = matrix[:, special]")
        ],
        # reading: special columns taken away, their rows kept, (G, W)
        "columns only": [
            ("weights = matrix[words][:, words]", "weights = matrix[:, words]")
        ],
        # reading: special rows taken away, their columns kept, (W, G)
        "rows only": [("weights = matrix[words][:, words]", "weights = matrix[words]")],
        "set to 0": [
            (
                "weights = matrix[words][:, words]",
                "weights = matrix * np.outer(words, words)",
            )
        ],
        "special tokens kept, words gone": [
            ("words = ~special", "words, special = special, ~special")
        ],
    },
    "most-attended": {
        "self not excluded": [('    scores.fill_diagonal_(-float("inf"))\n', "")],
        "diagonal deleted before argmax": """
def most_attended(matrix):
    matrix = np.asarray(matrix)
    choices = []
    for row in range(len(matrix)):
        others = np.delete(matrix[row], row)
        choices.append(int(np.argmax(others)))
    return choices
""",
        "counted from 1": [("scores.argmax(dim=1)", "scores.argmax(dim=1) + 1")],
        "who looks at the word": [("scores.argmax(dim=1)", "scores.argmax(dim=0)")],
        # reading: the smallest weight, itself excluded
        "least attended": [
            ('-float("inf")', 'float("inf")'),
            ("scores.argmax(dim=1)", "scores.argmin(dim=1)"),
        ],
        "second choice": [
            ("scores.argmax(dim=1)", "scores.topk(2, dim=1).indices[:, 1]")
        ],
        "second choice, self not excluded": [
            ('    scores.fill_diagonal_(-float("inf"))\n', ""),
            ("scores.argmax(dim=1)", "scores.argsort(dim=1)[:, -2]"),
        ],
        # reading: the word with the largest column sum (itself left out), for every row
        "most popular word for all": [
            ('-float("inf")', "0.0"),
            (
                "scores.argmax(dim=1)",
                "scores.sum(dim=0).argmax().repeat(len(scores))",
            ),
        ],
        "weights, not positions": [
            ("scores.argmax(dim=1)", "scores.max(dim=1).values")
        ],
        # reading: one position, of the largest weight of the flattened matrix
        "one choice for all": [("scores.argmax(dim=1)", "scores.argmax()")],
    },
    "claims": {
        "transposed": [("np.asarray(weights, dtype=float)", "np.asarray(weights).T")],
        "the word itself among its choices": [
            (" for other in order if other != word]", " for other in order]")
        ],
        "order of the two demanded": [
            ("set(ranking(sat)[:2]) == {cat, on}", "ranking(sat)[:2] == [cat, on]"),
            (
                "set(ranking(mat)[:2]) == {second_the, on}",
                "ranking(mat)[:2] == [second_the, on]",
            ),
        ],
        # reading: one of the two is among the first two choices
        "one of the two is enough": [
            ("set(ranking(sat)[:2]) == {cat, on}", "set(ranking(sat)[:2]) & {cat, on}"),
            (
                "set(ranking(mat)[:2]) == {second_the, on}",
                "set(ranking(mat)[:2]) & {second_the, on}",
            ),
        ],
        # reading: the first choice is one of the two
        "first choice among the two": [
            ("set(ranking(sat)[:2]) == {cat, on}", "ranking(sat)[0] in (cat, on)"),
            (
                "set(ranking(mat)[:2]) == {second_the, on}",
                "ranking(mat)[0] in (second_the, on)",
            ),
        ],
        # reading: in the first three claims
        "choice replaced by the even share": [
            ("ranking(cat)[0] == sat", "weights[cat, sat] > even_share(cat)"),
            (
                "set(ranking(sat)[:2]) == {cat, on}",
                "weights[sat, [cat, on]].min() > even_share(sat)",
            ),
            (
                "set(ranking(mat)[:2]) == {second_the, on}",
                "weights[mat, [second_the, on]].min() > even_share(mat)",
            ),
        ],
        # reading: in the first three claims
        "any weight counts": [
            ("ranking(cat)[0] == sat", "weights[cat, sat] > 0"),
            (
                "set(ranking(sat)[:2]) == {cat, on}",
                "weights[sat, cat] > 0 and weights[sat, on] > 0",
            ),
            (
                "set(ranking(mat)[:2]) == {second_the, on}",
                "weights[mat, second_the] > 0 and weights[mat, on] > 0",
            ),
        ],
        # reading: the sum over all six, divided by six
        "even share with the word itself": [
            (
                "given = weights[word].sum() - weights[word, word]",
                "given = weights[word].sum()",
            ),
            ("return given / 5", "return given / 6"),
        ],
        # reading: the sum over all six, divided by five
        "even share of the whole row": [
            (
                "given = weights[word].sum() - weights[word, word]",
                "given = weights[word].sum()",
            ),
        ],
        # reading: a fifth of 1, while the weights are not scaled
        "even share of a row scaled to 1": [("return given / 5", "return 1 / 5")],
        # reading: either of the two
        "one direction is enough": [("return there and back", "return there or back")],
        "mutual means first two choices": [
            ("weights[one, two] > even_share(one)", "two in ranking(one)[:2]"),
            ("weights[two, one] > even_share(two)", "one in ranking(two)[:2]"),
        ],
        "one pair is enough": [("mutual = all(", "mutual = any(")],
        "subject and verb alone": [
            ("[(cat, sat), (first_the, cat), (second_the, mat)]", "[(cat, sat)]")
        ],
        "articles alone": [("pairs = [(cat, sat), ", "pairs = [")],
        "first article for both nouns": [("(second_the, mat)]", "(first_the, mat)]")],
        # reading: in the claim on mat, not in mutual-syntax
        "first article for the mat": [("{second_the, on}", "{first_the, on}")],
        "the word itself counted as a neighbour": [
            ("if distance == 1:", "if distance <= 1:")
        ],
        "the word itself counted as far": [("elif distance > 1:", "else:")],
        # reading: near is the next word alone; far stays as it was
        "next words only": [("if distance == 1:", "if k - q == 1:")],
        "sums of unequal numbers": [
            ("np.mean(near) > np.mean(far)", "np.sum(near) > np.sum(far)")
        ],
        "largest neighbour, largest far word": [
            ("np.mean(near) > np.mean(far)", "max(near) > max(far)")
        ],
        # reading: more than half of the six
        "most first choices are neighbours": [
            (
                "np.mean(near) > np.mean(far)",
                "sum(abs(ranking(q)[0] - q) == 1 for q in range(6)) > 3",
            )
        ],
        "the preposition's first choice": [
            ("weights[on, mat] > weights[on, cat]", "ranking(on)[0] == mat")
        ],
        "the preposition's even share": [
            ("weights[on, mat] > weights[on, cat]", "weights[on, mat] > even_share(on)")
        ],
        "the nouns look, not the preposition": [
            (
                "weights[on, mat] > weights[on, cat]",
                "weights[mat, on] > weights[cat, on]",
            )
        ],
        "the noun before": [
            (
                "weights[on, mat] > weights[on, cat]",
                "weights[on, cat] > weights[on, mat]",
            )
        ],
        "all true, as printed": """
def decide_claims(weights):
    claims = ["cat-attends-sat", "sat-attends-cat-and-on", "mat-attends-the-and-on",
              "mutual-syntax", "locality", "prepositions-to-nouns"]
    return dict.fromkeys(claims, True)
""",
        # reading: those of the embedded MiniLM, typed in
        "the verdicts on one model": """
def decide_claims(weights):
    # As computed for "the cat sat on the mat" by chapter4.load_bert().
    return {
        "cat-attends-sat": False,
        "sat-attends-cat-and-on": False,
        "mat-attends-the-and-on": False,
        "mutual-syntax": True,
        "locality": True,
        "prepositions-to-nouns": True,
    }
""",
        "words, not True and False": [
            ("    return {\n", "    verdicts = {\n"),
            (
                '        "prepositions-to-nouns": bool(noun_behind),\n    }\n',
                '        "prepositions-to-nouns": bool(noun_behind),\n    }\n'
                '    return {claim: "true" if holds else "false"\n'
                "            for claim, holds in verdicts.items()}\n",
            ),
        ],
        "a list": [
            ("    return {\n", "    verdicts = {\n"),
            (
                '        "prepositions-to-nouns": bool(noun_behind),\n    }\n',
                '        "prepositions-to-nouns": bool(noun_behind),\n    }\n'
                "    return list(verdicts.values())\n",
            ),
        ],
    },
    "sentence": {
        "average: last layer only": [
            ("stacked.mean(dim=(0, 1))", "stacked[-1].mean(dim=0)")
        ],
        # reading: the first head of every layer, averaged over the layers
        "average: first head only": [
            ("stacked.mean(dim=(0, 1))", "stacked[:, 0].mean(dim=0)")
        ],
        "average: transposed": [(".double().numpy()", ".double().numpy().T")],
        "words: mean in both directions": [
            ("columns = belongs", "columns = belongs / lengths")
        ],
        "words: sum in both directions": [
            ("rows = (belongs / lengths).T", "rows = belongs.T")
        ],
        # reading: the weights alone; the mass stays right
        "special: scaled to sum 1": [
            (
                "    removed = matrix[keep][:, special].sum(axis=1)",
                "    weights = weights / weights.sum(axis=1, keepdims=True)\n"
                "    removed = matrix[keep][:, special].sum(axis=1)",
            )
        ],
        "special: nothing removed": [
            ("matrix[keep][:, special].sum(axis=1)", "np.zeros(len(keep))")
        ],
        "most: self not excluded": [
            ("        np.fill_diagonal(scores, -np.inf)\n", "")
        ],
        "most: who looks at the word": [
            ("scores.argmax(axis=1)", "scores.argmax(axis=0)")
        ],
        # reading: the tokenizer is told to add none
        "no special tokens in the text": [
            (
                'tokenizer(text, return_tensors="pt")',
                'tokenizer(text, return_tensors="pt", add_special_tokens=False)',
            )
        ],
        "with and without swapped": [
            ('"with_special": with_special', '"with_special": without'),
            ('"without_special": without', '"without_special": with_special'),
        ],
        # reading: the choices with special tokens are taken among the words as well
        "with special tokens left out": [
            (
                "[names[among_all[number]] for number in keep]",
                "[words[choice] for choice in among_words]",
            )
        ],
        # reading: what follows gets one matrix too many and stops
        "average: layers averaged, heads not": [
            ("stacked.mean(dim=(0, 1))", "stacked.mean(dim=0)")
        ],
        # reading: first and last token cut off, and their word_ids and tokens with them
        "most: matrix changed in place": [
            ("scores = square.copy()", "scores = square")
        ],
        # reading: each piece a word of its own, its mark taken off
        "words left in pieces": [
            (
                "if word is not None and position > 0 "
                "and word_ids[position - 1] == word:",
                "if False:",
            )
        ],
        "marks of the pieces kept": [('piece.removeprefix("##")', "piece")],
        # reading: in "words" alone
        "special tokens among the words": [('"words": words', '"words": names')],
        # reading: "with_special" has an entry for each special token too
        "special tokens among those that look": [
            (
                "[names[among_all[number]] for number in keep]",
                "[names[choice] for choice in among_all]",
            )
        ],
        # reading: the model is given the words in the opposite order
        "the text reversed": [
            (
                "    model, tokenizer = bert\n",
                "    model, tokenizer = bert\n"
                '    text = " ".join(text.split()[::-1])\n',
            )
        ],
    },
}
