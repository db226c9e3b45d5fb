"""Problem 1: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

from autograder.checking import diagnose
from autograder.problems.problem1.instructors import mutants

FUNCTIONS: diagnose.Functions = {
    "resolution": ("native_resolution", mutants.native_resolution_with),
    "roughness": ("total_variation", mutants.total_variation_with),
    "same-grid": ("through_grid", mutants.through_grid_with),
    "information": ("change_under", mutants.change_under_with),
    "statements": ("statements", mutants.statements_with),
    "words": ("in_own_words", mutants.in_own_words_with),
}

HOOK = (
    "The hook was there for both maps, or for neither: make one map before you register"
    " it, and one before you remove it."
)
# Mistakes that show in the numbers: mistake -> what the student should read.
HINTS: dict[str, dict[str, str]] = {
    "resolution": {
        "Grad-CAM in pixels": "Grad-CAM got the pixels' resolution: that is the"
        " enlarged map. It is computed in the grid of its layer (`.raw`).",
        "vanilla in cells": "Vanilla gradients got the layer's grid: they are computed"
        " at the pixels.",
        "methods swapped": "The two methods are swapped: vanilla gradients are the ones"
        " with a value for each pixel.",
        "always 7 by 7": "Grad-CAM's grid is 7 by 7 for one net and photo size: ask"
        " the layer that is given.",
        "always 224 by 224": "224 by 224 is one size of photo: take the image's.",
        "one part in 32": "The image's size was divided by 32: that is one net's"
        " stride. Ask the layer.",
        "half, rounded down": "The image's size was halved and rounded down: ask the"
        " layer for its grid.",
        "half, rounded up": "The image's size was halved and rounded up: ask the layer"
        " for its grid.",
        "always the last layer": "The grid of another layer was taken: ask `layer`.",
        "width first": "Width and height are swapped: a shape has the height first.",
        "channels counted as height": "The first axes were taken: height and width are"
        " the last two of a shape.",
    },
    "roughness": {
        "squared differences": "The differences were squared: take their absolute"
        " values.",
        "root of the mean square": "The root of the mean square was taken: take the"
        " mean of the absolute values.",
        "signs kept": "The differences kept their signs and cancel: take their absolute"
        " values.",
        "not divided by the mean": "The mean difference was not divided by the map's"
        " mean: a brighter map is no rougher one.",
        "divided by the maximum": "The mean difference was divided by the map's"
        " maximum: divide by its mean.",
        "divided by the standard deviation": "The mean difference was divided by the"
        " map's standard deviation: divide by its mean.",
        "scaled to 0..1 first": "The map was scaled to 0..1 first: that moves its zero."
        " Divide by the mean, and nothing else.",
        "summed, not averaged": "The differences were summed: average them, so that a"
        " larger map is no rougher one.",
        "sum over sum": "The sum of the differences was divided by the sum of the map:"
        " there are about two pairs to a pixel. Divide mean by mean.",
        "two means added": "The horizontal and the vertical mean were added: take one"
        " mean over all pairs together.",
        "mean of two means": "The horizontal and the vertical mean were averaged: take"
        " one mean over all pairs together, since there are more of one kind.",
        "horizontal only": "Only neighbours in a row were compared: those in a column"
        " count too.",
        "vertical only": "Only neighbours in a column were compared: those in a row"
        " count too.",
        "diagonals too": "Diagonal neighbours were counted: take those in a row and in"
        " a column.",
        "wraps around": "The last row and column were compared with the first ones"
        " (np.roll): use np.diff.",
        "np.gradient": "np.gradient takes differences over two pixels: use np.diff.",
        "two pixels apart": "Pixels two apart were compared: compare direct"
        " neighbours.",
        "length of the gradient": "The two differences of a pixel were joined to one"
        " length: count each difference by itself.",
        "standard deviation over mean": "The standard deviation says how much the"
        " values differ, not how much neighbours do.",
    },
    "same-grid": {
        "maximum, not mean": "The maximum of each square was taken: take the mean.",
        "sum, not mean": "Each square was summed: take the mean.",
        "one pixel of each square": "One pixel of each square was kept: take the mean"
        " of all of them.",
        "middle of each square": "The map was shrunk by interpolation, which reads few"
        " pixels of each square: take the mean of all.",
        "not averaged": "The map came back as it was: average it over the squares"
        " first.",
        "enlarged by repeating": "The means were repeated: enlarge them bilinearly, as"
        " Grad-CAM's map is.",
        "corners aligned": "The means were enlarged with align_corners=True: a mean"
        " belongs to the middle of its square, so False.",
        "bicubic": "The means were enlarged bicubically: take mode='bilinear'.",
        "scaled to 1": "The map was divided by its maximum: return it unscaled.",
    },
    "information": {
        "methods swapped": "The two methods are swapped.",
        "vanilla for both": "Vanilla gradients were measured for both methods: look at"
        " `method`.",
        "Grad-CAM for both": "Grad-CAM was measured for both methods: look at"
        " `method`.",
        "interventions swapped": "The two interventions are swapped.",
        "always at Grad-CAM's layer": "The hook was put on Grad-CAM's layer: put it on"
        " `place`.",
        "Grad-CAM always at the last layer": "Grad-CAM was taken at another layer: take"
        " `layer`.",
        "values mirrored, not the gradient": "The layer's output was mirrored: leave"
        " it, and mirror the gradient that comes back to it.",
        "mirrored top to bottom": "The gradient was mirrored top to bottom: flip the"
        " last axis.",
        "gradient cut off": "The gradient was set to zero: mirror it.",
        "gradient's sign turned": "The gradient's sign was turned, which no absolute"
        " value shows: mirror it in space.",
        "constant multiplied": "The output was multiplied by the constant: add it.",
        "another constant": "Another constant than 0.5 was added.",
        "constant dropped by the hook": "The hook returns nothing, so that the output"
        " stays as it is: return the sum.",
        "constant added to the image": "The constant was added to the image: add it to"
        " the output of `place`.",
        "hook there for both maps": HOOK,
        "hook gone before the second map": HOOK,
        "softmax instead of logit": "The softmax probability was explained, whose"
        " gradient follows the constant: explain the logit.",
        "log-softmax instead of logit": "The log of the softmax was explained: explain"
        " the logit.",
        "the predicted class": "The predicted class was explained: use target_class.",
        "the next class": "Another class was explained: take target_class, counted from"
        " 0.",
        "gradient with its signs": "Vanilla gradients were added up with their signs:"
        " take the maximum over channels of |gradient|.",
        "channels kept apart": "The channels were kept apart: the map is their maximum"
        " of |gradient|.",
        "gradient times input": "The gradient was multiplied by the image: leave it as"
        " it is.",
        "gradient alone in Grad-CAM": "Grad-CAM was made of gradients alone: its cells"
        " are weighted sums of the ACTIVATIONS.",
        "activations alone in Grad-CAM": "Grad-CAM was made of activations alone:"
        " weight each channel with the mean of its gradient.",
        "absolute value in Grad-CAM": "The absolute value was taken in Grad-CAM: it"
        " takes the ReLU.",
        "ReLU forgotten in Grad-CAM": "The ReLU is missing in Grad-CAM.",
        "ReLU before the sum in Grad-CAM": "The ReLU came before the sum over channels:"
        " first the sum, then the ReLU.",
        "minimum subtracted in Grad-CAM": "The minimum was subtracted from Grad-CAM's"
        " map: leave its zero where it is.",
        "Grad-CAM enlarged and scaled": "Grad-CAM's drawn map was compared, each"
        " divided by its own maximum: compare the raw maps (`.raw`).",
        "Grad-CAM enlarged": "Grad-CAM's map was enlarged before comparing: compare the"
        " raw maps in their own grid.",
        "each map scaled to 1": "Each map was divided by its own maximum before"
        " comparing: that hides what changed. Compare them as they are.",
        "absolute, not relative": "The plain norm of the difference was returned:"
        " divide by the norm of the first map.",
        "relative to the second map": "The difference was divided by the norm of the"
        " second map: divide by that of the first.",
        "squared": "The change was squared: take the norm itself.",
        "sums of absolute values": "Sums of absolute values were taken: take L2 norms.",
        "largest difference": "The largest difference was taken: take L2 norms.",
        "lengths compared": "The norms of the two maps were compared: take the norm of"
        " their difference.",
        "one minus the correlation": "The correlation was taken, which is blind to a"
        " factor: take |after - before| / |before|.",
    },
    "statements": {},
    "words": {},
}
# Mistakes that a check itself reports, as no number shows them or the form alone does:
# mistake -> words that the check's message must contain.
TOLD: dict[str, dict[str, str]] = {
    "resolution": {
        "channels too": "leave the channels out",
        "the map itself": "not a map",
        "nothing returned": "returned None",
        "hook left in the model": "a hook stays in the model",
        "image changed in place": "the image that was handed over has changed",
    },
    "roughness": {"not one number": "one number, not several"},
    "same-grid": {
        "not enlarged": "must be enlarged again",
        "rows and columns swapped": "rows and columns are swapped",
    },
    "information": {
        "hook left in the model": "a hook stays in the model",
        "image changed in place": "the image that was handed over has changed",
        "model left in training mode": "another mode",
        "parameters left frozen": "another requires_grad",
        "gradients left in the parameters": "gradients stay in the parameters",
    },
    "statements": {
        "Grad-CAM has pixel resolution": "Grad-CAM has the layer's resolution",
        "vanilla gradients need a convolution": (
            "vanilla gradients need no convolutional layer"
        ),
        "both take the absolute value": "ReLU is no absolute value",
        "a map shows the cause": "no map shows a cause",
        "only Grad-CAM explains a class": "both methods explain any class",
        "Grad-CAM needs no backward pass": "S7: count the passes",
        "both are interpolated": "S5: which map is drawn at another size",
        "both may be blank": "S8: which formula cuts off",
        "both read activations": "S2: which of the two formulas",
        "Grad-CAM goes down to the pixels": "S3: where does the gradient",
        "columns swapped": "swapped throughout",
        "one label for all": "Think again",
        "a label of one's own": "S6: the label is one of",
        "one statement forgotten": "not sorted yet: S7",
        "a list": "must return a dictionary",
    },
    "words": {
        "a text missing": "a text for each of",
        "a text too short": "write two or three sentences",
        "a text too long": "two or three sentences do",
        "no number in a text": "holds no number",
    },
}

RIGHT = diagnose.right_functions(FUNCTIONS)
MISTAKES = diagnose.mistakes(FUNCTIONS, HINTS)


def wrong_submission(task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    return diagnose.source_with(mutants, FUNCTIONS, task, mistake)
