"""Sections 4.1 to 4.3: one file for each family of attribution methods."""

# The name by which a method is chosen -> its key in the result, and what its map shows.
METHODS = {
    "gradcam": ("gradcam", "which regions of the last feature maps raise the score"),
    "gradcam++": ("gradcam++", "Grad-CAM with other weights, for several objects"),
    "ig": (
        "integrated_gradients",
        "Integrated Gradients: each pixel's share of the score",
    ),
    "smoothgrad": ("smoothgrad", "the gradient, averaged over noisy copies"),
    "vanilla": ("vanilla_gradients", "the gradient of the score at each pixel"),
    "gradient_input": ("gradient_input", "the gradient times the pixel's value"),
}
