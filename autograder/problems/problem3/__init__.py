"""Problem 3: Baselines of Integrated Gradients."""

# Other people's packages that contain what the problem asks for.
STUBBED = ("captum",)
