"""Problem 4: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

from autograder.checking import diagnose
from autograder.problems.problem4.instructors import mutants

FUNCTIONS: diagnose.Functions = {
    "average-attention": ("average_attention", mutants.average_attention_with),
    "word-matrix": ("word_matrix", mutants.word_matrix_with),
    "without-special": ("without_special", mutants.without_special_with),
    "most-attended": ("most_attended", mutants.most_attended_with),
    "claims": ("decide_claims", mutants.decide_claims_with),
    "sentence": ("analyse_sentence", mutants.analyse_sentence_with),
}

# Mistakes that show in the numbers: mistake -> what the student should read.
HINTS: dict[str, dict[str, str]] = {
    "average-attention": {
        "transposed": "The matrix is transposed: leave the last two axes in their"
        " order; the row looks, the column is looked at.",
        "symmetrised": "The matrix was averaged with its transpose: who looks and who"
        " is looked at are two things.",
        "last layer only": "Only the last layer was used: average over all layers.",
        "first layer only": "Only the first layer was used: average over all layers.",
        "first head only": "Only the first head of each layer was used: average over"
        " the heads as well.",
        "one head of one layer": "This is one head of one layer: average over all"
        " layers and heads.",
        "all summed": "Layers and heads were summed: average over both.",
        "heads summed": "The heads were summed: average over them.",
        "layers summed": "The layers were summed: average over them.",
        "largest head": "The largest head was taken: take the mean over heads.",
        "largest layer": "The largest layer was taken: take the mean over layers.",
        "largest of all": "The largest weight over layers and heads was taken: take the"
        " mean.",
        "median": "The median was taken: take the mean, whose rows sum to 1.",
        "layers multiplied": "The layers were multiplied: this task asks for their"
        " mean.",
        "rollout": "This is attention rollout, a product of layers: this task asks for"
        " their mean.",
        "softmax again": "A softmax was taken of the weights: they are probabilities"
        " already.",
        "columns scaled to sum 1": "The columns were scaled to sum 1: scale nothing.",
        "scaled to maximum 1": "The matrix was divided by its maximum: only drawing"
        " scales.",
        "diagonal taken out": "The diagonal was set to 0: it belongs to the matrix;"
        " leave a word out only when you look for its first choice.",
    },
    "word-matrix": {
        "mean in both directions": "The mean was taken in both directions: TO a word it"
        " is the sum over its pieces.",
        "mean in both directions, rows scaled": "The mean was taken in both directions"
        " and the rows scaled afterwards: TO a word it is the sum over its pieces, and"
        " then nothing needs scaling.",
        "sum in both directions": "The sum was taken in both directions: FROM a word it"
        " is the mean over its pieces.",
        "sum and mean swapped": "Sum and mean are swapped: add the columns of a word's"
        " pieces, average their rows.",
        "first piece only": "Only the first piece of a word was used: add the columns"
        " of its pieces, average their rows.",
        "first piece for the row": "The row of a word's first piece was taken: take the"
        " mean over its pieces' rows.",
        "first piece for the column": "The column of a word's first piece was taken:"
        " add its pieces' columns.",
        "last piece for the row": "The row of a word's last piece was taken: take the"
        " mean over its pieces' rows.",
        "last piece only": "Only the last piece of a word was used: add the columns of"
        " its pieces, average their rows.",
        "largest piece": "The largest piece was taken in both directions: TO a word the"
        " sum, FROM a word the mean.",
        "largest row": "The largest of the pieces' rows was taken: take their mean.",
        "largest column": "The largest of the pieces' columns was taken: take their"
        " sum.",
        "special tokens at the end": "Special tokens were moved to the end: keep the"
        " order of the text.",
        "transposed": "The merged matrix is transposed: rows look, columns are looked"
        " at.",
    },
    "without-special": {
        "scaled to sum 1": "The weights that are left were scaled to sum 1: leave them"
        " as they are.",
        "scaled to sum 1, nothing removed": "The weights that are left were scaled to"
        " sum 1 and nothing was said to be removed: leave them, and report each row's"
        " removed mass.",
        "nothing removed": "The removed mass is 0 everywhere: it is what each row gave"
        " to the special tokens.",
        "what special tokens give": "The removed mass is what special tokens give to"
        " the word: it is what the word's row gave to them.",
        "what is left": "The removed mass is what is left: it is the other part of the"
        " row.",
        "mean instead of sum": "The removed mass was averaged over the special tokens:"
        " add it up.",
        "first special token only": "The removed mass is that of the first special"
        " token alone: add up all special tokens.",
        "last special token only": "The removed mass is that of the last special"
        " token alone: add up all special tokens.",
        "first and last taken for special": "The first and the last token were taken"
        " away: `special` says which ones.",
        "share of what is left": "The removed mass was divided by what is left: leave"
        " it as it is.",
        "transposed": "The weights between words are transposed: rows look, columns are"
        " looked at.",
    },
    "most-attended": {
        "self not excluded": "The word itself was not excluded: leave the diagonal out"
        " before you look for the largest.",
        "diagonal deleted before argmax": "The word itself was cut out of its row, so"
        " that all positions behind it moved by one: set it to -1 instead, or count"
        " on.",
        "counted from 1": "The positions are counted from 1: count from 0.",
        "who looks at the word": "The largest entry of each COLUMN was taken, which is"
        " who looks at the word: take the row.",
        "least attended": "The smallest weight was taken: take the largest.",
        "second choice": "The second choice was taken: after the word itself is left"
        " out, the first is wanted.",
        "second choice, self not excluded": "The second largest entry was taken, as if"
        " a word always looked most at itself: leave the word itself out and take the"
        " largest.",
        "most popular word for all": "All rows have one answer, the word with the"
        " largest column: ask each row.",
    },
    "claims": {
        "transposed": "Rows and columns are swapped: weights[q, k] is how much word q"
        " looks at word k.",
        "the word itself among its choices": "The word itself competes for the first"
        " choices: leave it out.",
        "order of the two demanded": "The first two choices count in any order.",
        "one of the two is enough": "Both words must be among the first two choices,"
        " not one of them.",
        "first choice among the two": "Both words must be among the first two choices;"
        " you looked at the first alone.",
        "choice replaced by the even share": "“Attends to” means first choices here,"
        " not more than the even share.",
        "any weight counts": "A weight above 0 is no preference: ask for the first"
        " choices.",
        "even share with the word itself": "The even share was taken over all six"
        " entries of the row: leave the word itself out, in the sum and in the count.",
        "even share of the whole row": "The even share was taken of the whole row, with"
        " what the word gives to itself: leave that out, then divide by 5.",
        "a tenth in the even share's place": "A fixed share of 0.1 was used: the even"
        " share is what the row gives to the other words, divided by 5.",
        "even share of a row scaled to 1": "The even share was taken as 1/5: special"
        " tokens took a part of the row. Spread what it gives to the other five words.",
        "one direction is enough": "“Each other” needs both directions above the even"
        " share.",
        "mutual means first two choices": "“Each other” asks for more than the even"
        " share, not for first choices.",
        "one pair is enough": "All three pairs must look at each other, not one of"
        " them.",
        "subject and verb alone": "Only subject and verb were looked at: each noun and"
        " its article count as well.",
        "articles alone": "Only nouns and articles were looked at: subject and verb"
        " count as well.",
        "first article for both nouns": "Both nouns got the first “the” as their"
        " article: that of “mat” stands at 4.",
        "first article for the mat": "“mat” got the first “the” as its article: its own"
        " stands at 4.",
        "the word itself counted as a neighbour": "A word is not its own neighbour:"
        " distance 1 only.",
        "the word itself counted as far": "A word is not far from itself: leave the"
        " diagonal out of the larger distances.",
        "next words only": "Only the next word was counted: the word before is a"
        " neighbour as well.",
        "sums of unequal numbers": "Sums were compared, but there are 10 pairs of"
        " neighbours and 20 others: compare means.",
        "largest neighbour, largest far word": "The largest weights were compared:"
        " compare the means.",
        "most first choices are neighbours": "First choices were counted: compare mean"
        " weights.",
        "the preposition's first choice": "“on” need not choose “mat” first: compare it"
        " with “cat”.",
        "the preposition's even share": "“on” to “mat” was compared with the even"
        " share: compare it with “on” to “cat”.",
        "the nouns look, not the preposition": "Here the preposition looks: its row,"
        " the nouns' columns.",
        "the noun before": "The comparison is turned round: the noun BEHIND the"
        " preposition must get more.",
        "all true, as printed": "Every claim is called true, as the chapter prints it:"
        " decide from the weights.",
        "the verdicts on one model": "The verdicts are always the same: compute them"
        " from `weights`.",
    },
    "sentence": {
        "average: last layer only": "Only the last layer was used: average over all"
        " layers.",
        "average: first head only": "Only the first head of each layer was used:"
        " average over the heads as well.",
        "average: transposed": "The matrix is transposed: rows look, columns are looked"
        " at.",
        "words: mean in both directions": "Attention TO a word is the sum over its"
        " pieces, not the mean.",
        "words: sum in both directions": "Attention FROM a word is the mean over its"
        " pieces, not the sum.",
        "special: scaled to sum 1": "The weights were scaled to sum 1: leave them as"
        " they are.",
        "special: nothing removed": "The removed mass is 0 everywhere: report what went"
        " to the special tokens.",
        "most: self not excluded": "The word itself was not excluded from the first"
        " choices.",
        "most: who looks at the word": "The first choices were looked for in the"
        " columns: take the rows.",
        "no special tokens in the text": "The text was given to the model without [CLS]"
        " and [SEP], which changes every weight: let the tokenizer add them, and take"
        " them away afterwards.",
        "with and without swapped": "`with_special` and `without_special` are swapped.",
        "with special tokens left out": "`with_special` leaves the special tokens out:"
        " there they compete.",
    },
}
# Mistakes that a check itself reports, as no number shows them or the form alone does:
# mistake -> words that the check's message must contain.
TOLD: dict[str, dict[str, str]] = {
    "average-attention": {
        "layers averaged, heads not": "the layers are averaged and the heads are not",
        "heads averaged, layers not": "the heads are averaged and the layers are not",
        "nothing averaged": "nothing is averaged",
        "a batch axis kept": "the batch axis is still there",
        "special tokens dropped silently": "special tokens were dropped silently",
        "zeros where there is nothing": "nothing was noticed",
        "NaN where there is nothing": "the mean of nothing is NaN",
        "stopped by accident": "the function stopped by accident",
        "an error without advice": "the error should say what to do",
        "model left in training mode": "the model came back in another mode",
        "requires_grad left off": "the model came back changed",
        "hook left in the model": "the model came back changed",
    },
    "word-matrix": {
        "pieces not merged": "pieces are not merged",
        "array changed in place": "what was handed over has changed",
        "columns only": "pieces are merged in one direction only",
        "special tokens merged": "special tokens were merged",
        "neighbouring special tokens merged": "special tokens were merged",
        "special tokens dropped silently": "special tokens were dropped silently",
    },
    "without-special": {
        "array changed in place": "what was handed over has changed",
        "dropped silently": "what was taken away is part of the answer",
        "one number for all": "one number for each word, not one for all",
        "rows of special tokens too": "leave the rows of special tokens out",
        "columns only": "take both the rows and the columns",
        "rows only": "take both the rows and the columns",
        "set to 0": "special tokens are to go, not to be set to 0",
        "special tokens kept, words gone": "the words were taken away",
    },
    "most-attended": {
        "array changed in place": "what was handed over has changed",
        "weights, not positions": "positions, not weights",
        "one choice for all": "one each",
    },
    "claims": {
        "words, not True and False": "is True or False",
        "a list": "returns a dictionary",
    },
    "sentence": {
        "average: layers averaged, heads not": "analyse_sentence raised",
        "most: matrix changed in place": "most_attended must work on a copy",
        "words left in pieces": "pieces are not merged",
        "marks of the pieces kept": "the words are not those of the sentence",
        "special tokens among the words": "special tokens are among them",
        "special tokens among those that look": "special tokens look at words as well",
        "the text reversed": "the words are not those of the sentence",
    },
}

RIGHT = diagnose.right_functions(FUNCTIONS)
MISTAKES = diagnose.mistakes(FUNCTIONS, HINTS)


def wrong_submission(task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    return diagnose.source_with(mutants, FUNCTIONS, task, mistake)
