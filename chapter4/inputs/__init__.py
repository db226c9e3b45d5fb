"""What goes into a method: photos as tensors, and the models that read them."""
