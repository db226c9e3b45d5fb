"""Problem 1: Vanilla gradients and Grad-CAM."""

# Which parts of chapter4 this problem uses, besides photos and models: the methods that
# it compares.
BUILDS_ON = ("core", "methods/gradients.py", "methods/gradcam.py")
PRELOADED = ("timm",)
