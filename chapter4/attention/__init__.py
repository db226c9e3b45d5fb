"""Section 4.4: the attention weights of Transformers, as numbers."""
