"""Problem 3: Baselines of Integrated Gradients."""

# Packages that have what is asked for.
STUBBED = ("captum",)
