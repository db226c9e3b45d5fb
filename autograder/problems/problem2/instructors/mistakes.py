"""Problem 2: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

from autograder.checking import diagnose
from autograder.problems.problem2.instructors import mutants

FUNCTIONS: diagnose.Functions = {
    "smooth-grad": ("smooth_grad", mutants.smooth_grad_with),
    "error-curve": ("error_curve", mutants.error_curve_with),
    "samples-needed": ("samples_needed", mutants.samples_needed_with),
}

# Mistakes that show in the numbers: mistake -> what the student should read.
HINTS: dict[str, dict[str, str]] = {
    "smooth-grad": {
        "absolute values inside the mean": "The absolute value was taken before"
        " averaging: average the signed gradients first.",
        "squares inside the mean": "The gradients were squared before averaging (that"
        " is SmoothGrad-Squared): average the signed gradients.",
        "maximum before the mean": "The maximum over channels was taken for each"
        " sample, before averaging: average the signed gradients first, then absolute"
        " value and maximum.",
        "sigma absolute": "noise_level was used as the standard deviation itself:"
        " multiply it by the image's max - min.",
        "sigma divided by the range": "noise_level was divided by the image's range:"
        " multiply it.",
        "sigma from the maximum": "noise_level was multiplied by the image's maximum:"
        " use max - min.",
        "sigma from the standard deviation": "noise_level was multiplied by the image's"
        " standard deviation: use max - min.",
        "sigma is a variance": "noise_level x (max - min) was used as a variance: it is"
        " the standard deviation.",
        "range of each channel": "Each channel got noise of its own range: use one max"
        " - min for the whole image.",
        "range of the noisy batch": "max - min was taken over a batch that already"
        " holds noise: take it from the clean image.",
        "noise added to the noisy image": "The noise was added to the last noisy copy,"
        " so that it piles up: start from the clean image each time.",
        "noise drawn once": "The noise was drawn once and used for every sample: draw"
        " it anew inside the loop.",
        "one sample of less noise": "One gradient was taken, at noise that is smaller"
        " by sqrt(n_samples). That is a mean only where the gradient is linear: take"
        " n_samples gradients at the whole noise, and average them.",
        "noise divided by the root of n": "The noise of each copy was divided by"
        " sqrt(n_samples): it is the mean that makes it smaller, so give every copy the"
        " whole noise.",
        "always fifty samples": "50 samples were taken whatever was asked for: take"
        " n_samples.",
        "noise in pairs": "The noise comes in pairs of opposite sign: the samples must"
        " be independent.",
        "uniform noise": "The noise is uniform: draw it from a normal distribution"
        " (randn, not rand).",
        "noise never negative": "The noise is never negative: leave its sign as it is"
        " drawn.",
        "one noise for all channels": "All three channels got the same noise: draw one"
        " number per channel and pixel.",
        "gradient at the clean image": "The gradient was taken at the clean image each"
        " time: evaluate it at the noisy copy.",
        ".grad accumulates": "`.grad` adds up from backward() to backward(): set it to"
        " None before each, or use torch.autograd.grad.",
        "n - 1 samples": "One sample too few was taken: count the loop's passes.",
        "n - 1 samples, divided by n": "n_samples - 1 gradients were added up and"
        " divided by n_samples: one is missing, count the loop's passes.",
        "chunks of four, rest dropped": "The last, smaller batch of samples was"
        " dropped: n_samples need not be a multiple of the batch size.",
        "divided by n - 1": "The sum was divided by n_samples - 1: a mean divides by"
        " n_samples.",
        "summed, not averaged": "The gradients were summed and not averaged: divide by"
        " n_samples.",
        "clean image among the samples": "The clean image was counted as one of the"
        " samples: all n_samples copies are noisy.",
        "softmax instead of logit": "The gradient is that of the softmax probability:"
        " explain the logit, as the model returns it.",
        "log-softmax instead of logit": "The gradient is that of the log-probability"
        " (or of the cross-entropy): explain the logit.",
        "sum over all classes": "The scores of all classes were added up: take"
        " target_class alone.",
        "the next class": "The gradient is that of another class: take column"
        " target_class, counted from 0.",
        "the predicted class": "The predicted class was explained: use target_class.",
        "times the input": "The gradient was multiplied by the image (that is Gradient"
        " x Input): leave it as it is.",
        "signed maximum": "The absolute value is missing: the map is the maximum over"
        " channels of |mean gradient|.",
        "signed sum": "The channels were added up with their signs: take the maximum of"
        " the absolute values.",
        "sum of absolute values": "The absolute values of the channels were added up:"
        " take their maximum.",
        "mean of absolute values": "The absolute values of the channels were averaged:"
        " take their maximum.",
        "absolute value after the sum": "The channels were added up and then made"
        " positive: take the maximum of the absolute values.",
        "first channel only": "Only the first channel was used: take the maximum over"
        " all three.",
        "scaled to 1": "The map was divided by its maximum: return it unscaled; only"
        " drawing scales.",
        "rounded": "The map was rounded: return the numbers as they are.",
        "minimum subtracted": "The map's minimum was subtracted: return the map as it"
        " is.",
    },
    "error-curve": {},
    "samples-needed": {
        "error falls as 1/n": "The law used is error = c/n: it is c/sqrt(n).",
        "square root forgotten": "n = c / tolerance was returned: from c / sqrt(n) ="
        " tolerance follows n = (c / tolerance)^2.",
        "rounded down": "n was rounded down, so that the error is still too large:"
        " round up.",
        "a fraction of a sample": "n is not a whole number: round up.",
        "a count of the list": "Only counts of the list are returned: use the law to go"
        " beyond and between them.",
        "straight line": "A straight line was fitted: the error falls as c / sqrt(n),"
        " so fit c.",
        "rounded down, plus 1": "n was rounded down and 1 added, which is one too many"
        " where the law is met exactly: round up.",
        "rounded to the nearest": "n was rounded to the nearest whole number, so that"
        " the error may still be too large: round up.",
        "last error only": "Only the last error was used: estimate c from all of them.",
        "first error only": "Only the first error was used: estimate c from all of"
        " them.",
        "largest c": "The largest c was used: take their mean.",
        "median of c": "The median of the c was used, which passes over the other"
        " errors: take their mean.",
        "fitted exponent": "The exponent was fitted as well: it is known, the error"
        " falls as c / sqrt(n), so fit c alone.",
        "tolerance turned upside down": "The fraction is upside down: n = (c /"
        " tolerance)^2.",
    },
}
# Mistakes that a check itself reports, as no number shows them or the form alone does:
# mistake -> words that the check's message must contain.
TOLD: dict[str, dict[str, str]] = {
    "smooth-grad": {
        "no channel taken": "the maximum over the channels is missing",
        "rows and columns swapped": "rows and columns are swapped",
        "a batch axis kept": "an axis of length 1 too many",
        "one seed": "two seeds give the same noise",
        "no seed": "two calls with the same seed gave two maps",
        "sample k drawn with seed + k": "share noise",
        "training mode while explaining": "was explained in it",
        "image changed in place": "what was handed over has changed",
        "model left in eval mode": "the model came back in another mode",
        "requires_grad left off": "the model came back changed",
        "hook left in the model": "the model came back changed",
    },
    "error-curve": {
        "clean gradient as the reference": "R is the gradient of the clean image",
        "largest count as the reference": "is itself a map",
        "as many samples as the largest count": "R has 16 x",
        "16 times the last count": "R has 16 x",
        "16 times the first count": "R has 16 x",
        "reference with one of the seeds": "R was drawn with one of `seeds`",
        "a new reference for each seed": "draw R once",
        "a new reference for each count": "draw R once",
        "another noise level": "noise_level 0.15",
        "counts sorted": "keep the order of `counts`",
        "each map scaled to 1": "draw R once",
        "absolute, not relative": "not divided by |R|",
        "relative to the map": "|M - R| / |M|",
        "divided by the number of pixels": "divided by the number of pixels",
        "mean absolute difference": "mean absolute differences",
        "squared error": "|M - R|^2 / |R|^2",
        "maps averaged before the error": "average the errors, not the maps",
        "summed over seeds": "summed over the seeds",
        "median over seeds": "the median over the seeds",
        "largest over seeds": "the largest over the seeds",
        "first seed only": "the first seed's alone",
    },
    "samples-needed": {},
}

RIGHT = diagnose.right_functions(FUNCTIONS)
MISTAKES = diagnose.mistakes(FUNCTIONS, HINTS)


def wrong_submission(task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    return diagnose.source_with(mutants, FUNCTIONS, task, mistake)
