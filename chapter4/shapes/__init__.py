"""Drawn shapes whose ground truth is known, and the two networks trained on them."""
