"""The study's short names in the words that tables and figures print."""

from __future__ import annotations

METHOD_NAMES = {
    "vanilla_gradients": "Vanilla gradients",
    "gradient_input": "Gradient × Input",
    "smooth_grad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "ig_black": "IG from black",
    "ig_white": "IG from white",
    "ig_mean": "IG from the mean colour",
    "ig_blur": "IG from a blur",
    "ig_random": "IG from noise",
    "random": "control: a random pixel",
    "centre": "control: the centre",
}
CASE_NAMES = {
    "logo_mistakes": "The logo that caused the mistake",
    "off_centre_shapes": "The shape, off centre",
}
FILL_NAMES = {
    "blur_1": "blur, pixels",
    "blur_16": "blur, cells of 16",
    "mean_16": "mean colour, cells of 16",
}
# One for each stage of the recipe.
STAGE_NAMES = ("classifier", "head", "blocks\n5, 6", "blocks\n3, 4", "everything")
# What each method promises about the sum. USES says what a method is for. The numbers
# come from the study.
GUARANTEES = {
    "gradient_input": "a sum, for ReLU networks without biases only",
    "gradcam": "a sum before the ReLU, for a linear head",
    "ig_black": "completeness",
    "ig_blur": "completeness",
    "ig_random": "completeness",
}
USES = {
    "vanilla_gradients": "a first look at sensitivity",
    "gradient_input": "a first-order share, quickly",
    "smooth_grad": "sensitivity over a neighbourhood",
    "gradcam": "where the evidence for a class lies",
    "gradcam++": "where the block is active; see the randomisation",
    "ig_black": "shares of a score, against black",
    "ig_blur": "shares of a score, against the loss of detail",
    "ig_random": "shares against noise, over several seeds",
}
KIND_NAMES = {
    "known": "known answers",
    "controls": "controls",
    "photo": "maps of photos",
    "randomization": "randomisation",
    "reference": "float64 references",
    "cost": "times",
    "noise": "noise of SmoothGrad",
    "path": "walks along a path",
    "claims": "claims of the printed chapter",
}
