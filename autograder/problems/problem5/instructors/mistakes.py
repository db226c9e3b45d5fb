"""Problem 5: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

from autograder.checking import diagnose
from autograder.problems.problem5.instructors import mutants

FUNCTIONS: diagnose.Functions = {
    "standing": ("standing", mutants.standing_with),
    "grad-cam": ("grad_cam", mutants.grad_cam_with),
    "integrated-gradients": ("integrated_gradients", mutants.integrated_gradients_with),
    "both-maps": ("both_maps", mutants.both_maps_with),
    "cover-test": ("cover_test", mutants.cover_test_with),
    "find-cause": ("find_cause", mutants.find_cause_with),
}

# Where activations are not negative, these two mistakes give the same numbers.
SUM_FIRST = (
    "Negative channel weights were cut off (the ReLU was taken for the weights, or for"
    " each channel): sum over the channels with their signs, then take the ReLU."
)
# Mistakes that show in the numbers: mistake -> what the student should read.
_ANY = (
    "One picture that is right was taken for a proof: the"
    " true class must come back in at least half of them."
)
_HALF = "Exactly half was not accepted: at least half of a change's pictures is enough."
_ALL = "All pictures of a change were wanted: at least half is enough."
_MARK = "The same cause was named each time: let the changes decide."
HINTS: dict[str, dict[str, str]] = {
    "standing": {
        "sigmoid": "The probabilities come from a sigmoid: with one answer of many"
        " classes it is the softmax.",
        "logits given as probabilities": "A logit was given as a probability: take the"
        " softmax over all classes first.",
        "percent": "The probabilities are in percent: give them between 0 and 1; only"
        " printing makes them percent.",
        "rank from 0": "The rank counts from 0: the most probable class has rank 1, so"
        " add 1.",
        "rank one too large": "The rank is one too large: it is 1 + the number of"
        " classes with a larger logit.",
        "rank of probabilities": "The rank was taken from the probabilities, of which"
        " many round to the same 0: compare the logits.",
        "rank counts ties of probabilities": "The rank counts probabilities that are"
        " larger or equal, and many round to the same 0: compare the logits with > and"
        " add 1.",
        "rank from the other end": "The rank was counted from the least probable class:"
        " count the larger logits.",
        "argsort read as rank": "argsort()[true_class] is the class at place"
        " true_class, not the place of the true class: look for true_class in"
        " argsort().",
        "rank within the top 5": "A rank beyond 5 became 6: count over all classes, not"
        " over the top five.",
        "rounded": "The probabilities were rounded: return the numbers as they are.",
        "top 5 worst first": "'top5' is in rising order: the most probable class comes"
        " first.",
        "top 5 the smallest": "'top5' holds the five LEAST probable classes: sort in"
        " falling order.",
        "top 3": "'top5' holds three classes: five are asked for.",
        "probability of the predicted class twice": "'true_probability' is that of the"
        " predicted class: take the true class's entry.",
    },
    "grad-cam": {
        "one class for the whole batch": "The first class was used for the whole batch:"
        " image i is explained for classes[i].",
        "all classes in every image": "logits[:, classes] takes every class of the list"
        " in every image: take logits[i, classes[i]].",
        "the next class": "The map is that of another class: take column classes[i],"
        " counted from 0.",
        "the predicted class": "The predicted class was explained: use the classes that"
        " are handed over.",
        "softmax instead of logit": "The gradient is that of the softmax probability:"
        " explain the logit, as the model returns it.",
        "gradients summed, not averaged": "The gradients were summed over the cells: a"
        " channel's weight is their MEAN, the sum over Z.",
        "absolute weights": "The channel weights lost their sign: negative ones count"
        " against the class.",
        "negative weights cut off": SUM_FIRST,
        "weights averaged over the batch": "The weights were averaged over the batch:"
        " every image has its own; average over dim=(2, 3) only.",
        "each cell's own gradient": "Activations were multiplied by each cell's own"
        " gradient (HiResCAM): a channel's weight is the MEAN of its gradient over the"
        " cells, one number. At the last layer before global average pooling the two"
        " are one.",
        "no weights": "The channels were added up without weights: each is multiplied"
        " by its mean gradient.",
        "no ReLU": "The ReLU after the channel sum is missing.",
        "absolute value instead of ReLU": "The absolute value was taken: the ReLU keeps"
        " what speaks FOR the class.",
        "ReLU before the sum": SUM_FIRST,
        "channels averaged": "The channels were averaged: they are summed.",
        "scaled to 1": "Each map was divided by its maximum: return the raw maps; only"
        " drawing scales.",
        "blank map filled": "A map that the ReLU left blank was filled with a constant:"
        " all zeros is the result, and says something.",
        "minimum subtracted": "The minimum was subtracted, which moves what 0 means:"
        " return what the ReLU leaves.",
    },
    "integrated-gradients": {
        "zeros as the baseline": "The baseline is zeros, which in normalised space is"
        " the mean colour: black is (0 - mean) / std.",
        "-1 as the baseline": "The baseline is -1, which is black only with mean = std"
        " = 0.5: use the model's own mean and std.",
        "white as the baseline": "The baseline is white: black is asked for.",
        "black normalised twice": "The baseline was normalised twice.",
        "gradient at the image only": "The gradient was taken at the image each time:"
        " take it along the path.",
        "gradient at the baseline only": "The gradient was taken at the baseline each"
        " time: take it along the path.",
        "one step too many": "n_steps + 1 gradients were added up and divided by"
        " n_steps: the weights must sum to 1.",
        "one step too few": "n_steps - 1 gradients were added up and divided by"
        " n_steps: the weights must sum to 1.",
        "softmax instead of logit": "The gradient is that of the softmax probability:"
        " explain the logit, as the model returns it.",
        "the predicted class": "The predicted class was explained: use target_class.",
        "the next class": "The attributions are those of another class: take column"
        " target_class, counted from 0.",
        "absolute values inside the sum": "The gradients lost their sign before they"
        " were added up: attributions are signed.",
        "summed, not averaged": "The gradients were summed and not averaged: divide by"
        " n_steps.",
        "x - x' missing": "The factor (x - black) is missing.",
        "times x": "The mean gradient was multiplied by x: multiply it by (x - black).",
        "sign turned": "The sign is turned: multiply by (x - black), not by (black -"
        " x).",
        "absolute values": "The attributions lost their sign: only drawing takes"
        " absolute values.",
        "rounded": "The attributions were rounded: return the numbers as they are.",
        "scaled to 1": "The attributions were divided by their maximum, so that they no"
        " longer sum to F(x) - F(black).",
    },
    "both-maps": {
        "the whole photo squashed": "The whole photo was squashed to the model's size:"
        " the model sees the crop, model.preprocessing.crop_image.",
        "the crop's corner": "The crop was cut from the upper left corner: it is the"
        " middle of the photo.",
        "true class first": "The two maps are in the wrong order: predicted class"
        " first, then the true one.",
        "predicted class twice": "Both maps are those of the predicted class: the"
        " second is the true class's.",
        "true class twice": "Both maps are those of the true class: the first is the"
        " predicted class's.",
        "corners aligned": "The map was resized with align_corners=True, which shifts"
        " it: use align_corners=False.",
        "nearest cell": "The map was resized to nearest cells: bilinear is asked for.",
        "channels summed with their signs": "The channels of IG were added up with"
        " their signs: sum the absolute values.",
        "maximum over the channels": "The maximum of IG over the channels was taken:"
        " sum the absolute values.",
        "maps scaled separately": "Each map was divided by its own maximum, so that the"
        " two can't be compared: divide both maps of a method by the larger maximum.",
        "Grad-CAM scaled separately": "The two Grad-CAM maps were divided each by its"
        " own maximum, so that they can't be compared: divide both by the larger one.",
        "one scale for both methods": "Grad-CAM and IG were put on one scale: their"
        " units differ; each method has a scale for its two maps.",
        "unscaled": "The maps are not scaled: divide the two maps of a method by the"
        " larger maximum.",
        "each map's minimum subtracted": "Each map's minimum was subtracted, which"
        " moves what 0 means: divide by the larger maximum, and no more.",
        "normalised instead of pixels": "'seen' is the normalised tensor: give pixels"
        " from 0 to 1.",
        "pixels up to 255": "'seen' goes up to 255: give pixels from 0 to 1.",
    },
    "cover-test": {
        "columns before rows": "The box was read as (left, top, right, bottom): it is"
        " (top, left, bottom, right).",
        "bottom and right included": "One row and column too many was covered: bottom"
        " and right are exclusive.",
        "height and width read from the box": "The box was read as (top, left, height,"
        " width): it is (top, left, bottom, right).",
        "covered with zeros": "The cover is zeros, the same grey for every image: use"
        " the image's own mean colour.",
        "covered with black": "The cover is black, which may look like an object: use"
        " the image's mean colour.",
        "one mean for all channels": "The cover has one mean for all channels, which is"
        " grey: take the mean of each channel.",
        "covered with the part's own mean": "The cover is the mean of the covered part,"
        " which keeps its colour: use the whole image's.",
        "covers pile up": "The covers pile up: each was laid on the image that already"
        " had the last one. Clone the image each time.",
        "logit instead of probability": "A logit was returned: take the softmax.",
        "probability of the answer": "The probability of whatever class the model"
        " answered was returned: take the true class's.",
        "last row and column forgotten": "The last row and column of places is missing:"
        " a box may end at the image's edge.",
        "column by column": "The places run column by column: give them row by row.",
        "suspect among the controls": "No tile was left out: leave out those that"
        " overlap with the box.",
        "neighbours that overlap": "Places that overlap with the suspect in part are"
        " among the controls: leave them out.",
    },
    "find-cause": {
        "any other answer counts": "Any other answer than the predicted one was"
        " counted: only the TRUE class says that the mistake is gone.",
        "mean probability instead of answers": "The evidence is a mean probability:"
        " count the pictures that the model gives the true class.",
        "first picture only": "Only the first picture of each change was asked: use all"
        " of them.",
        "share of the predicted class": "The evidence is the share of the PREDICTED"
        " class: count how often the true class comes back.",
        "true class in the top 5": "A true class among the top five was counted: it"
        " must be the answer.",
        "any picture will do": _ANY,
        "any picture will do, harmless too": _ANY,
        "a third is enough": "Less than half was accepted: at least half of a change's"
        " pictures is needed.",
        "more than half": _HALF,
        "more than half, harmless too": _HALF,
        "all pictures": _ALL,
        "all pictures, harmless too": _ALL,
        "never not found": "A cause was named though no change brings the true class"
        " back: then it is 'not found'.",
        "first that will do": "The first change with half of its pictures right was"
        " named: name the one with the largest share.",
        "last that will do": "The last change with half of its pictures right was"
        " named: name the one with the largest share.",
        "largest change of the pixels": "The change that alters the pixels most was"
        " named: what the model answers decides.",
        "largest gain in probability": "The change that raises the true class's"
        " probability most was named, though the answer stays wrong.",
        "harmless changes ignored": "The harmless changes were ignored: where they"
        " alone turn the answer, it is a near tie, and no removal is the cause.",
        "harmless changes as one more cause": "The harmless changes were treated as one"
        " more suspect: they are the control, so 'near tie' comes first.",
        "printed rule": "The printed chapter's rule was used, which sees only rank and"
        " probability: let the changes decide.",
        "always the mark": _MARK,
        "the mark, even where there is no mistake": _MARK,
        "image itself not asked": "A cause was named for a picture that the model gets"
        " right: that is 'no mistake'.",
    },
}
# Mistakes that a check itself reports, as no number shows them or the form alone does:
# mistake -> words that the check's message must contain.
TOLD: dict[str, dict[str, str]] = {
    "standing": {
        "true class missing": "a report on a mistake needs the true class's numbers",
        "top 5 of five classes at least": "Not every model has five",
    },
    "grad-cam": {
        "NaN on a blank map": "dividing it by its maximum is 0 / 0",
        "hook left in the model": "the model came back changed",
        "training mode while explaining": "was explained in it",
        "model left in eval mode": "the model came back in another mode",
        "image changed in place": "what was handed over has changed",
        "requires_grad left off": "the model came back changed",
        "resized to the image": "the stack of raw maps (N, h, w)",
        "first image only": "the stack of raw maps (N, h, w)",
    },
    "integrated-gradients": {
        "channels summed": "the attributions has the shape",
        "twenty steps, whatever n_steps": "the model was asked about",
        "training mode while explaining": "was explained in it",
        "model left in eval mode": "the model came back in another mode",
        "image changed in place": "what was handed over has changed",
    },
    "both-maps": {
        "overlay on the un-cropped photo": "overlays belong on the crop",
        "0 / 0 on a blank map": "dividing it by its maximum is 0 / 0",
        "blank never noticed": "whether Grad-CAM's ReLU left nothing",
        "predicted class only": "predicted class first, then the true one",
        "delta after scaling": "before any scaling",
        "delta of absolute values": "sum of the signed attributions",
        "delta of another output": "F(x) - F(black)",
        "delta not relative": "/ |F(x) - F(black)|",
    },
    "cover-test": {
        "no controls": "'elsewhere' is missing",
        "controls averaged": "one place for each tile",
        "image changed in place": "what was handed over has changed",
    },
    "find-cause": {
        "cause without evidence": "without the evidence for it",
        "evidence for the named cause only": "without the evidence for it",
        "evidence in words": "without the evidence for it",
    },
}

RIGHT = diagnose.right_functions(FUNCTIONS)
MISTAKES = diagnose.mistakes(FUNCTIONS, HINTS)


def wrong_submission(task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    return diagnose.source_with(mutants, FUNCTIONS, task, mistake)
