"""Problem 5: The cause of a misclassification."""

# Other people's packages that contain what the problem asks for.
STUBBED = ("captum", "pytorch_grad_cam", "torchcam")
