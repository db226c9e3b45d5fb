"""``make benchmark``: our methods against the printed chapter and other libraries."""
