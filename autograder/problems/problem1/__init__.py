"""Problem 1: Vanilla gradients and Grad-CAM."""

# Of chapter4, besides photos and models: the methods that are compared here.
BUILDS_ON = ("core", "methods/gradients.py", "methods/gradcam.py")
PRELOADED = ("timm",)
