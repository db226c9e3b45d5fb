"""Problem 3: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from autograder.checking.diagnose import Mistake
from autograder.problems.problem3.instructors import mutants

FUNCTIONS: dict[str, tuple[str, Callable[[str], Callable[..., Any]]]] = {
    "baselines": ("make_baselines", mutants.make_baselines_with),
    "integrated-gradients": ("integrated_gradients", mutants.integrated_gradients_with),
    "completeness": ("completeness_error", mutants.completeness_error_with),
    "correlation": ("map_correlation", mutants.map_correlation_with),
    "blind-shares": ("blind_shares", mutants.blind_shares_with),
    "explanation": ("explanation", mutants.explanation_with),
}

# With right ends, the last step is the image itself, so the two mistakes are the same.
_AT_THE_IMAGE = (
    "The gradient was taken at the image alone, or only the last step's is left: add up"
    " those of all points on the way from the baseline."
)
# Mistakes that people make in two ways read one sentence.
_TOO_FAR = (
    "The points run one step too far, beyond the image: check the first and the last"
    " alpha."
)
_RELATIVE_TO_BOTH = (
    "The error was divided by the sum and the change together: divide it by"
    " |F(x) - F(x')|."
)
_NO_MAP = (
    "The signed attributions of the channels were correlated: make the two maps first."
)
_WRONG_AXIS = "Height and width, or cells and pixels, were mixed up in the averaging."
_COVARIANCE = "The covariance was returned: divide it by both standard deviations."
_DIFFERENCE = "The relative difference was returned: return the correlation."
_MEDIAN = "Medians were taken: take means."
_LAST_CHUNK = (
    "The last, smaller chunk of steps was dropped: n_steps need not be a multiple of"
    " the chunk size."
)
_MAPS = {
    "signed sum": "The channels were added up with their signs: take absolute"
    " values first, then the sum over channels.",
    "absolute value after the sum": "The channels were added up before the absolute"
    " value: take absolute values first.",
    "maximum over channels": "The maximum over channels was taken: the map is the"
    " sum of absolute values.",
}
# Mistakes that show in the numbers: mistake -> what the student should read.
HINTS: dict[str, dict[str, str]] = {
    "integrated-gradients": {
        "(x - x') missing": "The factor (image - baseline) is missing: multiply the"
        " mean gradient by it.",
        "x instead of (x - x')": "The mean gradient was multiplied by the image:"
        " multiply it by image - baseline.",
        "(x' - x)": "The sign is turned: the factor is image - baseline, not baseline -"
        " image.",
        "(x - x') made positive": "The absolute value of image - baseline was taken:"
        " keep its sign.",
        "absolute gradients summed": "The absolute values of the gradients were"
        " averaged: average them with their signs.",
        "squared gradients": "The gradients were squared: average them as they are.",
        "absolute attributions": "The absolute value of the attributions was returned:"
        " keep the signs, completeness needs them.",
        "negative attributions cut off": "The negative attributions were set to 0: keep"
        " them, completeness needs them.",
        "rounded": "The attributions were rounded: return the numbers as they are.",
        "scaled to 1": "The attributions were divided by their maximum: return them"
        " unscaled, only drawing scales.",
        "scaled to sum 1": "The attributions were divided by their sum: return them"
        " unscaled, their sum has a meaning.",
        "mean subtracted": "The mean of the attributions was subtracted: return them as"
        " they are.",
        "each gradient scaled to 1": "Each gradient was divided by its own maximum:"
        " average them as they are.",
        "gradient at the image only": _AT_THE_IMAGE,
        "gradient at the baseline only": "The gradient was taken at the baseline each"
        " time: move along with alpha.",
        "gradient at the middle only": "The gradient was taken half-way only: average"
        " it over points on the whole way.",
        "last step only": _AT_THE_IMAGE,
        "last step only, divided by n": _AT_THE_IMAGE,
        "path from zero": "The path starts at zeros (alpha image) instead of at the"
        " baseline: its points are baseline + alpha (image - baseline).",
        "baseline ignored": "The baseline was not used at all: it starts the path, and"
        " it is in the factor image - baseline.",
        "baseline + alpha x": "The points are baseline + alpha image, which ends beyond"
        " the image: they are baseline + alpha (image - baseline).",
        "gradient with respect to the image": "The gradient was taken with respect to"
        " the image, which brings in a factor alpha: take it with respect to the point"
        " on the path (detach it, then requires_grad_).",
        "both ends, divided by n": "n + 1 points, both ends among them, were divided by"
        " n: the weights must sum to 1.",
        "one step too far": _TOO_FAR,
        "one step too far, averaged": _TOO_FAR,
        "divided by n + 1": "The sum was divided by n + 1: the weights must sum to 1.",
        "divided by n - 1": "The sum was divided by n - 1: the weights must sum to 1.",
        "last point left out": "The last point was left out, but divided by as if it"
        " were there: the weights must sum to 1.",
        "divided by n_steps twice": "It was divided by n_steps twice: once is enough.",
        "summed, not averaged": "The gradients were summed and not averaged: their"
        " weights must sum to 1.",
        "trapezoid weights sum to (n - 1) / n": "The trapezoid's weights sum to (n - 1)"
        " / n: n points make n - 1 intervals, so divide by n - 1.",
        "Gauss weights of [-1, 1]": "The Gauss-Legendre weights belong to [-1, 1] and"
        " sum to 2: halve them for [0, 1].",
        "Gauss points of [-1, 1]": "The Gauss-Legendre points belong to [-1, 1]: move"
        " them to [0, 1] by (a + 1) / 2.",
        "chunks of 8, rest dropped": _LAST_CHUNK,
        "chunks of 10, rest dropped": _LAST_CHUNK,
        "chunks of 16, rest dropped": _LAST_CHUNK,
        "chunks of 32, rest dropped": _LAST_CHUNK,
        **{f"whole chunks of {n} only": _LAST_CHUNK for n in (8, 10, 16, 32)},
        ".grad accumulates": "`.grad` adds up from backward() to backward(): set it to"
        " None before each, or use torch.autograd.grad.",
        "softmax instead of logit": "The gradient is that of the softmax probability:"
        " explain the logit, as the model returns it.",
        "log-softmax instead of logit": "The gradient is that of the log-probability"
        " (or of the cross-entropy): explain the logit.",
        "sum over all classes": "The scores of all classes were added up: take"
        " target_class alone.",
        "the next class": "The gradient is that of another class: take column"
        " target_class, counted from 0.",
        "the class predicted at the image": "The class predicted at the image was"
        " explained: use target_class.",
        "the class predicted at the baseline": "The class predicted at the baseline was"
        " explained: use target_class.",
        "class predicted anew at every point": "The class was predicted anew at every"
        " point: use target_class all along the path.",
    },
    "completeness": {
        "after scaling the map": "The attributions were divided by their maximum before"
        " summing: their sum means something only unscaled.",
        "sum of absolute values": "The absolute values were summed: the signed"
        " attributions are what adds up to F(x) - F(x').",
        "mean instead of sum": "The mean of the attributions was taken: completeness is"
        " about their sum.",
        "first channel only": "Only one channel was summed: sum over all three.",
        "F(x') left out": "The baseline's score was left out: the sum is compared with"
        " F(x) - F(x').",
        "F(x') - F(x)": "The change was taken the wrong way round: F(x) - F(x').",
        "both made positive first": "Absolute values were taken before subtracting:"
        " |sum - (F(x) - F(x'))|.",
        "sign kept": "The error has a sign: take the absolute value of the difference.",
        "sign of the change kept": "The error was divided by F(x) - F(x') with its"
        " sign: divide by its absolute value.",
        "absolute, not relative": "The error is not relative: divide it by |F(x) -"
        " F(x')|.",
        "relative to F(x)": "The error was divided by F(x): divide it by |F(x) -"
        " F(x')|.",
        "relative to the sum": "The error was divided by the sum of the attributions:"
        " divide it by |F(x) - F(x')|.",
        "relative to both": _RELATIVE_TO_BOTH,
        "relative to the sum of both": _RELATIVE_TO_BOTH,
        "in percent": "The error came in percent: leave it as a fraction.",
        "squared": "The error was squared: take the absolute value.",
        "share instead of error": "The share sum / (F(x) - F(x')) was returned: the"
        " error is how far it is from 1.",
        "softmax instead of logit": "F is the softmax probability here, and was the"
        " logit when it was differentiated: use the same F.",
        "log-softmax instead of logit": "F is the log-probability here, and was the"
        " logit when it was differentiated: use the same F.",
        "sum over all classes": "F is the sum over all classes here: use the logit of"
        " target_class.",
        "the next class": "F is the score of another class: take column target_class,"
        " counted from 0.",
        "the class predicted at the image": "F is the score of the predicted class: use"
        " target_class.",
        "best class at each end": "F is the largest score, which may belong to another"
        " class at either end: use target_class.",
    },
    "correlation": {
        **_MAPS,
        "signed maximum": _MAPS["maximum over channels"],
        "negative attributions cut off": "Negative attributions were dropped: the map"
        " is the sum of absolute values.",
        "squares": "The attributions were squared: the map is the sum of absolute"
        " values.",
        "first channel only": "Only one channel was used: the map is the sum over all"
        " three.",
        "no map, single attributions": _NO_MAP,
        "no map, cells of each channel": _NO_MAP,
        "cell ignored": "`cell` was not used: average over cells of cell x cell pixels"
        " first.",
        "every cell-th pixel": "Every cell-th pixel was picked: average over the whole"
        " cell.",
        "cells of the wrong axis": _WRONG_AXIS,
        "means over the wrong axes": _WRONG_AXIS,
        "cell is the number of cells": "`cell` is a cell's side in pixels, not the"
        " number of cells.",
        "overlapping cells": "The cells overlap: they lie side by side.",
        "largest pixel of a cell": "The largest pixel of each cell was taken: average"
        " over the cell.",
        "ranks": "The ranks were correlated (Spearman): correlate the values"
        " (Pearson).",
        "cosine, not centred": "The cosine was taken without subtracting the means:"
        " correlation subtracts them.",
        "covariance": _COVARIANCE,
        "covariance, divided by n": _COVARIANCE,
        "squared correlation": "The correlation was squared: return it itself.",
        "absolute correlation": "The correlation's sign was dropped: negative means"
        " that one map is dark where the other is bright.",
        "distance": "1 - correlation was returned: return the correlation.",
        "relative difference": _DIFFERENCE,
        "relative difference of sums": _DIFFERENCE,
    },
    "blind-shares": {
        **_MAPS,
        "lightness of normalised values": "Dark and bright were decided on normalised"
        " values: go back to pixel values first (times std, plus mean).",
        "normalised a second time": "The image was normalised a second time: go back to"
        " pixel values (times std, plus mean).",
        "lightness by ImageNet's constants": "ImageNet's mean and std were used:"
        " take those that are handed over.",
        "luma weights": "The channels were weighted as for a grey picture: take their"
        " plain mean.",
        "brightest channel": "The largest channel decided: take the mean of the three.",
        "first channel only": "One channel decided what is dark: take the mean of the"
        " three.",
        "a tenth of the range": "A tenth of the range of values was taken: take a tenth"
        " of the pixels (a quantile).",
        "pixel values below 0.1 and above 0.9": "Pixel values below 0.1 and above 0.9"
        " were taken: take a tenth of the pixels (a quantile).",
        "a hundredth": "A hundredth of the pixels was taken: take a tenth, quantiles"
        " 0.1 and 0.9.",
        "a fifth": "A fifth of the pixels was taken: take a tenth, quantiles 0.1 and"
        " 0.9.",
        "dark and bright swapped": "The darkest and the brightest tenth are swapped.",
        "all but the tenth": "Everything but the tenth was averaged: turn the"
        " comparison round.",
        "not relative": "The shares are not relative: divide by the mean of the whole"
        " map.",
        "relative to the maximum": "The shares are relative to the map's maximum:"
        " divide by its mean.",
        "relative to the rest": "The shares are relative to the other pixels: divide by"
        " the mean of the whole map.",
        "share of the sum": "The tenth's part of the sum was returned: return its mean"
        " over the mean of the whole map.",
        "median instead of mean": _MEDIAN,
        "lower median instead of mean": _MEDIAN,
        "upside down": "The fraction is upside down: the tenth's mean over the map's"
        " mean.",
        "in percent": "The shares came in percent: leave them as multiples of the"
        " mean.",
    },
    "baselines": {},
    "explanation": {},
}
_ZEROS = "Yours is zeros after normalising"
_ONES = "Yours is ones after normalising"
_GIVEN = "take those that are handed over"
_OTHER_MEAN_STD = "Yours is right for a mean and std of 0.5 only"
# Mistakes that a check itself reports, as no number shows them or the form alone does:
# mistake -> words that the check's message must contain.
TOLD: dict[str, dict[str, str]] = {
    "baselines": {
        "zeros called black": _ZEROS,
        "ones called white": _ONES,
        "zeros and ones": _ZEROS,
        "ImageNet's constants for every model": _GIVEN,
        "mean and std of 0.5 for every model": _OTHER_MEAN_STD,
        "mean and std swapped": "mean and std are swapped",
        "255 is white": "The pixel value 255 was used",
        "the image's own extremes": "the image's own extreme value",
        "black and white swapped": "black and white are swapped",
        "not divided by std": "The division by std is missing",
        "mean not subtracted": "The mean was not subtracted",
        "multiplied by std": "It was multiplied by std",
        "denormalised instead of normalised": "It was taken back to pixel values",
        "normalised twice": "It was normalised twice",
        "uniform noise in normalised space": "uniform in NORMALISED space",
        "Gaussian noise in normalised space": "Gaussian in NORMALISED space",
        "Gaussian noise in pixel space": "between 0 and 1, then normalised",
        "noise clipped to [0, 1]": "are not uniform between 0 and 1",
        "noise added to the image": "holds the image",
        "one noise for all channels": "the same noise in two channels",
        "one random colour": "is one colour",
        "one seed": "two seeds give the same random baseline",
        "no seed": "two calls with the same seed gave two random baselines",
        "blur in normalised space, zeros at the border": (
            "made in normalised space, where the zeros"
        ),
        "black frame around the blur": "black frame",
        "blur left as pixel values": "left as pixel values",
        "normalised image blurred and normalised": "then normalised again",
        "blur not blurred": "nothing was blurred",
        "blur_sigma ignored": "as wide as one of",
        "blur twice as wide": "as wide as one of",
        "blur_sigma is a variance": "used as a variance",
        "box instead of a Gaussian": "must be a Gaussian",
        "grey blur": "lost its colours",
        "blur over the channels, too": "mixes the channels",
        "one baseline missing": "there is no baseline",
        "a list instead of a dictionary": "must return a dictionary",
        "a batch axis kept": "must have the image's shape",
        "one number per channel": "must have the image's shape",
        "image changed in place": "what was handed over has changed",
    },
    "integrated-gradients": {
        "channels added up": "the channels were put together",
        "map of absolute values": "the channels were put together",
        "steps not added up": "the steps were not added up",
        "a batch axis kept": "there is a batch axis too many",
        "the sum alone": "an attribution belongs to every pixel",
        "random points": "the points must lie on the way",
        "two points, whatever n_steps": "any rule is right to a few percent",
        "training mode while explaining": "was explained in it",
        "image changed in place": "what was handed over has changed",
        "baseline changed in place": "what was handed over has changed",
        "requires_grad left off": "the model came back changed",
        "hook left in the model": "the model came back changed",
        "fifty points, whatever n_steps": "the model was asked about",
        "model left in eval mode": "the model came back in another mode",
    },
    "completeness": {
        "zero without a change": "return nan",
        "nearly equal taken for equal": "only equal scores",
        "tiny number added": "only equal scores",
    },
    "correlation": {},
    "blind-shares": {},
    "explanation": {
        "one baseline left out": "with the keys",
        "a few words": "words: write at least two sentences",
        "no number": "names no number",
        "one text": "must return a dictionary",
    },
}


def _mistakes(task: str) -> list[Mistake]:
    """Every mistake of a task; for Integrated Gradients, every mistake with each rule.

    Students may use any rule, and the rule shows in the numbers.
    """
    if task != "integrated-gradients":
        make = FUNCTIONS[task][1]
        return [Mistake(n, hint, partial(make, n)) for n, hint in HINTS[task].items()]
    return [
        Mistake(name, hint, partial(mutants.integrated_gradients_with, name, rule))
        for name, hint in HINTS[task].items()
        for rule in (mutants.RULES[:1] if name in mutants.OWN_RULES else mutants.RULES)
    ]


RIGHT = {task: make("") for task, (_, make) in FUNCTIONS.items() if HINTS[task]}
MISTAKES = {task: _mistakes(task) for task in RIGHT}


def wrong_submission(task: str, mistake: str, rule: str = "") -> str:
    """The source of a submission that is right but for one mistake in one task.

    Args:
        task: The task that has the mistake.
        mistake: One of the task's mistakes; "" makes none.
        rule: One of ``mutants.RULES``; "" is the default rule.
    """
    lines = [inspect.getsource(mutants)]
    for name, (function, make) in FUNCTIONS.items():
        made = [mistake if name == task else ""]
        if rule and name == "integrated-gradients":
            made.append(rule)
        lines.append(f"{function} = {make.__name__}(*{made!r})")
    return "\n".join(lines) + "\n"
