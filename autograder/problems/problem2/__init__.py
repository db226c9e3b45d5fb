"""Problem 2: SmoothGrad and the number of samples."""

# Other people's packages that contain what the problem asks for.
STUBBED = ("captum",)
