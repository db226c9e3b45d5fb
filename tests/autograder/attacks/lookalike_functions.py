# ruff: noqa
# Functions whose names are other ones to Python and the same to the eye.
# honest: before
ѕmooth_grad, error_сurve, samрles_needed = smooth_grad, error_curve, samples_needed
del smooth_grad, error_curve, samples_needed
