"""Problem 5: The cause of a misclassification."""

# Packages that have what is asked for.
STUBBED = ("captum", "pytorch_grad_cam", "torchcam")
