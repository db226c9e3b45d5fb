"""Figures: results become pictures here, and only here are maps scaled."""
