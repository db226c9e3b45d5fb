"""Problem 2: SmoothGrad and the number of samples."""

# Packages that have what is asked for.
STUBBED = ("captum",)
