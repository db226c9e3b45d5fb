"""Problem 6: What Gradient x Input leaves over."""
